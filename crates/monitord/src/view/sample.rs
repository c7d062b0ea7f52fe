//! Subjects for tests.

use std::time::Duration;

use jiff::tz::TimeZone;
use monitor_core::operation::Epoch;
use monitor_fault::Fault;
use monitor_model::{Lifecycle, Monitor, MonitorId, Outcome, Source, Status, Tally};

use super::{Moment, Point, Subject};

/// 2025-11-21 14:02:31 UTC.
pub(crate) const NOW: i64 = 1_763_733_751_000;

pub(crate) fn moment() -> Moment {
    Moment {
        unix_ms: NOW,
        zone: TimeZone::UTC,
    }
}

/// A monitor named `id` that has been `outcome` for eleven minutes.
pub(crate) fn subject(id: &str, outcome: Option<Outcome>) -> Subject {
    let id: MonitorId = id.parse().unwrap();
    let mut status = Status::new(id.clone(), Lifecycle::Active, Epoch::new(1));
    status.outcome = outcome;
    status.since_unix_ms = outcome.map(|_| NOW - 11 * 60_000);
    status.checked_unix_ms = outcome.map(|_| NOW - 1000);
    status.streak = u32::from(outcome.is_some()) * 3;
    let (name, spec) = (id.to_string(), "{}".to_owned());
    Subject {
        monitor: Monitor {
            id,
            name,
            source: Source::File,
            spec,
        },
        status,
        kind: "http",
        target: "http://example.net/".to_owned(),
        points: Vec::new(),
        tally: Tally::default(),
        interval: Duration::from_secs(30),
        jitter: 0.2,
        next_unix_ms: Some(NOW + 4000),
        running_since_unix_ms: None,
        stuck: false,
        backoff: None,
        failures: 0,
        breaker: None,
        permits: (4, 20),
        maintenance_until_unix_ms: None,
        is_flapping: false,
        fenced: 0,
    }
}

pub(crate) fn faulty(id: &str, outcome: Outcome, fault: Fault) -> Subject {
    let mut subject = subject(id, Some(outcome));
    subject.status.fault = Some(fault);
    subject
}

pub(crate) fn point(due_unix_ms: i64, outcome: Outcome) -> Point {
    Point {
        due_unix_ms,
        interval_ms: 1000,
        slots: 1,
        outcome,
        took_us: outcome.is_observed().then_some(2_000),
        phases_us: [0; 5],
        fault: None,
    }
}

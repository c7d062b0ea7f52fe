//! From the core's monitors to the page's subjects.

use std::time::Duration;

use monitor_backoff::JitterKind;
use monitor_breaker::State;
use monitor_core::{Core, View};
use monitor_model::Tally;
use monitor_scheduler::KeyState;

use super::app::App;
use crate::view::{Breaker, Moment, Point, Subject};

/// All monitors as they are now, in the order of their names.
pub(super) async fn subjects(app: &App) -> (Vec<Subject>, Moment) {
    let core = app.core();
    let now = app.now();
    let permits = permits(core);
    let mut subjects = Vec::new();
    for view in core.views() {
        let recent = &app.0.parts.recent;
        let (points, tally) = recent
            .of(&view.monitor.id, &**core.store(), now.unix_ms)
            .await;
        subjects.push(subject(view, points, tally, permits, &now));
    }
    subjects.sort_by_cached_key(|subject| subject.monitor.name.to_lowercase());
    (subjects, now)
}

fn permits(core: &Core) -> (usize, usize) {
    let status = core.scheduler_status();
    (status.current_concurrency, status.concurrency_limit)
}

fn subject(
    view: View,
    points: Vec<Point>,
    tally: Tally,
    permits: (usize, usize),
    now: &Moment,
) -> Subject {
    let breaker = breaker(&view);
    let schedule = view.schedule.as_ref();
    let running = schedule.and_then(|schedule| schedule.running_for);
    let backoff = schedule
        .map(|s| s.current_backoff)
        .filter(|wait| *wait > Duration::ZERO);
    Subject {
        kind: view.kind,
        points,
        tally,
        interval: view.settings.interval,
        jitter: jitter(&view),
        next_unix_ms: schedule.and_then(|s| s.next_due).map(unix_ms),
        running_since_unix_ms: running.map(|running| now.unix_ms - unix_ms(running)),
        stuck: schedule.is_some_and(|s| s.state == KeyState::Stuck),
        backoff,
        failures: schedule.map_or(0, |s| s.consecutive_failures),
        breaker,
        permits,
        maintenance_until_unix_ms: view.maintenance_until.map(unix_ms),
        is_flapping: view.flapping.is_flapping(),
        fenced: view.fenced,
        monitor: view.monitor,
        status: view.status,
        target: view.target,
    }
}

fn breaker(view: &View) -> Option<Breaker> {
    let snapshot = view.breaker.as_ref()?;
    Some(match snapshot.state {
        State::Closed => Breaker::Closed {
            failures: snapshot.consecutive_failures,
            of: view.settings.breaker.as_ref()?.failure_threshold(),
        },
        State::Open => Breaker::Open {
            retry_after: snapshot.retry_after.unwrap_or_default(),
        },
        State::HalfOpen | State::Recovering => Breaker::HalfOpen,
    })
}

/// The share of the interval by which a start may be displaced when all is well.
fn jitter(view: &View) -> f64 {
    let jitter = view.settings.backoff.jitter();
    match jitter.kind {
        JitterKind::Symmetric { ratio } if jitter.normal_interval => ratio,
        _ => 0.0,
    }
}

fn unix_ms(unix: Duration) -> i64 {
    i64::try_from(unix.as_millis()).unwrap_or(i64::MAX)
}

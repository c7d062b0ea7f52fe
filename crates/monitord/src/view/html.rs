//! The page and its parts, through the templates.

use askama::Template;
use monitor_model::{Outcome, Tally};

use super::bars::{self, Bars};
use super::chart::{self, Area};
use super::sentence::{self, Headline, Incident};
use super::subject::{Breaker, Subject};
use super::time::{self, Moment};
use super::{SLOTS, figures, words};

/// What frames the monitors: the same for every page of a process.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) title: String,
    /// Whether the page offers actions.
    pub(crate) is_admin: bool,
    /// Where the embedded files are: style, script, icon.
    pub(crate) style: String,
    pub(crate) script: String,
    pub(crate) icon: String,
}

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    frame: &'a Frame,
    headline: Headline,
    incidents: Vec<Incident>,
    rows: Vec<Row<'a>>,
    clock: Clock,
    /// The last event that the page knows of.
    known: &'a str,
    version: &'static str,
}

#[derive(Template)]
#[template(path = "update.html")]
struct Update<'a> {
    headline: Headline,
    incidents: Vec<Incident>,
    rows: Vec<Row<'a>>,
}

/// The server's clock, for the one that runs on the page.
struct Clock {
    unix_ms: i64,
    text: String,
    /// Seconds east of UTC.
    offset: i32,
    zone: String,
}

/// One monitor on the page.
struct Row<'a> {
    id: &'a str,
    name: &'a str,
    /// The mark's shape and colour: `up`, `degraded`, `down`, `none`, `paused`.
    mark: &'static str,
    /// The mark in words.
    state: &'static str,
    what: String,
    bars: Bars,
    line: String,
    uptime: String,
    coverage: String,
    p95: String,
    area: Option<Area>,
    facts: Vec<Fact>,
    actions: Vec<Action>,
}

/// A line of *why it is as it is*.
struct Fact {
    label: &'static str,
    /// A time ahead, that counts down on the page.
    until: Option<(i64, String)>,
    text: String,
    /// What else is known, smaller.
    detail: Option<String>,
    /// What stands in the row itself where there is room for it.
    is_spare: bool,
}

struct Action {
    name: &'static str,
    label: &'static str,
    is_enabled: bool,
}

/// The whole page. `known` is the id of the last event in it, where the live stream goes on.
pub(crate) fn page(frame: &Frame, subjects: &[Subject], now: &Moment, known: &str) -> String {
    render(&Page {
        frame,
        headline: sentence::headline(subjects, now),
        incidents: sentence::incidents(subjects, now),
        rows: subjects
            .iter()
            .map(|subject| row(subject, frame.is_admin, now))
            .collect(),
        clock: Clock {
            unix_ms: now.unix_ms,
            text: now.clock_seconds(now.unix_ms),
            offset: now.offset_seconds(),
            zone: now.zone_name(),
        },
        known,
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// The parts of the page that changed: its sentences, and the rows of those subjects for which
/// `is_changed` holds.
pub(crate) fn update(
    frame: &Frame,
    subjects: &[Subject],
    now: &Moment,
    is_changed: impl Fn(&Subject) -> bool,
) -> String {
    let changed = subjects.iter().filter(|subject| is_changed(subject));
    render(&Update {
        headline: sentence::headline(subjects, now),
        incidents: sentence::incidents(subjects, now),
        rows: changed
            .map(|subject| row(subject, frame.is_admin, now))
            .collect(),
    })
}

fn render(template: &impl Template) -> String {
    // A template fails only when one of its values does, and none of ours can.
    template
        .render()
        .unwrap_or_else(|error| format!("<p>the page cannot be made: {error}</p>"))
}

fn row<'a>(subject: &'a Subject, is_admin: bool, now: &Moment) -> Row<'a> {
    let (mark, state) = mark(subject);
    let tally = &subject.tally;
    Row {
        id: subject.monitor.id.as_str(),
        name: &subject.monitor.name,
        mark,
        state,
        what: what(subject.kind, &subject.target),
        bars: bars::bars(subject, now.unix_ms),
        line: chart::line(&subject.points),
        uptime: figures::percent(tally.uptime(), 2),
        coverage: figures::percent(tally.coverage(), 1),
        p95: figures::p95_text(&subject.points),
        area: chart::area(&subject.points, now),
        facts: facts(subject, tally, now),
        actions: if is_admin {
            actions(subject)
        } else {
            Vec::new()
        },
    }
}

fn mark(subject: &Subject) -> (&'static str, &'static str) {
    if !subject.is_active() {
        return ("paused", "paused");
    }
    if !subject.is_checked() {
        return ("paused", "under maintenance");
    }
    match subject.verdict() {
        Some(Outcome::Up) if subject.is_flapping => ("up", "up, but flapping"),
        Some(Outcome::Degraded) if subject.is_flapping => ("degraded", "degraded, and flapping"),
        Some(Outcome::Down) if subject.is_flapping => ("down", "down, and flapping"),
        Some(Outcome::Up) => ("up", "up"),
        Some(Outcome::Degraded) => ("degraded", "degraded"),
        Some(Outcome::Down) => ("down", "down"),
        Some(_) => ("none", "unknown"),
        None => ("none", "not checked yet"),
    }
}

/// `https · api.example.net/health`.
fn what(kind: &str, target: &str) -> String {
    let (kind, target) = target.split_once("://").unwrap_or((kind, target));
    let target = target
        .strip_suffix('/')
        .filter(|rest| !rest.contains('/'))
        .unwrap_or(target);
    format!("{kind} · {target}")
}

fn facts(subject: &Subject, tally: &Tally, now: &Moment) -> Vec<Fact> {
    let (until, next) = next_check(subject, now);
    let (fault, detail) = last_fault(subject, now);
    let fact = |label, text| Fact {
        label,
        until: None,
        text,
        detail: None,
        is_spare: false,
    };
    let spare = |label, text| Fact {
        is_spare: true,
        ..fact(label, text)
    };
    vec![
        Fact {
            until,
            ..fact("Next check", next)
        },
        Fact {
            detail,
            ..fact("Last fault", fault)
        },
        fact("Breaker", breaker(subject.breaker)),
        fact("Backoff", backoff(subject)),
        fact(
            "Permits",
            format!("{} of {} in use", subject.permits.0, subject.permits.1),
        ),
        fact(
            "Fenced results",
            format!("{} since the start", subject.fenced),
        ),
        spare(
            "Coverage",
            format!("{} in 24 hours", figures::percent(tally.coverage(), 1)),
        ),
        spare("95th percentile", figures::p95_text(&subject.points)),
    ]
}

type Until = Option<(i64, String)>;

fn next_check(subject: &Subject, now: &Moment) -> (Until, String) {
    let mut every = format!("every {}", time::brief(subject.interval));
    if subject.jitter > 0.0 {
        every = format!("{every} ± {:.0} %", subject.jitter * 100.0);
    }
    if subject.stuck {
        return (None, "stuck: the check before it does not end".to_owned());
    }
    if let Some(since) = subject.running_since_unix_ms {
        let running = time::brief(time::millis(now.unix_ms.saturating_sub(since)));
        return (None, format!("running for {running}, {every}"));
    }
    if !subject.is_active() {
        return (None, "none while it is paused".to_owned());
    }
    if let Some(until) = subject.maintenance_until_unix_ms {
        let then = Some((until, now.until(until)));
        return (then, ", after the maintenance".to_owned());
    }
    match subject.next_unix_ms {
        Some(next) => (Some((next, now.until(next))), format!(", {every}")),
        None => (None, "waiting for a permit".to_owned()),
    }
}

/// The fault and its detail.
fn last_fault(subject: &Subject, now: &Moment) -> (String, Option<String>) {
    if let Some(fault) = &subject.status.fault {
        let why = words::reason(fault.layer(), fault.reason());
        let place = words::place(fault.layer(), fault.blame());
        return (
            format!("{why} · {place}"),
            fault.detail().map(str::to_owned),
        );
    }
    let last = subject
        .points
        .iter()
        .rev()
        .find_map(|point| Some((point, point.fault?)));
    let text = match last {
        Some((point, (layer, reason))) => {
            let why = words::reason(layer, reason);
            format!("{why} · {layer} · {}", now.clock(point.due_unix_ms))
        }
        None => format!("none in the last {SLOTS} checks"),
    };
    (text, None)
}

fn breaker(breaker: Option<Breaker>) -> String {
    match breaker {
        None => "none".to_owned(),
        Some(Breaker::Closed { failures: 0, .. }) => "closed".to_owned(),
        Some(Breaker::Closed { failures, of }) => format!("closed, {failures} of {of} failures"),
        Some(Breaker::Open { retry_after }) => {
            format!("open for {} more", time::brief(retry_after))
        }
        Some(Breaker::HalfOpen) => "half-open: the next check decides".to_owned(),
    }
}

fn backoff(subject: &Subject) -> String {
    match (subject.backoff, subject.failures) {
        (Some(wait), 1) => format!("{} after 1 failure", time::brief(wait)),
        (Some(wait), n) => format!("{} after {n} failures in a row", time::brief(wait)),
        (None, 0) if subject.verdict().is_some() => "none: answers arrive".to_owned(),
        (None, _) => "none".to_owned(),
    }
}

fn actions(subject: &Subject) -> Vec<Action> {
    let is_active = subject.is_active();
    let (name, label) = if is_active {
        ("pause", "Pause")
    } else {
        ("resume", "Resume")
    };
    let action = |name, label, is_enabled| Action {
        name,
        label,
        is_enabled,
    };
    vec![
        action("trigger", "Check now", true),
        action(name, label, true),
        action(
            "reset-backoff",
            "Reset backoff",
            is_active && subject.failures > 0,
        ),
    ]
}

#[cfg(test)]
mod tests;

//! `/api/admin/explain/{id}`: why a monitor is or is not being checked now, in plain words.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use monitor_core::breaker::{Mode, Snapshot, State as Breaker};
use monitor_core::{CategoryWait, Explained};
use monitor_model::{Lifecycle, MonitorId};
use monitor_scheduler::{Explanation, Limit, Why};
use serde_json::{Value, json};

use crate::config::closest;
use crate::server::app::App;
use crate::server::problem::Problem;
use crate::view::brief;

/// `GET /api/admin/explain/{id}`
pub(in crate::server) async fn explain(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let known = id.parse::<MonitorId>().ok();
    let explained = known.and_then(|id| {
        let explained = app.core().explain(&id)?;
        Some((id, explained))
    });
    let (id, explained) = explained.ok_or_else(|| unknown(&app, &id))?;
    let body = to_json(&id, &explained).to_string();
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// There is no such monitor, but there may be one that was meant.
fn unknown(app: &App, id: &str) -> Problem {
    let views = app.core().views();
    let ids: Vec<_> = views.iter().map(|view| view.monitor.id.as_str()).collect();
    match closest(id, &ids) {
        Some(near) => Problem::not_found(format!(
            "there is no monitor {id:?}, did you mean {near:?}?"
        )),
        None => Problem::no_monitor(id),
    }
}

fn to_json(id: &MonitorId, explained: &Explained) -> Value {
    let schedule = explained.schedule.as_ref();
    let next = schedule.and_then(|it| it.next);
    let limits = schedule.map(|it| {
        let limits = it.limits.iter().map(|limit| limit_json(limit, it.now));
        limits.collect::<Vec<_>>()
    });
    json!({
        "id": id,
        "state": schedule.map(|it| it.state),
        "lifecycle": explained.lifecycle,
        "text": lines(explained),
        "next_due_unix_ms": next.map(|due| ms(due.unix)),
        "next_in_ms": schedule
            .zip(next)
            .map(|(it, due)| ms(due.at.saturating_sub(it.now))),
        "limits": limits,
        "breaker": explained.breaker.as_ref().map(|it| json!({
            "state": it.state.as_str(),
            "mode": it.mode.as_str(),
            "retry_after_ms": it.retry_after.map(ms),
            "consecutive_failures": it.consecutive_failures,
            "trials_in_flight": it.trials_in_flight,
        })),
        "backoff": schedule.and_then(|it| match it.why {
            Why::WaitsForBackoff { failures, wait } => {
                Some(json!({ "failures": failures, "wait_ms": ms(wait) }))
            }
            _ => None,
        }),
        "category": explained.category.as_ref().map(|it| json!({
            "category": it.category.as_str(),
            "failures": it.failures,
            "wait_ms": it.wait.map(ms),
        })),
        "maintenance_left_ms": explained.maintenance_left.map(ms),
        "store_error": explained.store_error,
    })
}

fn limit_json(limit: &Limit, now: Duration) -> Value {
    let (name, text) = match *limit {
        Limit::Process { held, limit } => (
            "process",
            format!("{held} of {limit} checks are running in all"),
        ),
        Limit::Class { held, limit } => (
            "class",
            format!("{held} of {limit} checks of its class are running"),
        ),
        Limit::Queue { depth, bound } => (
            "queue",
            format!("{depth} of {bound} places in the queue are taken"),
        ),
        Limit::NotBefore { at } => {
            let left = brief(at.saturating_sub(now));
            ("not_before", format!("held back for another {left}"))
        }
        Limit::Stretched { factor } => (
            "stretched",
            format!("to save resources only one due time in {factor} is used"),
        ),
        Limit::Suspended => ("suspended", "suspended to save resources".to_owned()),
        Limit::ShutDown => ("shut_down", "the daemon is shutting down".to_owned()),
        _ => ("other", limit.to_string()),
    };
    json!({ "limit": name, "text": text, "reached": limit.is_reached(now) })
}

/// The whole of it for people: first what is, then why, then when next, then what holds.
fn lines(explained: &Explained) -> Vec<String> {
    let mut lines = Vec::new();
    match &explained.schedule {
        None => lines.push("It is not being checked: the store did not take a change of it, or it is just being changed.".to_owned()),
        Some(it) => {
            lines.push(why(it, explained.lifecycle));
            if let Some(due) = it.next {
                let left = due.at.saturating_sub(it.now);
                lines.push(if left.is_zero() {
                    "It is due now.".to_owned()
                } else {
                    format!("The next check is in {}.", brief(left))
                });
            }
        }
    }
    if let Some(left) = explained.maintenance_left {
        let left = brief(left);
        lines.push(format!(
            "Somebody works on its target for another {left}: until then nobody looks but by hand."
        ));
    }
    if let Some(breaker) = explained.breaker.as_ref().and_then(breaker) {
        lines.push(breaker);
    }
    if let Some(wait) = &explained.category {
        lines.push(category(wait));
    }
    if let Some(it) = &explained.schedule {
        for limit in it.limits.iter().filter(|limit| limit.is_reached(it.now)) {
            let text = limit_json(limit, it.now)["text"]
                .as_str()
                .map(str::to_owned);
            lines.extend(text.map(|text| format!("Limit reached: {text}.")));
        }
    }
    if let Some(error) = &explained.store_error {
        lines.push(format!(
            "The store takes no results, which wait for it meanwhile: {error}."
        ));
    }
    lines
}

fn why(it: &Explanation<MonitorId>, lifecycle: Lifecycle) -> String {
    match it.why {
        Why::Running {
            since,
            deadline_in,
            again,
            ..
        } => {
            let then = if again {
                ", and it is checked once more after that"
            } else {
                ""
            };
            format!(
                "It is being checked now, for {}; the check may take another {}{then}.",
                brief(since),
                brief(deadline_in)
            )
        }
        Why::Stuck { since } => format!(
            "Its check of {} ago was told to stop and has not; until it does there is no other.",
            brief(since)
        ),
        Why::Queued { since, before, .. } => format!(
            "It is due and has been waiting for {} for a place among the running checks, behind \
             {before} others.",
            brief(since)
        ),
        Why::WaitsForSlot { .. } => "It waits for its next due time.".to_owned(),
        Why::WaitsForBackoff { failures, wait } => format!(
            "It waits longer than usual, {}, after {failures} {} in a row.",
            brief(wait),
            if failures == 1 { "failure" } else { "failures" }
        ),
        Why::WaitsBesideSlots => {
            "It waits for a time of its own, after a check by hand or because it is new.".to_owned()
        }
        Why::Paused if lifecycle == Lifecycle::Paused => {
            "It is paused: until it is resumed it is checked by hand only.".to_owned()
        }
        _ => format!("Its schedule says: {}.", it.why),
    }
}

/// What a breaker says that holds checks back.
fn breaker(it: &Snapshot) -> Option<String> {
    let wait = it.retry_after.map(brief);
    match (it.state, it.mode, wait) {
        (Breaker::Closed, ..) => None,
        (_, Mode::ForcedOpen, _) => Some("Its circuit breaker was opened by hand.".to_owned()),
        (Breaker::Open, _, Some(wait)) => Some(format!(
            "Its circuit breaker is open after too many failures; it lets a trial through in {wait}."
        )),
        (Breaker::Open, _, None) => {
            Some("Its circuit breaker is open; the next check is its trial.".to_owned())
        }
        (Breaker::HalfOpen, ..) => Some(format!(
            "Its circuit breaker is half-open: {} good and {} running trials so far.",
            it.trial_successes, it.trials_in_flight
        )),
        (Breaker::Recovering, ..) => Some(format!(
            "Its circuit breaker is closing again and lets {} of 100 checks through.",
            it.admitted_percent
        )),
    }
}

fn category(it: &CategoryWait) -> String {
    let of = it.category.as_str();
    let failed = match it.failures {
        0 | 1 => format!("The last failure was of the kind {of}"),
        failures => format!("The last {failures} failures in a row were of the kind {of}"),
    };
    match it.wait {
        Some(wait) => format!("{failed}, which asks to wait at least {}.", brief(wait)),
        None => format!(
            "{failed}, which is not worth another try before its configuration is changed or \
             somebody asks for a check."
        ),
    }
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

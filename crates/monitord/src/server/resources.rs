//! What the process itself is made of, for `/health`: pools, pressure, its own periodic tasks.

use std::time::Duration;

use monitor_core::pool::{Holder, Phase};
use monitor_core::pressure::{Snapshot, SourceStatus};
use monitor_core::supervisor::{FailureKind, TaskStatus};
use monitor_core::{Core, PoolView};
use serde_json::{Value, json};

/// All pools. Who holds their connections only if `with_holders`.
pub(super) fn pools(core: &Core, with_holders: bool) -> Value {
    let views = core.pool_views().into_iter();
    views.map(|view| pool(&view, with_holders)).collect()
}

fn pool(view: &PoolView, with_holders: bool) -> Value {
    let status = &view.status;
    let mut pool = json!({
        "name": view.name,
        "phase": phase(status.phase),
        "size": status.size,
        "idle": status.idle,
        "in_use": status.leased + status.offered,
        "waiting": status.waiting,
        "max": status.max_size,
        "oldest_wait_ms": ms(status.oldest_wait),
        "unreachable": status.connect_failures > 0,
    });
    if with_holders {
        pool["holders"] = view.holders.iter().map(holder).collect();
    }
    pool
}

const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Open => "open",
        Phase::Draining => "draining",
        _ => "closed",
    }
}

fn holder(holder: &Holder) -> Value {
    json!({
        "connection": holder.connection.get(),
        "site": holder.site.to_string(),
        "task": holder.task.map(|task| task.to_string()),
        "held_ms": ms(holder.held_for),
    })
}

/// How hard-pressed the process is, and by what. `null`: nobody looks.
pub(super) fn pressure(core: &Core) -> Value {
    core.pressure().map_or(Value::Null, |snapshot| {
        let sources: Value = snapshot.sources.iter().map(source).collect();
        json!({ "level": snapshot.level.as_str(), "sources": sources })
    })
}

fn source(status: &SourceStatus) -> Value {
    json!({
        "source": status.source.as_str(),
        "level": status.level.as_str(),
        "usage": status.usage.map(|usage| usage.to_string()),
        "usage_ratio": status.usage.map(|usage| (usage.ratio() * 10_000.0).round() / 10_000.0),
        "reaches_limit_in_ms": status.until_limit.map(ms),
        "problem": status.problem,
    })
}

/// What presses hardest, in words.
pub(super) fn causes(snapshot: &Snapshot) -> String {
    let causes: Vec<_> = snapshot
        .causes()
        .map(|cause| match cause.usage {
            Some(usage) => format!("{}: {usage}", cause.source),
            None => cause.source.to_string(),
        })
        .collect();
    causes.join(", ")
}

/// The periodic tasks of the process. What they cost and how often they failed only if `verbose`.
pub(super) fn tasks(core: &Core, verbose: bool) -> Value {
    let tasks = core.supervisor().status().into_iter();
    tasks.map(|status| task(&status, verbose)).collect()
}

fn task(status: &TaskStatus, verbose: bool) -> Value {
    let mut task = json!({
        "name": &*status.name,
        "healthy": status.is_healthy(),
        "alerting": status.is_alerting,
        "last": status.last.as_ref().map(ToString::to_string),
        "age_ms": status.age.map(ms),
        "failures_in_a_row": status.failures_in_a_row,
        "stuck": status.is_stuck,
    });
    if verbose {
        task["ticks"] = status.ticks.into();
        task["missed"] = status.missed.into();
        let failed = FailureKind::ALL.map(|kind| (kind.as_str(), status.counts.of(kind)));
        task["failed"] = failed
            .into_iter()
            .map(|(kind, count)| (kind.to_owned(), count.into()))
            .collect::<serde_json::Map<_, _>>()
            .into();
        task["mean_took_us"] = us(status.mean_took).into();
        task["longest_took_us"] = us(status.longest_took).into();
    }
    task
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

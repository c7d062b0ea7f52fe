//! Tells the pages that are open what changed: each row once a second at most, made once for all.

use std::time::Duration;

use axum::body::Bytes;
use monitor_core::supervisor::{BoxError, TaskHandle, TaskSpec, Tick};
use serde_json::json;

use super::app::App;
use super::gather;
use super::live::{BEAT, RESYNC};
use crate::view;

/// The least time between two updates.
const PACE: Duration = Duration::from_secs(1);
/// How long it may take to make one of very many monitors.
const LONGEST: Duration = Duration::from_secs(30);
/// After how many ticks there is one in any case. Sentences that speak of time are refreshed as
/// often.
const QUIET: u64 = 15;

/// Works until it is stopped.
pub(crate) fn publish(app: &App) -> Result<TaskHandle, BoxError> {
    let spec = TaskSpec::builder("page").interval(PACE).timeout(LONGEST);
    let of = app.clone();
    let task = app
        .core()
        .supervise(spec.build()?, move |tick| update(of.clone(), tick))?;
    Ok(task)
}

async fn update(app: App, tick: Tick) {
    let live = &app.0.parts.live;
    // Taken also when nobody looks: whoever comes next reads a page that has it all.
    let changes = live.take_changes();
    let is_beat = tick.number.is_multiple_of(QUIET);
    if live.readers() == 0 || changes.is_empty() && !is_beat {
        return;
    }
    if is_beat {
        live.send(BEAT);
    }
    if changes.is_other_list {
        live.send(RESYNC);
        return;
    }
    let (subjects, now) = gather::subjects(&app).await;
    let html = view::update(&app.0.frame, &subjects, &now, |subject| {
        changes.rows.contains(&subject.monitor.id)
    });
    let data = json!({ "at": now.unix_ms, "html": html });
    live.send(Bytes::from(format!("event: update\ndata: {data}\n\n")));
}

//! Tells the pages that are open what changed: each row once a second at most, made once for all.

use std::time::Duration;

use axum::body::Bytes;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::app::App;
use super::gather;
use super::live::{BEAT, RESYNC};
use crate::view;

/// The least time between two updates.
const PACE: Duration = Duration::from_secs(1);
/// How long the stream may be silent. Sentences that speak of time are refreshed as often.
const QUIET: Duration = Duration::from_secs(15);

/// Works until it is dropped.
pub(super) async fn publish(app: App) {
    let live = &app.0.parts.live;
    loop {
        let is_quiet = timeout(QUIET, live.changed()).await.is_err();
        let begun = Instant::now();
        // Taken also when nobody looks: whoever comes next reads a page that has it all.
        let changes = live.take_changes();
        if live.readers() > 0 {
            if is_quiet {
                live.send(BEAT);
            }
            if changes.is_other_list {
                live.send(RESYNC);
            } else {
                let (subjects, now) = gather::subjects(&app).await;
                let html = view::update(&app.0.frame, &subjects, &now, |subject| {
                    changes.rows.contains(&subject.monitor.id)
                });
                let data = json!({ "at": now.unix_ms, "html": html });
                live.send(Bytes::from(format!("event: update\ndata: {data}\n\n")));
            }
        }
        sleep(PACE.saturating_sub(begun.elapsed())).await;
    }
}

//! What is logged on the hot path: nothing, unless somebody asks for it.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use common::{flaky, job};
use monitor_jobs::{Backend, JobState, Worker};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Counts events and the fields that were formatted for them, up to a level.
#[derive(Clone)]
struct Counting {
    level: Level,
    events: Arc<AtomicUsize>,
    formatted: Arc<AtomicUsize>,
}

impl Subscriber for Counting {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("monitor_jobs") && *metadata.level() <= self.level
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        struct Formatting<'a>(&'a AtomicUsize);
        impl Visit for Formatting<'_> {
            fn record_debug(&mut self, _: &Field, value: &dyn std::fmt::Debug) {
                let _ = format!("{value:?}");
                self.0.fetch_add(1, SeqCst);
            }
        }
        self.events.fetch_add(1, SeqCst);
        event.record(&mut Formatting(&self.formatted));
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

async fn run_a_hundred(level: Level) -> (usize, usize) {
    let counting = Counting {
        level,
        events: Arc::default(),
        formatted: Arc::default(),
    };
    let _guard = tracing::subscriber::set_default(counting.clone());
    let (database, jobs) = flaky();
    database.enqueue(&vec![job("work"); 100]).await.unwrap();
    let worker = Worker::builder(&jobs, "w").handler("work", |_| async { Ok(None) });
    let worker = worker.upkeep(None).start().await.unwrap();
    let completed = JobState::Completed as usize;
    while database.queues().await.unwrap()[0].counts[completed] < 100 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    worker.drain(Duration::from_secs(1)).await;
    (
        counting.events.load(SeqCst),
        counting.formatted.load(SeqCst),
    )
}

/// JOB-46: a hundred jobs from claim to end: no event and nothing formatted at the usual level, one
/// event for each when debugging is on.
#[tokio::test(start_paused = true)]
async fn the_hot_path_formats_nothing_unless_asked() {
    assert_eq!(run_a_hundred(Level::INFO).await, (0, 0));
    let (events, formatted) = run_a_hundred(Level::DEBUG).await;
    assert!(events >= 100 && formatted >= 100, "{events} {formatted}");
}

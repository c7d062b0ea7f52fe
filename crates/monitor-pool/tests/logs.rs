//! What the pool says in the log.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::sleep;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use fake::{Act, Fake};

#[path = "support/fake.rs"]
mod fake;

const SECOND: Duration = Duration::from_secs(1);

/// STB-43: each line about a connection has its number, and each line the pool's name.
#[tokio::test(start_paused = true)]
async fn every_line_about_a_connection_has_its_number() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let fake = Fake::default();
    let pool = fake
        .builder(1)
        .name("numbered")
        .check_if_idle_for(Some(Duration::ZERO))
        .close_timeout(SECOND)
        .leak_after(Some(SECOND * 30))
        .build()
        .unwrap();
    // Connected, out for too long, closed because it is unfit, and that takes too long.
    let mut first = pool.acquire().await.unwrap();
    sleep(SECOND * 40).await;
    fake.close_does(Act::Hang);
    first.is_broken = true;
    drop(first);
    sleep(SECOND * 2).await;
    // Another one does not pass its check, and there is no third one.
    drop(pool.acquire().await.unwrap());
    fake.check_does(Act::Fail);
    fake.connect_does(Act::Fail);
    pool.acquire_timeout(SECOND).await.unwrap_err();

    let lines = lines.0.lock().unwrap();
    let mut seen = BTreeMap::new();
    for line in lines.iter() {
        let message = line["message"].as_str();
        assert_eq!(line["pool"], "numbered", "{line:?}");
        let number = line.get("connection").map(String::as_str);
        seen.entry(message).or_insert(number);
    }
    let wanted = [
        ("cannot connect", Some("#3")),
        ("closing", Some("#1")),
        ("connected", Some("#1")),
        ("connection failed its check", Some("#2")),
        ("connection is out for longer than leak_after", Some("#1")),
        ("dropped at close_timeout", Some("#1")),
        ("no connection", None),
    ];
    assert_eq!(seen, BTreeMap::from(wanted));
}

type Line = BTreeMap<String, String>;

/// Keeps every line of this crate with its fields.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<Line>>>);

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("monitor_pool")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Fields(Line);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

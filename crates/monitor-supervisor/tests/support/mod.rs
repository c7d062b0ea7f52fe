//! What the tests of this crate share.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use monitor_supervisor::{Event, What};
use tokio::sync::broadcast;

pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A list that tasks write to.
#[derive(Debug)]
pub struct Log<T>(Arc<Mutex<Vec<T>>>);

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Log<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone> Log<T> {
    pub fn push(&self, entry: T) {
        self.0.lock().unwrap().push(entry);
    }

    pub fn entries(&self) -> Vec<T> {
        self.0.lock().unwrap().clone()
    }
}

/// What the crate logs, as lines.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// Collects what this thread logs while the guard lives.
    pub fn collect(level: tracing_subscriber::filter::LevelFilter) -> (Self, impl Drop) {
        let lines = Self::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .without_time()
            .with_max_level(level)
            .with_writer(move || writer.clone())
            .finish();
        let guard = tracing_subscriber::util::SubscriberInitExt::set_default(subscriber);
        (lines, guard)
    }

    pub fn lines(&self) -> Vec<String> {
        let bytes = self.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The alerts and recoveries told so far, in order.
pub fn alerts(events: &mut broadcast::Receiver<Event>) -> Vec<String> {
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        if matches!(event.what, What::Alert { .. } | What::Recovered { .. }) {
            told.push(event.to_string());
        }
    }
    told
}

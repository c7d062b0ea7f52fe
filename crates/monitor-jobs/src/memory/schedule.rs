//! Full snapshots, by themselves.

use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep;
use tracing::warn;

use super::Memory;

/// Snapshots are written as long as this lives.
#[derive(Debug)]
pub struct Snapshots(JoinHandle<()>);

impl Drop for Snapshots {
    fn drop(&mut self) {
        // One that is under way is still written whole.
        self.0.abort();
    }
}

impl Memory {
    /// Writes a full [`snapshot`](Self::snapshot) every so often, if there were changes since the
    /// last one: a restart has less to read then. What cannot be written is logged, and tried again.
    ///
    /// Must be called within a tokio runtime. Without a folder to write to nothing is written.
    #[must_use]
    pub fn snapshot_every(&self, every: Duration) -> Snapshots {
        let memory = self.clone();
        Snapshots(tokio::spawn(async move {
            let mut last = None;
            loop {
                sleep(every).await;
                if last == Some(memory.lock().version) {
                    continue;
                }
                let writing = memory.clone();
                match spawn_blocking(move || writing.snapshot()).await {
                    Ok(Ok(version)) => last = Some(version),
                    Ok(Err(error)) => warn!(%error, "a snapshot is written later"),
                    // The runtime ends.
                    Err(_) => return,
                }
            }
        }))
    }
}

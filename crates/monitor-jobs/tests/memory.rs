//! The model passes its own suite; compared with itself it shows that schedules are reproducible.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use monitor_jobs::conformance::{Base, Rig, START_MS};
use monitor_jobs::{Backend, Claimed, Jobs, Memory, NewJob, SettleError};

struct InMemory;

#[derive(Clone)]
struct Database {
    memory: Memory,
    clock: Arc<AtomicI64>,
}

#[async_trait]
impl Rig for InMemory {
    async fn fresh(&self) -> Arc<dyn Base> {
        let clock = Arc::new(AtomicI64::new(START_MS));
        let memory = Memory::with_clock({
            let clock = Arc::clone(&clock);
            move || clock.load(Ordering::SeqCst)
        });
        Arc::new(Database { memory, clock })
    }
}

#[async_trait]
impl Base for Database {
    fn backend(&self) -> Arc<dyn Backend> {
        Arc::new(self.memory.clone())
    }

    async fn set_clock(&self, unix_ms: i64) {
        self.clock.store(unix_ms, Ordering::SeqCst);
    }

    /// It lives as long as somebody has it.
    async fn reopen(&self) -> Arc<dyn Base> {
        Arc::new(self.clone())
    }

    fn is_durable(&self) -> bool {
        false
    }

    async fn trace(&self) {}

    async fn traced(&self) -> Vec<String> {
        Vec::new()
    }

    async fn fail(&self, _: Option<&str>) {}

    async fn in_transaction(
        &self,
        claimed: Claimed,
        jobs: Vec<NewJob>,
        commit: bool,
    ) -> Result<(), SettleError> {
        let mut transaction = self.memory.begin()?;
        let permit = claimed.complete_in(&mut transaction, None).await?;
        let put_in = Jobs::new(self.memory.clone())
            .enqueue_in(&mut transaction, &jobs)
            .await;
        put_in.unwrap();
        if commit {
            transaction.commit(permit)?;
        }
        Ok(())
    }
}

monitor_jobs::conformance_tests!(InMemory);

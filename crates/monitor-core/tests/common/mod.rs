//! Probes and stores that misbehave on command.

#![allow(dead_code, reason = "each test file uses some of it")]

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use monitor_core::fault::{Fault, Layer, Reason};
use monitor_core::model::{
    Bucket, Commit, Defect, Delivery, Event, EventKind, HistoryRow, Incident, Lifecycle, Loaded,
    MemoryStore, Monitor, MonitorId, Observation, Outbox, Probe, ProbeContext, Record, Resolution,
    Settlement, Source, Status, Store, StoreError, StoreErrorKind, Tally,
};
use monitor_core::operation::Epoch;
use monitor_core::{Core, Definition, Settings};
use tokio::sync::{Notify, broadcast};

/// What a [`Puppet`] does when it is asked to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Up,
    Down,
    Panic,
    Never,
    /// Waits until released, then is up.
    Wait,
}

/// A probe on strings.
pub(crate) struct Puppet {
    pub(crate) act: std::sync::Mutex<Act>,
    pub(crate) looks: AtomicUsize,
    pub(crate) begun: Notify,
    pub(crate) release: Notify,
}

impl Puppet {
    pub(crate) fn new(act: Act) -> Arc<Self> {
        Arc::new(Self {
            act: std::sync::Mutex::new(act),
            looks: AtomicUsize::new(0),
            begun: Notify::new(),
            release: Notify::new(),
        })
    }

    pub(crate) fn will(&self, act: Act) {
        *self.act.lock().unwrap() = act;
    }

    pub(crate) fn looks(&self) -> usize {
        self.looks.load(SeqCst)
    }
}

#[async_trait]
impl Probe for Puppet {
    fn kind(&self) -> &'static str {
        "puppet"
    }

    fn target(&self) -> String {
        "strings".into()
    }

    async fn check(&self, context: &ProbeContext) -> Observation {
        self.looks.fetch_add(1, SeqCst);
        context.progress.enter(Layer::Response);
        self.begun.notify_one();
        let act = *self.act.lock().unwrap();
        match act {
            Act::Up => Observation::up(),
            Act::Down => Observation::fault(Fault::new(Layer::Connect, Reason::Refused)),
            Act::Panic => panic!("as told"),
            Act::Never => std::future::pending().await,
            Act::Wait => {
                self.release.notified().await;
                Observation::up()
            }
        }
    }
}

pub(crate) fn id(text: &str) -> MonitorId {
    text.parse().unwrap()
}

pub(crate) fn definition(name: &str, probe: &Arc<Puppet>) -> Definition {
    Definition {
        monitor: Monitor {
            id: id(name),
            name: name.to_uppercase(),
            source: Source::Api,
            spec: format!("{{\"puppet\":\"{name}\"}}"),
        },
        probe: Arc::clone(probe) as _,
        pool: None,
        settings: Settings {
            interval: Duration::from_secs(10),
            timeout: Some(Duration::from_secs(2)),
            breaker: None,
            ..Settings::default()
        },
    }
}

pub(crate) async fn core_on(store: Arc<dyn Store>) -> Core {
    Core::builder(store).seed(7).start().await.unwrap()
}

/// The next event that `wanted` picks.
pub(crate) async fn next<T>(
    events: &mut broadcast::Receiver<Arc<Event>>,
    mut wanted: impl FnMut(&EventKind) -> Option<T>,
) -> T {
    loop {
        let event = events.recv().await.unwrap();
        if let Some(found) = wanted(&event.kind) {
            return found;
        }
    }
}

/// The next committed record.
pub(crate) async fn next_record(events: &mut broadcast::Receiver<Arc<Event>>) -> (Record, Status) {
    next(events, |kind| match kind {
        EventKind::Committed { record, status, .. } => {
            Some(((**record).clone(), (**status).clone()))
        }
        _ => None,
    })
    .await
}

/// A memory store that refuses writes while told to: a disk that is full for a while.
#[derive(Default)]
pub(crate) struct Moody {
    pub(crate) inner: MemoryStore,
    pub(crate) refuses: AtomicBool,
    /// A commit does not come back.
    pub(crate) hangs: AtomicBool,
    /// A commit, or a change of lifecycle, has been made and is answered when `go` is rung.
    pub(crate) lingers: AtomicBool,
    pub(crate) made: Notify,
    pub(crate) go: Notify,
}

impl Moody {
    fn mood(&self, action: &'static str) -> Result<(), StoreError> {
        if self.refuses.load(SeqCst) {
            let source = "no room left".into();
            return Err(StoreError {
                action,
                kind: StoreErrorKind::Full,
                source,
            });
        }
        Ok(())
    }

    async fn linger(&self) {
        if self.lingers.swap(false, SeqCst) {
            self.made.notify_one();
            self.go.notified().await;
        }
    }
}

#[async_trait]
impl Store for Moody {
    async fn load(&self) -> Result<Loaded, StoreError> {
        self.inner.load().await
    }

    async fn define(&self, monitor: Monitor, epoch: Epoch) -> Result<Status, StoreError> {
        self.mood("define a monitor")?;
        self.inner.define(monitor, epoch).await
    }

    async fn set_lifecycle(
        &self,
        id: &MonitorId,
        lifecycle: Lifecycle,
        epoch: Epoch,
        due_from_unix_ms: Option<i64>,
    ) -> Result<Option<Status>, StoreError> {
        self.mood("change a monitor")?;
        let answer = self
            .inner
            .set_lifecycle(id, lifecycle, epoch, due_from_unix_ms)
            .await;
        self.linger().await;
        answer
    }

    async fn delete(&self, id: &MonitorId, epoch: Epoch) -> Result<bool, StoreError> {
        self.mood("delete a monitor")?;
        self.inner.delete(id, epoch).await
    }

    async fn commit(&self, record: Record) -> Result<Commit, StoreError> {
        self.mood("commit a record")?;
        if self.hangs.load(SeqCst) {
            std::future::pending::<()>().await;
        }
        let answer = self.inner.commit(record).await;
        self.linger().await;
        answer
    }

    async fn history(&self, id: &MonitorId, limit: u32) -> Result<Vec<HistoryRow>, StoreError> {
        self.inner.history(id, limit).await
    }

    async fn tally(&self, id: &MonitorId, since_unix_ms: i64) -> Result<Tally, StoreError> {
        self.inner.tally(id, since_unix_ms).await
    }

    async fn incidents(&self, id: &MonitorId, limit: u32) -> Result<Vec<Incident>, StoreError> {
        self.inner.incidents(id, limit).await
    }

    async fn buckets(
        &self,
        id: &MonitorId,
        resolution: Resolution,
        unix_ms: Range<i64>,
    ) -> Result<Vec<Bucket>, StoreError> {
        self.inner.buckets(id, resolution, unix_ms).await
    }

    async fn take_notices(&self, limit: u32, lease: Duration) -> Result<Vec<Delivery>, StoreError> {
        self.inner.take_notices(limit, lease).await
    }

    async fn settle_notice(
        &self,
        delivery: &Delivery,
        settlement: Settlement,
    ) -> Result<bool, StoreError> {
        self.inner.settle_notice(delivery, settlement).await
    }

    async fn outbox(&self) -> Result<Outbox, StoreError> {
        self.inner.outbox().await
    }

    async fn doctor(&self) -> Result<Vec<Defect>, StoreError> {
        self.inner.doctor().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.inner.close().await
    }
}

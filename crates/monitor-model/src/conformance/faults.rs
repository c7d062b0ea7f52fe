//! Each statement of each change fails once.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use monitor_operation::Epoch;

use super::{applied, down, id, monitor, up};
use crate::{
    Bucket, HistoryRow, Incident, Lifecycle, Loaded, MonitorId, Outbox, Record, Resolution,
    Settlement, Store, StoreError, Unobserved,
};

/// A database whose statements can be made to fail.
#[async_trait]
pub trait Breakable: Send + Sync {
    /// The store in it, which keeps all that it is given.
    fn store(&self) -> Arc<dyn Store>;

    /// From now on notes which tables are changed, and how.
    async fn trace(&self);

    /// What was noted, such as `UPDATE ON status`; notes no more.
    async fn traced(&self) -> Vec<String>;

    /// From now on whatever makes that change to a row fails by `broken`; `None`: nothing does.
    async fn fail(&self, change: Option<&str>);
}

/// A change to a scene, for nothing but its failure.
type Change = for<'a> fn(&'a Scene) -> Pin<Box<dyn Future<Output = Result<(), StoreError>> + 'a>>;

macro_rules! changes {
    ($($name:literal: |$scene:ident| $change:expr;)*) => {
        [$(($name, |$scene| Box::pin(async move { $change.await.map(drop) }))),*]
    };
}

const CHANGES: [(&str, Change); 11] = changes![
    "define": |it| it.store.define(monitor(&it.other()), Epoch::new(1));
    "edit": |it| it.store.define(monitor(&it.name), Epoch::new(2));
    "pause": |it| it.store.set_lifecycle(&it.id, Lifecycle::Paused, Epoch::new(2), None);
    "delete": |it| it.store.delete(&it.id, Epoch::new(2));
    "commit what is still down": |it| it.store.commit(down(&it.name, 1, 3000));
    "commit a recovery": |it| it.store.commit(up(&it.name, 1, 3000));
    "commit what was missed": |it| it.store.commit(it.missed());
    "commit the first of a day": |it| it.store.commit(up(&it.name, 1, 86_400_000));
    "commit a fall": |it| it.store.commit(down(&it.healthy(), 1, 3000));
    "take notices": |it| it.store.take_notices(100, Duration::from_secs(3600));
    "settle a notice": |it| it.settle();
];

/// Whichever row a change writes: if that fails the change fails, nothing of it can be seen (no
/// status without its history, incident and notice), and it works when the failure has gone.
pub async fn all_or_nothing(base: &dyn Breakable) {
    let mut number = 0;
    for (name, change) in CHANGES {
        number += 1;
        let mut scene = Scene::new(base.store(), number).await;
        base.trace().await;
        change(&scene).await.unwrap();
        let faults = base.traced().await;
        assert!(!faults.is_empty(), "{name} writes nothing");
        let (mut refused, mut done) = (0, true);
        for fault in &faults {
            if done {
                number += 1;
                scene = Scene::new(base.store(), number).await;
            }
            let before = scene.everything().await;
            base.fail(Some(fault)).await;
            let made = change(&scene).await;
            base.fail(None).await;
            // A statement of the store's own upkeep, and none of the change.
            done = made.is_ok();
            if let Err(error) = made {
                assert!(error.to_string().contains("broken"), "{name}: {error}");
                assert_eq!(scene.everything().await, before, "{name}, {fault}");
                refused += 1;
            }
        }
        assert!(refused > 0, "{name} fails with none of {faults:?}");
        if !done {
            change(&scene).await.unwrap();
        }
        // What is left to deliver is none of the next.
        for delivery in scene.store.take_notices(100, Duration::ZERO).await.unwrap() {
            let settled = scene.store.settle_notice(&delivery, Settlement::Delivered);
            settled.await.unwrap();
        }
    }
    assert_eq!(base.store().doctor().await.unwrap(), []);
}

/// All that can be seen of two monitors.
type Everything = (Loaded, Vec<Seen>, Outbox);
type Seen = (Vec<HistoryRow>, Vec<Incident>, Vec<Vec<Bucket>>);

/// A monitor that is down, and one that is up.
struct Scene {
    store: Arc<dyn Store>,
    name: String,
    id: MonitorId,
}

impl Scene {
    async fn new(store: Arc<dyn Store>, number: u32) -> Self {
        let name = format!("m{number}");
        let id = id(&name);
        let scene = Self { store, name, id };
        for name in [scene.name.clone(), scene.healthy()] {
            let defined = scene.store.define(monitor(&name), Epoch::new(1)).await;
            defined.unwrap();
            applied(&*scene.store, up(&name, 1, 1000)).await;
        }
        applied(&*scene.store, down(&scene.name, 1, 2000)).await;
        scene
    }

    fn other(&self) -> String {
        format!("{}-other", self.name)
    }

    fn healthy(&self) -> String {
        format!("{}-healthy", self.name)
    }

    fn missed(&self) -> Record {
        Record::unobserved(self.id.clone(), Epoch::new(1), 3000, 5, Unobserved::Stalled)
    }

    async fn settle(&self) -> Result<(), StoreError> {
        // Taken by whoever asks: the lease is over at once.
        let mut taken = self.store.take_notices(1, Duration::ZERO).await?;
        let first = taken.remove(0);
        let retry = Settlement::Retry(Duration::ZERO);
        self.store.settle_notice(&first, retry).await.map(drop)
    }

    async fn everything(&self) -> Everything {
        let mut seen = Vec::new();
        for id in [&self.id, &id(&self.healthy())] {
            let mut buckets = Vec::new();
            for resolution in [Resolution::Minute, Resolution::Hour, Resolution::Day] {
                let all = self.store.buckets(id, resolution, i64::MIN..i64::MAX);
                buckets.push(all.await.unwrap());
            }
            let history = self.store.history(id, 100).await.unwrap();
            let incidents = self.store.incidents(id, 100).await.unwrap();
            seen.push((history, incidents, buckets));
        }
        let loaded = self.store.load().await.unwrap();
        (loaded, seen, self.store.outbox().await.unwrap())
    }
}

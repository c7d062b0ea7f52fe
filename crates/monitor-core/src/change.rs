//! Changes of monitors. In memory first - which fences what is in flight - then in the store.

use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;
use std::time::Duration;

use monitor_breaker::Breaker;
use monitor_model::{EventKind, Lifecycle, Monitor, MonitorId, Status, StoreError};
use monitor_operation::{Cause, Epoch};

use crate::delivery;
use crate::entry::{Defined, Definition, Entry};
use crate::error::CoreError;
use crate::run;
use crate::shared::Shared;
#[cfg(feature = "pool")]
use crate::shared::own_pool_name;

pub(crate) async fn define(
    shared: &Arc<Shared>,
    definition: Definition,
) -> Result<Defined, CoreError> {
    let id = definition.monitor.id.clone();
    let _turn = shared.turn(&id).await;
    ensure_open(shared)?;
    if let Err(source) = definition.settings.spec().build() {
        return Err(CoreError::Settings {
            monitor: id,
            source,
        });
    }
    let breaker = definition
        .settings
        .breaker
        .clone()
        .map(|config| Arc::new(Breaker::new(config)));

    let former = shared.entry(&id);
    let stored = shared.loaded().get(&id).cloned();
    let is_same = |monitor: &Monitor| *monitor == definition.monitor;
    if former
        .as_ref()
        .is_some_and(|entry| is_same(&entry.definition.monitor))
    {
        return Ok(Defined::Unchanged);
    }
    if let Some(stored) = stored.as_ref().filter(|stored| is_same(&stored.monitor)) {
        shared.loaded().remove(&id);
        // Above the row's if a change failed before there was an entry to note it.
        let epoch = shared.operations.epoch(&id).unwrap_or_default();
        let is_behind = epoch > stored.status.epoch;
        let status = Status {
            epoch,
            ..stored.status.clone()
        };
        let entry = Arc::new(Entry::new(definition, breaker, status, is_behind));
        let accounted = delivery::record_absence(shared, &entry, stored);
        install(shared, &entry, First::After(accounted))?;
        return Ok(Defined::Unchanged);
    }

    let is_new = former.is_none() && stored.is_none();
    let epoch = fence(shared, &id, Cause::Edited);
    let monitor = definition.monitor.clone();
    let status = match write_definition(shared, former.as_deref(), monitor, epoch).await {
        Ok(status) => status,
        Err(error) => {
            match former {
                Some(former) => install(shared, &former, First::Slot)?,
                None if is_new => forget(shared, &id),
                None => {}
            }
            return Err(error.into());
        }
    };
    shared.loaded().remove(&id);
    former.iter().for_each(|former| former.leave_pool());
    let entry = Arc::new(Entry::new(definition, breaker, status, false));
    // Told before it can be checked: its first result comes after.
    shared
        .hub
        .publish(EventKind::Defined { monitor: id, epoch });
    install(shared, &entry, First::Now)?;
    Ok(if is_new {
        Defined::Added
    } else {
        Defined::Edited
    })
}

/// Writes a definition over the former one. If that fails the former one stands under the new
/// epoch, and its row catches up later.
async fn write_definition(
    shared: &Shared,
    former: Option<&Entry>,
    monitor: Monitor,
    epoch: Epoch,
) -> Result<Status, StoreError> {
    let Some(former) = former else {
        return shared.store.define(monitor, epoch).await;
    };
    let mut row = former.row.lock().await;
    let written = match delivery::catch_up(shared, former, &mut row).await {
        Ok(()) => shared.store.define(monitor, epoch).await,
        Err(error) => Err(error),
    };
    if written.is_err() {
        former.fell_behind(&mut row, epoch, former.status().lifecycle);
    }
    written
}

pub(crate) async fn delete(shared: &Arc<Shared>, id: &MonitorId) -> Result<bool, CoreError> {
    let _turn = shared.turn(id).await;
    ensure_open(shared)?;
    let entry = shared.entry(id);
    if entry.is_none() && !shared.loaded().contains_key(id) {
        return Ok(false);
    }
    let epoch = fence(shared, id, Cause::Deleted);
    let mut row = match &entry {
        Some(entry) => Some(entry.row.lock().await),
        None => None,
    };
    match shared.store.delete(id, epoch).await {
        Ok(deleted) => {
            shared.entries().remove(id);
            shared.loaded().remove(id);
            entry.iter().for_each(|entry| entry.leave_pool());
            forget(shared, id);
            shared.hub.publish(EventKind::Deleted {
                monitor: id.clone(),
            });
            Ok(deleted)
        }
        Err(error) => {
            if let (Some(entry), Some(row)) = (&entry, &mut row) {
                entry.fell_behind(row, epoch, Lifecycle::Paused);
                install(shared, entry, First::Slot)?;
            }
            Err(error.into())
        }
    }
}

pub(crate) async fn set_lifecycle(
    shared: &Arc<Shared>,
    id: &MonitorId,
    lifecycle: Lifecycle,
) -> Result<Option<Status>, CoreError> {
    let _turn = shared.turn(id).await;
    ensure_open(shared)?;
    let Some(entry) = shared.entry(id) else {
        return Ok(None);
    };
    let before = entry.status();
    if before.lifecycle == lifecycle && !entry.row.lock().await.is_behind {
        return Ok(Some(before));
    }
    // Before the row: what is in flight loses its right now. A paused monitor is resumed after the
    // row, so that its first result finds its own epoch there; what was checked by hand until then
    // is checked once more.
    let (calls_off, due_from) = match lifecycle {
        Lifecycle::Active => {
            let fence = shared.operations.fence(id, Cause::Superseded);
            let now = shared.unix_ms(shared.scheduler.now());
            (fence.is_some_and(|fence| fence.open() > 0), Some(now))
        }
        Lifecycle::Paused => {
            shared.scheduler.pause(id);
            shared.operations.fence(id, Cause::Paused);
            (false, None)
        }
    };
    let epoch = shared.operations.epoch(id).unwrap_or_default();
    let mut row = entry.row.lock().await;
    let written = shared
        .store
        .set_lifecycle(id, lifecycle, epoch, due_from)
        .await;
    let changed = match written {
        Ok(status) => {
            let status = status.unwrap_or_else(|| Status {
                epoch,
                lifecycle,
                ..entry.status()
            });
            entry.wrote(&mut row, status.clone());
            shared.hub.publish(EventKind::Lifecycle {
                monitor: id.clone(),
                lifecycle,
                epoch,
            });
            if lifecycle == Lifecycle::Active {
                shared.scheduler.resume(id);
            }
            Ok(Some(status))
        }
        Err(error) => {
            // A pause holds all the same, in memory alone. Who was to be resumed is what it was.
            let rests = match lifecycle {
                Lifecycle::Active => before.lifecycle,
                Lifecycle::Paused => Lifecycle::Paused,
            };
            entry.fell_behind(&mut row, epoch, rests);
            Err(error.into())
        }
    };
    if calls_off {
        delivery::check_again(shared, &entry);
    }
    changed
}

fn ensure_open(shared: &Shared) -> Result<(), CoreError> {
    if shared.shutting_down.load(Acquire) {
        Err(CoreError::ShuttingDown)
    } else {
        Ok(())
    }
}

/// Ends the present epoch of a monitor: disarms it, calls off what is in flight, and returns the
/// epoch that its row gets next.
fn fence(shared: &Shared, id: &MonitorId, cause: Cause) -> Epoch {
    // Known already, but for a monitor that is new; and no stored epoch is too large, for `load`
    // has registered them all.
    let _ = shared.operations.register(id.clone(), Epoch::default());
    shared.operations.fence(id, cause);
    shared.scheduler.cancel(id);
    shared.operations.epoch(id).unwrap_or_default()
}

/// Keeps nothing of a monitor that is in no store. If there is one of its name again, it begins in
/// a later epoch all the same.
fn forget(shared: &Shared, id: &MonitorId) {
    shared.operations.forget(id);
}

/// When a monitor that is scheduled anew is first checked.
enum First {
    /// At once, for somebody waits to see it.
    Now,
    /// At its next slot.
    Slot,
    /// At its next slot after this due time, in unix milliseconds, which is accounted for.
    After(Option<i64>),
}

/// Makes an entry the monitor's, and schedules it; one that is paused waits to be resumed.
fn install(shared: &Arc<Shared>, entry: &Arc<Entry>, first: First) -> Result<(), CoreError> {
    let id = entry.definition.monitor.id.clone();
    let spec = entry.definition.settings.spec();
    let spec = match first {
        First::Now => spec.immediate(true),
        First::Slot | First::After(None) => spec,
        First::After(Some(ms)) => spec.after(Duration::from_millis(u64::try_from(ms).unwrap_or(0))),
    };
    let settings = |source| CoreError::Settings {
        monitor: id.clone(),
        source,
    };
    let spec = spec.build().map_err(settings)?;
    #[cfg(feature = "pool")]
    if let Some(own) = &entry.definition.pool {
        own.changes.attach(&own_pool_name(&id), &shared.hub);
    }
    let handler = run::handler(Arc::downgrade(shared), Arc::downgrade(entry));
    shared.entries().insert(id.clone(), Arc::clone(entry));
    let scheduled = match entry.status().lifecycle {
        Lifecycle::Active => shared.scheduler.schedule(id.clone(), spec, handler),
        Lifecycle::Paused => shared.scheduler.schedule_paused(id.clone(), spec, handler),
    };
    match scheduled {
        Ok(_) => Ok(()),
        Err(source) => Err(CoreError::Schedule {
            monitor: id,
            source,
        }),
    }
}

#[cfg(test)]
mod unit {
    use async_trait::async_trait;
    use monitor_model::{MemoryStore, Observation, Probe, ProbeContext, Source, Store as _};

    use super::*;
    use crate::{Core, Settings};

    struct Up;

    #[async_trait]
    impl Probe for Up {
        fn kind(&self) -> &'static str {
            "up"
        }

        fn target(&self) -> String {
            "nothing".into()
        }

        async fn check(&self, _: &ProbeContext) -> Observation {
            Observation::up()
        }
    }

    fn id(number: usize) -> MonitorId {
        format!("m{number}").parse().unwrap()
    }

    fn definition(number: usize) -> Definition {
        Definition {
            monitor: Monitor {
                id: id(number),
                name: String::new(),
                source: Source::Api,
                spec: String::new(),
            },
            probe: Arc::new(Up),
            pool: None,
            settings: Settings::default(),
        }
    }

    /// OPS-29, OPS-48, S2: monitors that come once and go, each of another name, leave no name
    /// behind in memory, nor do those that the store did not take; after a restart the deleted ones
    /// are a number as well; and one that comes back is above where it was.
    #[tokio::test(start_paused = true)]
    async fn names_that_are_gone_take_no_memory() -> Result<(), Box<dyn std::error::Error>> {
        let store = Arc::new(MemoryStore::new());
        let core = Core::builder(Arc::clone(&store) as _).start().await?;
        core.define(definition(0)).await?;
        for number in 1..=5000 {
            core.define(definition(number)).await?;
            if number % 2 == 0 {
                core.pause(&id(number)).await?;
            } else {
                let _ = core.trigger(&id(number));
                tokio::task::yield_now().await;
            }
            assert!(core.delete(&id(number)).await?);
        }
        let kept = core.shared.operations.kept();
        assert!(kept <= 16 * 64, "{kept} names are kept of one monitor");
        drop(core);

        let graves = store.load().await?.graves;
        let grave = graves.iter().find(|(id, _)| id.as_str() == "m7");
        let (_, buried) = grave.ok_or("not buried")?;
        let core = Core::builder(Arc::clone(&store) as _).start().await?;
        assert_eq!(core.shared.operations.kept(), 1);
        core.define(definition(0)).await?;
        core.define(definition(7)).await?;
        let view = core.view(&id(7)).ok_or("defined just now")?;
        assert!(view.status.epoch > *buried);
        Ok(())
    }

    /// OPS-31, OPS-48: what was deleted, and had come further than others, moves none of those that
    /// stay: after a restart they are in the epochs of their rows, and these need no other write.
    #[tokio::test(start_paused = true)]
    async fn who_stays_keeps_the_epoch_of_its_row() -> Result<(), Box<dyn std::error::Error>> {
        let store = Arc::new(MemoryStore::new());
        let core = Core::builder(Arc::clone(&store) as _).start().await?;
        core.define(definition(0)).await?;
        core.define(definition(1)).await?;
        for _ in 0..9 {
            core.pause(&id(1)).await?;
            core.resume(&id(1)).await?;
        }
        assert!(core.delete(&id(1)).await?);
        drop(core);

        let row = store.load().await?.monitors[0].status.epoch;
        let core = Core::builder(Arc::clone(&store) as _).start().await?;
        assert_eq!(core.define(definition(0)).await?, Defined::Unchanged);
        let view = core.view(&id(0)).ok_or("it stays")?;
        assert_eq!(view.status.epoch, row);
        core.define(definition(1)).await?;
        let again = core.view(&id(1)).ok_or("defined just now")?;
        assert!(again.status.epoch > row, "above where it was");
        Ok(())
    }
}

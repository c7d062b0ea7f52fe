//! Random commands for a store, and what it answers.

use std::ops::Range;
use std::time::Duration;

use monitor_fault::{Fault, Layer, Reason};
use monitor_model::{
    Delivery, Finding, Lifecycle, MemoryStore, Monitor, MonitorId, Observation, Phase, Phases,
    Record, Resolution, Settlement, Source, Store, Trigger, Unobserved,
};
use monitor_operation::{Epoch, OperationId};
use proptest::prelude::*;
use proptest::sample::select;

#[derive(Debug, Clone)]
pub(crate) enum Command {
    Define(Monitor, Step),
    SetLifecycle(MonitorId, Lifecycle, Step, Option<i64>),
    Delete(MonitorId, Step),
    Commit(Box<Record>, Step),
    History(MonitorId, u32),
    Tally(MonitorId, i64),
    Incidents(MonitorId, u32),
    Buckets(MonitorId, Resolution, Range<i64>),
    Take(u32, Duration),
    /// Of the deliveries taken so far, counted from the last.
    Settle(usize, Settlement),
    Outbox,
    Doctor,
    Load,
    Reopen,
}

fn id() -> impl Strategy<Value = MonitorId> {
    select(vec!["a", "b", "c.d-e_f"]).prop_map(|id| id.parse().unwrap())
}

/// An epoch relative to the one that stands when the command is run: mostly the one that is right
/// for the command, sometimes its neighbours.
pub(crate) type Step = u64;

fn step(right: Step) -> impl Strategy<Value = Step> {
    prop_oneof![8 => Just(right), 2 => 0u64..4]
}

/// One before the standing epoch for step 0, the standing one for 1, and so on.
const STANDING: Step = 1;
const NEXT: Step = 2;

fn epoch(standing: Epoch, step: Step) -> Epoch {
    Epoch::new((standing.get() + step).saturating_sub(STANDING))
}

/// Any text, with quotes, nulls, and characters of more than one unit.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,12}",
        Just("'; DROP TABLE history; --".to_owned()),
        Just("a\0b".to_owned()),
    ]
}

/// Whole microseconds, as far as a row can hold them.
fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![0u64..5_000_000, Just(i64::MAX.unsigned_abs())].prop_map(Duration::from_micros)
}

fn fault() -> impl Strategy<Value = Fault> {
    let names = (select(Layer::ALL), select(Reason::ALL));
    (names, text(), proptest::option::of(duration())).prop_map(|((layer, reason), detail, wait)| {
        Fault::new(layer, reason)
            .with_detail(detail)
            .with_retry_after(wait)
    })
}

fn finding() -> impl Strategy<Value = Finding> {
    prop_oneof![
        3 => Just(Finding::Up),
        1 => fault().prop_map(Finding::Degraded),
        2 => fault().prop_map(Finding::Down),
        1 => fault().prop_map(Finding::Unknown),
    ]
}

fn phases() -> impl Strategy<Value = Phases> {
    proptest::collection::vec((select(&Phase::ALL[..]), duration()), 0..5).prop_map(|all| {
        let mut phases = Phases::default();
        all.into_iter()
            .for_each(|(phase, took)| phases.set(phase, took));
        phases
    })
}

/// Seldom the same due time twice, sometimes out of order, before 1970 too.
fn due() -> impl Strategy<Value = i64> {
    prop_oneof![9 => -20i64..40, 1 => Just(1_800_000_000_000)].prop_map(|n| n * 600_000)
}

fn record() -> impl Strategy<Value = Record> {
    // The epoch is set when the command is run.
    let none = Epoch::default();
    let observed = (
        id(),
        due(),
        finding(),
        proptest::option::of(text()),
        phases(),
    );
    let observed = observed.prop_map(move |(id, due, finding, note, phases)| {
        Record::observed(id, none, due, Observation { finding, note }, phases)
    });
    let reason = select(&Unobserved::ALL[..]);
    let unobserved = (id(), due(), any::<u32>(), reason)
        .prop_map(move |(id, due, slots, reason)| Record::unobserved(id, none, due, slots, reason));
    let details = (
        0i64..100_000,
        any::<i32>(),
        proptest::option::of(duration()),
        select(vec![Trigger::Timer, Trigger::Manual]),
        any::<u128>(),
    );
    (prop_oneof![3 => observed, 1 => unobserved], details).prop_map(
        |(mut record, (interval, started, took, trigger, operation))| {
            record.interval_ms = interval;
            record.started_unix_ms = record.due_unix_ms + i64::from(started);
            record.took = took;
            record.trigger = trigger;
            record.operation = OperationId::new(operation);
            record
        },
    )
}

pub(crate) fn command() -> impl Strategy<Value = Command> {
    let source = select(vec![Source::File, Source::Api]);
    let monitor = (id(), text(), source, text());
    let monitor = monitor.prop_map(|(id, name, source, spec)| Monitor {
        id,
        name,
        source,
        spec,
    });
    let lifecycle = select(vec![
        Lifecycle::Active,
        Lifecycle::Active,
        Lifecycle::Paused,
    ]);
    prop_oneof![
        3 => (monitor, step(NEXT)).prop_map(|(monitor, step)| Command::Define(monitor, step)),
        2 => (id(), lifecycle, step(NEXT), any::<Option<i64>>())
            .prop_map(|(id, l, s, from)| Command::SetLifecycle(id, l, s, from)),
        1 => (id(), step(NEXT)).prop_map(|(id, step)| Command::Delete(id, step)),
        20 => (record(), step(STANDING)).prop_map(|(r, step)| Command::Commit(Box::new(r), step)),
        2 => (id(), 0u32..30).prop_map(|(id, limit)| Command::History(id, limit)),
        2 => (id(), due()).prop_map(|(id, since)| Command::Tally(id, since)),
        2 => (id(), 0u32..5).prop_map(|(id, limit)| Command::Incidents(id, limit)),
        3 => (id(), select(&Resolution::ALL[..]), due(), due())
            .prop_map(|(id, resolution, from, to)| Command::Buckets(id, resolution, from..to)),
        2 => (0u32..4, wait()).prop_map(|(limit, lease)| Command::Take(limit, lease)),
        3 => (0usize..6, settlement()).prop_map(|(index, s)| Command::Settle(index, s)),
        1 => Just(Command::Outbox),
        1 => Just(Command::Doctor),
        1 => Just(Command::Load),
        1 => Just(Command::Reopen),
    ]
}

/// Over at once, or not before the test is.
fn wait() -> impl Strategy<Value = Duration> {
    select(vec![Duration::ZERO, Duration::from_secs(3600)])
}

fn settlement() -> impl Strategy<Value = Settlement> {
    prop_oneof![
        2 => Just(Settlement::Delivered),
        1 => wait().prop_map(Settlement::Retry),
        1 => Just(Settlement::GivenUp),
    ]
}

/// The last epoch that `id` had, alive or dead.
async fn standing(store: &dyn Store, id: &MonitorId) -> Epoch {
    let loaded = store.load().await.unwrap();
    let living = loaded.monitors.iter().find(|m| m.monitor.id == *id);
    let dead = || loaded.graves.iter().find(|(dead, _)| dead == id);
    living.map_or_else(
        || dead().map_or(Epoch::default(), |(_, epoch)| *epoch),
        |stored| stored.status.epoch,
    )
}

/// Every answer of the store that `open` opens is that of the plain one in memory.
pub(crate) async fn as_the_plain_store<S: Store>(
    commands: Vec<Command>,
    open: impl AsyncFn() -> S,
) -> Result<(), TestCaseError> {
    let mut this = Player::new(open().await);
    let mut plain = Player::new(MemoryStore::new());
    for command in commands.iter().chain([&Command::Doctor, &Command::Load]) {
        if matches!(command, Command::Reopen) {
            this.store.close().await.unwrap();
            this.store = open().await;
        }
        let (this, other) = (this.answer(command).await, plain.answer(command).await);
        prop_assert_eq!(this, other, "after {:?}", command);
    }
    this.store.close().await.unwrap();
    Ok(())
}

/// A store, and what was taken from its outbox.
struct Player<S> {
    store: S,
    taken: Vec<Delivery>,
}

impl<S: Store> Player<S> {
    const fn new(store: S) -> Self {
        let taken = Vec::new();
        Self { store, taken }
    }

    /// What the store answers, as text. Errors are told by their kind alone.
    async fn answer(&mut self, command: &Command) -> String {
        fn show<T: std::fmt::Debug>(result: Result<T, monitor_model::StoreError>) -> String {
            format!("{:?}", result.map_err(|error| error.kind))
        }
        let store = &self.store;
        match command.clone() {
            Command::Define(monitor, step) => {
                let epoch = epoch(standing(store, &monitor.id).await, step);
                show(store.define(monitor, epoch).await)
            }
            Command::SetLifecycle(id, lifecycle, step, from) => {
                let epoch = epoch(standing(store, &id).await, step);
                show(store.set_lifecycle(&id, lifecycle, epoch, from).await)
            }
            Command::Delete(id, step) => {
                let epoch = epoch(standing(store, &id).await, step);
                show(store.delete(&id, epoch).await)
            }
            Command::Commit(mut record, step) => {
                record.epoch = epoch(standing(store, &record.monitor).await, step);
                show(store.commit(*record).await)
            }
            Command::History(id, limit) => show(store.history(&id, limit).await),
            Command::Tally(id, since) => show(store.tally(&id, since).await),
            Command::Incidents(id, limit) => show(store.incidents(&id, limit).await),
            Command::Buckets(id, resolution, range) => {
                show(store.buckets(&id, resolution, range).await)
            }
            Command::Take(limit, lease) => {
                let taken = store.take_notices(limit, lease).await;
                self.taken.extend(taken.iter().flatten().cloned());
                show(taken)
            }
            Command::Settle(index, settlement) => {
                let Some(delivery) = self.taken.iter().rev().nth(index) else {
                    return String::new();
                };
                show(store.settle_notice(delivery, settlement).await)
            }
            Command::Outbox => show(store.outbox().await),
            Command::Doctor => show(store.doctor().await),
            Command::Load => show(store.load().await),
            Command::Reopen => String::new(),
        }
    }
}

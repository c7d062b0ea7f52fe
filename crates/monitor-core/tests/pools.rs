//! Named pools: found by probes, told of, closed in their turn.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use common::{core_on, definition, next};
use monitor_core::model::{
    Event, EventKind, MemoryStore, Observation, Outcome, PoolChange, Probe, ProbeContext,
};
use monitor_core::pool::{Manager, OnConnectError, Pool};
use monitor_core::{Changes, Core, Definition, OpenPoolError, OwnPool, Sink};
use tokio::sync::Notify;

/// Numbers for connections, when it is up.
#[derive(Clone, Default)]
struct Numbers(Arc<State>);

#[derive(Default)]
struct State {
    is_down: AtomicBool,
    made: AtomicUsize,
}

impl Manager for Numbers {
    type Connection = usize;
    type Error = io::Error;

    async fn connect(&self) -> io::Result<usize> {
        if self.0.is_down.load(SeqCst) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok(self.0.made.fetch_add(1, SeqCst))
    }
}

/// Takes a connection of the pool `numbers`, and keeps it until told to let go.
#[derive(Default)]
struct Borrower {
    holds: Notify,
    lets_go: Notify,
}

#[async_trait]
impl Probe for Borrower {
    fn kind(&self) -> &'static str {
        "borrower"
    }

    fn target(&self) -> String {
        "numbers".into()
    }

    async fn check(&self, context: &ProbeContext) -> Observation {
        let pool = match context.resources.get::<Pool<Numbers>>("numbers") {
            Ok(pool) => pool,
            Err(error) => return Observation::fault(error.into()),
        };
        let connection = pool.acquire_timeout(context.timeout).await.unwrap();
        self.holds.notify_one();
        self.lets_go.notified().await;
        Observation::up().with_note(format!("number {}", *connection))
    }
}

fn borrower(name: &str, probe: &Arc<Borrower>) -> Definition {
    Definition {
        probe: Arc::clone(probe) as _,
        ..definition(name, &common::Puppet::new(common::Act::Up))
    }
}

async fn core() -> Core {
    core_on(Arc::new(MemoryStore::new())).await
}

/// A probe finds a pool by name and type in its context, also one that was opened after it was
/// defined; where there is none it says so, and blames nobody else.
#[tokio::test(start_paused = true)]
async fn a_probe_finds_a_pool_by_name() {
    let core = core().await;
    let mut events = core.subscribe();
    let probe = Arc::new(Borrower::default());
    core.define(borrower("a", &probe)).await.unwrap();
    let record = next(&mut events, committed).await;
    assert_eq!(record.outcome(), Outcome::Unknown);
    let detail = record.fault().unwrap().detail().unwrap().to_owned();
    assert_eq!(detail, r#"there is no resource "numbers"; there are: none"#);

    core.pools()
        .open("numbers", Pool::builder(Numbers::default()))
        .unwrap();
    probe.holds.notified().await;
    let view = core.pools().views().remove(0);
    assert_eq!((view.name.as_str(), view.status.leased), ("numbers", 1));
    assert!(view.holders[0].site.file().ends_with("pools.rs"));
    assert!(view.usage() > 0.0 && view.usage() < 1.0);
    probe.lets_go.notify_one();
    let record = next(&mut events, committed).await;
    assert_eq!(record.outcome(), Outcome::Up);
}

/// A name is one pool's, and free again when that is removed.
#[tokio::test]
async fn a_name_is_for_one_pool() {
    let core = core().await;
    let open = || {
        core.pools()
            .open("numbers", Pool::builder(Numbers::default()))
    };
    let first = open().unwrap();
    assert!(matches!(open(), Err(OpenPoolError::NameTaken(_))));
    let empty = Pool::builder(Numbers::default()).max_size(0);
    let refused = core.pools().open("empty", empty).unwrap_err();
    assert!(refused.to_string().contains("max_size is 0"), "{refused}");
    let found = core.pools().get::<Numbers>("numbers").unwrap();
    assert_eq!(found.name(), first.name());
    assert!(core.pools().remove("numbers") && !core.pools().remove("numbers"));
    assert!(!first.is_closed(), "who holds it goes on");
    open().unwrap();
}

/// STB-51: pools are closed with the core: after the checks, within the deadline, with a report of
/// who holds what; and each end is told.
#[tokio::test(start_paused = true)]
async fn pools_close_with_the_core() {
    let core = core().await;
    let pool = core
        .pools()
        .open("numbers", Pool::builder(Numbers::default()))
        .unwrap();
    core.pools()
        .open("idle", Pool::builder(Numbers::default()))
        .unwrap();
    let probe = Arc::new(Borrower::default());
    core.define(borrower("a", &probe)).await.unwrap();
    probe.holds.notified().await;
    let mut events = core.subscribe();
    let outsider = pool.acquire().await.unwrap();
    let shutdown = core.shutdown(Duration::from_secs(4)).await;
    assert_eq!((shutdown.cancelled, shutdown.uncommitted), (1, 0));
    let [(first, clean), (second, held)] = &shutdown.pools[..] else {
        panic!("{shutdown:?}");
    };
    assert_eq!((first.as_str(), second.as_str()), ("idle", "numbers"));
    assert!(clean.is_clean());
    assert_eq!(held.held.len(), 1, "the check gave its own back: {held:?}");
    drop(outsider);
    assert!(pool.is_closed() && core.pools().views().is_empty());
    let mut told = Vec::new();
    for _ in 0..2 {
        let end = next(&mut events, |kind| match kind {
            EventKind::Pool {
                pool,
                change: PoolChange::Closed { left },
            } => Some((pool.clone(), *left)),
            _ => None,
        });
        told.push(end.await);
    }
    assert_eq!(told, [("idle".to_owned(), 0), ("numbers".to_owned(), 1)]);
}

fn committed(kind: &EventKind) -> Option<monitor_core::model::Record> {
    match kind {
        EventKind::Committed { record, .. } => Some((**record).clone()),
        _ => None,
    }
}

fn pool_change(kind: &EventKind) -> Option<PoolChange> {
    match kind {
        EventKind::Pool { change, .. } => Some(change.clone()),
        _ => None,
    }
}

/// STB-58: a pool that cannot connect is told of once, and once more when it can; a sink counts
/// every attempt.
#[tokio::test(start_paused = true)]
async fn an_outage_of_a_pool_is_told_once() {
    #[derive(Default)]
    struct Counts(AtomicUsize);
    impl Sink for Counts {
        fn event(&self, _: &Event) {}
        fn pool(&self, pool: &str, event: &monitor_core::pool::Event<'_>) {
            assert_eq!(pool, "numbers");
            if matches!(event, monitor_core::pool::Event::ConnectFailed { .. }) {
                self.0.fetch_add(1, SeqCst);
            }
        }
    }
    let counts = Arc::new(Counts::default());
    let core = Core::builder(Arc::new(MemoryStore::new()))
        .sink(Arc::clone(&counts) as _)
        .start()
        .await
        .unwrap();
    let mut events = core.subscribe();
    let numbers = Numbers::default();
    numbers.0.is_down.store(true, SeqCst);
    let pool = core
        .pools()
        .open("numbers", Pool::builder(numbers.clone()))
        .unwrap();
    let waits = tokio::spawn({
        let pool = pool.clone();
        async move { pool.acquire().await.map(|number| *number) }
    });
    let change = next(&mut events, pool_change).await;
    assert!(matches!(change, PoolChange::Unreachable { error } if error.contains("refused")));
    tokio::time::sleep(Duration::from_secs(5)).await;
    numbers.0.is_down.store(false, SeqCst);
    assert_eq!(waits.await.unwrap().unwrap(), 0);
    assert_eq!(next(&mut events, pool_change).await, PoolChange::Reachable);
    assert!(counts.0.load(SeqCst) > 1, "every attempt is counted");
}

/// A pool that a monitor keeps for itself is told of under its id, closed with the core, and gone
/// with the monitor.
#[tokio::test(start_paused = true)]
async fn a_monitor_may_bring_its_own_pool() {
    let core = core().await;
    let mut events = core.subscribe();
    let numbers = Numbers::default();
    numbers.0.is_down.store(true, SeqCst);
    let changes = Changes::default();
    let builder = Pool::builder(numbers)
        .on_connect_error(OnConnectError::FailAll)
        .listener(changes.clone());
    let pool = builder.build().unwrap();
    for name in ["a", "b"] {
        let own = OwnPool::new(&pool, changes.clone());
        let puppet = common::Puppet::new(common::Act::Up);
        core.define(Definition {
            pool: (name == "a").then_some(own),
            ..definition(name, &puppet)
        })
        .await
        .unwrap();
    }
    let names = || -> Vec<String> {
        let views = core.pool_views().into_iter();
        views.map(|view| view.name).collect()
    };
    assert_eq!(names(), ["monitor:a"]);
    assert!(core.pools().views().is_empty(), "it is not for others");
    pool.acquire().await.unwrap_err();
    let told = next(&mut events, |kind| match kind {
        EventKind::Pool { pool, .. } => Some(pool.clone()),
        _ => None,
    });
    assert_eq!(told.await, "monitor:a");
    let puppet = common::Puppet::new(common::Act::Up);
    let mut edited = definition("a", &puppet);
    edited.monitor.spec.push(' ');
    core.define(edited).await.unwrap();
    assert!(names().is_empty(), "an edited monitor has left it behind");
    let own = OwnPool::new(&pool, changes);
    core.define(Definition {
        pool: Some(own),
        ..definition("a", &puppet)
    })
    .await
    .unwrap();
    let report = core.shutdown(Duration::from_secs(1)).await;
    assert_eq!(report.pools.len(), 1);
    assert!(pool.is_closed());
}

/// STB-59: a connection that stays out for long is told of, with the place that asked for it.
#[tokio::test(start_paused = true)]
async fn a_leak_is_told_with_its_place() {
    let core = core().await;
    let mut events = core.subscribe();
    let builder = Pool::builder(Numbers::default()).leak_after(Some(Duration::from_secs(30)));
    let pool = core.pools().open("numbers", builder).unwrap();
    let held = pool.acquire().await.unwrap();
    let change = next(&mut events, pool_change).await;
    assert!(matches!(&change, PoolChange::Leaked { holder } if holder.contains("pools.rs")));
    drop(held);
}

/// STB-39: eleven that wait are told of once, however their number swings; and once more when five
/// are left.
#[tokio::test(start_paused = true)]
async fn a_long_queue_is_told_once_until_it_is_short() {
    let core = core().await;
    let mut events = core.subscribe();
    let builder = Pool::builder(Numbers::default()).max_size(1);
    let pool = core.pools().open("numbers", builder).unwrap();
    let held = pool.acquire().await.unwrap();
    let wait = |count: usize| -> Vec<_> {
        let waits = (0..count).map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.acquire().await.map(drop) })
        });
        waits.collect()
    };
    let look = || tokio::time::sleep(Duration::from_secs(3));
    let mut waiting = wait(10);
    look().await;
    assert!(events.is_empty(), "ten are not many");
    for round in [1, 5] {
        waiting.extend(wait(round));
        look().await;
        let leave = waiting.split_off(8);
        leave.iter().for_each(tokio::task::JoinHandle::abort);
        look().await;
    }
    let change = next(&mut events, pool_change).await;
    assert_eq!(change, PoolChange::QueueLong { waiting: 11 });
    assert!(events.is_empty(), "told once");
    waiting[5..].iter().for_each(tokio::task::JoinHandle::abort);
    look().await;
    let change = next(&mut events, pool_change).await;
    assert_eq!(change, PoolChange::QueueShort { waiting: 5 });
    drop(held);
    for waits in waiting.drain(..5) {
        waits.await.unwrap().unwrap();
    }
}

/// What the pool of an edited or deleted monitor still does is told to nobody: its name is another
/// pool's by now, or nobody's.
#[tokio::test(start_paused = true)]
async fn a_pool_that_was_left_behind_is_silent() {
    #[derive(Default)]
    struct Heard(AtomicUsize);
    impl Sink for Heard {
        fn event(&self, _: &Event) {}
        fn pool(&self, _: &str, _: &monitor_core::pool::Event<'_>) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    let heard = Arc::new(Heard::default());
    let builder = Core::builder(Arc::new(MemoryStore::new())).sink(Arc::clone(&heard) as _);
    let core = builder.start().await.unwrap();
    let puppet = common::Puppet::new(common::Act::Up);
    let own = || {
        let changes = Changes::default();
        let builder = Pool::builder(Numbers::default()).listener(changes.clone());
        let pool = builder.build().unwrap();
        let own = OwnPool::new(&pool, changes);
        (pool, Some(own))
    };
    let (first, own_first) = own();
    let (second, own_second) = own();
    let mut monitor = definition("a", &puppet);
    monitor.pool = own_first;
    core.define(monitor.clone()).await.unwrap();
    drop(first.acquire().await.unwrap());
    let before = heard.0.load(SeqCst);
    assert!(before > 0);
    monitor.monitor.spec.push(' ');
    monitor.pool = own_second;
    core.define(monitor.clone()).await.unwrap();
    drop(first.acquire().await.unwrap());
    assert_eq!(heard.0.load(SeqCst), before, "the first one is left behind");
    drop(second.acquire().await.unwrap());
    let before = heard.0.load(SeqCst);
    core.delete(&monitor.monitor.id).await.unwrap();
    drop(second.acquire().await.unwrap());
    assert_eq!(heard.0.load(SeqCst), before, "and now the second");
}

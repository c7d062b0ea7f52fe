//! Defects of other pools: who holds what, deadlocks, outages, closing and resizing.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use monitor_pool::{AcquireError, ConnectError, Event, Nested, OnConnectError, Phase};
use tokio::time::{Instant, sleep};

use fake::{Act, Fake, caller, settle};

#[path = "support/fake.rs"]
mod fake;

const SECOND: Duration = Duration::from_secs(1);

/// STB-35 and brettwooldridge/HikariCP#2019, #1020, #808: "who holds my connections?" was answered only
/// by the leak detection, if that was on.
#[tokio::test(start_paused = true)]
async fn who_holds_what_can_be_asked_at_any_time() {
    let pool = Fake::default().pool(2);
    let first = pool.acquire().await.unwrap();
    let line = line!() - 1;
    sleep(SECOND * 3).await;
    let other = caller(&pool, SECOND * 10);
    settle().await;
    let holders = pool.holders();
    assert_eq!(holders.len(), 2);
    assert_eq!(holders[0].connection, first.id());
    assert_eq!(holders[0].site.file(), file!());
    assert_eq!(holders[0].site.line(), line);
    assert!(holders[0].held_for >= SECOND * 3);
    assert_eq!(holders[1].task, Some(other.id()));
    drop(first);
    assert_eq!(pool.holders().len(), 1);
    other.await.unwrap().unwrap();
}

/// STB-60 and brettwooldridge/HikariCP#442, vapor/async-kit#63, aio-libs/aiopg#113, #127,
/// MagicStack/asyncpg#5: a task that asks for a second connection while it holds the only one waited
/// without a word.
#[tokio::test(start_paused = true)]
async fn a_nested_acquire_that_cannot_succeed_is_told_as_such() {
    for nested in [Nested::AtDeadline, Nested::AtOnce] {
        let pool = Fake::default()
            .builder(1)
            .nested(nested)
            .acquire_timeout(SECOND * 5)
            .build()
            .unwrap();
        let task = tokio::spawn(async move {
            let started = Instant::now();
            let _held = pool.acquire().await.unwrap();
            let error = pool.acquire().await.unwrap_err();
            (error, started.elapsed())
        });
        let (error, took) = task.await.unwrap();
        let AcquireError::Deadlock { holders, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(holders.len(), 1);
        assert_eq!(took < SECOND, nested == Nested::AtOnce, "{took:?}");
    }
}

/// STB-59 and rlaope/Argus#225: leak detection costs so much that it is turned off. Here it is on, takes
/// no stack, and tells once for each connection that is out for too long.
#[tokio::test(start_paused = true)]
async fn a_connection_that_is_out_for_too_long_is_told_once() {
    let leaks = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&leaks);
    let pool = Fake::default()
        .builder(2)
        .leak_after(Some(SECOND * 30))
        .listener(move |event: &Event<'_>| {
            if let Event::Leaked { holder } = event {
                told.lock().unwrap().push((*holder).clone());
            }
        })
        .build()
        .unwrap();
    let leaked = pool.acquire().await.unwrap();
    for _ in 0..120 {
        drop(pool.acquire().await.unwrap());
        sleep(SECOND).await;
    }
    let leaks = leaks.lock().unwrap();
    assert_eq!(leaks.len(), 1);
    assert_eq!(leaks[0].connection, leaked.id());
    assert_eq!(leaks[0].site.file(), file!());
}

/// brettwooldridge/HikariCP#2254: to fail at once when the database is known to be down.
#[tokio::test(start_paused = true)]
async fn callers_can_fail_at_once_while_it_is_down() {
    let fake = Fake::default();
    fake.connect_does(Act::Fail);
    let pool = fake
        .builder(2)
        .on_connect_error(OnConnectError::FailAll)
        .build()
        .unwrap();
    for _ in 0..100 {
        let error = pool.acquire_timeout(SECOND * 60).await.unwrap_err();
        let told = matches!(error, AcquireError::Connect(ConnectError::Manager(_)));
        assert!(told, "{error}");
    }
    fake.connect_does(Act::Work);
    sleep(SECOND * 20).await;
    pool.acquire().await.unwrap();
}

/// STB-58 and deadpool-rs/deadpool#201: when the server was gone the pool turned in a circle, at 100 % of
/// a processor; each of a thousand callers connected for itself.
#[tokio::test(start_paused = true)]
async fn attempts_during_an_outage_are_few_whoever_asks() {
    let fake = Fake::default();
    fake.connect_does(Act::Fail);
    let pool = fake
        .builder(10)
        .acquire_timeout(SECOND * 60)
        .build()
        .unwrap();
    let callers: Vec<_> = (0..1000).map(|_| caller(&pool, Duration::ZERO)).collect();
    for caller in callers {
        assert!(caller.await.unwrap().is_err());
    }
    // A minute at 50 ms, 100 ms, ... up to 5 to 10 s.
    let attempts = fake.counts().attempts;
    assert!(
        (5..=40).contains(&attempts),
        "{attempts} attempts in a minute"
    );
}

/// STB-25 and jackc/pgx#1780: a full pool kept opening connections.
#[tokio::test(start_paused = true)]
async fn a_full_pool_opens_nothing() {
    let fake = Fake::default();
    let pool = fake.builder(3).min_idle(2).build().unwrap();
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(pool.acquire().await.unwrap());
    }
    for _ in 0..20 {
        pool.acquire_timeout(SECOND).await.unwrap_err();
    }
    assert_eq!(fake.counts().attempts, 3);
}

/// STB-51 and jackc/pgx#802, transact-rs/sqlx#1773, moov-io/base PR#508: `close` waited for ever for one
/// connection that did not come back.
#[tokio::test(start_paused = true)]
async fn close_ends_at_its_deadline_and_says_who_is_missing() {
    let fake = Fake::default();
    let pool = fake.pool(3);
    let held = pool.acquire().await.unwrap();
    drop(pool.acquire().await.unwrap());
    let started = Instant::now();
    let report = pool.close(SECOND * 2).await;
    assert!(started.elapsed() < SECOND * 3);
    assert_eq!(report.closed, 1);
    assert_eq!(report.held[0].connection, held.id());
    assert_eq!(report.held[0].site.file(), file!());
    assert!(!report.is_clean());
}

/// STB-51 and transact-rs/sqlx#3217, topoteretes/cognee-rs#132: a connection that came back after `close`
/// stayed open.
#[tokio::test(start_paused = true)]
async fn a_connection_that_comes_back_after_the_close_is_closed() {
    let fake = Fake::default();
    let pool = fake.pool(1);
    let held = pool.acquire().await.unwrap();
    let waiting = caller(&pool, Duration::ZERO);
    settle().await;
    let report = pool.close(SECOND).await;
    assert_eq!(report.turned_away, 1);
    assert!(matches!(waiting.await.unwrap(), Err(AcquireError::Closed)));
    assert_eq!(pool.status().phase, Phase::Draining);
    drop(held);
    settle().await;
    assert_eq!(pool.status().phase, Phase::Closed);
    assert_eq!((fake.counts().live, fake.counts().closed), (0, 1));
}

/// transact-rs/sqlx#1396, #1792, blackbeam/mysql_async#88, rwf2/Rocket#2375: dropping a connection spawned a
/// task; without a runtime it panicked, or the connection was lost.
#[test]
fn a_connection_is_dropped_where_there_is_no_runtime() {
    let fake = Fake::default();
    let pool = fake.pool(2);
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    for round in 0..11 {
        let first = runtime();
        let good = first.block_on(pool.acquire()).unwrap();
        let mut broken = first.block_on(pool.acquire()).unwrap();
        broken.is_broken = true;
        drop(first);
        drop((good, broken));
        assert_eq!(pool.status().leased, 0, "round {round}");
    }
    assert_eq!(fake.counts().live, pool.status().idle);
    assert_eq!(fake.counts().most, 2);
    runtime().block_on(async { drop(pool.acquire().await.unwrap()) });
}

/// brettwooldridge/HikariCP#1342, #1654, mperham/connection_pool#20, and importcjj/mobc, whose
/// `set_max_open_conns` did nothing: the size can be changed while it runs, both ways.
#[tokio::test(start_paused = true)]
async fn the_maximum_can_be_changed_while_it_runs() {
    let fake = Fake::default();
    let pool = fake.pool(1);
    let first = pool.acquire().await.unwrap();
    let waiting = caller(&pool, SECOND);
    settle().await;
    pool.resize(3).unwrap();
    settle().await;
    assert_eq!(pool.status().leased, 2);
    waiting.await.unwrap().unwrap();
    drop((pool.acquire().await.unwrap(), pool.acquire().await.unwrap()));
    pool.resize(1).unwrap();
    settle().await;
    // The one that is out is enough.
    assert_eq!((pool.status().size, fake.counts().live), (1, 1));
    drop(first);
    assert_eq!(pool.status().idle, 1);
    let error = pool.resize(0).unwrap_err().to_string();
    assert!(error.contains("max_size"), "{error}");
}

/// STB-40, STB-42 and djc/bb8 PR#198, PR#203: statistics had to be added by users, and a cancelled caller
/// stayed in them.
#[tokio::test(start_paused = true)]
async fn the_statistics_add_up() {
    let waits = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&waits);
    let fake = Fake::default();
    let pool = fake
        .builder(1)
        .listener(move |event: &Event<'_>| {
            let wait = match event {
                Event::Acquired { waited, .. } => ("acquired", *waited),
                Event::NotAcquired { outcome, waited } => (*outcome, *waited),
                _ => return,
            };
            told.lock().unwrap().push(wait);
        })
        .build()
        .unwrap();
    let held = pool.acquire().await.unwrap();
    let waiter = caller(&pool, Duration::ZERO);
    let gives_up = caller(&pool, Duration::ZERO);
    settle().await;
    assert_eq!(pool.status().waiting, 2);
    gives_up.abort();
    let timed_out = tokio::spawn({
        let pool = pool.clone();
        async move { pool.acquire_timeout(SECOND * 2).await.map(drop) }
    });
    timed_out.await.unwrap().unwrap_err();
    assert_eq!(pool.status().waiting, 1);
    assert!(pool.status().oldest_wait >= SECOND * 2);
    drop(held);
    waiter.await.unwrap().unwrap();
    let totals = pool.status().totals;
    assert_eq!((totals.acquired, totals.timed_out), (2, 1));
    assert_eq!(
        totals.acquired_after_wait, 2,
        "the first one waited to connect"
    );
    let waits = waits.lock().unwrap();
    let outcomes: Vec<_> = waits.iter().map(|(outcome, _)| *outcome).collect();
    assert_eq!(outcomes, ["acquired", "timeout", "acquired"]);
    assert!(
        waits[1].1 >= SECOND * 2 && waits[2].1 >= SECOND * 2,
        "{waits:?}"
    );
}

//! Ages and sizes of a pool: what it keeps, replaces and closes. Under a paused clock.
#![allow(clippy::unwrap_used, reason = "helpers outside of #[test] functions")]

mod common;

use std::{
    collections::BTreeSet,
    future::Future,
    sync::{Arc, Mutex},
    task::{Context, Waker},
    time::Duration,
};

use common::{Act, Script, settle};
use monitor_pool::{AcquireError, CloseReason, Event, IdleOrder, Phase, TryAcquireError};
use tokio::time::{Instant, sleep};

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// STB-51, L4: close: who waits is told at once, idle ones go, who holds may finish; after the
/// deadline the report names him; and nobody is served any more.
#[tokio::test(start_paused = true)]
async fn close_waits_for_leases_and_reports_what_is_left() {
    let script = Script::default();
    let pool = script.builder().max_size(3).build().unwrap();
    let [first, second, idle] = [
        pool.acquire().await.unwrap(),
        pool.acquire().await.unwrap(),
        pool.acquire().await.unwrap(),
    ];
    let third = pool.clone();
    drop(idle);
    let held = pool.acquire().await.unwrap();
    let waiter = tokio::spawn(async move { third.acquire().await.map(drop) });
    settle().await;
    drop(held);
    settle().await;
    assert!(waiter.await.unwrap().is_ok());
    let returns = tokio::spawn(async move {
        sleep(secs(1)).await;
        drop(first);
    });
    let started = Instant::now();
    let report = pool.close(secs(5)).await;
    assert_eq!(started.elapsed(), secs(5));
    returns.await.unwrap();
    assert_eq!(
        (report.held.len(), report.closed, report.unfinished),
        (1, 2, 0)
    );
    assert_eq!(report.held[0].connection, second.id());
    assert!(!report.is_clean() && pool.is_closed());
    assert_eq!(pool.status().phase, Phase::Draining);
    assert!(matches!(pool.acquire().await, Err(AcquireError::Closed)));
    assert_eq!(pool.try_acquire().unwrap_err(), TryAcquireError::Closed);
    drop(second);
    let report = pool.close(secs(5)).await;
    assert!(report.is_clean());
    assert_eq!((pool.status().phase, script.alive()), (Phase::Closed, 0));
}

/// STB-51: who waits gets `Closed` at once, also while a connection is made or offered to him; a
/// hanging attempt does not hold the close up.
#[tokio::test(start_paused = true)]
async fn close_turns_waiters_away() {
    let script = Script::default();
    let pool = script.builder().max_size(2).build().unwrap();
    let held = pool.acquire().await.unwrap();
    script.connect(Act::Hang);
    let tasks: Vec<_> = (0..3)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.acquire().await.map(drop) })
        })
        .collect();
    settle().await;
    drop(held);
    let started = Instant::now();
    let report = pool.close(secs(5)).await;
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert!(report.is_clean(), "{report:?}");
    for task in tasks {
        assert!(matches!(task.await.unwrap(), Err(AcquireError::Closed)));
    }
    assert_eq!((report.turned_away, script.alive()), (3, 0));
}

/// To drop the last handle closes the pool: idle connections and the manager are gone.
#[tokio::test(start_paused = true)]
async fn the_last_handle_closes_the_pool() {
    let script = Script::default();
    let pool = script.builder().build().unwrap();
    let other = pool.clone();
    let held = pool.acquire().await.unwrap();
    drop(pool.acquire().await.unwrap());
    drop(pool);
    settle().await;
    assert_eq!(script.alive(), 2);
    drop(other);
    settle().await;
    assert_eq!(script.alive(), 1);
    drop(held);
    settle().await;
    assert_eq!((script.alive(), script.closes()), (0, 2));
}

/// STB-25, STB-57: a pool grows and shrinks while it works, and never exceeds what it may have.
#[tokio::test(start_paused = true)]
async fn resize_while_in_use() {
    let script = Script::default();
    let pool = script
        .builder()
        .max_size(1)
        .connect_limit(1)
        .build()
        .unwrap();
    let first = pool.acquire().await.unwrap();
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.acquire().await.unwrap() }
    });
    settle().await;
    pool.resize(3).unwrap();
    let second = waiting.await.unwrap();
    let third = pool.acquire().await.unwrap();
    pool.resize(1).unwrap();
    drop(third);
    settle().await;
    assert_eq!((pool.status().size, script.alive()), (2, 2));
    drop(second);
    settle().await;
    assert_eq!(pool.status().size, 1);
    drop(first);
    settle().await;
    assert_eq!((pool.status().idle, script.alive()), (1, 1));
    assert!(pool.resize(0).is_err());
    assert_eq!(pool.status().max_size, 1);
}

/// STB-25, STB-32: a pool that was built small connects as one that was built large, once it is;
/// but a limit that was set stays.
#[tokio::test(start_paused = true)]
async fn resize_leaves_the_limit_of_attempts() {
    for (limit, most) in [(None, 4), (Some(1), 1)] {
        let script = Script::default();
        script.connect_always(Act::SucceedAfter(secs(1)));
        let mut builder = script.builder().max_size(1);
        if let Some(limit) = limit {
            builder = builder.connect_limit(limit);
        }
        let pool = builder.build().unwrap();
        pool.resize(8).unwrap();
        let asking: Vec<_> = (0..8)
            .map(|_| {
                let pool = pool.clone();
                tokio::spawn(async move { pool.acquire().await.unwrap() })
            })
            .collect();
        for asks in asking {
            drop(asks.await.unwrap());
        }
        assert_eq!(script.most_connecting(), most);
    }
}

/// A reset replaces every connection: idle ones at once, those in use when they come back, and
/// one that is just being made as well.
#[tokio::test(start_paused = true)]
async fn reset_replaces_everything() {
    let script = Script::default();
    let pool = script.builder().max_size(3).build().unwrap();
    let [one, two] = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    drop(one);
    script.connect(Act::SucceedAfter(secs(1)));
    let held = pool.acquire().await.unwrap();
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.acquire().await.unwrap().serial }
    });
    settle().await;
    drop(held);
    pool.reset();
    drop(two);
    assert!(waiting.await.unwrap() > 2);
    settle().await;
    assert!(pool.acquire().await.unwrap().serial > 3);
    assert!(script.most_alive() <= 3);
}

/// A connection that says its goodbye counts until it has, or `close_timeout` has passed.
#[tokio::test(start_paused = true)]
async fn a_closing_connection_counts() {
    let script = Script::default();
    script.close(Act::Hang);
    let pool = script.builder().max_size(1).build().unwrap();
    pool.acquire().await.unwrap().discard();
    settle().await;
    assert_eq!((pool.status().closing, pool.status().size), (1, 1));
    let started = Instant::now();
    assert_eq!(pool.acquire().await.unwrap().serial, 2);
    assert_eq!((started.elapsed(), script.most_alive()), (secs(5), 1));
}

/// STB-57: lifetimes are drawn once each, within the jitter: no herd.
#[tokio::test(start_paused = true)]
async fn lifetimes_are_spread() {
    let ends = Arc::new(Mutex::new(Vec::new()));
    let script = Script::default();
    let started = Instant::now();
    let pool = script
        .builder()
        .max_size(40)
        .connect_limit(40)
        .check_if_idle_for(None)
        .idle_timeout(None)
        .leak_after(None)
        .max_lifetime(Some(secs(1000)))
        .lifetime_jitter(0.5)
        .seed(5)
        .listener({
            let ends = Arc::clone(&ends);
            move |event: &Event<'_>| {
                if let Event::Closing {
                    reason: CloseReason::Expired,
                    ..
                } = event
                {
                    ends.lock().unwrap().push(started.elapsed());
                }
            }
        })
        .build()
        .unwrap();
    let mut held = Vec::new();
    for _ in 0..40 {
        held.push(pool.acquire().await.unwrap());
    }
    drop(held);
    sleep(secs(499)).await;
    assert_eq!(script.alive(), 40);
    sleep(secs(502)).await;
    assert_eq!(script.alive(), 0);
    let ends = ends.lock().unwrap();
    assert!(
        ends.iter()
            .all(|end| (secs(500)..=secs(1001)).contains(end)),
        "{ends:?}"
    );
    let tenths: BTreeSet<_> = ends.iter().map(|end| end.as_secs() / 50).collect();
    assert!(tenths.len() >= 7, "a herd: {ends:?}");
}

/// STB-57: an idle connection goes after `idle_timeout`, but for those to be kept; one that is too
/// old never goes out again, nor one that was used up.
#[tokio::test(start_paused = true)]
async fn idle_old_and_worn_connections() {
    let script = Script::default();
    let pool = script
        .builder()
        .max_size(3)
        .min_idle(1)
        .idle_timeout(Some(secs(60)))
        .build()
        .unwrap();
    let held = [
        pool.acquire().await.unwrap(),
        pool.acquire().await.unwrap(),
        pool.acquire().await.unwrap(),
    ];
    drop(held);
    sleep(secs(59)).await;
    assert_eq!(pool.status().idle, 3);
    sleep(secs(10)).await;
    assert_eq!(pool.status().idle, 1);
    let pool = script
        .builder()
        .max_size(1)
        .max_uses(Some(2))
        .build()
        .unwrap();
    let first = pool.acquire().await.unwrap().serial;
    assert_eq!(pool.acquire().await.unwrap().serial, first);
    assert_ne!(pool.acquire().await.unwrap().serial, first, "used twice");
}

/// An expired connection in a full pool keeps nobody waiting.
#[tokio::test(start_paused = true)]
async fn an_expired_connection_makes_room() {
    let script = Script::default();
    let pool = script
        .builder()
        .max_size(1)
        .idle_timeout(None)
        .max_lifetime(Some(secs(100)))
        .build()
        .unwrap();
    drop(pool.acquire().await.unwrap());
    tokio::time::advance(secs(101)).await;
    let started = Instant::now();
    assert_eq!(pool.acquire().await.unwrap().serial, 2);
    assert_eq!(
        (started.elapsed(), script.most_alive()),
        (Duration::ZERO, 1)
    );
}

/// Idle connections to be kept are made after the first acquire, and replaced before they expire.
#[tokio::test(start_paused = true)]
async fn min_idle_is_kept() {
    let script = Script::default();
    let pool = script
        .builder()
        .max_size(4)
        .min_idle(2)
        .idle_timeout(None)
        .max_lifetime(Some(secs(100)))
        .lifetime_jitter(0.0)
        .build()
        .unwrap();
    let held = pool.acquire().await.unwrap();
    settle().await;
    assert_eq!(pool.status().idle, 2);
    drop(held);
    let taken = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    settle().await;
    assert_eq!(pool.status().idle, 2, "taken ones are replaced at once");
    drop(taken);
    for _ in 0..50 {
        sleep(secs(10)).await;
        assert!(pool.status().idle >= 2, "{}", pool.status());
    }
    assert!(script.most_alive() <= 4);
}

/// Idle connections are checked in time, and replaced if they fail.
#[tokio::test(start_paused = true)]
async fn keepalive_checks_idle_connections() {
    let script = Script::default();
    script.check(Act::Succeed);
    script.check(Act::Fail);
    let pool = script
        .builder()
        .max_size(1)
        .min_idle(1)
        .keepalive(Some(secs(60)))
        .build()
        .unwrap();
    drop(pool.acquire().await.unwrap());
    sleep(secs(70)).await;
    assert_eq!((script.checks(), script.connects()), (1, 1));
    sleep(secs(70)).await;
    assert_eq!((script.checks(), script.connects()), (2, 2));
    assert_eq!(pool.status().idle, 1);
}

/// STB-24: the last used goes out first, or the one that has rested longest.
#[tokio::test(start_paused = true)]
async fn idle_order() {
    for (order, expected) in [(IdleOrder::Lifo, [3, 3]), (IdleOrder::Fifo, [1, 2])] {
        let pool = Script::default().builder().order(order).build().unwrap();
        let [one, two, three] = [
            pool.acquire().await.unwrap(),
            pool.acquire().await.unwrap(),
            pool.acquire().await.unwrap(),
        ];
        drop(one);
        drop(two);
        drop(three);
        let taken = [(); 2].map(|()| pool.try_acquire().unwrap().serial);
        assert_eq!(taken, expected, "{order:?}");
    }
}

/// STB-35, STB-59: a connection that does not come back is told of once, with its place of birth.
#[tokio::test(start_paused = true)]
async fn a_leak_is_told() {
    let leaks = Arc::new(Mutex::new(Vec::new()));
    let pool = Script::default()
        .builder()
        .leak_after(Some(secs(30)))
        .listener({
            let leaks = Arc::clone(&leaks);
            move |event: &Event<'_>| {
                if let Event::Leaked { holder } = event {
                    leaks.lock().unwrap().push((*holder).clone());
                }
            }
        })
        .build()
        .unwrap();
    let object = pool.acquire().await.unwrap();
    sleep(secs(100)).await;
    let leaks = leaks.lock().unwrap();
    assert_eq!(leaks.len(), 1);
    assert_eq!(leaks[0].connection, object.id());
    assert!(leaks[0].site.file().ends_with("lifecycle.rs"));
    assert!(
        (secs(30)..=secs(34)).contains(&leaks[0].held_for),
        "{:?}",
        leaks[0]
    );
}

/// STB-29, STB-42: status and holders say what there is.
#[tokio::test(start_paused = true)]
async fn status_and_holders() {
    let pool = Script::default().builder().max_size(2).build().unwrap();
    let one = pool.acquire().await.unwrap();
    tokio::time::advance(secs(3)).await;
    let two = pool.acquire().await.unwrap();
    let mut waits = Box::pin(pool.acquire());
    assert!(
        waits
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );
    tokio::time::advance(secs(2)).await;
    let status = pool.status();
    assert_eq!(
        (status.leased, status.waiting, status.oldest_wait),
        (2, 1, secs(2))
    );
    assert_eq!((status.totals.acquired, status.totals.connected), (2, 2));
    let holders = pool.holders();
    let held: Vec<_> = holders
        .iter()
        .map(|holder| (holder.connection, holder.held_for))
        .collect();
    assert_eq!(held, [(one.id(), secs(5)), (two.id(), secs(2))]);
    drop(waits);
    let taken = one.detach();
    assert_eq!((pool.status().size, taken.serial), (1, 1));
    drop(taken);
}

//! What went wrong in the pool that this one replaces, each as a test of what it does instead.
//!
//! It kept connections in a map with a flag "in use" and a mutex around everything, connecting
//! included.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::time::Duration;

use monitor_pool::{AcquireError, ConnectError, OnConnectError, Stage};

use fake::{Act, Fake, caller, settle};

#[path = "support/fake.rs"]
mod fake;

const SECOND: Duration = Duration::from_secs(1);

/// STB-34, STB-46: two callers, one connection, and nobody gives it back: its own first test never
/// ended. Here the second caller gets a timeout that says why.
#[tokio::test(start_paused = true)]
async fn the_second_of_two_callers_gets_a_timeout_instead_of_waiting_for_ever() {
    let pool = Fake::default().pool(1);
    let first = pool.acquire().await.unwrap();
    let error = pool.acquire_timeout(SECOND).await.unwrap_err();
    let waited = match error {
        AcquireError::Timeout {
            stage: Stage::Queue,
            waited,
            ..
        }
        | AcquireError::Deadlock { waited, .. } => waited,
        error => panic!("{error}"),
    };
    assert!(waited >= SECOND, "{waited:?}");
    drop(first);
    pool.acquire_timeout(SECOND).await.unwrap();
}

/// STB-30, STB-47: a waiter whose last connection had died waited for ever, and so did every later
/// caller, because dead connections stayed in the map.
#[tokio::test(start_paused = true)]
async fn a_waiter_whose_last_connection_died_gets_a_new_one() {
    let pool = Fake::default().pool(1);
    let mut first = pool.acquire().await.unwrap();
    let waiters = [caller(&pool, SECOND), caller(&pool, SECOND)];
    settle().await;
    first.is_broken = true;
    drop(first);
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap().unwrap(), 2);
    }
}

/// STB-25, STB-28, STB-33: `release` took 796 ms, or failed and left the connection marked as in use,
/// because another caller was connecting under the lock.
#[tokio::test(start_paused = true)]
async fn a_release_does_not_wait_for_another_callers_connect() {
    let fake = Fake::default();
    let pool = fake.pool(2);
    let first = pool.acquire().await.unwrap();
    fake.connect_does(Act::Hang);
    let second = caller(&pool, Duration::ZERO);
    settle().await;
    assert_eq!(pool.status().connecting, 1);
    // An ordinary function: there is nothing to wait for, and nothing that can fail.
    drop(first);
    assert_eq!(second.await.unwrap().unwrap(), 1);
    assert_eq!(pool.status().connecting, 1, "it still hangs");
}

/// STB-23: a connection that was released twice had two holders. Here the second release does not
/// compile (see `Object`), and who takes a connection out of the pool for good has it alone.
#[tokio::test(start_paused = true)]
async fn a_connection_that_was_taken_out_is_handed_to_nobody_else() {
    let fake = Fake::default();
    let pool = fake.pool(1);
    let mine = pool.acquire().await.unwrap().detach();
    let other = pool.acquire_timeout(SECOND).await.unwrap();
    assert_ne!(mine.number, other.number);
    drop(mine);
    assert_eq!(pool.status().size, 1);
    drop(other);
    assert_eq!(pool.acquire().await.unwrap().number, 2);
}

/// STB-56: three places were free and three callers waited, and one release served one of them.
#[tokio::test(start_paused = true)]
async fn one_event_serves_as_many_waiters_as_there_are_places() {
    let fake = Fake::default();
    let pool = fake.builder(4).connect_limit(1).build().unwrap();
    pool.resize(1).unwrap();
    let held = pool.acquire().await.unwrap();
    let waiters: Vec<_> = (0..3).map(|_| caller(&pool, SECOND * 5)).collect();
    settle().await;
    assert_eq!(pool.status().waiting, 3);
    pool.resize(4).unwrap();
    settle().await;
    assert_eq!(pool.status().waiting, 0);
    assert_eq!(pool.status().leased, 4);
    drop(held);
    for waiter in waiters {
        waiter.await.unwrap().unwrap();
    }
}

/// STB-34: after one timeout of its mutex the pool was dead for ever: the waiter who had given up
/// stayed in the queue, was handed the lock and never gave it back.
#[tokio::test(start_paused = true)]
async fn a_waiter_that_timed_out_leaves_no_trace() {
    let fake = Fake::default();
    let pool = fake.builder(1).acquire_timeout(SECOND).build().unwrap();
    let held = pool.acquire().await.unwrap();
    let waiters: Vec<_> = (0..100).map(|_| caller(&pool, Duration::ZERO)).collect();
    for waiter in waiters {
        assert!(waiter.await.unwrap().is_err());
    }
    assert_eq!(pool.status().waiting, 0);
    drop(held);
    assert_eq!(pool.status().idle, 1);
    for _ in 0..3 {
        assert_eq!(caller(&pool, Duration::ZERO).await.unwrap().unwrap(), 1);
    }
}

/// STB-51: an acquire after the shutdown succeeded.
#[tokio::test(start_paused = true)]
async fn nothing_is_acquired_after_the_close() {
    let fake = Fake::default();
    let pool = fake.pool(2);
    let held = pool.acquire().await.unwrap();
    let report = pool.close(SECOND).await;
    assert_eq!(report.held.len(), 1);
    for _ in 0..2 {
        assert!(matches!(pool.acquire().await, Err(AcquireError::Closed)));
        pool.try_acquire().unwrap_err();
    }
    drop(held);
    settle().await;
    assert!(matches!(pool.acquire().await, Err(AcquireError::Closed)));
    assert_eq!((fake.counts().made, fake.counts().live), (1, 0));
}

/// STB-23: a stale release gave one connection to two holders. Here a connection from before a
/// reset is closed when it comes back, whoever has which place in the pool by then.
#[tokio::test(start_paused = true)]
async fn a_connection_from_before_a_reset_does_not_come_back() {
    let fake = Fake::default();
    let pool = fake.pool(1);
    let old = pool.acquire().await.unwrap();
    pool.reset();
    let waiter = caller(&pool, Duration::ZERO);
    settle().await;
    drop(old);
    assert_eq!(waiter.await.unwrap().unwrap(), 2);
    assert_eq!(fake.counts().most, 1);
}

/// STB-25, STB-57: a pool of at most one connection reached two by refilling to its minimum.
#[tokio::test(start_paused = true)]
async fn refilling_to_the_minimum_never_exceeds_the_maximum() {
    let fake = Fake::default();
    let pool = fake
        .builder(3)
        .min_idle(3)
        .idle_timeout(Some(SECOND * 60))
        .max_lifetime(Some(SECOND * 600))
        .build()
        .unwrap();
    for round in 0..50 {
        let mut held = Vec::new();
        for _ in 0..=round % 3 {
            held.push(pool.acquire().await.unwrap());
        }
        if round % 5 == 0 {
            held[0].is_broken = true;
        }
        tokio::time::sleep(SECOND * 20).await;
        drop(held);
    }
    settle().await;
    let counts = fake.counts();
    assert_eq!(counts.most, 3, "{counts:?}");
    assert_eq!(pool.status().idle, 3);
}

/// STB-57: a connection that had been idle for too long blocked the "full" pool, although nothing
/// was in use.
#[tokio::test(start_paused = true)]
async fn an_expired_idle_connection_blocks_nobody() {
    let fake = Fake::default();
    for limit in [SECOND * 60, SECOND * 3600] {
        let pool = fake
            .builder(1)
            .idle_timeout(Some(limit))
            .max_lifetime(Some(SECOND * 4000))
            .build()
            .unwrap();
        let first = pool.acquire().await.unwrap().number;
        tokio::time::sleep(SECOND * 5000).await;
        let second = pool.acquire_timeout(SECOND).await.unwrap();
        assert_ne!(second.number, first);
        assert_eq!(fake.counts().live, 1);
    }
}

/// STB-31, STB-32: when connecting failed, one waiter was told and the others waited for nothing.
/// Here it is a choice who is told, and whoever is not is served when it works again.
#[tokio::test(start_paused = true)]
async fn a_failed_connect_is_told_to_whom_it_was_decided() {
    for (policy, told) in [
        (OnConnectError::FailFirst, 1),
        (OnConnectError::FailAll, 3),
        (OnConnectError::Retry, 0),
    ] {
        let fake = Fake::default();
        fake.connect_does(Act::Fail);
        let pool = fake.builder(1).on_connect_error(policy).build().unwrap();
        let waiters: Vec<_> = (0..3).map(|_| caller(&pool, Duration::ZERO)).collect();
        settle().await;
        fake.connect_does(Act::Work);
        let mut refused = 0;
        for waiter in waiters {
            match waiter.await.unwrap() {
                Ok(_) => {}
                Err(AcquireError::Connect(ConnectError::Manager(error))) => {
                    assert_eq!(error.to_string(), "told to refuse");
                    refused += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(refused, told, "{policy:?}");
    }
}

/// STB-57: the earlier pool's retirement after a number of uses was lost in a rewrite.
#[tokio::test(start_paused = true)]
async fn a_connection_retires_after_its_number_of_uses() {
    let fake = Fake::default();
    let pool = fake.builder(1).max_uses(Some(3)).build().unwrap();
    let mut numbers = Vec::new();
    for _ in 0..7 {
        numbers.push(pool.acquire().await.unwrap().number);
    }
    assert_eq!(numbers, [1, 1, 1, 2, 2, 2, 3]);
}

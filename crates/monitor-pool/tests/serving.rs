//! Who is served, when, and what he is told if not. Under a paused clock.
#![allow(clippy::unwrap_used, reason = "helpers outside of #[test] functions")]

mod common;

use std::{
    error::Error,
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::{Act, Script, settle};
use monitor_pool::{AcquireError, Nested, OnConnectError, Stage, TryAcquireError};
use tokio::time::Instant;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// STB-24, STB-25: an idle connection is taken before one is made; then there are no more than
/// the maximum.
#[tokio::test(start_paused = true)]
async fn idle_ones_first_and_never_more_than_the_maximum() {
    let script = Script::default();
    let pool = script.builder().max_size(2).build().unwrap();
    drop(pool.acquire().await.unwrap());
    let one = pool.acquire().await.unwrap();
    assert_eq!((one.serial, script.connects()), (1, 1));
    let two = pool.acquire().await.unwrap();
    assert_eq!((two.serial, script.connects()), (2, 2));
    let three = pool.acquire_timeout(secs(1)).await;
    assert!(matches!(three, Err(AcquireError::Timeout { .. })));
    assert_eq!(script.connects(), 2);
}

/// A pool that nobody used for a virtual hour goes by tokio's clock from its first acquire on, whose
/// deadline is a time of that clock too.
#[tokio::test(start_paused = true)]
async fn the_first_acquire_after_a_virtual_hour_is_served() {
    let script = Script::default();
    let pool = script.builder().max_size(1).build().unwrap();
    tokio::time::sleep(secs(3600)).await;
    let held = pool.acquire_timeout(secs(1)).await.unwrap();
    let started = Instant::now();
    pool.acquire_timeout(secs(1)).await.unwrap_err();
    assert_eq!(started.elapsed(), secs(1));
    drop(held);
}

/// STB-46: two acquires of one connection: the second gets it when the first gives it back, and
/// if that does not happen, `Timeout` at its deadline.
#[tokio::test(start_paused = true)]
async fn the_second_waits_for_the_first() {
    let pool = Script::default().builder().max_size(1).build().unwrap();
    let first = pool.acquire().await.unwrap();
    let started = Instant::now();
    let error = pool.acquire_timeout(secs(5)).await.unwrap_err();
    assert_eq!(started.elapsed(), secs(5));
    let AcquireError::Timeout {
        stage,
        waited,
        status,
        holders,
        ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!((*stage, *waited), (Stage::Queue, secs(5)));
    assert_eq!((status.leased, status.size, status.max_size), (1, 1, 1));
    assert_eq!(holders[0].connection, first.id());
    assert_eq!(holders[0].held_for, secs(5));
    assert!(holders[0].site.file().ends_with("serving.rs"));
    let text = error.to_string();
    assert!(
        text.contains("serving.rs") && text.contains("1 leased"),
        "{text}"
    );

    let mut second = by_hand(pool.acquire());
    assert!(second.poll_once().await.is_none());
    let id = first.id();
    drop(first);
    assert_eq!(second.finish().await.unwrap().id(), id);
}

/// STB-47: a connection released while somebody asks for one goes to him, in use; if it is broken,
/// he gets a new one.
#[tokio::test(start_paused = true)]
async fn a_release_during_an_acquire() {
    let script = Script::default();
    let pool = script.builder().max_size(1).build().unwrap();
    let first = pool.acquire().await.unwrap();
    let mut second = by_hand(pool.acquire());
    assert!(second.poll_once().await.is_none());
    drop(first);
    assert_eq!(pool.status().idle, 0, "STB-28: never idle in between");
    assert_eq!(pool.try_acquire().unwrap_err(), TryAcquireError::NoneIdle);
    let mut second = second.finish().await.unwrap();
    assert_eq!((second.serial, pool.status().leased), (1, 1));

    let mut third = by_hand(pool.acquire());
    assert!(third.poll_once().await.is_none());
    second.is_quiet = false;
    drop(second);
    assert_eq!(third.finish().await.unwrap().serial, 2);
    assert_eq!(script.most_alive(), 1);
}

/// STB-27, L2: a thousand waiters are served in the order of their coming, though a third of them
/// goes away.
#[tokio::test(start_paused = true)]
async fn first_come_first_served_with_cancellations() {
    let pool = Script::default().builder().max_size(2).build().unwrap();
    let held = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for number in 0..1000 {
        let (pool, order) = (pool.clone(), Arc::clone(&order));
        tasks.push(tokio::spawn(async move {
            let object = pool.acquire().await.unwrap();
            order.lock().unwrap().push(number);
            tokio::task::yield_now().await;
            drop(object);
        }));
    }
    settle().await;
    assert_eq!(pool.status().waiting, 1000);
    tasks
        .iter()
        .skip(1)
        .step_by(3)
        .for_each(|task| task.abort());
    settle().await;
    drop(held);
    for (number, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.await.is_ok(), number % 3 != 1);
    }
    let order = order.lock().unwrap();
    assert_eq!(order.len(), 667);
    assert!(order.is_sorted(), "overtaken");
}

/// STB-27, L2: one task that takes and gives back without end does not keep another waiting for
/// more than three of its holds.
#[tokio::test(start_paused = true)]
async fn a_looping_holder_starves_nobody() {
    let pool = Script::default().builder().max_size(1).build().unwrap();
    let holds = Arc::new(AtomicUsize::new(0));
    let looping = tokio::spawn({
        let (pool, holds) = (pool.clone(), Arc::clone(&holds));
        async move {
            loop {
                let object = pool.acquire().await.unwrap();
                tokio::time::sleep(Duration::from_millis(2)).await;
                drop(object);
                holds.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    tokio::time::sleep(Duration::from_millis(9)).await;
    for _ in 0..20 {
        let before = holds.load(Ordering::SeqCst);
        drop(pool.acquire().await.unwrap());
        let waited = holds.load(Ordering::SeqCst) - before;
        assert!(waited <= 3, "waited for {waited} holds");
    }
    looping.abort();
}

/// STB-56: several connections come back at once: as many are served.
#[tokio::test(start_paused = true)]
async fn everyone_who_can_be_served_is() {
    let pool = Script::default().builder().max_size(3).build().unwrap();
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(pool.acquire().await.unwrap());
    }
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.acquire().await.unwrap() })
        })
        .collect();
    settle().await;
    drop(held);
    settle().await;
    assert!(waiting.iter().all(|task| task.is_finished()));
    assert_eq!(pool.status().leased + pool.status().idle, 3);
}

/// STB-26, STB-39: the queue is bounded, and says so.
#[tokio::test(start_paused = true)]
async fn too_many_waiters_are_turned_away() {
    let pool = Script::default()
        .builder()
        .max_size(1)
        .max_waiters(2)
        .build()
        .unwrap();
    let _held = pool.acquire().await.unwrap();
    let mut waiting = [by_hand(pool.acquire()), by_hand(pool.acquire())];
    for waiter in &mut waiting {
        assert!(waiter.poll_once().await.is_none());
    }
    let error = pool.acquire().await.unwrap_err();
    assert!(matches!(
        error,
        AcquireError::Overloaded {
            waiting: 2,
            max_waiters: 2
        }
    ));
    drop(waiting);
    assert_eq!(
        (pool.status().waiting, pool.status().totals.overloaded),
        (0, 1)
    );
}

/// STB-31, STB-32, STB-58: a server that is down: attempts are few, and everybody is told why at
/// his deadline.
#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_is_asked_seldom() {
    let script = Script::default();
    script.connect_always(Act::FailAfter(Duration::from_millis(5)));
    let pool = script.builder().max_size(50).build().unwrap();
    let tasks: Vec<_> = (0..1000)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.acquire().await.unwrap_err() })
        })
        .collect();
    let started = Instant::now();
    for task in tasks {
        let error = task.await.unwrap();
        let AcquireError::Timeout {
            stage,
            last_connect_error,
            ..
        } = &error
        else {
            panic!("{error}");
        };
        assert_eq!(*stage, Stage::Connect);
        assert!(last_connect_error.is_some());
        assert!(
            error
                .source()
                .unwrap()
                .to_string()
                .contains("refused as told")
        );
        assert!(error.to_string().contains("refused as told"), "{error}");
    }
    assert_eq!(started.elapsed(), secs(30));
    // 4 at first, and then one after each wait of 0.1 s doubled up to 10 s, or half of it.
    assert!(
        script.connects() <= 4 + 14,
        "{} attempts in 30 s",
        script.connects()
    );
    assert_eq!(script.most_connecting(), 4);
}

/// STB-58: as soon as the server is back, all who wait are served.
#[tokio::test(start_paused = true)]
async fn waiters_outlive_an_outage() {
    let script = Script::default();
    for _ in 0..5 {
        script.connect(Act::Fail);
    }
    let pool = script.builder().max_size(4).build().unwrap();
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.acquire().await.map(drop) })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(pool.status().connect_failures, 0);
}

/// STB-31: what will not go away is told at once to all who wait, and to who comes during the
/// back-off.
#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_told_at_once() {
    let script = Script::default();
    script.connect_always(Act::FailForGood);
    let pool = script
        .builder()
        .max_size(3)
        .connect_limit(1)
        .build()
        .unwrap();
    let started = Instant::now();
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.acquire().await.unwrap_err() })
        })
        .collect();
    for task in tasks {
        assert!(matches!(task.await.unwrap(), AcquireError::Connect(_)));
    }
    assert_eq!(script.connects(), 1);
    assert!(matches!(
        pool.acquire().await,
        Err(AcquireError::Connect(_))
    ));
    assert_eq!((script.connects(), started.elapsed()), (1, Duration::ZERO));
}

/// While connections are alive they serve who waits, whatever becomes of new ones.
#[tokio::test(start_paused = true)]
async fn a_wrong_password_does_not_keep_old_connections_from_working() {
    let script = Script::default();
    let pool = script.builder().max_size(2).build().unwrap();
    let held = pool.acquire().await.unwrap();
    script.connect_always(Act::FailForGood);
    let mut waiting = by_hand(pool.acquire());
    assert!(waiting.poll_once().await.is_none());
    settle().await;
    drop(held);
    assert_eq!(waiting.finish().await.unwrap().serial, 1);
}

/// STB-32: the policy says who hears of a failed attempt.
#[tokio::test(start_paused = true)]
async fn a_failed_attempt_ends_as_many_waits_as_asked_for() {
    for (policy, told) in [(OnConnectError::FailFirst, 1), (OnConnectError::FailAll, 3)] {
        let script = Script::default();
        script.connect(Act::FailAfter(secs(1)));
        let pool = script
            .builder()
            .connect_limit(1)
            .on_connect_error(policy)
            .build()
            .unwrap();
        let tasks: Vec<_> = (0..3)
            .map(|_| {
                let pool = pool.clone();
                tokio::spawn(async move { pool.acquire().await.map(drop) })
            })
            .collect();
        let mut failed = 0;
        for task in tasks {
            failed += usize::from(matches!(task.await.unwrap(), Err(AcquireError::Connect(_))));
        }
        assert_eq!(failed, told, "{policy:?}");
    }
}

/// A manager that hangs or panics for ever: a typed error at the deadline, with the stage.
#[tokio::test(start_paused = true)]
async fn a_bad_manager_keeps_nobody_beyond_his_deadline() {
    for act in [Act::Hang, Act::Panic, Act::Fail] {
        let script = Script::default();
        script.connect_always(act);
        let pool = script.builder().connect_timeout(secs(2)).build().unwrap();
        let started = Instant::now();
        let error = pool.acquire_timeout(secs(7)).await.unwrap_err();
        let AcquireError::Timeout {
            stage: Stage::Connect,
            last_connect_error,
            ..
        } = &error
        else {
            panic!("{act:?}: {error}");
        };
        assert_eq!(started.elapsed(), secs(7), "{act:?}");
        let reason = last_connect_error.as_ref().unwrap().to_string();
        let expected = match act {
            Act::Hang => "connect_timeout of 2s",
            Act::Panic => "panicked",
            _ => "refused as told",
        };
        assert!(reason.contains(expected), "{reason}");
    }
}

/// STB-30, STB-57: a connection that fails its check, in whatever way, is replaced.
#[tokio::test(start_paused = true)]
async fn a_failed_check_gives_a_new_connection() {
    for act in [Act::Fail, Act::Panic, Act::Hang] {
        let script = Script::default();
        script.check(act);
        let pool = script.builder().max_size(1).build().unwrap();
        drop(pool.acquire().await.unwrap());
        tokio::time::advance(secs(2)).await;
        assert_eq!(pool.try_acquire().unwrap_err(), TryAcquireError::Unchecked);
        let object = pool.acquire().await.unwrap();
        assert_eq!((object.serial, script.checks()), (2, 1), "{act:?}");
        assert_eq!((script.alive(), script.most_alive()), (1, 1), "{act:?}");
    }
}

/// A check costs what it costs only where it is due.
#[tokio::test(start_paused = true)]
async fn checks_are_skipped_while_fresh() {
    let script = Script::default();
    let pool = script.builder().build().unwrap();
    for _ in 0..10 {
        drop(pool.acquire().await.unwrap());
        tokio::time::advance(Duration::from_millis(900)).await;
    }
    assert_eq!(script.checks(), 0);
    tokio::time::advance(Duration::from_millis(100)).await;
    drop(pool.acquire().await.unwrap());
    assert_eq!((script.checks(), script.connects()), (1, 1));
}

/// STB-60: to ask again for what one holds oneself: a deadlock, named at the deadline, or at once
/// where that is asked for.
#[tokio::test(start_paused = true)]
async fn a_nested_acquire_is_named() {
    for (nested, after) in [(Nested::AtDeadline, secs(30)), (Nested::AtOnce, secs(0))] {
        let pool = Script::default()
            .builder()
            .max_size(2)
            .nested(nested)
            .build()
            .unwrap();
        let barrier = Arc::new(tokio::sync::Barrier::new(2));
        let tasks: Vec<_> = (0..2)
            .map(|_| {
                let (pool, barrier) = (pool.clone(), Arc::clone(&barrier));
                tokio::spawn(async move {
                    let _outer = pool.acquire().await.unwrap();
                    barrier.wait().await;
                    let started = Instant::now();
                    let inner = pool.acquire().await.map(drop);
                    (inner, started.elapsed())
                })
            })
            .collect();
        let mut deadlocks = 0;
        for task in tasks {
            if let (Err(error), took) = task.await.unwrap() {
                let AcquireError::Deadlock { holders, .. } = &error else {
                    panic!("{error}")
                };
                assert_eq!((holders.is_empty(), took), (false, after));
                deadlocks += 1;
            }
        }
        assert!(deadlocks >= 1, "{nested:?}");
    }
}

/// Who holds and runs on is no part of a deadlock.
#[tokio::test(start_paused = true)]
async fn a_slow_holder_is_no_deadlock() {
    let pool = Script::default().builder().max_size(1).build().unwrap();
    let holds = tokio::spawn({
        let pool = pool.clone();
        async move {
            let _held = pool.acquire().await.unwrap();
            pending::<()>().await;
        }
    });
    settle().await;
    let error = pool.acquire().await.unwrap_err();
    assert!(
        matches!(
            error,
            AcquireError::Timeout {
                stage: Stage::Queue,
                ..
            }
        ),
        "{error}"
    );
    holds.abort();
}

/// A caller that is not polled keeps a connection from others for `offer_grace`, not for ever; and
/// has lost nothing when it is polled again.
#[tokio::test(start_paused = true)]
async fn an_unpolled_waiter_blocks_nobody() {
    let pool = Script::default().builder().max_size(1).build().unwrap();
    let held = pool.acquire().await.unwrap();
    let mut asleep = by_hand(pool.acquire());
    assert!(asleep.poll_once().await.is_none());
    drop(held);
    let started = Instant::now();
    let awake = pool.acquire().await.unwrap();
    assert_eq!(started.elapsed(), Duration::from_millis(10));
    assert_eq!(pool.status().totals.offers_revoked, 1);
    let third = tokio::spawn({
        let pool = pool.clone();
        async move { pool.acquire().await.unwrap().serial }
    });
    settle().await;
    assert!(asleep.poll_once().await.is_none());
    drop(awake);
    drop(
        asleep
            .poll_once()
            .await
            .expect("it stands at its old place, before the third")
            .unwrap(),
    );
    assert_eq!(third.await.unwrap(), 1);
}

/// A future that is polled by hand.
struct ByHand<F: Future>(std::pin::Pin<Box<F>>);

fn by_hand<F: Future>(future: F) -> ByHand<F> {
    ByHand(Box::pin(future))
}

impl<F: Future> ByHand<F> {
    async fn poll_once(&mut self) -> Option<F::Output> {
        std::future::poll_fn(|cx| {
            std::task::Poll::Ready(match self.0.as_mut().poll(cx) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }

    async fn finish(self) -> F::Output {
        self.0.await
    }
}

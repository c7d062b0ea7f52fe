//! What becomes of a connection when somebody goes away, or panics. Under a paused clock.
#![allow(clippy::unwrap_used, reason = "helpers outside of #[test] functions")]

mod common;

use std::{
    future::{Future, pending},
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Waker},
    time::Duration,
};

use common::{ALL, Act, Script, Scripted, settle};
use monitor_pool::{AcquireError, Event, Manager, OnPanic, Pool};

/// Drops an acquire after so many polls, letting everything else run in between.
async fn give_up_after(pool: &Pool<Scripted>, polls: usize) {
    let mut acquire = Box::pin(pool.acquire());
    for _ in 0..polls {
        if acquire
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
        {
            return;
        }
        settle().await;
        tokio::time::advance(Duration::from_millis(1)).await;
    }
}

/// Everything adds up: a pool of two serves two at a time, within its maximum, and knows it.
async fn assert_sound(pool: &Pool<Scripted>, script: &Script, what: &str) {
    let one = pool
        .acquire()
        .await
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let two = pool
        .acquire()
        .await
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_ne!(one.serial, two.serial, "{what}");
    drop((one, two));
    settle().await;
    let status = pool.status();
    assert_eq!(
        (status.leased, status.offered, status.waiting),
        (0, 0, 0),
        "{what}: {status}"
    );
    assert_eq!(status.size, status.idle, "{what}: {status}");
    assert_eq!(
        script.alive(),
        status.idle,
        "{what}: connections outside of the pool"
    );
    assert!(
        script.most_alive() <= 2,
        "{what}: {} at once",
        script.most_alive()
    );
    assert_eq!(status.totals.races, 0, "{what}");
}

/// STB-55, L3: an acquire given up at every point, over all outcomes of connecting and checking.
#[tokio::test(start_paused = true)]
async fn giving_up_anywhere_loses_nothing() {
    for connect in ALL {
        for check in ALL {
            for polls in 0..4 {
                let what = format!("connect {connect:?}, check {check:?}, {polls} polls");
                let script = Script::default();
                let limit = Duration::from_millis(20);
                let pool = script
                    .builder()
                    .max_size(2)
                    .connect_timeout(limit)
                    .check_timeout(limit)
                    .build()
                    .unwrap();
                // While connecting.
                script.connect(connect);
                give_up_after(&pool, polls).await;
                settle().await;
                assert_sound(&pool, &script, &what).await;
                // While checking.
                tokio::time::advance(Duration::from_secs(2)).await;
                script.check(check);
                give_up_after(&pool, polls).await;
                assert_sound(&pool, &script, &what).await;
                // While waiting, and while offered.
                let held = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
                give_up_after(&pool, polls).await;
                drop(held);
                assert_sound(&pool, &script, &what).await;
            }
        }
    }
}

/// STB-55: a connection on its way to somebody who goes away serves the next, or waits for him.
#[tokio::test(start_paused = true)]
async fn an_attempt_outlives_its_caller() {
    let script = Script::default();
    script.connect(Act::SucceedAfter(Duration::from_secs(1)));
    let pool = script.builder().max_size(1).build().unwrap();
    give_up_after(&pool, 1).await;
    assert_eq!(pool.acquire().await.unwrap().serial, 1);
    assert_eq!(script.connects(), 1);
}

/// A check goes on without its caller: the connection is kept.
#[tokio::test(start_paused = true)]
async fn a_check_outlives_its_caller() {
    let script = Script::default();
    let pool = script.builder().max_size(1).build().unwrap();
    drop(pool.acquire().await.unwrap());
    tokio::time::advance(Duration::from_secs(2)).await;
    script.check(Act::SucceedAfter(Duration::from_secs(1)));
    give_up_after(&pool, 1).await;
    assert_eq!(pool.status().checking, 1);
    assert_eq!(pool.acquire().await.unwrap().serial, 1);
    assert_eq!((script.connects(), script.checks()), (1, 1));
}

/// A caller who was offered a connection and goes away passes it on, in order.
#[tokio::test(start_paused = true)]
async fn an_offer_given_up_goes_to_the_next() {
    let pool = Script::default().builder().max_size(1).build().unwrap();
    let held = pool.acquire().await.unwrap();
    let mut gone = Box::pin(pool.acquire());
    let mut next = Box::pin(pool.acquire());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(gone.as_mut().poll(&mut cx).is_pending());
    assert!(next.as_mut().poll(&mut cx).is_pending());
    drop(held);
    assert_eq!(pool.status().offered, 1);
    drop(gone);
    assert_eq!((pool.status().offered, pool.status().idle), (1, 0));
    assert!(next.as_mut().poll(&mut cx).is_ready());
}

/// STB-49: a request in a task of its own, with what it borrows from the task, in one that must be
/// `Send`; and in a function that is generic over the manager.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn execute_in_a_task() {
    async fn count<M: Manager>(pool: &Pool<M>, requests: &mut Vec<usize>) -> usize {
        let counted = pool.execute(async |_: &mut M::Connection| {
            tokio::task::yield_now().await;
            requests.push(requests.len());
            Ok::<_, ()>(requests.len())
        });
        counted.await.unwrap()
    }
    let script = Script::default();
    let pool = script.builder().max_size(2).build().unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let (command, mut requests) = (String::from("ping"), Vec::new());
                let (command, borrowed) = (command.as_str(), &mut requests);
                let answered = pool.execute(async |wire| {
                    borrowed.push(wire.serial);
                    tokio::task::yield_now().await;
                    Ok::<_, ()>(format!("{command} by {}", wire.serial))
                });
                let answer = answered.await.unwrap();
                assert_eq!(answer, format!("ping by {}", requests[0]));
                assert_eq!(count(&pool, &mut requests).await, 2);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(script.closes(), 0);
}

/// STB-49: a request cut off after its writing: the connection is closed, nobody reads its reply.
#[tokio::test(start_paused = true)]
async fn execute_cut_off_closes_the_connection() {
    let script = Script::default();
    let pool = script.builder().max_size(1).build().unwrap();
    let cut = tokio::time::timeout(
        Duration::from_secs(1),
        pool.execute(async |_wire| {
            pending::<()>().await;
            Ok::<_, ()>(())
        }),
    );
    assert!(cut.await.is_err());
    settle().await;
    assert_eq!((script.closes(), script.alive()), (1, 0));
    assert_eq!(
        pool.execute(async |wire| Ok::<_, ()>(wire.serial))
            .await
            .unwrap(),
        2
    );
    assert!(
        pool.execute(async |_| Err::<(), _>("garbled"))
            .await
            .is_err()
    );
    assert_eq!(
        pool.execute(async |wire| Ok::<_, ()>(wire.serial))
            .await
            .unwrap(),
        3
    );
    assert_eq!(
        pool.execute(async |wire| Ok::<_, ()>(wire.serial))
            .await
            .unwrap(),
        3
    );
}

/// STB-49: so is one that is given back between `begin` and `finish`, cut off in `run`, or not
/// quiescent.
#[tokio::test(start_paused = true)]
async fn a_tainted_connection_is_closed() {
    let script = Script::default();
    let pool = script.builder().max_size(1).build().unwrap();
    let mut object = pool.acquire().await.unwrap();
    object.begin();
    object.finish();
    drop(object);
    let mut object = pool.acquire().await.unwrap();
    assert_eq!(object.serial, 1);
    object.begin();
    assert!(object.is_busy());
    drop(object);
    let mut object = pool.acquire().await.unwrap();
    assert_eq!(object.serial, 2);
    let cut = object.run(async |_wire| pending::<()>().await);
    assert!(
        tokio::time::timeout(Duration::from_secs(1), cut)
            .await
            .is_err()
    );
    drop(object);
    let mut object = pool.acquire().await.unwrap();
    assert_eq!(object.run(async |wire| wire.serial).await, 3);
    object.is_quiet = false;
    drop(object);
    assert_eq!(pool.acquire().await.unwrap().serial, 4);
}

/// A holder that panics: its connection is closed, or comes back where that is asked for.
#[tokio::test(start_paused = true)]
async fn a_panic_while_holding() {
    for (policy, serial) in [(OnPanic::Close, 2), (OnPanic::Reuse, 1)] {
        let pool = Script::default()
            .builder()
            .max_size(1)
            .on_panic(policy)
            .build()
            .unwrap();
        let task = tokio::spawn({
            let pool = pool.clone();
            async move {
                let _held = pool.acquire().await.unwrap();
                panic!("while holding");
            }
        });
        assert!(task.await.unwrap_err().is_panic());
        assert_eq!(pool.acquire().await.unwrap().serial, serial, "{policy:?}");
    }
}

/// Panics of `connect`, `check`, `close` and of a listener cost nothing but the attempt.
#[tokio::test(start_paused = true)]
async fn panics_of_the_manager_and_the_listener() {
    let script = Script::default();
    for _ in 0..3 {
        script.connect(Act::Panic);
    }
    script.check(Act::Panic);
    script.close(Act::Panic);
    let pool = script
        .builder()
        .max_size(1)
        .listener(|_: &Event<'_>| panic!("in the listener"))
        .build()
        .unwrap();
    let object = pool.acquire().await.unwrap();
    assert_eq!(object.serial, 4);
    object.discard();
    let object = pool.acquire().await.unwrap();
    assert_eq!(object.serial, 5);
    drop(object);
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(pool.acquire().await.unwrap().serial, 6);
    assert_eq!(script.most_alive(), 1);
}

/// A panic of `is_quiescent` closes the connection, and does not leave the drop.
#[tokio::test(start_paused = true)]
async fn a_panic_of_is_quiescent() {
    #[derive(Debug)]
    struct Touchy;
    impl monitor_pool::Manager for Touchy {
        type Connection = u8;
        type Error = std::convert::Infallible;
        async fn connect(&self) -> Result<u8, Self::Error> {
            Ok(1)
        }
        fn is_quiescent(&self, _: &mut u8) -> bool {
            panic!("in is_quiescent")
        }
    }
    let pool = Pool::builder(Touchy).max_size(1).build().unwrap();
    for number in 1..4 {
        let object = pool.acquire().await.unwrap();
        assert_eq!(object.id().get(), number);
        assert!(catch_unwind(AssertUnwindSafe(|| drop(object))).is_ok());
    }
}

/// STB-34: who ran out of time leaves no trace.
#[tokio::test(start_paused = true)]
async fn a_timeout_leaves_no_trace() {
    let script = Script::default();
    let pool = script.builder().max_size(1).build().unwrap();
    let held = pool.acquire().await.unwrap();
    for _ in 0..10 {
        let late = pool.acquire_timeout(Duration::from_millis(50)).await;
        assert!(matches!(late, Err(AcquireError::Timeout { .. })));
    }
    assert_eq!(
        (pool.status().waiting, pool.status().totals.timed_out),
        (0, 10)
    );
    drop(held);
    assert_eq!(pool.acquire().await.unwrap().serial, 1);
}

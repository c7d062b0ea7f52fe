//! Runtimes that end, stand still, or are not there.
#![allow(clippy::unwrap_used, reason = "helpers outside of #[test] functions")]

mod common;

use std::{
    future::Future,
    sync::mpsc,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use common::{Act, Script};
use monitor_pool::{AcquireError, TryAcquireError};
use tokio::runtime::{Builder, Runtime};

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A connection acquired on a runtime that ends, and dropped on another, outside of any, or in a
/// thread: it comes back every time.
#[test]
fn objects_outlive_their_runtime() {
    let script = Script::default();
    let pool = script.builder().max_size(1).build().unwrap();
    for round in 0..11 {
        let runtime = current_thread();
        let object = runtime.block_on(async { pool.acquire().await.unwrap() });
        drop(runtime);
        match round % 3 {
            0 => drop(object),
            1 => current_thread().block_on(async { drop(object) }),
            _ => thread::spawn(move || drop(object)).join().unwrap(),
        }
        assert_eq!(
            (pool.status().idle, script.alive()),
            (1, 1),
            "round {round}"
        );
    }
    assert_eq!(script.connects(), 1);
}

/// What has to be closed where no runtime is left is dropped in place.
#[test]
fn without_a_runtime_connections_are_dropped() {
    let script = Script::default();
    let pool = script.builder().max_size(1).build().unwrap();
    let object = current_thread().block_on(async { pool.acquire().await.unwrap() });
    object.discard();
    assert_eq!(
        (pool.status().size, script.alive(), script.closes()),
        (0, 0, 0)
    );
    let again = current_thread().block_on(async { pool.acquire().await.unwrap() });
    assert_eq!(again.serial, 2);
    drop(pool);
    drop(again);
    assert_eq!(script.alive(), 0);
}

/// To wait takes a runtime; to take what is idle does not.
#[test]
fn outside_of_a_runtime() {
    let pool = Script::default().builder().build().unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let mut acquire = Box::pin(pool.acquire());
    let Poll::Ready(Err(AcquireError::NoRuntime)) = acquire.as_mut().poll(&mut cx) else {
        panic!("it waits for nobody knows what");
    };
    assert_eq!(pool.try_acquire().unwrap_err(), TryAcquireError::NoneIdle);
    drop(current_thread().block_on(pool.acquire()).unwrap());
    assert_eq!(pool.try_acquire().unwrap().serial, 1);
    let mut acquire = Box::pin(pool.acquire());
    assert!(acquire.as_mut().poll(&mut cx).is_ready());
    let without_timer = Builder::new_current_thread().build().unwrap();
    let small = Script::default().builder().build().unwrap();
    let error = without_timer.block_on(small.acquire()).unwrap_err();
    assert!(matches!(error, AcquireError::NoRuntime));
}

/// A runtime that ends while it connects or checks: its slots are given back, and who waits in
/// another runtime is served from there.
#[test]
fn a_runtime_that_ends_takes_no_slot_along() {
    let script = Script::default();
    script.connect(Act::Hang);
    let pool = script.builder().max_size(1).build().unwrap();
    let dying = current_thread();
    dying.block_on(async {
        let given_up = tokio::time::timeout(Duration::from_millis(5), pool.acquire()).await;
        assert!(given_up.is_err());
    });
    assert_eq!(pool.status().connecting, 1);
    let (waits, is_waiting) = mpsc::channel();
    let other = thread::spawn({
        let pool = pool.clone();
        move || {
            current_thread().block_on(async {
                let mut acquire = Box::pin(pool.acquire());
                std::future::poll_fn(|cx| {
                    let answer = acquire.as_mut().poll(cx);
                    let _ = waits.send(());
                    answer
                })
                .await
                .unwrap()
                .serial
            })
        }
    });
    is_waiting.recv().unwrap();
    drop(dying);
    assert_eq!(other.join().unwrap(), 2);
}

/// A runtime that stands still keeps nobody waiting in another one: neither deadlines nor offers
/// depend on it.
#[test]
fn a_runtime_that_stands_still_holds_nobody_up() {
    let script = Script::default();
    let pool = script.builder().max_size(1).build().unwrap();
    // It has a driver and a waiter, and is never polled again.
    let still = current_thread();
    let held = still.block_on(pool.acquire()).unwrap();
    let mut unpolled = Box::pin(pool.acquire());
    still.block_on(async {
        let first = std::future::poll_fn(|cx| Poll::Ready(unpolled.as_mut().poll(cx))).await;
        assert!(first.is_pending());
    });
    let lively = current_thread();
    let error = lively.block_on(pool.acquire_timeout(Duration::from_millis(30)));
    assert!(matches!(error, Err(AcquireError::Timeout { .. })));
    let served = thread::spawn({
        let pool = pool.clone();
        move || current_thread().block_on(async move { pool.acquire().await.map(|o| o.serial) })
    });
    while pool.status().waiting < 2 {
        thread::yield_now();
    }
    drop(held);
    assert_eq!(served.join().unwrap().unwrap(), 1);
    drop(unpolled);
}

/// On workers of a multi-thread runtime, real clock, real threads: nothing is lost or shared.
#[test]
fn many_tasks_on_real_threads() {
    let script = Script::default();
    let pool = script.builder().max_size(3).build().unwrap();
    let runtime = Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..50)
            .map(|number: usize| {
                let pool = pool.clone();
                tokio::spawn(async move {
                    for round in 0..200_usize {
                        let object = pool.acquire().await.unwrap();
                        tokio::task::yield_now().await;
                        if (number + round).is_multiple_of(97) {
                            object.discard();
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(pool.close(Duration::from_secs(5)).await.is_clean());
    });
    assert_eq!((script.alive(), pool.status().totals.acquired), (0, 10_000));
    assert!(script.most_alive() <= 3);
}

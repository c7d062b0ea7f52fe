//! What an attacker would try, and what holds.
#![allow(clippy::unwrap_used, reason = "helpers outside of #[test] functions")]

mod common;

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use common::{Act, Script, Scripted, settle};
use monitor_pool::{AcquireError, Manager, Object, Pool};
use tokio::{
    runtime::{Builder, Runtime},
    time::{advance, sleep, timeout},
};

const SECOND: Duration = Duration::from_secs(1);

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

async fn poll_once<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// A hundred thousand who ask: those beyond the bound hear so at once, those within it leave
/// nothing behind, and who never asked was never there.
#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_come_and_go() {
    let pool = Script::default().builder().max_size(1).build().unwrap();
    let held = pool.acquire().await.unwrap();
    drop((0..100_000).map(|_| pool.acquire()).collect::<Vec<_>>());
    assert_eq!(pool.status().waiting, 0);
    let mut all: Vec<_> = (0..100_000).map(|_| Box::pin(pool.acquire())).collect();
    let mut overloaded = 0;
    for one in &mut all {
        match poll_once(one).await {
            Poll::Pending => {}
            Poll::Ready(Err(AcquireError::Overloaded { .. })) => overloaded += 1,
            Poll::Ready(other) => panic!("{other:?}"),
        }
    }
    assert_eq!((pool.status().waiting, overloaded), (10_000, 90_000));
    // Half of them, from both ends.
    all.drain(..2_500);
    drop(all.drain(5_000..));
    assert_eq!(pool.status().waiting, 5_000);
    drop(held);
    drop(all);
    let status = pool.status();
    assert_eq!((status.waiting, status.idle), (0, 1), "{status}");
    drop(pool.acquire().await.unwrap());
}

/// The last word of a thread: its locals are dropped when nothing else is left of it.
#[test]
fn an_object_in_a_thread_local_comes_back() {
    thread_local! {
        static KEPT: RefCell<Option<Object<Scripted>>> = const { RefCell::new(None) };
    }
    let script = Script::default();
    let pool = script.builder().max_size(1).build().unwrap();
    let inner = pool.clone();
    thread::spawn(move || {
        let object = current_thread().block_on(async { inner.acquire().await.unwrap() });
        KEPT.set(Some(object));
    })
    .join()
    .unwrap();
    assert_eq!((pool.status().idle, script.alive()), (1, 1));
    let again = pool.clone();
    thread::spawn(move || KEPT.set(Some(again.try_acquire().unwrap())))
        .join()
        .unwrap();
    drop(pool.try_acquire().unwrap());
}

/// A connection whose destructor panics.
struct Grenade(Arc<AtomicBool>);

impl Drop for Grenade {
    fn drop(&mut self) {
        if self.0.load(Ordering::SeqCst) {
            panic!("as told");
        }
    }
}

struct Grenades(Arc<AtomicBool>);

impl Manager for Grenades {
    type Connection = Grenade;
    type Error = std::convert::Infallible;

    async fn connect(&self) -> Result<Grenade, Self::Error> {
        Ok(Grenade(Arc::clone(&self.0)))
    }
}

/// Wherever a connection is dropped, its slot is free afterwards.
#[test]
fn destructors_that_panic_cost_no_slot() {
    let armed = Arc::new(AtomicBool::new(true));
    let pool = Pool::builder(Grenades(Arc::clone(&armed)))
        .max_size(1)
        .max_uses(Some(1))
        .build()
        .unwrap();
    let runtime = current_thread();
    runtime.block_on(async {
        for _ in 0..5 {
            drop(pool.acquire().await.unwrap());
        }
        pool.acquire().await.unwrap().discard();
        let report = pool.close(SECOND).await;
        assert!(report.is_clean(), "{report:?}");
    });
    // In place, without a runtime, and while another panic is under way.
    let pool = Pool::builder(Grenades(armed)).max_size(1).build().unwrap();
    let object = current_thread().block_on(async { pool.acquire().await.unwrap() });
    thread::spawn(move || {
        let _object = object;
        panic!("as told, too");
    })
    .join()
    .unwrap_err();
    assert_eq!(pool.status().size, 0);
}

/// As long as it goes: nothing overflows, and everything is served.
#[tokio::test(start_paused = true)]
async fn the_longest_durations() {
    const LONG: Duration = Duration::MAX;
    let script = Script::default();
    let pool = script
        .builder()
        .max_size(2)
        .min_idle(1)
        .acquire_timeout(LONG)
        .connect_timeout(LONG)
        .check_timeout(LONG)
        .close_timeout(LONG)
        .check_if_idle_for(Some(LONG))
        .keepalive(Some(LONG - 2 * SECOND))
        .idle_timeout(Some(LONG - SECOND))
        .max_lifetime(Some(LONG))
        .lifetime_jitter(1.0)
        .leak_after(Some(LONG))
        .offer_grace(LONG - SECOND)
        .build()
        .unwrap();
    let held = pool.acquire().await.unwrap();
    sleep(1_000_000 * SECOND).await;
    let second = pool.acquire_timeout(LONG).await.unwrap();
    let mut third = Box::pin(pool.acquire());
    assert!(poll_once(&mut third).await.is_pending());
    drop(second);
    drop(third.await.unwrap());
    drop(held);
    let report = pool.close(LONG).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(script.alive(), 0);
}

/// A waker that calls the pool, and then panics.
struct Rude(Pool<Scripted>, AtomicUsize);

impl Wake for Rude {
    fn wake(self: Arc<Self>) {
        let _ = (self.0.status(), self.0.holders());
        drop(self.0.try_acquire());
        self.1.fetch_add(1, Ordering::SeqCst);
        panic!("as told");
    }
}

impl Drop for Rude {
    fn drop(&mut self) {
        let _ = self.0.status();
    }
}

/// Whose wakers call back and panic gets what it waited for, and disturbs nobody.
#[tokio::test(start_paused = true)]
async fn wakers_may_call_back_and_panic() {
    let pool = Script::default().builder().max_size(1).build().unwrap();
    let held = pool.acquire().await.unwrap();
    let rude = Arc::new(Rude(pool.clone(), AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&rude));
    let mut cx = Context::from_waker(&waker);
    let mut first = Box::pin(pool.acquire());
    let mut second = Box::pin(pool.acquire_timeout(SECOND));
    let mut third = Box::pin(pool.acquire());
    for one in [&mut first, &mut second, &mut third] {
        assert!(one.as_mut().poll(&mut cx).is_pending());
    }
    // The second one's time is up, in the driver.
    sleep(2 * SECOND).await;
    assert_eq!(rude.1.load(Ordering::SeqCst), 1);
    second.await.unwrap_err();
    drop(held);
    drop(first.await.unwrap());
    drop(third);
    assert_eq!(rude.1.load(Ordering::SeqCst), 3);
    pool.reset();
    drop(pool.acquire().await.unwrap());
}

/// Each connection serves once, and saying goodbye hangs: slow, but never more than the maximum.
#[tokio::test(start_paused = true)]
async fn one_use_each_and_goodbyes_that_hang() {
    let script = Script::default();
    script.close_always(Act::Hang);
    let pool = script
        .builder()
        .max_size(3)
        .max_uses(Some(1))
        .acquire_timeout(600 * SECOND)
        .build()
        .unwrap();
    let all = (0..30).map(|_| async { drop(pool.acquire().await.unwrap()) });
    futures_util::future::join_all(all).await;
    assert_eq!((script.connects(), script.most_alive()), (30, 3));
}

/// Resets without end: who waits is served all the same, by nothing older than the last reset.
#[tokio::test(start_paused = true)]
async fn a_storm_of_resets() {
    let script = Script::default();
    script.connect_always(Act::SucceedAfter(Duration::from_millis(3)));
    script.close_always(Act::SucceedAfter(Duration::from_millis(3)));
    let pool = script.builder().max_size(4).min_idle(2).build().unwrap();
    let storm = async {
        for _ in 0..1_000 {
            pool.reset();
            sleep(Duration::from_millis(7)).await;
        }
    };
    let users = (0..16).map(|_| async {
        for _ in 0..50 {
            let object = pool.acquire().await.unwrap();
            sleep(Duration::from_millis(2)).await;
            drop(object);
        }
    });
    tokio::join!(storm, futures_util::future::join_all(users));
    assert!(script.most_alive() <= 4, "{}", script.most_alive());
    let report = pool.close(60 * SECOND).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(script.alive(), 0);
}

/// Checks of kept connections that all hang: they are replaced, and the maximum holds.
#[tokio::test(start_paused = true)]
async fn a_keepalive_that_hangs() {
    let script = Script::default();
    let pool = script
        .builder()
        .max_size(4)
        .min_idle(3)
        .keepalive(Some(10 * SECOND))
        .build()
        .unwrap();
    drop(pool.acquire().await.unwrap());
    sleep(SECOND).await;
    let enough = pool.status().idle;
    assert!(enough >= 3, "{enough}");
    script.check_always(Act::Hang);
    for _ in 0..100 {
        sleep(7 * SECOND).await;
        let status = pool.status();
        assert!(status.size <= 4, "{status}");
        drop(pool.acquire().await.unwrap());
    }
    assert!(script.most_alive() <= 4);
    script.check_always(Act::Succeed);
    sleep(60 * SECOND).await;
    assert!(pool.status().idle >= 3, "{}", pool.status());
}

/// A clock that is paused only later, and then moved by hours.
#[tokio::test]
async fn a_clock_that_is_paused_in_the_middle() {
    let script = Script::default();
    let pool = script.builder().max_size(1).build().unwrap();
    let held = pool.acquire().await.unwrap();
    tokio::time::pause();
    let mut waiting = Box::pin(pool.acquire_timeout(3 * 3600 * SECOND));
    assert!(poll_once(&mut waiting).await.is_pending());
    advance(2 * 3600 * SECOND).await;
    settle().await;
    assert!(poll_once(&mut waiting).await.is_pending());
    let ends = timeout(3601 * SECOND, waiting).await.unwrap();
    assert!(
        matches!(ends, Err(AcquireError::Timeout { .. })),
        "{ends:?}"
    );
    drop(held);
    // Older than its lifetime: another one.
    assert_eq!(pool.acquire().await.unwrap().serial, 2);
}

/// Two runtimes, callers that give up anywhere, and a maximum that changes: one holder each, as
/// many as may be, and nothing lost.
#[test]
fn two_runtimes_and_callers_that_give_up() {
    let script = Script::default();
    let pool = script
        .builder()
        .max_size(3)
        .max_uses(Some(7))
        .build()
        .unwrap();
    let held = Arc::new(Mutex::new(std::collections::BTreeSet::new()));
    let threads = (0..2_usize).map(|thread| {
        let (pool, held) = (pool.clone(), Arc::clone(&held));
        thread::spawn(move || {
            let work = async move {
                let tasks = (0..8_usize).map(|task| {
                    let (pool, held) = (pool.clone(), Arc::clone(&held));
                    tokio::spawn(async move {
                        for round in 0..200_usize {
                            let mut acquire = Box::pin(pool.acquire());
                            for _ in 0..(thread + task + round) % 4 {
                                if let Poll::Ready(got) = poll_once(&mut acquire).await {
                                    drop(got.unwrap());
                                    acquire = Box::pin(pool.acquire());
                                    break;
                                }
                                tokio::task::yield_now().await;
                            }
                            if round % 3 == 0 {
                                continue;
                            }
                            let object = acquire.await.unwrap();
                            assert!(held.lock().unwrap().insert(object.serial));
                            tokio::task::yield_now().await;
                            assert!(held.lock().unwrap().remove(&object.serial));
                            match round % 11 {
                                0 => drop(object.detach()),
                                1 => object.discard(),
                                _ => drop(object),
                            }
                        }
                    })
                });
                for task in tasks.collect::<Vec<_>>() {
                    task.await.unwrap();
                }
            };
            if thread == 0 {
                current_thread().block_on(work);
            } else {
                let runtime = Builder::new_multi_thread()
                    .worker_threads(2)
                    .enable_all()
                    .build();
                runtime.unwrap().block_on(work);
            }
        })
    });
    for thread in threads.collect::<Vec<_>>() {
        thread.join().unwrap();
    }
    let status = pool.status();
    assert_eq!(
        (status.leased, status.offered, status.waiting),
        (0, 0, 0),
        "{status}"
    );
    drop(pool);
    assert_eq!(script.alive(), 0);
}

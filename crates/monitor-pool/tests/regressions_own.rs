//! Our own defects, each found before anybody met it: what failed once and holds now.
#![allow(clippy::unwrap_used, reason = "helpers outside of #[test] functions")]

mod common;

use std::{
    fmt,
    future::{Future, pending, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use common::{Act, Script, Scripted, settle};
use monitor_pool::{AcquireError, Event, Manager, Pool};
use tokio::{
    runtime::{Builder, Runtime},
    time::{sleep, timeout},
};

/// So long that only what hangs takes longer.
const HANGS: Duration = Duration::from_secs(20);
const SECOND: Duration = Duration::from_secs(1);

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

async fn poll_once<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// Runs something that may hang, in a thread of its own.
fn ends<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(run()));
    told.recv_timeout(HANGS).expect("it hangs, or panicked")
}

/// A listener may ask the pool from within any event, that of a caller who had to wait included.
#[test]
fn a_listener_may_call_back() {
    static POOL: OnceLock<Pool<Scripted>> = OnceLock::new();
    static HEARD: AtomicUsize = AtomicUsize::new(0);
    let pool = Script::default()
        .builder()
        .max_size(1)
        .listener(|_: &Event<'_>| {
            if let Some(pool) = POOL.get() {
                let _ = (pool.status(), pool.holders(), pool.try_acquire().is_ok());
                HEARD.fetch_add(1, Ordering::Relaxed);
            }
        });
    let pool = POOL.get_or_init(|| pool.build().unwrap());
    ends(move || {
        current_thread().block_on(async move {
            let first = pool.acquire().await.unwrap();
            let mut second = Box::pin(pool.acquire());
            assert!(poll_once(&mut second).await.is_pending());
            drop(first);
            drop(second.await.unwrap());
            pool.close(SECOND).await;
        });
    });
    assert!(HEARD.load(Ordering::Relaxed) >= 4);
}

/// A waiter that lost its offer and comes back does not wait for one who does not come.
#[tokio::test(start_paused = true)]
async fn who_comes_back_is_not_blocked_by_who_does_not() {
    let pool = Script::default().builder().max_size(1).build().unwrap();
    let held = pool.acquire().await.unwrap();
    let (mut x, mut y) = (Box::pin(pool.acquire()), Box::pin(pool.acquire()));
    assert!(poll_once(&mut x).await.is_pending());
    assert!(poll_once(&mut y).await.is_pending());
    drop(held);
    // Neither is polled: x loses its offer to y.
    sleep(Duration::from_millis(50)).await;
    let got = x.await;
    assert!(got.is_ok(), "{}", got.unwrap_err());
}

/// A waiter that was out of the queue for a while still has its deadline.
#[tokio::test(start_paused = true)]
async fn who_comes_back_keeps_its_deadline() {
    let pool = Script::default().builder().max_size(1).build().unwrap();
    let held = pool.acquire().await.unwrap();
    let mut x = Box::pin(pool.acquire_timeout(30 * SECOND));
    assert!(poll_once(&mut x).await.is_pending());
    let holder = tokio::spawn({
        let pool = pool.clone();
        async move {
            let _held = pool.acquire().await.unwrap();
            pending::<()>().await;
        }
    });
    settle().await;
    drop(held);
    // Nobody polls x: the other gets the connection and keeps it. Then somebody's time is up.
    sleep(Duration::from_millis(100)).await;
    assert_eq!(pool.status().offers_revoked(), 1);
    pool.acquire_timeout(SECOND).await.unwrap_err();
    let Ok(Err(AcquireError::Timeout { waited, .. })) = timeout(3600 * SECOND, x).await else {
        panic!("it got a connection that another holds");
    };
    assert!(waited < 31 * SECOND, "its 30 s took {waited:?}");
    holder.abort();
}

trait Revoked {
    fn offers_revoked(&self) -> u64;
}

impl Revoked for monitor_pool::Status {
    fn offers_revoked(&self) -> u64 {
        self.totals.offers_revoked
    }
}

/// A thread that was in a multi-thread runtime and is in another one now has a driver there.
#[test]
fn a_thread_that_changes_its_runtime_keeps_its_deadlines() {
    let waited = ends(|| {
        let pool = Script::default().builder().max_size(1).build().unwrap();
        let first = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let held = first.block_on(async {
            let held = pool.acquire().await.unwrap();
            pool.acquire_timeout(Duration::from_millis(50))
                .await
                .unwrap_err();
            held
        });
        // From now on the first runtime stands still.
        let (release, released) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        first.spawn(async move {
            tell.send(()).unwrap();
            let _ = released.recv();
        });
        told.recv().unwrap();
        let error = current_thread()
            .block_on(async { timeout(SECOND * 10, pool.acquire_timeout(SECOND)).await })
            .unwrap()
            .unwrap_err();
        drop((release, held));
        match error {
            AcquireError::Timeout { waited, .. } => waited,
            other => panic!("{other}"),
        }
    });
    assert!(waited < 9 * SECOND, "its second took {waited:?}");
}

/// A waiter that moves to another runtime is not lost with the first one.
#[test]
fn a_waiter_that_moves_keeps_its_deadline() {
    let waited = ends(|| {
        let pool = Script::default().builder().max_size(1).build().unwrap();
        let (first, second) = (current_thread(), current_thread());
        let _held = second.block_on(async {
            let pool = Script::default().builder().build().unwrap();
            pool.acquire().await.unwrap()
        });
        let held = first.block_on(async { pool.acquire().await.unwrap() });
        let mut moving = Box::pin(pool.acquire_timeout(SECOND));
        assert!(first.block_on(poll_once(&mut moving)).is_pending());
        assert!(second.block_on(poll_once(&mut moving)).is_pending());
        drop(first);
        let error = second
            .block_on(async { timeout(SECOND * 10, moving).await })
            .unwrap()
            .unwrap_err();
        drop(held);
        match error {
            AcquireError::Timeout { waited, .. } => waited,
            other => panic!("{other}"),
        }
    });
    assert!(waited < 9 * SECOND, "its second took {waited:?}");
}

/// A poll outside of any runtime, in the middle of a wait, does not panic.
#[test]
fn a_waiter_may_be_polled_outside_of_its_runtime() {
    let pool = Script::default().builder().max_size(2).build().unwrap();
    let runtime = current_thread();
    let (one, two) =
        runtime.block_on(async { (pool.acquire().await.unwrap(), pool.acquire().await.unwrap()) });
    let mut waiting = Box::pin(pool.acquire());
    assert!(runtime.block_on(poll_once(&mut waiting)).is_pending());
    one.discard();
    two.discard();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(&mut cx).is_pending());
    runtime.block_on(waiting).unwrap();
    runtime.block_on(async {
        while pool.status().closing > 0 {
            sleep(Duration::from_millis(1)).await
        }
    });
    assert_eq!(pool.status().size, 1, "{}", pool.status());
}

/// To close from one runtime does not take another one that stands still.
#[test]
fn close_does_its_own_work() {
    let script = Script::default();
    let pool = script.builder().build().unwrap();
    let first = current_thread();
    first.block_on(async { drop(pool.acquire().await.unwrap()) });
    let report = current_thread().block_on(pool.close(SECOND));
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(
        script.closes(),
        1,
        "without a goodbye, though there is a runtime"
    );
    drop(first);
}

/// To close in a runtime without a timer does not panic.
#[test]
fn close_needs_no_timer() {
    let pool = Script::default().builder().build().unwrap();
    let runtime = current_thread();
    let held = runtime.block_on(async { pool.acquire().await.unwrap() });
    let bare = Builder::new_current_thread().build().unwrap();
    let report = bare.block_on(pool.close(SECOND));
    assert_eq!(report.held.len(), 1);
    drop(held);
}

/// A maximum lowered by one costs one connection, however long the goodbye takes.
#[tokio::test(start_paused = true)]
async fn to_shrink_by_one_closes_one() {
    let script = Script::default();
    let pool = script.builder().max_size(10).build().unwrap();
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(pool.acquire().await.unwrap());
    }
    script.close_always(Act::Hang);
    pool.resize(9).unwrap();
    held.clear();
    settle().await;
    assert_eq!(
        (script.closes(), pool.status().idle),
        (1, 9),
        "{}",
        pool.status()
    );
}

/// A pool that has grown connects like one that was built that large.
#[tokio::test(start_paused = true)]
async fn a_grown_pool_connects_side_by_side() {
    let script = Script::default();
    script.connect_always(Act::SucceedAfter(SECOND));
    let pool = script.builder().max_size(1).build().unwrap();
    pool.resize(10).unwrap();
    let all = (0..10).map(|_| pool.acquire());
    for got in futures_util::future::join_all(all).await {
        got.unwrap();
    }
    assert_eq!(script.most_connecting(), 4);
}

/// What lay in an offer for an hour is as old as what lay idle for an hour.
#[tokio::test(start_paused = true)]
async fn an_old_offer_is_not_taken_unseen() {
    let script = Script::default();
    let pool = script.builder().max_size(1).build().unwrap();
    let held = pool.acquire().await.unwrap();
    let mut waiting = Box::pin(pool.acquire_timeout(7200 * SECOND));
    assert!(poll_once(&mut waiting).await.is_pending());
    drop(held);
    sleep(3600 * SECOND).await;
    let got = waiting.await.unwrap();
    assert_eq!(
        got.serial, 2,
        "beyond its max_lifetime, and not checked either"
    );
}

/// What is fresh is taken, also if what was used last is not.
#[tokio::test(start_paused = true)]
async fn try_acquire_finds_what_is_fresh() {
    let pool = Script::default().builder().max_size(2).build().unwrap();
    let old = pool.acquire().await.unwrap();
    sleep(2 * SECOND).await;
    drop(pool.acquire().await.unwrap());
    drop(old);
    let got = pool.try_acquire();
    assert!(got.is_ok(), "{}", got.unwrap_err());
}

/// Who counts events counts every hand-out.
#[tokio::test]
async fn try_acquire_is_heard() {
    let heard = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&heard);
    let pool = Script::default()
        .builder()
        .listener(move |event: &Event<'_>| {
            if matches!(event, Event::Acquired { .. }) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        })
        .build()
        .unwrap();
    drop(pool.acquire().await.unwrap());
    drop(pool.try_acquire().unwrap());
    let told = heard.load(Ordering::Relaxed) as u64;
    assert_eq!(told, pool.status().totals.acquired);
}

/// `CheckFailed`: "why, unless it timed out or panicked".
#[tokio::test]
async fn a_check_that_panics_is_heard() {
    let heard = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&heard);
    let script = Script::default();
    let pool = script
        .builder()
        .check_if_idle_for(Some(Duration::ZERO))
        .listener(move |event: &Event<'_>| {
            if matches!(event, Event::CheckFailed { .. }) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        })
        .build()
        .unwrap();
    drop(pool.acquire().await.unwrap());
    script.check(Act::Panic);
    drop(pool.acquire().await.unwrap());
    assert_eq!(pool.status().totals.check_failures, 1);
    assert_eq!(heard.load(Ordering::Relaxed), 1);
}

/// A check that was cut off because the pool closes did not fail.
#[tokio::test(start_paused = true)]
async fn a_check_cut_off_by_close_has_not_failed() {
    let script = Script::default();
    script.check(Act::Hang);
    let pool = script
        .builder()
        .check_if_idle_for(Some(Duration::ZERO))
        .build()
        .unwrap();
    drop(pool.acquire().await.unwrap());
    pool.acquire_timeout(SECOND).await.unwrap_err();
    pool.close(SECOND).await;
    assert_eq!(pool.status().totals.check_failures, 0);
}

/// An error that cannot even be shown costs no slot.
#[tokio::test(start_paused = true)]
async fn an_error_that_panics_when_shown_gives_its_slot_back() {
    #[derive(Debug)]
    struct Unspeakable;
    impl fmt::Display for Unspeakable {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("as told")
        }
    }
    impl std::error::Error for Unspeakable {}
    struct Fails;
    impl Manager for Fails {
        type Connection = ();
        type Error = Unspeakable;
        async fn connect(&self) -> Result<(), Unspeakable> {
            Err(Unspeakable)
        }
    }
    let _guard = tracing::subscriber::set_default(Formats);
    let pool = Pool::builder(Fails).max_size(1).build().unwrap();
    let mut waiting = Box::pin(pool.acquire());
    assert!(poll_once(&mut waiting).await.is_pending());
    settle().await;
    drop(waiting);
    settle().await;
    let status = pool.status();
    assert_eq!(status.size, 0, "{status}");
}

/// A subscriber that formats every field.
struct Formats;

impl tracing::Subscriber for Formats {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut |_: &tracing::field::Field, value: &dyn fmt::Debug| {
            let _ = format!("{value:?}");
        });
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// A check that nobody has begun ends with the pool.
#[test]
fn a_check_without_a_runtime_ends_with_the_pool() {
    let script = Script::default();
    let pool = script
        .builder()
        .max_size(2)
        .check_if_idle_for(Some(Duration::ZERO))
        .build()
        .unwrap();
    let (first, second) = (current_thread(), current_thread());
    first.block_on(async {
        let both = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
        drop(both);
        script.check(Act::Hang);
        let mut waiting = Box::pin(pool.acquire());
        assert!(poll_once(&mut waiting).await.is_pending());
        settle().await;
    });
    let mut waiting = Box::pin(pool.acquire());
    assert!(second.block_on(poll_once(&mut waiting)).is_pending());
    // With the check of the first runtime gone, the other connection is to be checked.
    drop(first);
    drop(waiting);
    drop(second);
    drop(pool);
    assert_eq!(script.alive(), 0, "a connection has outlived its pool");
}

/// `run` within an operation does not end the operation.
#[tokio::test]
async fn a_run_within_an_operation_does_not_end_it() {
    let script = Script::default();
    let pool = script.builder().build().unwrap();
    let mut object = pool.acquire().await.unwrap();
    object.begin();
    object.run(async |_| ()).await;
    assert!(object.is_busy());
}

/// What is dropped in place is out of the waiters' way.
#[tokio::test(start_paused = true)]
async fn nothing_but_pin_needed() {
    let pool = Script::default().builder().build().unwrap();
    let mut acquire = pin!(pool.acquire());
    let object = acquire.as_mut().await.unwrap();
    drop(object);
    // A future that is over, polled again: whatever it does, it does not serve anybody twice.
    let again = timeout(SECOND, acquire).await;
    assert!(again.is_err());
}

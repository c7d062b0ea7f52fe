//! A handler that blocks its thread, on real threads.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering::SeqCst},
    mpsc,
};
use std::time::Duration;

use common::{
    ends::{Ends, at_once, hasty, next},
    secs,
};
use monitor_operation::Operations;
use monitor_scheduler::{Config, Ended, KeyState, Run, Scheduler, Spec, Verdict};

/// PRB-8: it keeps its key, is shown as stuck, and neither its permit nor its thread nor the clock
/// of its worker is missed by anybody else. With one permit and two workers, the other key can
/// only go on if the permit came back while the thread is still blocked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_thread_keeps_its_key_and_holds_up_nobody() {
    let (scheduler, ended) = hasty(1);
    let well = async |_run: Run<u32>| {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Verdict::Success
    };
    scheduler.schedule(2, at_once(60_000), well).unwrap();
    let (mut ended, before) = next(ended).await;
    assert_eq!(before, (2, Ended::Returned(Verdict::Success)));
    let (release, blocked) = mpsc::channel::<()>();
    let (blocked, begun) = (
        Arc::new(Mutex::new(blocked)),
        Arc::new(AtomicBool::new(false)),
    );
    let (again, begins) = (scheduler.clone(), Arc::clone(&begun));
    let blocks = move |_run: Run<u32>| {
        let (blocked, begins, again) = (Arc::clone(&blocked), Arc::clone(&begins), again.clone());
        async move {
            begins.store(true, SeqCst);
            // Wakes the driver from the very worker that is blocked next.
            again.trigger(&2);
            let _ = blocked.lock().unwrap().recv();
            Verdict::Success
        }
    };
    scheduler.schedule(1, at_once(50), blocks).unwrap();
    loop {
        let (rest, first) = next(ended).await;
        ended = rest;
        assert_eq!(first, (1, Ended::Overdue));
        if begun.load(SeqCst) {
            break;
        }
        // It was given up before a thread was free for it.
        scheduler.trigger(&1);
    }
    let (ended, second) = next(ended).await;
    assert_eq!(second, (2, Ended::Returned(Verdict::Success)));
    scheduler.trigger(&2);
    let (_ended, third) = next(ended).await;
    assert_eq!(third, (2, Ended::Returned(Verdict::Success)));
    let status = scheduler.status();
    assert_eq!((status.stuck, status.current_concurrency), (vec![1], 0));
    assert_eq!(scheduler.probe_status(&1).unwrap().state, KeyState::Stuck);
    assert!(scheduler.cancel(&1).is_some());
    release.send(()).unwrap();
    // It ends now, and with it the last of the cancelled key.
    let report = scheduler.shutdown(secs(60)).await;
    assert_eq!(report.aborted, [0_u32; 0]);
}

/// With the last handle the thread of the driver ends, and lets go of all it held.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_thread_ends_with_the_last_handle() {
    let (ear, mut ended) = Ends::channel();
    let scheduler = Scheduler::new(Config::default(), Operations::new(), ear.clone());
    let spec = Spec::builder(secs(3600)).immediate(true).build().unwrap();
    let handler = |_run: Run<u32>| std::future::ready(Verdict::Success);
    scheduler.schedule(1, spec, handler).unwrap();
    (ended, _) = next(ended).await;
    drop((scheduler, ended));
    while Arc::strong_count(&ear) > 1 {
        tokio::task::yield_now().await;
    }
}

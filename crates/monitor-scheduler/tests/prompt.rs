//! Handlers that are done at once, and are therefore run by the driver itself, on real threads.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use common::{
    ends::{EndedRuns, at_once, hasty, next, patient},
    secs,
};
use monitor_operation::Cause;
use monitor_scheduler::{Claim, Ended, KeyState, Run, Scheduler, Trigger, Verdict};

const SUCCESS: Ended = Ended::Returned(Verdict::Success);

/// Whether this is a thread of the driver, not of the runtime.
fn is_here() -> bool {
    thread::current().name() == Some("monitor-scheduler")
}

/// Runs a key again and again until `is_it`, which is asked after each run that ended well, or for
/// which no thread was free before it was given up.
async fn run_until(
    scheduler: &Scheduler<u32>,
    mut ended: EndedRuns,
    key: u32,
    is_it: impl Fn() -> bool,
) -> EndedRuns {
    loop {
        let (rest, end) = next(ended).await;
        ended = rest;
        if is_it() {
            return ended;
        }
        assert!(
            [(key, SUCCESS), (key, Ended::Overdue)].contains(&end),
            "{end:?}"
        );
        scheduler.trigger(&key);
    }
}

/// The first run of a handler is a task, whatever it does. One that was done at once is run by the
/// driver the next time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prompt_handler_is_run_by_the_driver() {
    let (scheduler, ended) = hasty(1);
    let places = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&places);
    let handler = move |_run: Run<u32>| {
        seen.lock().unwrap().push(is_here());
        std::future::ready(Verdict::Success)
    };
    scheduler.schedule(1, at_once(60_000), handler).unwrap();
    let was_here = || places.lock().unwrap().last() == Some(&true);
    drop(run_until(&scheduler, ended, 1, was_here).await);
    assert!(!places.lock().unwrap()[0], "the first one");
    assert!(scheduler.shutdown(secs(60)).await.aborted.is_empty());
}

/// A handler that does so once it is run by the driver.
fn when_here<F>(
    act: impl Fn(Run<u32>) -> F + Send + Sync + 'static,
) -> impl Fn(Run<u32>) -> std::pin::Pin<Box<dyn Future<Output = Verdict> + Send>> + Send + Sync
where
    F: Future<Output = Verdict> + Send + 'static,
{
    move |run| {
        if is_here() {
            Box::pin(act(run))
        } else {
            Box::pin(std::future::ready(Verdict::Success))
        }
    }
}

/// PRB-8: one that was prompt and blocks its thread now keeps its key, is shown as stuck, and holds
/// up nobody: another thread becomes the driver, which gives its permit to others and runs them,
/// prompt ones too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_blocks_the_driver_holds_up_nobody() {
    let (scheduler, ended) = hasty(1);
    let (release, blocked) = mpsc::channel::<()>();
    let (blocked, blocks) = (Mutex::new(blocked), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&blocks);
    let handler = when_here(move |_run| {
        counted.fetch_add(1, Ordering::SeqCst);
        let _ = blocked.lock().unwrap().recv();
        async { Verdict::Success }
    });
    scheduler.schedule(1, at_once(50), handler).unwrap();
    // It ends in time until it is run by the driver, and is given up then.
    let ended = run_until(&scheduler, ended, 1, || blocks.load(Ordering::SeqCst) == 1).await;
    let here = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&here);
    let well = move |_run: Run<u32>| {
        counted.fetch_add(usize::from(is_here()), Ordering::SeqCst);
        async { Verdict::Success }
    };
    scheduler.schedule(2, at_once(60_000), well).unwrap();
    drop(run_until(&scheduler, ended, 2, || here.load(Ordering::SeqCst) > 2).await);
    let status = scheduler.status();
    assert_eq!((status.stuck, status.current_concurrency), (vec![1], 0));
    assert_eq!(scheduler.probe_status(&1).unwrap().state, KeyState::Stuck);
    release.send(()).unwrap();
    assert!(scheduler.cancel_and_wait(&1).await);
    assert!(scheduler.shutdown(secs(60)).await.aborted.is_empty());
}

/// Threads do not grow without bound: four may be lost in handlers, then all runs are tasks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_many_that_block_all_runs_are_tasks() {
    let (scheduler, mut ended) = hasty(1);
    let (release, blocked) = mpsc::channel::<()>();
    let (blocked, blocks) = (Arc::new(Mutex::new(blocked)), Arc::new(AtomicUsize::new(0)));
    for key in 1..=4 {
        let (blocked, counted) = (Arc::clone(&blocked), Arc::clone(&blocks));
        let handler = when_here(move |_run| {
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = blocked.lock().unwrap().recv();
            async { Verdict::Success }
        });
        scheduler.schedule(key, at_once(50), handler).unwrap();
        let is_blocked = || blocks.load(Ordering::SeqCst) == key as usize;
        ended = run_until(&scheduler, ended, key, is_blocked).await;
    }
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let well = move |_run: Run<u32>| {
        assert!(!is_here(), "no thread is left for this");
        counted.fetch_add(1, Ordering::SeqCst);
        async { Verdict::Success }
    };
    scheduler.schedule(9, at_once(60_000), well).unwrap();
    ended = run_until(&scheduler, ended, 9, || runs.load(Ordering::SeqCst) == 50).await;
    drop((release, ended));
    for key in 1..=4 {
        assert!(scheduler.cancel_and_wait(&key).await);
    }
    assert!(scheduler.shutdown(secs(60)).await.aborted.is_empty());
}

/// Why a run was called off, and whether it heard of it on the thread of the driver.
type Heard = Arc<Mutex<Vec<(Cause, bool)>>>;

/// Waits until it is called off. What was over before it began to wait is heard of at once, where
/// it is run, and is as good as done.
async fn hears(run: Run<u32>, heard: Heard) -> Verdict {
    let cause = run.operation.cancellation().cancelled().await;
    heard.lock().unwrap().push((cause, is_here()));
    match is_here() {
        true => Verdict::Success,
        false => Verdict::Failure,
    }
}

/// PRB-7, PRB-36: a panic on the driver's thread is a failure of that run and of nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_panic_is_a_failure_and_nothing_else() {
    let (scheduler, mut ended) = hasty(1);
    let panics = || -> Verdict { panic!("here") };
    let handler = when_here(move |_run| async move { panics() });
    scheduler.schedule(1, at_once(60_000), handler).unwrap();
    loop {
        let (rest, (_, how)) = next(ended).await;
        ended = rest;
        scheduler.trigger(&1);
        if how == Ended::Panicked {
            break;
        }
    }
    // It has to show again that it is prompt: the next one is a task.
    let (_, end) = next(ended).await;
    assert_eq!(end, (1, SUCCESS));
    assert!(scheduler.shutdown(secs(60)).await.aborted.is_empty());
}

/// What is not done at once is not lost: it goes on as a task, which hears of its deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_not_done_at_once_becomes_a_task() {
    let (scheduler, ended) = hasty(1);
    let causes = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&causes);
    let handler = when_here(move |run| hears(run, Arc::clone(&told)));
    scheduler.schedule(1, at_once(50), handler).unwrap();
    let is_task = || causes.lock().unwrap().last() == Some(&(Cause::Deadline, false));
    drop(run_until(&scheduler, ended, 1, is_task).await);
    assert!(
        causes
            .lock()
            .unwrap()
            .iter()
            .all(|(cause, _)| *cause == Cause::Deadline)
    );
    assert!(scheduler.shutdown(secs(60)).await.aborted.is_empty());
}

/// OPS-24: one that blocks the driver first and then awaits hears of its deadline, from the thread
/// that is the driver by then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_blocks_and_goes_on_is_cancelled() {
    let (scheduler, ended) = patient(2, secs(60));
    let (release, blocked) = mpsc::channel::<()>();
    let (blocked, causes) = (Mutex::new(blocked), Arc::new(Mutex::new(Vec::new())));
    let (blocks, told) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&causes));
    let (counted, others) = (Arc::clone(&blocks), scheduler.clone());
    let handler = when_here(move |run| {
        counted.fetch_add(1, Ordering::SeqCst);
        others.trigger(&2);
        let _ = blocked.lock().unwrap().recv();
        hears(run, Arc::clone(&told))
    });
    scheduler.schedule(1, at_once(200), handler).unwrap();
    let other = |_run: Run<u32>| async { Verdict::Success };
    scheduler.schedule(2, at_once(60_000), other).unwrap();
    // Key 1 is run until it blocks; then key 2 is, by the next driver.
    let mut ended = ended;
    loop {
        let (rest, (key, how)) = next(ended).await;
        ended = rest;
        match key {
            1 if how == SUCCESS => drop(scheduler.trigger(&1)),
            1 => break assert_eq!(how, Ended::Returned(Verdict::Failure)),
            _ if blocks.load(Ordering::SeqCst) > 0 => release.send(()).unwrap(),
            _ => {}
        }
    }
    let causes = causes.lock().unwrap().clone();
    assert_eq!(causes.last(), Some(&(Cause::Deadline, false)));
    assert!(causes.iter().all(|(cause, _)| *cause == Cause::Deadline));
    assert!(scheduler.shutdown(secs(60)).await.aborted.is_empty());
}

/// PRB-8: one that blocks the driver until it is given up, and only then awaits, is aborted then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_goes_on_after_it_was_given_up_is_aborted() {
    let (scheduler, ended) = hasty(1);
    let (release, blocked) = mpsc::channel::<()>();
    let (blocked, dropped) = (Mutex::new(blocked), Arc::new(AtomicUsize::new(0)));
    let (begun, counted) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&dropped));
    let begins = Arc::clone(&begun);
    let handler = when_here(move |_run| {
        let counts = Counts(Arc::clone(&counted));
        begins.fetch_add(1, Ordering::SeqCst);
        let _ = blocked.lock().unwrap().recv();
        async move {
            let _counts = counts;
            std::future::pending().await
        }
    });
    scheduler.schedule(1, at_once(50), handler).unwrap();
    let is_stuck = || scheduler.probe_status(&1).unwrap().state == KeyState::Stuck;
    let given_up = || begun.load(Ordering::SeqCst) == 1 && is_stuck();
    drop(run_until(&scheduler, ended, 1, given_up).await);
    assert_eq!(dropped.load(Ordering::SeqCst), 0);
    release.send(()).unwrap();
    assert!(scheduler.cancel_and_wait(&1).await);
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    assert!(scheduler.shutdown(secs(60)).await.aborted.is_empty());
}

/// Counts how often it was dropped.
struct Counts(Arc<AtomicUsize>);

impl Drop for Counts {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// The key stays taken while anybody holds a clone of the claim, also of a run of the driver.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_claim_outlives_a_prompt_handler() {
    let (scheduler, ended) = hasty(2);
    let (give, take) = mpsc::channel::<Claim>();
    let give = Mutex::new(give);
    let handler = when_here(move |run| {
        // Nobody takes it in the end.
        let _ = give.lock().unwrap().send(run.claim);
        async { Verdict::Success }
    });
    scheduler.schedule(1, at_once(60_000), handler).unwrap();
    let held = std::cell::OnceCell::new();
    let is_held = || take.try_recv().is_ok_and(|claim| held.set(claim).is_ok());
    drop(run_until(&scheduler, ended, 1, is_held).await);
    let status = scheduler.status();
    assert_eq!((status.current_concurrency, status.stuck), (0, vec![1]));
    assert!(scheduler.trigger(&1).will_run());
    assert!(take.try_recv().is_err(), "no second run");
    drop(take);
    drop(held);
    assert!(scheduler.cancel_and_wait(&1).await);
}

/// After the end of its runtime a handler is called no more.
#[test]
fn with_the_runtime_handlers_end() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let (scheduler, ended) = runtime.block_on(async {
        let (scheduler, ended) = hasty(1);
        let (counted, here) = (Arc::clone(&calls), Arc::new(AtomicUsize::new(0)));
        let was_here = Arc::clone(&here);
        let handler = move |_run: Run<u32>| {
            counted.fetch_add(1, Ordering::SeqCst);
            here.fetch_add(usize::from(is_here()), Ordering::SeqCst);
            async { Verdict::Success }
        };
        scheduler.schedule(1, at_once(60_000), handler).unwrap();
        let was_here = || was_here.load(Ordering::SeqCst) > 0;
        let ended = run_until(&scheduler, ended, 1, was_here).await;
        (scheduler, ended)
    });
    drop(runtime);
    let before = calls.load(Ordering::SeqCst);
    scheduler.trigger(&1);
    assert_eq!(ended.recv().unwrap(), (1, Ended::Overdue));
    assert_eq!(calls.load(Ordering::SeqCst), before);
}

/// PRB-8: of three that are to run in one turn the second one blocks, or the last. The ends of those
/// before it are told and the third is run all the same, while nothing else is due that would call a
/// driver.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_blocks_holds_up_nobody_of_its_turn() {
    for blocker in [2, 3] {
        blocks_in_a_turn(blocker).await;
    }
}

async fn blocks_in_a_turn(blocker: u32) {
    let (scheduler, mut ended) = patient(8, secs(3600));
    let (release, blocked) = mpsc::channel::<()>();
    let blocked = Mutex::new(blocked);
    let released = Arc::new(Mutex::new(None));
    let noted = Arc::clone(&released);
    let blocks = when_here(move |run: Run<u32>| {
        if noted.lock().unwrap().is_none() && run.trigger == Trigger::Manual {
            *noted.lock().unwrap() = Some(false);
            // For ever, but that the test is to fail then.
            let is_released = blocked.lock().unwrap().recv_timeout(secs(20)).is_ok();
            *noted.lock().unwrap() = Some(is_released);
        }
        async { Verdict::Success }
    });
    let well = |_run: Run<u32>| std::future::ready(Verdict::Success);
    let forever = || at_once(3_000_000);
    scheduler.schedule(blocker, forever(), blocks).unwrap();
    for other in (1..=3).filter(|key| *key != blocker) {
        scheduler.schedule(other, forever(), well).unwrap();
    }
    // While it is run by the driver, nobody else starts what it triggers: that is one batch.
    let (others, conducted) = (scheduler.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&conducted);
    let conducts = when_here(move |_run| {
        for key in 1..=3 {
            others.trigger(&key);
        }
        counted.fetch_add(1, Ordering::SeqCst);
        async { Verdict::Success }
    });
    scheduler.schedule(9, forever(), conducts).unwrap();
    for _ in 0..4 {
        ended = next(ended).await.0;
    }
    let is_blocked = || released.lock().unwrap().is_some();
    while !is_blocked() {
        scheduler.trigger(&9);
        let mut left = vec![9, 1, 2, 3];
        while !(left.is_empty() || is_blocked() && left == [blocker]) {
            let (rest, (key, how)) = next(ended).await;
            ended = rest;
            assert_eq!(how, SUCCESS);
            left.retain(|other| *other != key);
            if key == 9 && conducted.swap(0, Ordering::SeqCst) == 0 {
                break;
            }
        }
    }
    let _ = release.send(());
    assert!(scheduler.shutdown(secs(60)).await.aborted.is_empty());
    assert_eq!(*released.lock().unwrap(), Some(true));
}

/// OPS-24: the deadline of one that is to run after another in the same turn passes while that other
/// one blocks. It begins all the same, and hears of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_that_passes_while_another_blocks_is_told() {
    let (scheduler, mut ended) = patient(8, secs(3600));
    let (release, blocked) = mpsc::channel::<()>();
    let (blocked, is_blocked) = (Mutex::new(blocked), Arc::new(AtomicBool::new(false)));
    let (blocks, waits) = (Arc::clone(&is_blocked), Arc::clone(&is_blocked));
    let blocker = when_here(move |run: Run<u32>| {
        if run.trigger == Trigger::Manual && !blocks.swap(true, Ordering::SeqCst) {
            let _ = blocked.lock().unwrap().recv();
        }
        async { Verdict::Success }
    });
    let hears = when_here(move |run: Run<u32>| {
        let is_behind = waits.load(Ordering::SeqCst);
        async move {
            if !is_behind {
                return Verdict::Success;
            }
            // For ever, but that the test is to fail then.
            match tokio::time::timeout(secs(20), run.operation.cancellation().cancelled()).await {
                Ok(_) => Verdict::Failure,
                Err(_) => Verdict::Success,
            }
        }
    });
    scheduler.schedule(1, at_once(3_000_000), blocker).unwrap();
    // The driver is taken over no sooner than 5 ms after it was left.
    scheduler.schedule(2, at_once(3), hears).unwrap();
    let (others, conducted) = (scheduler.clone(), Arc::new(AtomicBool::new(false)));
    let conducts = Arc::clone(&conducted);
    let conductor = when_here(move |_run| {
        for key in 1..=2 {
            others.trigger(&key);
        }
        conducts.store(true, Ordering::SeqCst);
        async { Verdict::Success }
    });
    scheduler
        .schedule(9, at_once(3_000_000), conductor)
        .unwrap();
    for _ in 0..3 {
        ended = next(ended).await.0;
    }
    let mut last = None;
    while !is_blocked.load(Ordering::SeqCst) {
        scheduler.trigger(&9);
        let mut left = vec![9, 1, 2];
        while !(left.is_empty() || left == [1] && is_blocked.load(Ordering::SeqCst)) {
            let (rest, (key, how)) = next(ended).await;
            ended = rest;
            left.retain(|other| *other != key);
            if key == 2 {
                last = Some(how);
            }
            if key == 9 && !conducted.swap(false, Ordering::SeqCst) {
                break;
            }
        }
    }
    assert_eq!(last, Some(Ended::Returned(Verdict::Failure)));
    release.send(()).unwrap();
    assert!(scheduler.shutdown(secs(60)).await.aborted.is_empty());
}

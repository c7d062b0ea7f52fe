//! The loop of one task.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use rand::rngs::SmallRng;
use tokio::{
    sync::watch,
    task::{JoinError, JoinHandle},
    time::{sleep, sleep_until, timeout},
};

use crate::{
    Event, Outcome, Tick, Uptime,
    event::What,
    outcome::panic_message,
    supervisor::{Live, Supervised},
    sync::lock,
};

/// What one tick does.
pub(crate) type Work = Pin<Box<dyn Future<Output = Outcome> + Send>>;
/// What makes it.
pub(crate) type Check = Arc<dyn Fn(Tick) -> Work + Send + Sync>;

/// A tick that was dropped and does not end for so long blocks its thread.
pub(crate) const STUCK_AFTER: Duration = Duration::from_secs(1);

/// Ticks until it is told to stop. No user code runs in here: a tick has its own task.
pub(crate) async fn run(live: Live, task: Arc<Supervised>, check: Check, mut rng: SmallRng) {
    let mut stop = task.stop.subscribe();
    while wait(&live, &task, &mut stop).await {
        let begun = live.shared.now();
        let (tick, limit) = {
            let mut kernel = lock(&task.kernel);
            (kernel.begin(begun), kernel.timeout)
        };
        let check = Arc::clone(&check);
        // Called in there as well: it may panic before it returns.
        let mut work = tokio::spawn(async move { check(tick).await });
        // A worker runs what it spawned itself and wakes no other for it. Should it block, nobody
        // may be left to turn the timers, this loop's among them. A second task wakes another.
        tokio::spawn(async {});
        let outcome = tokio::select! {
            biased;
            () = told_to_stop(&mut stop) => {
                give_up(&mut work).await;
                return;
            }
            ended = &mut work => of(ended),
            () = sleep(limit) => Outcome::TimedOut,
        };
        settle(&live, &task, tick, outcome.clone(), begun, &mut rng);
        task.first.send_if_modified(|first| {
            let is_first = first.is_none();
            if is_first {
                *first = Some(outcome.clone());
            }
            is_first
        });
        if outcome == Outcome::TimedOut {
            end_late(&live, &task, &mut work).await;
        }
    }
}

/// Waits until the next tick is due. `false` when it is to stop.
async fn wait(live: &Live, task: &Supervised, stop: &mut watch::Receiver<bool>) -> bool {
    loop {
        let due = lock(&task.kernel).due();
        tokio::select! {
            biased;
            () = told_to_stop(stop) => return false,
            () = task.changed.notified() => {}
            () = sleep_until(live.shared.at(due)) => return true,
        }
    }
}

async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    // An error is a sender that is gone, and the task holds it.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Takes the outcome of a tick over, and tells what is worth it.
fn settle(
    live: &Live,
    task: &Supervised,
    tick: Tick,
    outcome: Outcome,
    begun: Duration,
    rng: &mut SmallRng,
) {
    let now = live.shared.now();
    let took = now.saturating_sub(begun);
    let (events, status) = {
        let mut kernel = lock(&task.kernel);
        let events = kernel.end(outcome.clone(), took, now, rng);
        (events, kernel.status(now))
    };
    tracing::debug!(
        task = &*status.name,
        tick = tick.number,
        outcome = %outcome,
        took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        uptime = %Uptime(now),
        healthy = status.counts.healthy,
        failed = status.counts.failures(),
        missed = status.missed,
        "tick"
    );
    events.into_iter().for_each(|event| live.shared.tell(event));
}

/// Drops a tick that has timed out. Until it has ended no other begins: one that blocks its thread
/// is shown as stuck.
async fn end_late(live: &Live, task: &Supervised, work: &mut JoinHandle<Outcome>) {
    work.abort();
    match timeout(STUCK_AFTER, &mut *work).await {
        Ok(ended) => note_panic(ended),
        Err(_) => {
            let event = lock(&task.kernel).stuck();
            live.shared.tell(event);
            note_panic(work.await);
        }
    }
    lock(&task.kernel).over(live.shared.now());
}

/// Drops a tick and waits for its end.
async fn give_up(work: &mut JoinHandle<Outcome>) {
    work.abort();
    note_panic(work.await);
}

/// What was given up has no outcome any more, but a panic should not go unheard.
fn note_panic(ended: Result<Outcome, JoinError>) {
    if let Err(ended) = ended
        && let Ok(payload) = ended.try_into_panic()
    {
        let message = panic_message(payload);
        tracing::warn!(message, "a tick panicked after it was given up");
    }
}

fn of(ended: Result<Outcome, JoinError>) -> Outcome {
    match ended.map_err(JoinError::try_into_panic) {
        Ok(outcome) => outcome,
        Err(Ok(payload)) => Outcome::Panicked {
            message: panic_message(payload),
        },
        // Aborted from outside, as by a runtime that ends.
        Err(Err(_)) => Outcome::TimedOut,
    }
}

/// Failures that begin are warnings, alerts are errors.
pub(crate) fn log(event: &Event) {
    let (task, tick) = (&*event.task, event.tick);
    match &event.what {
        What::Failing {
            outcome: Outcome::Unhealthy { .. },
        } => {
            tracing::warn!(task, tick, "{event}");
        }
        What::Recovered { .. } => tracing::info!(task, tick, "{event}"),
        _ => tracing::error!(task, tick, "{event}"),
    }
}

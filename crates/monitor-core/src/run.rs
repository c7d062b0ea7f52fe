//! One run: breaker, probe, verdict, commit. The way of a check through the code starts here.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use monitor_backoff::Verdict;
use monitor_breaker::OwnedPermit;
use monitor_fault::{Fault, Layer, Reason};
use monitor_model::{
    EventKind, Finding, MonitorId, Observation, ProbeContext, Progress, Record, Trigger, Unobserved,
};
use monitor_operation::{Cause, OperationId};
use monitor_scheduler::{Completion, Run};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::delivery::{self, Delivery, OnItsWay};
use crate::entry::Entry;
use crate::shared::{Shared, unix_ms};

/// Woken later than this after a deadline, the prober was stalled itself: that the target did not
/// answer in time can then not be told.
const STALL: Duration = Duration::from_secs(1);

/// The scheduler's handler of a monitor. It holds nothing alive: what is gone does not run.
pub(crate) fn handler(
    shared: Weak<Shared>,
    entry: Weak<Entry>,
) -> impl Fn(Run<MonitorId>) -> std::pin::Pin<Box<dyn Future<Output = Completion> + Send>>
+ Send
+ Sync
+ 'static {
    move |run| {
        let (shared, entry) = (shared.upgrade(), entry.upgrade());
        Box::pin(async move {
            match (shared, entry) {
                (Some(shared), Some(entry)) => check(&shared, &entry, run).await,
                _ => Completion::from(Verdict::Ignore),
            }
        })
    }
}

async fn check(shared: &Arc<Shared>, entry: &Arc<Entry>, run: Run<MonitorId>) -> Completion {
    // Whoever checks by hand is at work there, and wants to know.
    let maintenance = &entry.definition.settings.maintenance;
    if trigger(run.trigger) == Trigger::Timer && maintenance.until(shared.unix()).is_some() {
        let record = unobserved(&run, entry, Unobserved::Maintenance);
        commit(shared, entry, run, record).await;
        return Completion::from(Verdict::Ignore);
    }
    let permit = match entry
        .breaker
        .as_ref()
        .map(|b| b.try_acquire_owned(shared.scheduler.now()))
    {
        None => None,
        Some(Ok(permit)) => Some(permit),
        Some(Err(rejected)) => {
            // INV-CORE-2: nobody looked, so nothing is said about the target.
            let record = unobserved(&run, entry, Unobserved::BreakerOpen);
            commit(shared, entry, run, record).await;
            let not_before = shared.scheduler.now().saturating_add(rejected.retry_after);
            return Completion::new(Verdict::Ignore).not_before(not_before);
        }
    };

    let begun = Instant::now();
    let in_flight = InFlight::new(shared, &run);
    let looked = look(shared, entry, &run).await;
    drop(in_flight); // what has been seen is not called off any more
    let took = begun.elapsed();

    let (mut record, verdict) = match looked {
        Looked::Saw(observation, progress) => {
            let verdict = verdict_of(&observation.finding);
            let record = Record::observed(
                entry.definition.monitor.id.clone(),
                run.operation.epoch(),
                unix_ms(run.due.unix),
                observation,
                progress.phases(),
            );
            (record, verdict)
        }
        // Fenced, or the process goes down. The first is refused by the commit below.
        Looked::CalledOff => (
            unobserved(&run, entry, Unobserved::Shutdown),
            Verdict::Ignore,
        ),
    };
    record.interval_ms = unix_ms(entry.definition.settings.interval);
    record.started_unix_ms = shared.unix_ms(run.started);
    record.took = Some(took);
    record.trigger = trigger(run.trigger);
    record.operation = Some(run.operation.id());
    let fault = record.fault().cloned();
    if commit(shared, entry, run, record).await == Committed::Fenced {
        // A fenced result is nobody's verdict: dropping the permit gives a trial slot back.
        return Completion::from(Verdict::Ignore);
    }
    let completion = conclude(shared, entry, permit, verdict, fault.as_ref());
    match fault {
        Some(fault) => completion.error(fault.to_string()),
        None => completion,
    }
}

/// Lists an operation as looking for as long as it lives, so that shutdown can call it off.
struct InFlight<'a> {
    shared: &'a Shared,
    id: OperationId,
}

impl<'a> InFlight<'a> {
    fn new(shared: &'a Shared, run: &Run<MonitorId>) -> Self {
        let id = run.operation.id();
        shared.running().insert(id, run.operation.canceller());
        Self { shared, id }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        // Taken out under the lock, dropped after it.
        let canceller = self.shared.running().remove(&self.id);
        drop(canceller);
    }
}

enum Looked {
    Saw(Observation, Progress),
    CalledOff,
}

/// Lets the probe look, for as long as the run may take.
///
/// The probe works in a task of its own, which holds the run's claim: a probe that blocks its
/// thread neither holds up the verdict nor lets a second one start.
async fn look(shared: &Shared, entry: &Entry, run: &Run<MonitorId>) -> Looked {
    let progress = Progress::default();
    let cancellation = run.operation.cancellation();
    let context = ProbeContext {
        timeout: run.deadline.saturating_duration_since(Instant::now()),
        cancellation: cancellation.clone(),
        progress: progress.clone(),
        resources: shared.resources.clone(),
        footprint: entry.footprint.clone(),
    };
    let probe = Arc::clone(&entry.definition.probe);
    let claim = run.claim.clone();
    let mut task = AbortOnDrop(tokio::spawn(async move {
        let check = probe.check(&context);
        // All that the probe keeps across its waits; buffers behind pointers are its own to tell.
        let state = context.footprint.hold(size_of_val(&*check));
        let observation = check.await;
        drop((state, claim));
        observation
    }));
    tokio::select! {
        biased;
        done = &mut task.0 => Looked::Saw(
            done.unwrap_or_else(|error| Observation::fault(panicked(&error))),
            progress,
        ),
        cause = cancellation.cancelled() => match cause {
            Cause::Deadline => Looked::Saw(overdue(entry, run, &progress), progress),
            _ => Looked::CalledOff,
        },
        () = tokio::time::sleep_until(run.deadline) => {
            Looked::Saw(overdue(entry, run, &progress), progress)
        }
    }
}

struct AbortOnDrop(JoinHandle<Observation>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn panicked(error: &tokio::task::JoinError) -> Fault {
    let what = if error.is_panic() {
        "the probe panicked"
    } else {
        "the probe was aborted"
    };
    Fault::new(Layer::Process, Reason::Panicked).with_detail(what)
}

/// What a check comes to that reached its deadline: down, for it did not answer in time - unless
/// the prober slept through the deadline, and cannot know.
fn overdue(entry: &Entry, run: &Run<MonitorId>, progress: &Progress) -> Observation {
    let late = Instant::now().saturating_duration_since(run.deadline);
    if late > STALL {
        let detail = format!("the prober woke {late:.1?} after the deadline");
        let fault = Fault::new(Layer::Local, Reason::Stalled).with_detail(detail);
        return Observation::fault(fault);
    }
    let layer = progress.layer().unwrap_or(Layer::Process);
    let timeout = entry.definition.settings.effective_timeout();
    let fault = Fault::new(layer, Reason::Timeout).with_detail(format!("no answer in {timeout:?}"));
    Observation {
        finding: Finding::Down(fault),
        note: None,
    }
}

const fn verdict_of(finding: &Finding) -> Verdict {
    match finding {
        Finding::Up | Finding::Degraded(_) => Verdict::Success,
        Finding::Down(_) => Verdict::Failure,
        Finding::Unknown(_) => Verdict::Ignore,
    }
}

fn unobserved(run: &Run<MonitorId>, entry: &Entry, reason: Unobserved) -> Record {
    let mut record = Record::unobserved(
        entry.definition.monitor.id.clone(),
        run.operation.epoch(),
        unix_ms(run.due.unix),
        1,
        reason,
    );
    record.interval_ms = unix_ms(entry.definition.settings.interval);
    record.trigger = trigger(run.trigger);
    record
}

pub(crate) const fn trigger(trigger: monitor_scheduler::Trigger) -> Trigger {
    match trigger {
        monitor_scheduler::Trigger::Manual => Trigger::Manual,
        _ => Trigger::Timer,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Committed {
    Fenced,
    OnItsWay,
}

/// Writes the record if the run is still entitled to. Twice fenced: here against changes in this
/// process, and by the epoch in the store's own transaction.
///
/// In a task of its own, which owns the run: a handler that is given up while the store is slow
/// takes no record with it, and the monitor's next check waits until this one is written.
async fn commit(
    shared: &Arc<Shared>,
    entry: &Arc<Entry>,
    run: Run<MonitorId>,
    record: Record,
) -> Committed {
    let on_its_way = OnItsWay::new(shared, entry, &record);
    let (shared, entry) = (Arc::clone(shared), Arc::clone(entry));
    let (answer, committed) = oneshot::channel();
    tokio::spawn(async move {
        let run = run; // the whole of it, claim included, and not the one field named below
        let section = match run.operation.begin_commit() {
            Ok(section) => section,
            Err(error) => {
                drop(on_its_way);
                fenced(&shared, &entry, error.cause().unwrap_or(Cause::Superseded));
                let _ = answer.send(Committed::Fenced);
                return;
            }
        };
        match delivery::offer(&shared, &entry, &record).await {
            Delivery::Applied => {
                let _ = answer.send(Committed::OnItsWay);
            }
            Delivery::Refused(cause) => {
                fenced(&shared, &entry, cause);
                let _ = answer.send(Committed::Fenced);
            }
            Delivery::Failed => {
                drop(section);
                let _ = answer.send(Committed::OnItsWay);
                if let Some(cause) = delivery::insist(&shared, &entry, &record).await {
                    fenced(&shared, &entry, cause);
                }
            }
        }
        drop(on_its_way);
    });
    // The task answers in any case, unless the runtime is going down.
    committed.await.unwrap_or(Committed::OnItsWay)
}

pub(crate) fn fenced(shared: &Shared, entry: &Entry, cause: Cause) {
    entry.fenced.fetch_add(1, Relaxed);
    let monitor = entry.definition.monitor.id.clone();
    shared.hub.publish(EventKind::Fenced { monitor, cause });
}

/// Tells breaker and scheduler the verdict. The next check comes no sooner than an open breaker
/// lets it, and than what failed is worth another look.
fn conclude(
    shared: &Shared,
    entry: &Entry,
    permit: Option<OwnedPermit>,
    verdict: Verdict,
    fault: Option<&Fault>,
) -> Completion {
    let now = shared.scheduler.now();
    if let Some(permit) = permit {
        permit.record(verdict, now);
    }
    let breaker = entry.breaker.as_ref().and_then(|b| b.retry_after(now));
    let category = wait_for_category(entry, verdict, fault);
    match breaker.max(category) {
        Some(wait) => Completion::new(verdict).not_before(now.saturating_add(wait)),
        None => Completion::new(verdict),
    }
}

/// How long the category of `fault` asks to wait, where the settings tell categories apart.
fn wait_for_category(entry: &Entry, verdict: Verdict, fault: Option<&Fault>) -> Option<Duration> {
    let settings = &entry.definition.settings;
    let policies = settings.by_category.as_ref()?;
    let mut streaks = entry.streaks.lock().unwrap_or_else(PoisonError::into_inner);
    streaks.wait_after(verdict, fault, policies, settings.interval)
}

//! The handle: what a program asks of a scheduler.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    num::NonZeroUsize,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use monitor_operation::{Cause, Fence, Operations};

use crate::{
    Class, Completion, Config, Explanation, Observer, Pace, Page, ProbeStatus, Run, ScheduleError,
    Scheduled, ShutdownReport, Spec, Status, TriggerOutcome, driver,
    kernel::{Core, RunId},
    shared::{Handler, Shared, guarded, key_of},
    status::Seen,
    task::Calls,
};

/// Runs each key when it is due, and never two runs of one key at once.
///
/// Clones are handles to the same thing. When the last one is dropped nothing more is started; the
/// runs that are going on may end. For an orderly end call [`shutdown`](Scheduler::shutdown).
///
/// No method blocks or waits unless it is `async`. `Hash` and `Eq` of a key run under the
/// scheduler's lock and must not call back; handlers, observers and destructors run under none.
pub struct Scheduler<K> {
    handle: Arc<Handle<K>>,
}

/// Tells the driver when the last clone of the scheduler is dropped.
struct Handle<K> {
    shared: Arc<Shared<K>>,
}

impl<K: Clone + Eq + Hash + Send + Sync + 'static> Scheduler<K> {
    /// Makes a scheduler without keys and starts its driver.
    ///
    /// The driver is a thread of its own on a multi-threaded runtime, where a handler that blocks
    /// a worker must not hold it up, and a task on a single-threaded one. On its thread it calls
    /// handlers itself that were done at once when they last ran; a second thread, made when there
    /// is the first of these, becomes the driver if one of them blocks.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with its clock enabled, in which handlers are to run, and when
    /// there is no thread to be had for the driver.
    #[must_use]
    pub fn new(config: Config, operations: Operations<K>, observer: Arc<dyn Observer<K>>) -> Self {
        let shared = Arc::new(Shared::new(
            Core::new(&config),
            operations,
            observer,
            driver::bell(),
        ));
        driver::start(Arc::clone(&shared));
        Self {
            handle: Arc::new(Handle { shared }),
        }
    }

    /// Adds a key, or gives one that is there a new spec and handler.
    ///
    /// A new key becomes known to the registry of operations if it is not yet, in an epoch that it
    /// was never in, and stays known for as long as it is scheduled: afterwards only if somebody
    /// else has [registered](Operations::register) it.
    /// For a key that is there, its operations are fenced as [`Edited`](Cause::Edited) and the
    /// next run is under the new epoch; a run that is going on is told to stop and keeps the key
    /// until it has. A paused key stays paused. A key in backoff keeps its due time.
    ///
    /// A panic in `handler` is a failure of that run and of nothing else. A run is a task of the
    /// runtime, unless the handler was done at once the last time: then it is polled once outside of
    /// a task, and becomes one if it is not done.
    ///
    /// # Errors
    ///
    /// [`ShutDown`](ScheduleError::ShutDown): the scheduler takes no more keys; nothing was changed.
    pub fn schedule<H, F>(&self, key: K, spec: Spec, handler: H) -> Result<Scheduled, ScheduleError>
    where
        H: Fn(Run<K>) -> F + Send + Sync + 'static,
        F: Future<Output: Into<Completion>> + Send + 'static,
    {
        self.place(key, spec, handler, false)
    }

    /// Like [`schedule`](Scheduler::schedule), but the key is paused afterwards, also if it was
    /// not: until [`resume`](Scheduler::resume) it runs only when it is
    /// [triggered](Scheduler::trigger).
    ///
    /// For a change that has to be stored before anything runs under it: this, store the epoch it
    /// returns, resume. What is triggered before the epoch is stored runs under one that the store
    /// does not know yet, and refuses.
    ///
    /// # Errors
    ///
    /// As for [`schedule`](Scheduler::schedule).
    pub fn schedule_paused<H, F>(
        &self,
        key: K,
        spec: Spec,
        handler: H,
    ) -> Result<Scheduled, ScheduleError>
    where
        H: Fn(Run<K>) -> F + Send + Sync + 'static,
        F: Future<Output: Into<Completion>> + Send + 'static,
    {
        self.place(key, spec, handler, true)
    }

    fn place<H, F>(
        &self,
        key: K,
        spec: Spec,
        handler: H,
        paused: bool,
    ) -> Result<Scheduled, ScheduleError>
    where
        H: Fn(Run<K>) -> F + Send + Sync + 'static,
        F: Future<Output: Into<Completion>> + Send + 'static,
    {
        let shared = self.shared();
        // Known for as long as the schedule has it, for it goes with the handler.
        let at_hand = shared.operations.hold(key);
        // None only if somebody forgets it at this moment: then it begins nothing.
        let epoch = at_hand.epoch().unwrap_or_default();
        let handler: Handler<K> = Arc::new(Calls::new(at_hand.clone(), handler));
        let placed = shared.change(|core, now| core.schedule(&spec, handler, paused, now));
        // The handler that comes back is dropped here, under no lock.
        let created = placed.map_err(|_| ScheduleError::ShutDown)?;
        if created {
            return Ok(Scheduled::Created { epoch });
        }
        let fence = at_hand.fence(Cause::Edited);
        // Somebody who forgets a key while it is edited leaves nothing to be fenced.
        Ok(
            fence.map_or(Scheduled::Created { epoch }, |fence| Scheduled::Updated {
                fence,
            }),
        )
    }

    /// Makes room for so many more keys. Adding them then files none of those anew that are there,
    /// which with hundreds of thousands holds up what is due. False, and nothing is changed but perhaps
    /// some room made, if there is not so much memory.
    #[expect(
        clippy::must_use_candidate,
        reason = "without room keys are added as well"
    )]
    pub fn reserve(&self, keys: usize) -> bool {
        self.shared().core(|core, _| core.reserve(keys))
    }

    /// Takes a key out of the schedule and fences its operations as
    /// [`Stopped`](Cause::Stopped). None if there is no such key.
    ///
    /// A run that is going on is told to stop; if the key is scheduled again, its next run waits
    /// until that one has ended.
    pub fn cancel(&self, key: &K) -> Option<Fence> {
        self.take_out(key).map(|(fence, _)| fence)
    }

    /// Cancels a key. Returns the fence, and the run that may still be going on.
    fn take_out(&self, key: &K) -> Option<(Fence, Option<RunId>)> {
        // Before its handler goes, and with that perhaps the last who had it at hand.
        let at_hand = self.shared().operations.key(key)?;
        let run = self
            .shared()
            .change(|core, now| core.remove(key, now).then(|| core.run_of(key)))?;
        Some((at_hand.fence(Cause::Stopped)?, run))
    }

    /// Takes a key out of the schedule, and waits until its run has ended and its commits are
    /// settled. False, at once, if there is no such key.
    ///
    /// # Cancel safety
    ///
    /// The key is cancelled when the future is first polled. Dropping it later loses the waiting
    /// only. A run that never ends is waited for as long: put a timeout around it.
    pub async fn cancel_and_wait(&self, key: &K) -> bool {
        let shared = self.shared();
        let Some((fence, run)) = self.take_out(key) else {
            return false;
        };
        if run.is_some() {
            shared
                .until(|| shared.core(|core, _| core.run_of(key)) != run)
                .await;
        }
        fence.settled().await;
        true
    }

    /// Pauses a key and fences its operations as [`Paused`](Cause::Paused). None if there is no
    /// such key.
    ///
    /// When this returns nothing of before may commit any more: only commits that had begun may
    /// still be under way, see [`Fence::settled`]. Until [`resume`](Scheduler::resume) the key runs
    /// only when it is [triggered](Scheduler::trigger). Pausing again fences again.
    pub fn pause(&self, key: &K) -> Option<Fence> {
        let known = self.shared().change(|core, now| core.pause(key, now));
        if known {
            self.fence(key, Cause::Paused)
        } else {
            None
        }
    }

    /// Ends the pause of a key: it runs again from its next slot on. True if there is such a key,
    /// paused or not.
    ///
    /// Fences nothing. Where the epoch is stored and a resume has to bring a newer one, fence the
    /// key in [`operations`](Scheduler::operations), store, then resume.
    pub fn resume(&self, key: &K) -> bool {
        let shared = self.shared();
        shared.change(|core, now| core.resume(key, now))
    }

    /// Runs a key now: instead of at its next due time if it waits for that, or once more after
    /// the run that is going on. A paused key is run this once and stays paused.
    ///
    /// After a manual run that does not fail the timer follows one interval after its start, or at
    /// the next slot if that has passed, and then goes back to the slots. Unless the spec says
    /// otherwise a trigger ends the backoff.
    pub fn trigger(&self, key: &K) -> TriggerOutcome {
        self.shared().change(|core, now| core.trigger(key, now))
    }

    /// Ends the failure streak of a key; if it waits out a backoff it runs at its next slot
    /// instead. The text and time of its last error are kept. True if there is such a key.
    pub fn reset_backoff(&self, key: &K) -> bool {
        self.shared()
            .change(|core, now| core.reset_backoff(key, now))
    }

    /// Cancels every key, as by [`cancel`](Scheduler::cancel), and returns how many there were.
    #[expect(clippy::must_use_candidate, reason = "clearing nothing is no mistake")]
    pub fn clear(&self) -> usize {
        let keys = self.shared().change(|core, now| core.clear(now));
        let count = keys.len();
        for handler in keys {
            drop(handler.at_hand().fence(Cause::Stopped));
            guarded(|| drop(handler));
        }
        count
    }

    /// Changes how many runs may hold a process permit at once. Above a lowered limit the runs
    /// that are going on go on, and nothing starts until enough of them have ended.
    pub fn set_max_concurrent(&self, limit: NonZeroUsize) {
        self.shared()
            .change(|core, now| core.set_limit(limit.get(), now));
    }

    /// Changes how fast a class of keys may go, from the next due time of each on: what a program
    /// under pressure does. Due times at which nothing is run are reported as missed, with
    /// [`Suspended`](crate::MissedReason::Suspended) or
    /// [`Stretched`](crate::MissedReason::Stretched) as the reason; they stay on their grid, so
    /// that full pace brings no rush. Keys of a suspended class that wait for a permit leave the
    /// queue. Runs that are going on go on, and a manual trigger still runs a key.
    pub fn set_pace(&self, class: Class, pace: Pace) {
        self.shared()
            .change(|core, now| core.set_pace(class, pace, now));
    }

    /// Returns what the scheduler is doing. Keys are looked at page by page, see [`Status`].
    #[must_use]
    pub fn status(&self) -> Status<K> {
        let whole = self.shared().core(|core, now| core.overview(now));
        let (mut seen, mut from) = (Vec::new(), Some(0));
        while let Some(at) = from {
            from = self.look(at, Page::<K>::MOST, &mut seen);
        }
        let added = self.shared().core(|core, _| core.added_total());
        if added != whole.added_total {
            // One that was taken out and added again meanwhile may have been met twice.
            let mut last: HashMap<K, usize> = HashMap::new();
            for (position, seen) in seen.iter().enumerate() {
                last.insert(seen.status.service.clone(), position);
            }
            let mut position = 0;
            seen.retain(|seen| {
                position += 1;
                last.get(&seen.status.service) == Some(&(position - 1))
            });
        }
        Status::of(whole, seen)
    }

    /// Returns a part of the keys, each as it is: from the number that the page before gave, or
    /// from 0, as many as [`Page::MOST`] at most. A key that is there all the while is met once.
    #[must_use]
    pub fn page(&self, from: u32) -> Page<K> {
        let mut seen = Vec::new();
        let next = self.look(from, Page::<K>::MOST, &mut seen);
        Page {
            states: seen.into_iter().map(|seen| seen.status).collect(),
            next,
        }
    }

    fn look(&self, from: u32, most: usize, all: &mut Vec<Seen<K>>) -> Option<u32> {
        let page = |core: &mut Core<_>, now| core.page(from, most, now);
        let (seen, next) = self.shared().look(page);
        all.extend(seen.into_iter().map(|seen| seen.map(key_of)));
        next
    }

    /// Returns why a key is or is not being run now, when next, and which limits hold. None if
    /// there is no such key.
    #[must_use]
    pub fn explain(&self, key: &K) -> Option<Explanation<K>> {
        let explanation = self.shared().core(|core, now| core.explain(key, now))?;
        Some(explanation.map(key_of))
    }

    /// Returns what one key is doing, or none if there is no such key.
    #[must_use]
    pub fn probe_status(&self, key: &K) -> Option<ProbeStatus<K>> {
        let status = self
            .shared()
            .core(|core, now| core.probe_status(key, now))?;
        Some(status.map(key_of))
    }

    /// Ends the scheduler within `grace`: starts nothing more, lets the runs that are going on
    /// end, and when the grace is over fences those that have not as
    /// [`Shutdown`](Cause::Shutdown) and aborts them.
    ///
    /// Keys that are due and wait for a permit are reported as missed. When this returns, the
    /// observer has heard everything. A second call does no harm.
    ///
    /// # Cancel safety
    ///
    /// The scheduler is closed when the future is first polled. Dropping it later leaves the runs
    /// to end by themselves, at the latest some time after their deadlines.
    pub async fn shutdown(&self, grace: Duration) -> ShutdownReport<K> {
        let shared = self.shared();
        let running = shared.change(|core, now| {
            core.close(now);
            core.running()
        });
        let idle = shared.until(|| shared.core(|core, _| core.running()) == 0);
        let in_time = tokio::time::timeout(grace, idle).await.is_ok();
        let left = if in_time {
            Vec::new()
        } else {
            shared.core(|core, now| core.abandon(now))
        };
        for handler in &left {
            drop(handler.at_hand().fence(Cause::Shutdown));
        }
        shared.stopping.store(true, Ordering::Release);
        shared.bell.ring();
        shared.until(|| shared.is_stopped()).await;
        ShutdownReport {
            finished: running.saturating_sub(left.len()),
            aborted: left.into_iter().map(key_of).collect(),
        }
    }

    /// Returns the registry in which the runs begin their operations.
    #[must_use]
    pub fn operations(&self) -> &Operations<K> {
        &self.shared().operations
    }

    /// Returns the time since the scheduler was made, by the clock that all its times are in.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.shared().now()
    }

    /// Moves a key to its next epoch. Always after the kernel has been told to start nothing more of
    /// before: see `begin`.
    fn fence(&self, key: &K, cause: Cause) -> Option<Fence> {
        self.shared().operations.fence(key, cause)
    }

    fn shared(&self) -> &Shared<K> {
        &self.handle.shared
    }
}

impl<K> Drop for Handle<K> {
    fn drop(&mut self) {
        self.shared.orphaned.store(true, Ordering::Release);
        self.shared.bell.ring();
    }
}

impl<K> Clone for Scheduler<K> {
    fn clone(&self) -> Self {
        Self {
            handle: Arc::clone(&self.handle),
        }
    }
}

impl<K> fmt::Debug for Scheduler<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler").finish_non_exhaustive()
    }
}

//! A registration: the right to claim.

use std::fmt;
use std::pin::pin;
use std::time::Duration;

use monitor_backoff::Policy;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::claimed::Claimed;
use crate::kernel::roster::Admitted;
use crate::session::Handle;
use crate::signal::Signal;
use crate::{Claim, ClaimError, ClaimRequest, ClaimedJob, StoreErrorKind, WorkerId, WorkerState};

/// How often a worker that is not known is asked for again before that is the answer.
const UNKNOWN_RETRIES: u32 = 2;

/// When to ask again for a job that is due already and was not brought, since somebody has it
/// locked: there is no telling how long.
const LOCKED: Duration = Duration::from_millis(50);

/// A worker of this process, known to the database.
///
/// INV-JOBS-2: [`Jobs::register`](crate::Jobs::register) makes it and nothing copies it; claiming
/// is its method. So nothing is claimed before a registration has been committed, and nothing by
/// an id that was only guessed.
///
/// ```compile_fail,E0599
/// fn copied(registered: &monitor_jobs::Registered) -> monitor_jobs::Registered {
///     registered.clone() // there is one of it
/// }
/// ```
///
/// It beats as long as it, or any [`Claimed`] of its, lives, and deregisters after the last of
/// them. When its worker was given up it is poisoned: everything claimed through it is told to
/// stop, and it claims no more. Register anew then.
#[derive(Debug)]
pub struct Registered {
    handle: Handle,
    settler: JoinHandle<()>,
    history: bool,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("worker", &self.session.worker)
            .finish_non_exhaustive()
    }
}

impl Registered {
    pub(crate) fn new(handle: Handle, settler: JoinHandle<()>) -> Self {
        Self {
            handle,
            settler,
            history: true,
        }
    }

    /// Whether its attempts are kept in the history; they are by default.
    #[must_use]
    pub fn history(self, history: bool) -> Self {
        Self { history, ..self }
    }

    /// Its id: to be shown, it gives no right.
    #[must_use]
    pub fn id(&self) -> WorkerId {
        self.handle.session.worker
    }

    /// How many jobs it may claim now.
    #[must_use]
    pub fn free(&self) -> usize {
        self.handle.session.desk.free()
    }

    /// How many jobs it holds, those included whose end is on its way.
    #[must_use]
    pub fn held(&self) -> usize {
        self.handle.session.desk.held()
    }

    /// Whether its worker was given up, so that it will never claim again.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.handle.session.desk.is_poisoned()
    }

    /// Whether somebody asked it to drain.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.handle.session.desk.is_draining()
    }

    /// Waits until a slot becomes free, it is lost, or it is asked to drain: look again then.
    /// What happens after this call is noticed, even before the first poll.
    pub fn changed(&self) -> impl Future<Output = ()> {
        self.handle.session.changed.notified()
    }

    /// Tells its own health, which [`claim`](Self::claim) heeds: healthy, degraded or failing.
    ///
    /// # Errors
    /// When it is not registered any more, or the database failed.
    pub async fn set_health(&self, health: WorkerState) -> Result<(), ClaimError> {
        let session = &self.handle.session;
        if session.backend.set_health(session.worker, health).await? {
            Ok(())
        } else {
            session.lose();
            Err(ClaimError::UnknownWorker(session.worker))
        }
    }

    /// Takes at most `limit` jobs, the most urgent of all its queues first; waits up to `wait`
    /// until there is at least one, and returns the moment there is. Empty: there was none.
    ///
    /// Passing failures of the database are repeated within `wait`, an unknown worker twice, after
    /// 100 and 200 ms.
    ///
    /// # Errors
    /// - [`ClaimError::UnknownWorker`]: it was given up or deregistered; it is poisoned now.
    /// - [`ClaimError::NotClaiming`]: it drains, or is failing.
    /// - [`ClaimError::AtCapacity`]: all its slots are taken.
    /// - [`ClaimError::Store`]: the database failed.
    ///
    /// # Cancel safety
    /// Loses nothing: what an abandoned call still brings is handed back.
    pub async fn claim(&self, limit: u32, wait: Duration) -> Result<Vec<Claimed>, ClaimError> {
        let session = &self.handle.session;
        let asked = Instant::now();
        let policy = Policy::jobs_claim();
        let mut failures: u32 = 0;
        let mut unknown: u32 = 0;
        let mut hints: u32 = 0;
        loop {
            let left = wait.saturating_sub(asked.elapsed());
            let poll = left.min(self.handle.poll);
            let mut hint = pin!(session.backend.wait(&session.register.queues, poll));
            // Its interest counts from here: nothing that comes after the claim is missed.
            let early = polled_once(hint.as_mut()).await;
            let (error, failed) = match self.claim_once(limit).await {
                Ok((jobs, _)) if !jobs.is_empty() => {
                    self.recovered(failures, unknown, true);
                    return Ok(jobs);
                }
                Ok((none, next_due)) => {
                    self.recovered(failures, unknown, true);
                    (failures, unknown) = (0, 0);
                    if left.is_zero() {
                        return Ok(none);
                    }
                    let due = next_due.unwrap_or(poll);
                    let due = if due.is_zero() { LOCKED } else { due };
                    let (begun, longest) = (Instant::now(), due.min(poll));
                    if !early {
                        let _ = timeout(longest, hint).await;
                    }
                    let hinted = early || begun.elapsed() < longest;
                    hints = if hinted { hints + 1 } else { 0 };
                    tokio::time::sleep(patience(hints).min(left)).await;
                    continue;
                }
                Err(error @ ClaimError::UnknownWorker(_)) if unknown < UNKNOWN_RETRIES => {
                    unknown += 1;
                    (error, unknown)
                }
                Err(error) if is_passing(&error) && !left.is_zero() => {
                    failures += 1;
                    (error, failures)
                }
                Err(error) => {
                    let last = u32::from(matches!(error, ClaimError::UnknownWorker(_)));
                    let failures = failures + u32::from(is_passing(&error));
                    self.recovered(failures, unknown + last, false);
                    return Err(self.lost(error));
                }
            };
            tracing::debug!(worker = %session.worker, %error, failed, "a claim is repeated");
            let wait = policy.nominal(failed, Duration::ZERO);
            session.counters.repeated(wait);
            tokio::time::sleep(wait).await;
        }
    }

    fn recovered(&self, failures: u32, unknown: u32, recovered: bool) {
        let counters = &self.handle.session.counters;
        for (kind, times) in [("store", failures), ("unknown_worker", unknown)] {
            if times > 0 {
                counters.conflicts(kind, recovered, u64::from(times));
            }
        }
    }

    fn lost(&self, error: ClaimError) -> ClaimError {
        if matches!(error, ClaimError::UnknownWorker(_)) {
            self.handle.session.lose();
        }
        error
    }

    /// One claim. It runs in a task of its own: if this future is dropped, what it brings is
    /// dropped there, and so handed back.
    async fn claim_once(&self, limit: u32) -> Result<(Vec<Claimed>, Option<Duration>), ClaimError> {
        let handle = self.handle.clone();
        let history = self.history;
        let claim = tokio::spawn(async move { handle.claim(limit, history).await });
        match claim.await {
            Ok(claimed) => claimed,
            Err(error) => Err(ClaimError::Store(crate::StoreError {
                action: "claim jobs",
                kind: StoreErrorKind::Ambiguous,
                source: error.into(),
            })),
        }
    }

    /// Asks for its end; done when everything claimed through it has ended, too.
    pub async fn close(self) {
        let Self {
            handle, settler, ..
        } = self;
        drop(handle);
        // It fails only if it panicked, which ends it as well.
        let _ = settler.await;
    }
}

/// Gives back the slots of a claim that was not answered, however it ends.
struct Slots<'a> {
    handle: &'a Handle,
    slots: usize,
}

impl Drop for Slots<'_> {
    fn drop(&mut self) {
        if self.slots > 0 {
            self.handle.session.desk.admit(self.slots, &[]);
        }
    }
}

impl Handle {
    async fn claim(
        &self,
        limit: u32,
        history: bool,
    ) -> Result<(Vec<Claimed>, Option<Duration>), ClaimError> {
        let session = &self.session;
        let worker = session.worker;
        if session.desk.is_poisoned() {
            return Err(ClaimError::UnknownWorker(worker));
        }
        session.audit().await;
        let mut slots = Slots {
            handle: self,
            slots: session.desk.reserve(limit as usize),
        };
        if slots.slots == 0 && limit > 0 {
            let held = u32::try_from(session.desk.held()).unwrap_or(u32::MAX);
            return Err(ClaimError::AtCapacity { worker, held });
        }
        let request = ClaimRequest {
            worker,
            limit: u32::try_from(slots.slots).unwrap_or(limit),
            history,
        };
        let begun = Instant::now();
        let answer = session.backend.claim(&request).await;
        let Claim { jobs, next_due } = answer.inspect_err(|_| session.desk.ask_for_audit())?;
        session.counters.claimed(jobs.len(), begun.elapsed());
        let reserved = std::mem::take(&mut slots.slots);
        let signals: Vec<Signal> = jobs.iter().map(|_| Signal::new()).collect();
        let keys = jobs.iter().map(|job| (job.id, job.epoch));
        let entries: Vec<_> = keys.zip(signals.iter().cloned()).collect();
        let admitted = session.desk.admit(reserved, &entries);
        let hold = |(job, signal): (ClaimedJob, Signal)| Claimed::new(job, signal, self.clone());
        let claimed: Vec<Claimed> = jobs.into_iter().zip(signals).map(hold).collect();
        match admitted {
            Admitted::Held => Ok((claimed, next_due)),
            Admitted::Poisoned => Err(ClaimError::UnknownWorker(worker)),
        }
    }
}

fn is_passing(error: &ClaimError) -> bool {
    match error {
        ClaimError::Store(error) => error.kind.is_worth_repeating(),
        _ => false,
    }
}

/// What to wait after so many hints in a row that came to nothing: the first is heeded at once, and
/// noise about other queues does not become a storm of claims.
fn patience(hints: u32) -> Duration {
    match hints {
        0 | 1 => Duration::ZERO,
        more => Duration::from_millis(1 << more.min(6)),
    }
}

/// Polls once, and says whether that was enough.
async fn polled_once<F: Future<Output = ()>>(mut future: std::pin::Pin<&mut F>) -> bool {
    std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_ready()))
        .await
}

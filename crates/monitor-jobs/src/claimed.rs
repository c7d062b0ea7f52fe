//! The right to one job: unforgeable, used up by saying how the attempt ended.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::kernel::roster::Key;
use crate::session::{End, Handle, release};
use crate::signal::{Signal, Stop};
use crate::{Backend, ClaimedJob, JobTransaction, Outcome, Payload, Settle, SettleError, Settled};

/// A job in the hands of whoever claimed it.
///
/// INV-JOBS-2: only a claim makes one, nothing copies it, and each way to end the attempt uses it
/// up: one attempt ends once.
///
/// ```compile_fail,E0382
/// async fn twice(claimed: monitor_jobs::Claimed) {
///     let _ = claimed.complete(None).await;
///     let _ = claimed.complete(None).await; // used up by the first
/// }
/// ```
///
/// Dropped without a word it is handed back as by [`release`](Self::release), by the task of its
/// registration. Its worker may lose it meanwhile: [`stopped`](Self::stopped) says so. Past the end
/// of the lease by its own clock it refuses everything here already; the database decides in any
/// case.
///
/// # Cancel safety
/// The ends are sent when their future is first polled, and are carried out whether or not the
/// future is dropped then. Dropped before, the job is handed back.
pub struct Claimed {
    job: ClaimedJob,
    signal: Signal,
    handle: Handle,
    ended: bool,
}

impl fmt::Debug for Claimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claimed")
            .field("job", &self.job)
            .field("stop", &self.signal.fired())
            .finish_non_exhaustive()
    }
}

impl Claimed {
    pub(crate) fn new(job: ClaimedJob, signal: Signal, handle: Handle) -> Self {
        Self {
            job,
            signal,
            handle,
            ended: false,
        }
    }

    /// What was claimed.
    #[must_use]
    pub fn job(&self) -> &ClaimedJob {
        &self.job
    }

    /// It went well. Jobs that waited for it are released in the same transaction.
    ///
    /// # Errors
    /// When the job is another's by now, or the database failed for the rest of the lease. Nothing
    /// was changed, except after an ambiguous failure, where it may be done.
    pub async fn complete(self, result: Option<Payload>) -> Result<(), SettleError> {
        self.end(Outcome::Complete { result }).await
    }

    /// It went badly: again after `retry_in` if attempts are left, else it is dead; `None`: dead.
    ///
    /// # Errors
    /// As by [`complete`](Self::complete).
    pub async fn fail(
        self,
        error: impl Into<String>,
        retry_in: Option<Duration>,
    ) -> Result<(), SettleError> {
        let error = error.into();
        self.end(Outcome::Fail { error, retry_in }).await
    }

    /// Not now: again after that long, and the attempt does not count.
    ///
    /// # Errors
    /// As by [`complete`](Self::complete).
    pub async fn snooze(self, wait: Duration) -> Result<(), SettleError> {
        self.end(Outcome::Snooze(wait)).await
    }

    /// It ended because somebody asked for it.
    ///
    /// # Errors
    /// As by [`complete`](Self::complete).
    pub async fn cancelled(self) -> Result<(), SettleError> {
        self.end(Outcome::Cancelled).await
    }

    /// Hands it back untouched, to its old place: the attempt does not count.
    ///
    /// # Errors
    /// As by [`complete`](Self::complete).
    pub async fn release(self) -> Result<(), SettleError> {
        self.end(Outcome::Release).await
    }

    /// Says how far it has come, 0 to 100, and what it is at.
    ///
    /// # Errors
    /// When the job is another's by now, or the database failed: nothing was changed.
    pub async fn progress(&self, percent: u8, text: &str) -> Result<(), SettleError> {
        let (job, epoch) = self.key();
        match self.may_tell()?.progress(job, epoch, percent, text).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(SettleError::Stale { job, epoch }),
            Err(error) => Err(SettleError::Store(error.into())),
        }
    }

    /// Completes it in a transaction of yours: its row is locked first, so nobody takes the job
    /// until the transaction ends, and what it yields is the one thing that commits the
    /// transaction. Effects and completion stand together, or neither does. Keep it short.
    ///
    /// # Errors
    /// When the job is another's by now, or the database failed. The transaction can then only be
    /// dropped, which takes everything in it back; INV-JOBS-3. The job is handed back.
    pub async fn complete_in<T: JobTransaction>(
        self,
        transaction: &mut T,
        result: Option<Payload>,
    ) -> Result<CommitPermit, SettleError> {
        self.may_act()?;
        let (job, epoch) = self.key();
        if !transaction.fence(job, epoch).await? {
            return Err(SettleError::Stale { job, epoch });
        }
        let outcome = Outcome::Complete { result };
        let end = Settle {
            job,
            epoch,
            outcome,
        };
        let worker = self.handle.session.worker;
        match transaction.settle(worker, &end).await? {
            Settled::Done => Ok(CommitPermit { claimed: self }),
            Settled::Already | Settled::Stale => Err(SettleError::Stale { job, epoch }),
        }
    }

    /// Waits until whoever works on it must stop. Dropping it loses nothing.
    pub async fn stopped(&self) -> Stop {
        self.signal.wait().await
    }

    /// Whether whoever works on it must stop, and why.
    #[must_use]
    pub fn stop(&self) -> Option<Stop> {
        self.signal.fired()
    }

    /// How much longer nobody else can have taken it, if no further beat comes through.
    #[must_use]
    pub fn lease_left(&self) -> Duration {
        match self.signal.fired() {
            Some(Stop::Fenced | Stop::LeaseExpired) => Duration::ZERO,
            _ => self.handle.session.lease_left(),
        }
    }

    pub(crate) fn signal(&self) -> &Signal {
        &self.signal
    }

    /// The time of the database, unix milliseconds, if it answers.
    pub(crate) async fn database_now(&self) -> Option<i64> {
        self.handle.session.backend.now_unix_ms().await.ok()
    }

    /// Whom to tell how far it has come.
    pub(crate) fn may_tell(&self) -> Result<Arc<dyn Backend>, SettleError> {
        self.may_act()?;
        Ok(Arc::clone(&self.handle.session.backend))
    }

    fn key(&self) -> Key {
        (self.job.id, self.job.epoch)
    }

    fn may_act(&self) -> Result<(), SettleError> {
        if self.signal.fired() == Some(Stop::Fenced) {
            return Err(SettleError::Fenced(self.job.id));
        }
        if self.lease_left().is_zero() {
            return Err(SettleError::LeaseExpired(self.job.id));
        }
        Ok(())
    }

    pub(crate) async fn end(mut self, outcome: Outcome) -> Result<(), SettleError> {
        self.may_act()?;
        let (job, epoch) = self.key();
        let (reply, answer) = oneshot::channel();
        let settle = Settle {
            job,
            epoch,
            outcome,
        };
        let reply = Some(reply);
        self.ended = self.handle.ends.send(End { settle, reply }).is_ok();
        match answer.await {
            Ok(Ok(Settled::Done | Settled::Already)) => Ok(()),
            Ok(Ok(Settled::Stale)) => Err(SettleError::Stale { job, epoch }),
            Ok(Err(error)) => Err(error),
            // The runtime is going down.
            Err(_) => Err(SettleError::Fenced(job)),
        }
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if self.ended || self.signal.fired() == Some(Stop::Fenced) {
            return;
        }
        let settle = release(self.key());
        // Without its task there is no runtime, and others will rescue the job.
        let _ = self.handle.ends.send(End {
            settle,
            reply: None,
        });
    }
}

/// The one thing that commits a transaction in which a job was completed: INV-JOBS-3.
///
/// Dropped, or when the commit fails, the job is handed back; if the commit went through although
/// its answer was lost, that changes nothing any more.
#[must_use = "the transaction is rolled back without it"]
#[derive(Debug)]
pub struct CommitPermit {
    claimed: Claimed,
}

impl CommitPermit {
    /// What was completed: it commits the transaction in which that was done, and no other.
    pub(crate) fn key(&self) -> Key {
        self.claimed.key()
    }

    /// The database has acknowledged the commit.
    pub(crate) fn committed(mut self) {
        self.claimed.ended = true;
        let session = &self.claimed.handle.session;
        session.desk.end(self.claimed.key());
        session.changed.notify_waiters();
    }
}

//! What a handler gets: its job, and the ways to speak while it works.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::claimed::{Claimed, CommitPermit};
use crate::signal::{Signal, Stop};
use crate::sync::{Mutex, lock};
use crate::{ClaimedJob, JobTransaction, Payload, SettleError};

/// The right to the job, until the handler or the worker uses it up.
pub(crate) type Right = Arc<Mutex<Option<Claimed>>>;

/// What a handler gets: its job, and the ways to speak while it works.
pub struct Context {
    job: ClaimedJob,
    signal: Signal,
    right: Right,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("job", &self.job)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// A claimed job as a handler sees it; the right to it stays with the worker, too.
    pub(crate) fn new(claimed: Claimed) -> (Self, Right) {
        let (job, signal) = (claimed.job().clone(), claimed.signal().clone());
        let right = Arc::new(Mutex::new(Some(claimed)));
        let context = Self {
            job,
            signal,
            right: Arc::clone(&right),
        };
        (context, right)
    }

    /// The job.
    #[must_use]
    pub fn job(&self) -> &ClaimedJob {
        &self.job
    }

    /// What it carries.
    #[must_use]
    pub fn payload(&self) -> &Payload {
        &self.job.payload
    }

    /// Waits until the handler must stop. Whoever goes on is dropped after the worker's grace.
    pub async fn stopped(&self) -> Stop {
        self.signal.wait().await
    }

    /// Whether the handler must stop, and why.
    #[must_use]
    pub fn stop(&self) -> Option<Stop> {
        self.signal.fired()
    }

    /// How much longer nobody else can have taken the job, if no further beat comes through.
    #[must_use]
    pub fn lease_left(&self) -> Duration {
        let right = lock(&self.right);
        right.as_ref().map_or(Duration::ZERO, Claimed::lease_left)
    }

    /// Says how far it has come, 0 to 100, and what it is at.
    ///
    /// # Errors
    /// When the job is another's by now, or the database failed: nothing was changed.
    pub async fn progress(&self, percent: u8, text: &str) -> Result<(), SettleError> {
        // The right stays where it is: the attempt may end while this is on its way.
        let backend = match lock(&self.right).as_ref() {
            Some(claimed) => claimed.may_tell()?,
            None => return Err(self.stale()),
        };
        let ClaimedJob { id, epoch, .. } = self.job;
        match backend.progress(id, epoch, percent, text).await? {
            true => Ok(()),
            false => Err(self.stale()),
        }
    }

    /// Completes the job in a transaction of yours; see [`Claimed::complete_in`]. Return `Ok` after
    /// the commit; what the handler returns changes nothing any more.
    ///
    /// # Errors
    /// When the job is another's by now, or the database failed: drop the transaction.
    pub async fn complete_in<T: JobTransaction>(
        &self,
        transaction: &mut T,
        result: Option<Payload>,
    ) -> Result<CommitPermit, SettleError> {
        match self.take() {
            Some(claimed) => claimed.complete_in(transaction, result).await,
            None => Err(self.stale()),
        }
    }

    fn take(&self) -> Option<Claimed> {
        lock(&self.right).take()
    }

    fn stale(&self) -> SettleError {
        SettleError::Stale {
            job: self.job.id,
            epoch: self.job.epoch,
        }
    }
}

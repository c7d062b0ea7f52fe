//! A transaction of the caller's that jobs take part in: effects and completion, all or none.

use std::future::Future;

use crate::{EnqueueError, Enqueued, Epoch, JobId, NewJob, Settle, Settled, StoreError, WorkerId};

/// A transaction of a backend in which the caller's own statements run too.
///
/// It is rolled back when dropped. The one way to commit it is the backend's
/// `commit(self, CommitPermit)`; a permit comes from
/// [`Claimed::complete_in`](crate::Claimed::complete_in) alone, so effects of a worker that lost
/// its lease cannot be committed: INV-JOBS-3. Nobody else can implement it.
pub trait JobTransaction: sealed::Sealed + Send {
    /// Locks the job's row against rescue until the end of the transaction. False: it is not held
    /// by that epoch any more.
    fn fence(
        &mut self,
        job: JobId,
        epoch: Epoch,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Ends an attempt, dependents included.
    fn settle(
        &mut self,
        worker: WorkerId,
        end: &Settle,
    ) -> impl Future<Output = Result<Settled, StoreError>> + Send;

    /// Puts jobs in.
    fn enqueue(
        &mut self,
        jobs: &[NewJob],
    ) -> impl Future<Output = Result<Vec<Enqueued>, EnqueueError>> + Send;
}

pub(crate) mod sealed {
    /// Only the backends of this crate are transactions.
    pub trait Sealed {}
}

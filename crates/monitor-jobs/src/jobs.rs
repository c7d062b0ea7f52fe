//! The front door: jobs in a database.

use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use crate::kernel::limits;
use crate::session::Session;
use crate::stats::{Counters, Stats, kind_name};
use crate::{
    Backend, EnqueueError, Enqueued, JobTransaction, NewJob, Register, RegisterError, Registered,
};

/// Jobs in a database. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Jobs {
    backend: Arc<dyn Backend>,
    counters: Counters,
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jobs").finish_non_exhaustive()
    }
}

impl Jobs {
    /// Jobs in that database.
    pub fn new(backend: impl Backend) -> Self {
        Self::shared(Arc::new(backend))
    }

    /// Jobs in a database that others use, too.
    #[must_use]
    pub fn shared(backend: Arc<dyn Backend>) -> Self {
        Self {
            backend,
            counters: Counters::default(),
        }
    }

    /// The database: views, and what people do to jobs.
    #[must_use]
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// Registers a worker. When it returns, the registration has been committed.
    ///
    /// Must be called within a tokio runtime: two tasks serve the registration.
    ///
    /// # Errors
    /// When a value is out of its range, or the database failed. Nothing was registered, except
    /// after an ambiguous failure: that registration never claims, and is given up after its lease.
    pub async fn register(&self, register: Register) -> Result<Registered, RegisterError> {
        let sent = Instant::now();
        let minted = match limits::register(&register) {
            Ok(()) => self.backend.register(&register).await.map_err(Into::into),
            Err(error) => Err(error),
        };
        match minted {
            Ok(worker) => {
                self.counters.registered();
                let backend = Arc::clone(&self.backend);
                let counters = self.counters.clone();
                let (handle, settler) = Session::start(backend, worker, register, counters, sent);
                Ok(Registered::new(handle, settler))
            }
            Err(error) => {
                self.counters.not_registered(match &error {
                    RegisterError::Store(error) => kind_name(error.kind),
                    _ => "invalid",
                });
                Err(error)
            }
        }
    }

    /// Puts jobs in, all or none, with their edges.
    ///
    /// # Errors
    /// The first thing that is wrong with them, or the failure of the database: none was put in.
    pub async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, EnqueueError> {
        self.backend.enqueue(jobs).await
    }

    /// Puts jobs in as a part of your transaction: they are in if it is committed.
    ///
    /// # Errors
    /// As by [`enqueue`](Self::enqueue); after an error the transaction is to be dropped.
    pub async fn enqueue_in<T: JobTransaction>(
        &self,
        transaction: &mut T,
        jobs: &[NewJob],
    ) -> Result<Vec<Enqueued>, EnqueueError> {
        transaction.enqueue(jobs).await
    }

    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.counters.stats()
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }
}

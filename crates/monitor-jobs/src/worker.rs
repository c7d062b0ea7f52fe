//! A worker: claims, runs handlers, ends attempts, keeps the house, drains.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::attempt::{Handler, Kind};
use crate::kernel::retrying::RetryPolicy;
use crate::run::{NO_DEADLINE, Run};
use crate::upkeep::{self, Upkeep};
use crate::{Context, Failure, Jobs, Payload, Register, RegisterError};

/// Builds a worker.
///
/// Defaults: the queue `default`, five jobs at once, a lease of 30 s, 5 s of grace for handlers that
/// were told to stop, [`RetryPolicy::default`], history kept, and the house kept:
/// [`Upkeep::default`].
pub struct Worker {
    pub(crate) jobs: Jobs,
    pub(crate) register: Register,
    pub(crate) kinds: BTreeMap<String, Kind>,
    pub(crate) grace: Duration,
    pub(crate) history: bool,
    upkeep: Option<Upkeep>,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("register", &self.register)
            .field("kinds", &self.kinds.keys())
            .finish_non_exhaustive()
    }
}

impl Worker {
    /// A worker of that name, which is for people and need not be unique.
    pub fn builder(jobs: &Jobs, name: impl Into<String>) -> Self {
        Self {
            jobs: jobs.clone(),
            register: Register {
                name: name.into(),
                queues: Vec::new(),
                capacity: 5,
                lease: Duration::from_secs(30),
            },
            kinds: BTreeMap::new(),
            grace: Duration::from_secs(5),
            history: true,
            upkeep: Some(Upkeep::default()),
        }
    }

    /// Serves that queue, too.
    #[must_use]
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.register.queues.push(queue.into());
        self
    }

    /// Runs at most so many jobs at once, 1 to 10 000.
    #[must_use]
    pub fn capacity(mut self, capacity: u32) -> Self {
        self.register.capacity = capacity;
        self
    }

    /// How long it may be silent before others take its jobs, 30 ms to a day. It beats five times
    /// as often.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.register.lease = lease;
        self
    }

    /// How long a handler that was told to stop may go on.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// Whether its attempts are kept in the history.
    #[must_use]
    pub fn history(self, history: bool) -> Self {
        Self { history, ..self }
    }

    /// What it does for the house, or `None` if others do.
    #[must_use]
    pub fn upkeep(self, upkeep: impl Into<Option<Upkeep>>) -> Self {
        Self {
            upkeep: upkeep.into(),
            ..self
        }
    }

    /// Runs jobs of that kind, with the default policy.
    #[must_use]
    pub fn handler<F, Fut>(self, kind: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Option<Payload>, Failure>> + Send + 'static,
    {
        self.handler_with(kind, RetryPolicy::default(), None, handler)
    }

    /// Runs jobs of that kind: failures are retried by `retry`, and an attempt may take `timeout`,
    /// or what its job says if that is less.
    #[must_use]
    pub fn handler_with<F, Fut>(
        mut self,
        kind: impl Into<String>,
        retry: RetryPolicy,
        timeout: Option<Duration>,
        handler: F,
    ) -> Self
    where
        F: Fn(Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Option<Payload>, Failure>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |context| Box::pin(handler(context)));
        let kind_of = Kind {
            handler,
            retry,
            timeout,
        };
        self.kinds.insert(kind.into(), kind_of);
        self
    }

    /// Registers it and lets it work, in tasks of this runtime.
    ///
    /// # Errors
    /// When a value is out of its range, or the database failed.
    pub async fn start(mut self) -> Result<RunningWorker, RegisterError> {
        if self.register.queues.is_empty() {
            self.register.queues.push("default".to_owned());
        }
        let registered = self.jobs.register(self.register.clone()).await?;
        let registered = registered.history(self.history);
        let (end, ending) = watch::channel(None);
        let upkeep = self.upkeep.take();
        let upkeep = upkeep.map(|keep| upkeep::start(&self.jobs, keep, self.register.lease));
        let run = Run::new(self);
        let task = tokio::spawn(async move {
            let report = run.run(registered, ending).await;
            drop(upkeep);
            report
        });
        Ok(RunningWorker {
            end,
            task: Some(task),
            report: Drained::default(),
        })
    }
}

/// A worker at work. Dropped, it stops at once: what it holds is handed back.
#[derive(Debug)]
pub struct RunningWorker {
    end: watch::Sender<Option<Instant>>,
    /// None: it has ended.
    task: Option<JoinHandle<Drained>>,
    report: Drained,
}

/// What a worker did until its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drained {
    /// Attempts that ended.
    pub finished: u64,
    /// Jobs that were handed back because time was up.
    pub handed_back: u64,
}

impl RunningWorker {
    /// Claims nothing more, waits up to `wait` for what is running, hands the rest back, and
    /// deregisters.
    pub async fn drain(mut self, wait: Duration) -> Drained {
        let deadline = Instant::now() + wait.min(NO_DEADLINE);
        self.end.send_replace(Some(deadline));
        self.ended().await
    }

    /// Waits until somebody asked it, through the database, to drain, and it has. It may be asked
    /// again.
    ///
    /// # Cancel safety
    /// Loses nothing.
    pub async fn ended(&mut self) -> Drained {
        if let Some(task) = &mut self.task {
            self.report = task.await.unwrap_or_default();
            self.task = None;
        }
        self.report
    }
}

impl Drop for RunningWorker {
    fn drop(&mut self) {
        self.end.send_if_modified(|end| {
            let going_on = end.is_none();
            end.get_or_insert_with(Instant::now);
            going_on
        });
    }
}

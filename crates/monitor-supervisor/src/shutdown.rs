//! The end of a process, in phases under one deadline.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep_until, timeout},
};

use crate::{
    BoxError, HandlerOutcome, HandlerReport, Phase, RegisterError, ShutdownReport,
    kernel::registry::{HandlerId, Registry},
    outcome::{chain, drop_contained, panic_message},
    sync::{Mutex, lock},
};

/// What runs at the turn of a handler, given how long it has.
type Work = Box<dyn FnOnce(Duration) -> Ending + Send>;
type Ending = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// A handler that was dropped and goes on all the same.
type GivenUp = (Arc<str>, JoinHandle<HandlerOutcome>);

struct Handler {
    timeout: Duration,
    work: Work,
}

/// A longer deadline counts as this one.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How long what was given up may take to be dropped.
const LINGER: Duration = Duration::from_millis(100);

/// How long a handler has, unless it says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// The registry of everything that must be done before the process ends. A handle: clones share.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use monitor_supervisor::{Phase, Shutdown};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let shutdown = Shutdown::new();
/// shutdown.register("store", Phase::CLOSE, |_left| async { Ok(()) })?;
/// shutdown.register("listener", Phase::INTAKE, |_left| async { Err("in use".into()) })?;
///
/// let report = shutdown.run(Duration::from_secs(30)).await;
/// assert_eq!(report.to_string(), "1 of 2 finished; listener failed: in use");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Shutdown {
    shared: Arc<Shared>,
}

struct Shared {
    registry: Mutex<Registry<Handler>>,
    /// `None` until shutdown has begun; then it only comes nearer.
    deadline: watch::Sender<Option<Instant>>,
    report: watch::Sender<Option<Arc<ShutdownReport>>>,
}

impl Shutdown {
    /// Makes an empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                registry: Mutex::new(Registry::new()),
                deadline: watch::Sender::new(None),
                report: watch::Sender::new(None),
            }),
        }
    }

    /// Registers a handler with five seconds of its own.
    ///
    /// # Shape and units
    /// The handler is given how long it has: its own time, or what is left of the deadline. It runs
    /// in a task of its own and is dropped when that is over.
    ///
    /// # Errors
    /// - [`RegisterError::Duplicate`]: there is one of this name.
    /// - [`RegisterError::ShuttingDown`]: shutdown has begun. The handler will not run; clean up
    ///   here and now instead.
    pub fn register<F, Fut>(
        &self,
        name: &str,
        phase: Phase,
        handler: F,
    ) -> Result<Registration, RegisterError>
    where
        F: FnOnce(Duration) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.register_within(name, phase, DEFAULT_TIMEOUT, handler)
    }

    /// Registers a handler with a time of its own.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub fn register_within<F, Fut>(
        &self,
        name: &str,
        phase: Phase,
        timeout: Duration,
        handler: F,
    ) -> Result<Registration, RegisterError>
    where
        F: FnOnce(Duration) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let work: Work = Box::new(|left| Box::pin(async move { handler(left).await }));
        let handler = Handler { timeout, work };
        let registered = lock(&self.shared.registry).register(name, phase, handler);
        // One that is refused is dropped here, outside of the lock.
        let id = registered.map_err(|(error, _handler)| error)?;
        Ok(Registration {
            shared: Arc::clone(&self.shared),
            id,
        })
    }

    /// Runs all handlers, phase by phase, and reports what became of each. It ends by the deadline,
    /// whatever they do, or a tenth of a second later when something was given up at the last
    /// moment.
    ///
    /// Called again, while it runs or afterwards, it begins nothing anew and gives the same report.
    /// A shorter deadline than the present one takes its place: one of zero gives up at once
    /// whatever is still going on.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    ///
    /// # Cancel safety
    /// Shutdown goes on in a task of its own; only this report of it is lost.
    pub async fn run(&self, deadline: Duration) -> Arc<ShutdownReport> {
        let asked = Instant::now() + deadline.min(LONGEST);
        let is_first = lock(&self.shared.registry).begin();
        self.shared.deadline.send_modify(|deadline| {
            *deadline = Some(deadline.map_or(asked, |present| present.min(asked)));
        });
        if is_first {
            tokio::spawn(Arc::clone(&self.shared).run_phases());
        }
        let mut report = self.shared.report.subscribe();
        loop {
            if let Some(report) = &*report.borrow_and_update() {
                return Arc::clone(report);
            }
            if report.changed().await.is_err() {
                // The sender is ours, so it lives as long as this call.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Returns whether shutdown has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        lock(&self.shared.registry).has_begun()
    }

    /// Waits until shutdown has begun: for loops that end by themselves.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn begun(&self) {
        let mut deadline = self.shared.deadline.subscribe();
        // Fails only when the sender is gone, and that is ours.
        let _ = deadline.wait_for(Option::is_some).await;
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown")
            .field("has_begun", &self.has_begun())
            .finish_non_exhaustive()
    }
}

/// A registered handler. Dropping this changes nothing: the handler stays registered.
pub struct Registration {
    shared: Arc<Shared>,
    id: HandlerId,
}

impl Registration {
    /// Takes the handler back. `true`: it will not run, and its name is free again. `false`: its
    /// shutdown has begun, so it runs or ran.
    #[must_use = "`false` means that it runs"]
    pub fn deregister(self) -> bool {
        let handler = lock(&self.shared.registry).deregister(self.id);
        handler.is_some()
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registration").field(&self.id).finish()
    }
}

impl Shared {
    async fn run_phases(self: Arc<Self>) {
        let begun = Instant::now();
        let mut given_up = Vec::new();
        while self.left() > Duration::ZERO {
            let handlers = lock(&self.registry).next_phase();
            if handlers.is_empty() {
                break;
            }
            let left = self.left();
            let started: Vec<_> = handlers
                .into_iter()
                .map(|(id, name, handler)| Running::start(id, name, handler, left))
                .collect();
            // Each is waited for at the same time, since each has a time of its own.
            let mut ends = JoinSet::new();
            for running in started {
                ends.spawn(running.end(Arc::clone(&self)));
            }
            given_up.extend(ends.join_all().await.into_iter().flatten());
        }
        let skipped = lock(&self.registry).skipped();
        skipped.into_iter().for_each(drop_contained);
        let mut handlers = lock(&self.registry).report();
        for (name, task) in &given_up {
            let of_it = handlers.iter_mut().find(|handler| handler.name == *name);
            if let Some(handler) = of_it {
                handler.still_running = !task.is_finished();
            }
        }
        handlers.iter().for_each(log);
        let report = ShutdownReport {
            handlers,
            took: begun.elapsed(),
        };
        self.report.send_replace(Some(Arc::new(report)));
    }

    /// What is left of the deadline.
    fn left(&self) -> Duration {
        let deadline = *self.deadline.borrow();
        deadline.map_or(Duration::ZERO, |deadline| {
            deadline.saturating_duration_since(Instant::now())
        })
    }
}

/// A handler that has begun.
struct Running {
    id: HandlerId,
    name: Arc<str>,
    begun: Instant,
    until: Instant,
    task: JoinHandle<HandlerOutcome>,
}

impl Running {
    fn start(id: HandlerId, name: Arc<str>, handler: Handler, left: Duration) -> Self {
        let begun = Instant::now();
        let own = handler.timeout.min(left);
        // All that is the user's happens in its task: the call of its function, and what its error
        // has to say, may panic too.
        let task = tokio::spawn(async move {
            match (handler.work)(own).await {
                Ok(()) => HandlerOutcome::Finished,
                Err(error) => HandlerOutcome::Failed(chain(&*error)),
            }
        });
        Self {
            id,
            name,
            begun,
            until: begun + own,
            task,
        }
    }

    /// Waits for its end, but no longer than it has. Returns what was given up.
    async fn end(mut self, shared: Arc<Shared>) -> Option<GivenUp> {
        let mut deadline = shared.deadline.subscribe();
        let ended = loop {
            let at = deadline.borrow_and_update().unwrap_or(self.until);
            tokio::select! {
                biased;
                ended = &mut self.task => break Some(ended),
                () = sleep_until(at.min(self.until)) => break None,
                _ = deadline.changed() => {}
            }
        };
        let outcome = match ended {
            Some(Ok(outcome)) => outcome,
            Some(Err(ended)) => match ended.try_into_panic() {
                Ok(payload) => HandlerOutcome::Panicked(panic_message(payload)),
                // Cancelled, as happens when the runtime ends.
                Err(_) => HandlerOutcome::TimedOut,
            },
            None => HandlerOutcome::TimedOut,
        };
        let given_up = outcome == HandlerOutcome::TimedOut;
        lock(&shared.registry).ended(self.id, outcome, self.begun.elapsed());
        if !given_up {
            return None;
        }
        self.task.abort();
        // Dropping takes a moment. One that blocks its thread is left behind.
        match timeout(LINGER, &mut self.task).await {
            Ok(ended) => {
                drop_contained(ended);
                None
            }
            Err(_) => Some((self.name, self.task)),
        }
    }
}

fn log(handler: &HandlerReport) {
    let took_ms = u64::try_from(handler.took.as_millis()).unwrap_or(u64::MAX);
    let (name, phase, outcome) = (&*handler.name, handler.phase.0, &handler.outcome);
    match outcome {
        HandlerOutcome::Finished => {
            tracing::debug!(handler = name, phase, took_ms, "shutdown: {outcome}");
        }
        _ => tracing::warn!(handler = name, phase, took_ms, "shutdown: {outcome}"),
    }
}

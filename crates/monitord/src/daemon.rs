//! A running daemon: configuration, core and server wired up, and taken down in order.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use monitor_core::{Core, Definition, ShutdownReport, Sink, pressure};
use monitor_model::StoreError;
use monitor_scheduler::Saturation;
use monitor_store::{PostgresOpenError, PostgresStore, SqliteStore};
use tokio::time::Instant;

use self::lasting::Lasting;
use crate::commands::Failure;
use crate::config::{Database, Defaults};
use crate::jobs::{AtWork, Kept, OwnJobs, Plan};
use crate::server::{self, App, AppOptions, Bound, Parts};

mod journal;
mod lasting;
mod logging;
mod monitors;
mod signals;
#[cfg(test)]
mod tests;

pub(crate) use logging::{Format, start_logging};
pub(crate) use signals::Signals;

/// What a daemon is started with.
pub(crate) struct Options {
    pub(crate) store: StoreOptions,
    pub(crate) max_concurrent: std::num::NonZeroUsize,
    pub(crate) without_permit: Saturation,
    pub(crate) max_wait: Option<Duration>,
    pub(crate) pressure: pressure::Config,
    pub(crate) app: AppOptions,
    pub(crate) defaults: Defaults,
    /// The monitors of the file.
    pub(crate) definitions: Vec<Definition>,
    /// One more taker of events.
    pub(crate) sink: Option<Arc<dyn Sink>>,
    /// What it does on a schedule. `None`: nothing.
    pub(crate) jobs: Option<Plan>,
    /// Called in each tick of a periodic task, with its name: what tests make fail.
    pub(crate) before_tick: Option<BeforeTick>,
}

/// Where results are kept, and how.
pub(crate) enum StoreOptions {
    Sqlite(monitor_store::Options),
    Postgres(Box<monitor_store::PostgresOptions>),
}

impl StoreOptions {
    /// The defaults for this place.
    pub(crate) fn new(database: &Database) -> Result<Self, PostgresOpenError> {
        match database {
            Database::File(path) => Ok(Self::Sqlite(monitor_store::Options::new(path))),
            Database::Postgres(url) => {
                let mut options = url.options()?;
                options.name = name();
                Ok(Self::Postgres(Box::new(options)))
            }
        }
    }

    /// Opens the store, and returns it with what tells that another has taken it over.
    async fn open(self) -> Result<(Kept, TakenOver), StoreError> {
        match self {
            Self::Sqlite(options) => {
                let store = Arc::new(SqliteStore::open(options)?);
                let kept = Kept {
                    sqlite: Some(Arc::clone(&store)),
                    store,
                };
                Ok((kept, Box::pin(std::future::pending())))
            }
            Self::Postgres(options) => {
                let store = Arc::new(PostgresStore::open(*options).await?);
                let until = store.until_taken_over();
                let sqlite = None;
                Ok((Kept { store, sqlite }, Box::pin(until)))
            }
        }
    }
}

/// Who this is, to others that use the same database.
fn name() -> String {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    format!("monitord on {host}, process {}", std::process::id())
}

/// Ready, with who it is, when another daemon has taken the store over.
pub(crate) type TakenOver = Pin<Box<dyn Future<Output = String> + Send>>;

type BeforeTick = Box<dyn Fn(&str) + Send + Sync>;

/// A running daemon. To be ended by [`shutdown`](Self::shutdown).
pub(crate) struct Daemon {
    core: Core,
    app: App,
    server: Lasting,
    journal: Lasting,
    jobs: Option<AtWork>,
    taken_over: TakenOver,
}

/// How an orderly end went.
pub(crate) struct Ending {
    pub(crate) report: ShutdownReport,
    /// Periodic tasks that block their threads.
    pub(crate) stuck: Vec<Arc<str>>,
    pub(crate) took: Duration,
    /// Whether the last requests came to their end.
    pub(crate) server_closed: bool,
}

impl Daemon {
    /// Opens the store, starts the core, defines the monitors and serves, in this order: what
    /// fails, fails before anything is checked.
    pub(crate) async fn start(bound: Bound, options: Options) -> Result<Self, Failure> {
        let (kept, taken_over) = options.store.open().await.map_err(Failure::new)?;
        let jobs = match options.jobs {
            Some(plan) => Some(OwnJobs::open(plan).await?),
            None => None,
        };
        let parts = Parts::new();
        let mut builder = Core::builder(Arc::clone(&kept.store))
            .max_concurrent(options.max_concurrent)
            .saturation(options.without_permit)
            .max_wait(options.max_wait)
            .pressure(options.pressure)
            .sink(parts.sink());
        if let Some(sink) = options.sink {
            builder = builder.sink(sink);
        }
        if let Some(before_tick) = options.before_tick {
            builder = builder.before_tick(before_tick);
        }
        let core = builder.start().await.map_err(Failure::new)?;
        let journal = journal::keep(&core).map_err(Failure::new)?;
        journal::watch_store(&core).map_err(Failure::new)?;
        let defined = monitors::define(&core, options.definitions, &options.defaults).await;
        let started = match (defined, jobs) {
            (Ok(()), Some(jobs)) => jobs.start(name(), kept, &core).await.map(Some),
            (defined, _) => defined.map(|()| None),
        };
        let jobs = match started {
            Ok(jobs) => jobs,
            Err(failure) => {
                // What was defined so far may have looked already; its results are kept.
                core.shutdown(Duration::from_secs(5)).await;
                journal.end(Duration::from_secs(1)).await;
                core.supervisor().stop(Duration::from_secs(1)).await;
                return Err(failure);
            }
        };
        let app = App::new(core.clone(), parts, options.app);
        if let Some(jobs) = &jobs {
            app.show_jobs(Arc::clone(&jobs.watch));
        }
        server::publish(&app).map_err(Failure::new)?;
        let served = app.clone();
        let server = Lasting::start(&core, "server", move |mut stop| {
            bound.serve(served.clone(), async move { stop.told().await })
        });
        Ok(Self {
            core,
            app,
            server: server.map_err(Failure::new)?,
            journal,
            jobs,
            taken_over,
        })
    }

    /// Waits until another daemon has taken the store over; nothing can be written then.
    pub(crate) async fn until_taken_over(&mut self) -> String {
        (&mut self.taken_over).await
    }

    pub(crate) const fn core(&self) -> &Core {
        &self.core
    }

    /// Ends everything within `timeout`, in phases: not ready any more; its own jobs are handed
    /// back, for they use the store; no new checks, those in flight drain and are called off,
    /// results are written and the store is closed; the server goes last, so that the state can be
    /// seen until the end.
    pub(crate) async fn shutdown(self, timeout: Duration) -> Ending {
        let begun = Instant::now();
        self.app.stop();
        if let Some(jobs) = self.jobs {
            let drain = tokio::time::timeout(timeout / 4, jobs.drain(timeout / 5));
            if drain.await.is_err() {
                tracing::warn!("the jobs did not end in time");
            }
        }
        let end = begun + timeout;
        let timeout = timeout.saturating_sub(begun.elapsed());
        let (drain, close) = (timeout * 8 / 10, timeout * 19 / 20);
        let ended = tokio::time::timeout(close, self.core.shutdown(drain)).await;
        let report = ended.unwrap_or_else(|_| ShutdownReport {
            uncommitted: self.core.undelivered(),
            store_error: Some("the store did not close in time".to_owned()),
            ..ShutdownReport::default()
        });
        let left = end
            .saturating_duration_since(Instant::now())
            .max(timeout / 20);
        let server_closed = self.server.end(left).await;
        self.journal.end(timeout / 20).await;
        let stuck = self.core.supervisor().stop(timeout / 20).await;
        Ending {
            report,
            stuck,
            took: begun.elapsed(),
            server_closed,
        }
    }
}

impl Ending {
    /// The last lines of the log: what ended how, and what did not end.
    pub(crate) fn log(&self) {
        let report = &self.report;
        let abandoned: Vec<_> = report.abandoned.iter().map(ToString::to_string).collect();
        for (pool, left) in report.pools.iter().filter(|(_, left)| !left.is_clean()) {
            let held: Vec<_> = left.held.iter().map(ToString::to_string).collect();
            let (held, unfinished) = (held.join(", "), left.unfinished);
            tracing::warn!(pool, held, unfinished, "connections were left");
        }
        for task in &self.stuck {
            tracing::warn!(task = &**task, "a periodic task did not end");
        }
        tracing::info!(
            took_ms = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            finished = report.finished,
            cancelled = report.cancelled,
            abandoned = abandoned.join(","),
            lost = report.uncommitted,
            requests_cut_off = !self.server_closed,
            "stopped"
        );
    }

    /// What is not in the store though it was reached. `None`: everything is.
    pub(crate) fn lost(&self) -> Option<String> {
        let lost = match self.report.uncommitted {
            0 => None,
            1 => Some("1 result could not be stored and is lost".to_owned()),
            n => Some(format!("{n} results could not be stored and are lost")),
        };
        match (lost, &self.report.store_error) {
            (Some(lost), Some(error)) => Some(format!("{lost}; {error}")),
            (lost, error) => lost.or_else(|| error.clone()),
        }
    }
}

//! The daemon's own jobs: what it does on a schedule, as durable jobs with a worker of its own.
//!
//! Durable, so that a copy which was due while no daemon ran is made at the next start, one that
//! failed is made again, and what became of each can be looked at: `monitord jobs --config`. One job
//! at a time, for all of them read a whole database.

mod backup;
mod examine;
mod standing;

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use monitor_backoff::Policy;
use monitor_core::Core;
use monitor_core::supervisor::{TaskHandle, TaskSpec};
use monitor_jobs::{
    Backend, Context, Jobs, NewJob, Payload, PgJobs, PgOptions, RetryPolicy, RunningWorker,
    Schedule, SqliteJobs, SqliteOptions, Upkeep, Worker,
};
use monitor_model::Store;
use monitor_store::SqliteStore;
use serde::Serialize;

use self::backup::Copies;
use self::examine::Examiner;
pub(crate) use self::standing::{Reading, Watch};
use crate::commands::Failure;
use crate::config::{BackupConfig, Config, Database, Timetable};

/// Their queue, apart from those of other programs in the same database.
pub(crate) const QUEUE: &str = "monitord";
const BACKUP: &str = "backup";
const DOCTOR: &str = "doctor";

/// How long ended jobs are kept: with a copy each night, a month of them can be looked at.
const KEPT: Duration = Duration::from_secs(30 * 86_400);
/// Nobody waits for these jobs, so nobody looks for them more often than that.
const POLL: Duration = Duration::from_secs(1);
const SELDOM: Duration = Duration::from_secs(600);
/// Whoever writes to the file for longer is told of.
const BUSY: Duration = Duration::from_secs(1);
/// What hangs for so long has failed: with it, nothing of its kind would be put in any more.
const LONGEST: Duration = Duration::from_secs(6 * 3600);
/// How long what was told to stop may go on.
const GRACE: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What is done, when, and in which database it is noted.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// That of the results.
    pub(crate) database: Database,
    pub(crate) backup: Option<BackupConfig>,
    pub(crate) doctor: Option<Timetable>,
}

impl Plan {
    /// What that configuration asks for. `None`: nothing, and there are no jobs then.
    ///
    /// # Errors
    /// When there is no folder to put copies into. It is not made: where a disk should be mounted,
    /// that would hide that it is not.
    pub(crate) fn of(config: &Config) -> Result<Option<Self>, Failure> {
        let (backup, doctor) = (config.backup.clone(), config.doctor.clone());
        if let Some(missing) = backup.as_ref().filter(|backup| !backup.folder.is_dir()) {
            return Err(Failure::usage(format!(
                "backup.folder: there is no folder {}; create it first",
                missing.folder.display()
            )));
        }
        let plan = Self {
            database: config.store.database.clone(),
            backup,
            doctor,
        };
        Ok((plan.kinds().count() > 0).then_some(plan))
    }

    fn kinds(&self) -> impl Iterator<Item = (&'static str, &Timetable)> {
        let backup = self.backup.as_ref().map(|backup| &backup.timetable);
        let kinds = [(BACKUP, backup), (DOCTOR, self.doctor.as_ref())];
        kinds
            .into_iter()
            .filter_map(|(kind, timetable)| Some((kind, timetable?)))
    }

    fn schedules(&self) -> Vec<Schedule> {
        let schedule = |(kind, timetable): (&str, &Timetable)| {
            let name = schedule_of(kind);
            let job = NewJob::new(kind, Payload::default())
                .queue(QUEUE)
                // One that still runs, or waits for its next attempt, is enough.
                .unique_key(&name);
            Schedule::new(name, timetable.cron.clone(), job)
        };
        self.kinds().map(schedule).collect()
    }
}

/// The store that the jobs are about.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) store: Arc<dyn Store>,
    /// The same, if it is a file.
    pub(crate) sqlite: Option<Arc<SqliteStore>>,
}

/// The jobs in their database; nothing runs yet.
pub(crate) struct OwnJobs {
    plan: Plan,
    jobs: Jobs,
}

/// The worker at work, and what is known of it.
pub(crate) struct AtWork {
    jobs: Jobs,
    worker: RunningWorker,
    look: TaskHandle,
    pub(crate) watch: Arc<Watch>,
}

impl OwnJobs {
    /// Opens their database, and brings its schema up to date.
    pub(crate) async fn open(plan: Plan) -> Result<Self, Failure> {
        let backend: Arc<dyn Backend> = match plan.database.of_jobs() {
            Database::File(path) => Arc::new(SqliteJobs::open(&SqliteOptions {
                poll: POLL,
                busy_timeout: BUSY,
                ..SqliteOptions::new(path)
            })?),
            Database::Postgres(url) => {
                let mut options = PgOptions::default();
                // One works, one beats.
                options.max_connections = 2;
                options.listen = false;
                let config = url.connections().map_err(Failure::new)?;
                Arc::new(PgJobs::connect(config, options).await?)
            }
        };
        let jobs = Jobs::shared(backend);
        Ok(Self { plan, jobs })
    }

    /// Starts the worker `name`, the schedules, and the look at what becomes of them.
    pub(crate) async fn start(
        self,
        name: String,
        kept: Kept,
        core: &Core,
    ) -> Result<AtWork, Failure> {
        let Self { plan, jobs } = self;
        let copies = plan.backup.as_ref().zip(kept.sqlite.clone());
        let copies = copies.map(|(config, store)| Arc::new(Copies::new(store, config)));
        let examiner = Arc::new(Examiner::new(kept, jobs.clone()));
        let mut upkeep = Upkeep::default().prune_after(KEPT);
        (upkeep.prune_every, upkeep.release_every) = (SELDOM, SELDOM);
        upkeep.schedules = plan.schedules();
        let worker = Worker::builder(&jobs, name)
            .queue(QUEUE)
            .capacity(1)
            .grace(GRACE)
            .upkeep(upkeep)
            .handler_with(BACKUP, patient(), Some(LONGEST), move |context| {
                let copies = copies.clone();
                async move {
                    let Some(copies) = copies else {
                        let gone = "the configuration has no [backup] any more";
                        return Err(monitor_jobs::Failure::permanent(gone));
                    };
                    match copies.make(context.stopped()).await {
                        Some(made) => told(&context, made),
                        None => Err(monitor_jobs::Failure::new("told to stop")),
                    }
                }
            })
            .handler_with(DOCTOR, patient(), Some(LONGEST), move |context| {
                let examiner = Arc::clone(&examiner);
                async move { told(&context, examiner.examine().await) }
            })
            .start()
            .await
            .map_err(Failure::new)?;
        for (kind, timetable) in plan.kinds() {
            tracing::info!(kind, schedule = %timetable, "scheduled");
        }
        let timetables = plan.kinds().map(|(kind, at)| (kind, at.clone())).collect();
        let watch = Arc::new(Watch::new(jobs.clone(), timetables));
        let spec = TaskSpec::builder("jobs").interval(LOOK_EVERY);
        let spec = spec.build().map_err(Failure::new)?;
        let looks = Arc::clone(&watch);
        let look = core
            .supervise(spec, move |_| {
                let watch = Arc::clone(&looks);
                async move { watch.look().await }
            })
            .map_err(Failure::new)?;
        Ok(AtWork {
            jobs,
            worker,
            look,
            watch,
        })
    }
}

impl AtWork {
    /// Begins nothing more, lets what runs come to its end for half of `wait`, then hands it back,
    /// to be done after the next start; closes the database.
    pub(crate) async fn drain(self, wait: Duration) {
        self.look.stop();
        let drained = tokio::time::timeout(wait, self.worker.drain(wait / 2)).await;
        match drained {
            Ok(drained) if drained.handed_back == 0 => {}
            Ok(_) => tracing::info!("a job was handed back, and is done after the next start"),
            Err(_) => tracing::warn!("the worker of the jobs did not end in time"),
        }
        let closed = tokio::time::timeout(wait, self.jobs.backend().close()).await;
        match closed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the jobs were not closed"),
            Err(_) => tracing::warn!("the jobs were not closed in time"),
        }
    }
}

/// The name of the schedule of that kind, and the key of its jobs.
fn schedule_of(kind: &str) -> String {
    format!("{QUEUE}.{kind}")
}

/// A disk that is full or a share that is away is not back within seconds.
fn patient() -> RetryPolicy {
    let waits = Policy::exponential(Duration::from_secs(60), Duration::from_secs(600)).build();
    waits.map_or_else(|_| RetryPolicy::default(), RetryPolicy::new)
}

/// Logs how an attempt ended, and says it to the worker.
fn told(
    context: &Context,
    done: Result<impl Serialize + Display, String>,
) -> Result<Option<Payload>, monitor_jobs::Failure> {
    let job = context.job();
    let (kind, attempt, of) = (&job.kind, job.attempt, job.max_attempts);
    match done {
        Ok(result) => {
            tracing::info!(job = %job.id, kind, %result, "job done");
            Ok(Some(Payload::of(&result)?))
        }
        Err(error) => {
            tracing::warn!(job = %job.id, kind, attempt, of, error, "job failed");
            Err(monitor_jobs::Failure::new(error))
        }
    }
}

/// The name of a file as text, for names of copies and for people.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

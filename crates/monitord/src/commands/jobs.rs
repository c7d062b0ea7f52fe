//! `monitord jobs`: a look at the jobs of a database, and the few things that people decide.

mod database;
mod show;
mod table;

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use monitor_jobs::{Backend, JobFilter, JobId, Schema, StoreError, StoreErrorKind};
use serde::Serialize;

use super::Failure;
use crate::cli::jobs::{JobsAction, JobsArgs, ListArgs};
use crate::terminal::Paint;

/// Does what was asked.
///
/// # Errors
/// When the database cannot be opened, or refuses.
pub fn run(args: JobsArgs) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let database = database::named(&args)?;
        let schema = database::schema(&database).await?;
        let jobs = match args.action {
            JobsAction::Migrate => database::migrated(&database).await?,
            _ => database::open(&database, schema).await?,
        };
        let is_terminal = std::io::stdout().is_terminal();
        let desk = Desk {
            jobs: Arc::clone(&jobs),
            schema,
            json: args.json,
            paint: Paint::on(is_terminal),
        };
        let end = desk.act(args.action).await;
        let said = end.and_then(|(text, code)| say(&text).map(|()| code));
        let closed = jobs.close().await;
        let code = said?;
        closed?;
        Ok(code)
    })
}

fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

struct Desk {
    jobs: Arc<dyn Backend>,
    /// As it was found.
    schema: Schema,
    json: bool,
    paint: Paint,
}

/// What to print, and how it went.
type Answer = (String, ExitCode);

impl Desk {
    async fn act(&self, action: JobsAction) -> Result<Answer, Failure> {
        match action {
            JobsAction::List(args) => self.list(args).await,
            JobsAction::Show { job } => self.show(job).await,
            JobsAction::Retry(chosen) => {
                let retry = async |job| self.jobs.retry(job).await;
                self.change(chosen.jobs, RETRIED, retry).await
            }
            JobsAction::Cancel(chosen) => {
                let cancel = async |job| self.jobs.cancel(job).await;
                self.change(chosen.jobs, CANCELLED, cancel).await
            }
            JobsAction::Pause { queue } => self.set_paused(&queue, true).await,
            JobsAction::Resume { queue } => self.set_paused(&queue, false).await,
            JobsAction::Migrate => {
                let (from, to) = (self.schema.found, self.schema.supported);
                let all = serde_json::json!({ "from": from, "to": to });
                self.print(&all, || match self.schema.is_current() {
                    true => format!("the schema of the jobs has version {to} already\n"),
                    false => format!("the schema of the jobs went from version {from} to {to}\n"),
                })
            }
            JobsAction::Queues => {
                let queues = self.jobs.queues().await?;
                self.print(&queues, || show::queues(&queues, self.paint))
            }
            JobsAction::Workers => {
                let workers = self.jobs.workers().await?;
                let now = self.jobs.now_unix_ms().await?;
                self.print(&workers, || show::workers(&workers, now, self.paint))
            }
            JobsAction::Doctor => {
                let findings = self.jobs.doctor().await?;
                let broken = findings.iter().any(|finding| finding.broken);
                let (text, _) = self.print(&findings, || show::findings(&findings, self.paint))?;
                Ok((text, ExitCode::from(u8::from(broken))))
            }
        }
    }

    async fn list(&self, args: ListArgs) -> Result<Answer, Failure> {
        let filter = JobFilter {
            queue: args.queue,
            kind: args.kind,
            state: args.state.map(Into::into),
            after: args.after,
            limit: args.limit,
        };
        let jobs = self.jobs.list(&filter).await?;
        let now = self.jobs.now_unix_ms().await?;
        self.print(&jobs, || show::jobs(&jobs, now, args.limit, self.paint))
    }

    async fn show(&self, id: JobId) -> Result<Answer, Failure> {
        let Some(job) = self.jobs.job(id).await? else {
            return Err(unknown(id));
        };
        let executions = self.jobs.executions(id).await?;
        let reason = self.jobs.why_priority(id).await?;
        let now = self.jobs.now_unix_ms().await?;
        let all = serde_json::json!({ "job": job, "executions": executions, "urgency": reason });
        self.print(&all, || {
            show::job(&job, &executions, reason.as_ref(), now, self.paint)
        })
    }

    async fn set_paused(&self, queue: &str, paused: bool) -> Result<Answer, Failure> {
        self.jobs.set_paused(queue, paused).await?;
        let state = if paused { "paused" } else { "resumed" };
        let all = serde_json::json!({ "queue": queue, "paused": paused });
        self.print(&all, || format!("{state} {queue}\n"))
    }

    /// One line for each change, as soon as it is made or not made: what was done stands there
    /// whatever becomes of the rest. A failure when one of them was not made.
    async fn change(
        &self,
        jobs: Vec<JobId>,
        words: Words,
        change: impl AsyncFn(JobId) -> Result<Option<bool>, StoreError>,
    ) -> Result<Answer, Failure> {
        let mut changes = Vec::new();
        for job in jobs {
            let change = Change::of(job, change(job).await, words);
            if !self.json {
                say(&format!("{} {}\n", change.job, change.text))?;
            }
            changes.push(change);
        }
        let failed = changes.iter().any(|change| !change.done);
        let (text, _) = self.print(&changes, String::new)?;
        Ok((text, ExitCode::from(u8::from(failed))))
    }

    fn print(
        &self,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<Answer, Failure> {
        let text = if self.json {
            let json = serde_json::to_string_pretty(value).map_err(Failure::new)?;
            format!("{json}\n")
        } else {
            text()
        };
        Ok((text, ExitCode::SUCCESS))
    }
}

/// What became of a job that was to be changed.
#[derive(Debug, Serialize)]
struct Change {
    job: JobId,
    done: bool,
    text: Cow<'static, str>,
}

/// What is said when it was changed, and when its state forbids it.
type Words = (&'static str, &'static str);

const RETRIED: Words = (
    "runs again",
    "was left as it is: only a dead, cancelled or held job is run again, and only while no other \
     job bears its unique key",
);
const CANCELLED: Words = ("is cancelled", "was left as it is: it has ended");

impl Change {
    fn of(job: JobId, answer: Result<Option<bool>, StoreError>, (done, refused): Words) -> Self {
        let is_done = matches!(answer, Ok(Some(true)));
        let text = match answer {
            Ok(Some(true)) => done.into(),
            Ok(Some(false)) => refused.into(),
            Ok(None) => "does not exist, or was pruned after its end".into(),
            Err(error) if error.kind == StoreErrorKind::Ambiguous => {
                format!("may have been changed: {error}").into()
            }
            Err(error) => format!("was left as it is: {error}").into(),
        };
        Self {
            job,
            done: is_done,
            text,
        }
    }
}

fn unknown(job: JobId) -> Failure {
    Failure::new(format!(
        "job {job} does not exist, or was pruned after its end"
    ))
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(error)
    }
}

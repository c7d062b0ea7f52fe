//! `monitord jobs`: a look at the jobs of a database, and the few things that people decide.

mod database;
mod show;
mod table;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use monitor_jobs::{Backend, JobFilter, JobId, StoreError};
use serde::Serialize;

pub use self::database::{Database, InvalidDatabase};
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
        let jobs = args.database.open().await?;
        let is_terminal = std::io::stdout().is_terminal();
        let desk = Desk {
            jobs: Arc::clone(&jobs),
            json: args.json,
            paint: Paint::on(is_terminal),
        };
        let end = desk.act(args.action).await;
        jobs.close().await?;
        let (text, code) = end?;
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()?;
        Ok(code)
    })
}

struct Desk {
    jobs: Arc<dyn Backend>,
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
                let mut changes = Vec::new();
                for job in chosen.jobs {
                    changes.push(Change::of(job, self.jobs.retry(job).await?, RETRIED));
                }
                self.changed(&changes)
            }
            JobsAction::Cancel(chosen) => {
                let mut changes = Vec::new();
                for job in chosen.jobs {
                    changes.push(Change::of(job, self.jobs.cancel(job).await?, CANCELLED));
                }
                self.changed(&changes)
            }
            JobsAction::Pause { queue } => self.set_paused(&queue, true).await,
            JobsAction::Resume { queue } => self.set_paused(&queue, false).await,
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

    /// One line for each change; a failure when one of them was not made.
    fn changed(&self, changes: &[Change]) -> Result<Answer, Failure> {
        let failed = changes.iter().any(|change| !change.done);
        let (text, _) = self.print(&changes, || {
            let lines = changes.iter();
            lines
                .map(|change| format!("{} {}\n", change.job, change.text))
                .collect()
        })?;
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
    text: &'static str,
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
    fn of(job: JobId, answer: Option<bool>, (done, refused): Words) -> Self {
        let text = match answer {
            Some(true) => done,
            Some(false) => refused,
            None => "does not exist, or was pruned after its end",
        };
        Self {
            job,
            done: answer == Some(true),
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

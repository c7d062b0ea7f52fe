//! The arguments of `monitord jobs`.

use clap::{Args, Subcommand, ValueEnum};
use monitor_jobs::{JobId, JobState};

use crate::commands::jobs::Database;

const JOBS_HELP: &str = "\
Examples:
  monitord jobs --database monitor.sqlite list --state dead
  monitord jobs --database postgres://monitor@db-1/jobs show 4711
  monitord jobs --database monitor.sqlite list --json | jq '.[].last_error'
  monitord jobs --database monitor.sqlite pause mail
  monitord jobs --database monitor.sqlite doctor

Exit codes:
  0  done; `doctor`: nothing is wrong
  1  it failed, there is no such job, it could not be changed; `doctor`: something is wrong
  2  bad usage; nothing was changed";

/// The arguments of `monitord jobs`.
#[derive(Debug, Args)]
#[command(after_help = JOBS_HELP)]
pub struct JobsArgs {
    /// Where the jobs are: an SQLite file, or postgres://user@host/database
    #[arg(
        long,
        global = true,
        value_name = "FILE|URL",
        default_value = "monitor.sqlite"
    )]
    pub database: Database,
    /// Write JSON instead
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub action: JobsAction,
}

/// What to do with jobs.
#[derive(Debug, Subcommand)]
pub enum JobsAction {
    /// List jobs in the order in which they were put in
    List(ListArgs),
    /// Show one job with its attempts, and why it is as urgent as it is
    Show {
        /// The job
        #[arg(value_name = "ID", value_parser = parse_job)]
        job: JobId,
    },
    /// Run dead or cancelled jobs again, and release held ones
    Retry(Chosen),
    /// Cancel jobs: at once, or by the next beat of the worker that runs them
    Cancel(Chosen),
    /// Claim nothing more from a queue; what runs goes on
    Pause {
        /// The queue; it need not exist yet
        queue: String,
    },
    /// Claim from a paused queue again
    Resume {
        /// The queue
        queue: String,
    },
    /// List the queues: how many jobs in each state, and how long the oldest has waited
    Queues,
    /// List the workers
    Workers,
    /// Look for what should not be: broken promises first, then what is worth knowing
    Doctor,
}

/// Which jobs to list.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only of this queue
    #[arg(long)]
    pub queue: Option<String>,
    /// Only of this kind
    #[arg(long)]
    pub kind: Option<String>,
    /// Only in this state
    #[arg(long, value_enum)]
    pub state: Option<State>,
    /// Only after this job, for the next page
    #[arg(long, value_name = "ID", value_parser = parse_job)]
    pub after: Option<JobId>,
    /// At most this many
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

/// Which jobs to change.
#[derive(Debug, Args)]
pub struct Chosen {
    /// The jobs
    #[arg(value_name = "ID", value_parser = parse_job, required = true, num_args = 1..)]
    pub jobs: Vec<JobId>,
}

/// [`JobState`] on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum State {
    /// Waits for other jobs
    Blocked,
    /// A job it waits for ended badly, and people decide
    Held,
    /// Waits for its time
    Scheduled,
    /// Waits for a worker
    Ready,
    /// Runs
    Running,
    /// Ended well
    Completed,
    /// Ended badly
    Dead,
    /// Ended by request
    Cancelled,
}

impl From<State> for JobState {
    fn from(state: State) -> Self {
        match state {
            State::Blocked => Self::Blocked,
            State::Held => Self::Held,
            State::Scheduled => Self::Scheduled,
            State::Ready => Self::Ready,
            State::Running => Self::Running,
            State::Completed => Self::Completed,
            State::Dead => Self::Dead,
            State::Cancelled => Self::Cancelled,
        }
    }
}

fn parse_job(text: &str) -> Result<JobId, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(JobId(number)),
        _ => Err("is no job id, which is a number of 1 or more".to_owned()),
    }
}

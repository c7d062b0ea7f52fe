//! The arguments of `monitord jobs`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use monitor_jobs::{JobId, JobState};

const JOBS_HELP: &str = "\
With --config these are the jobs of the daemon itself: its backups and its looks for defects. They
are in a file beside its results (monitord.jobs.db beside monitord.db), or in its PostgreSQL
database.

Nothing here migrates an older database but `migrate`.

Examples:
  monitord jobs --config monitord.toml list
  monitord jobs --config monitord.toml show 4711
  monitord jobs --database jobs.sqlite list --state dead
  monitord jobs --database jobs.sqlite list --json | jq '.[].last_error'
  monitord jobs --database postgres://monitor@db-1/jobs pause mail
  monitord jobs --database jobs.sqlite doctor

Exit codes:
  0  done; `doctor`: nothing is wrong
  1  it failed, there is no such job, it could not be changed; `doctor`: something is wrong
  2  bad usage or configuration; nothing was changed";

/// The arguments of `monitord jobs`.
#[derive(Debug, Args)]
#[command(after_help = JOBS_HELP)]
pub struct JobsArgs {
    /// The configuration of the daemon whose own jobs they are
    #[arg(long, short, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the jobs are, a file or postgres://..., or where the daemon's results are (other users
    /// of this machine can see it in the list of processes, with a password in it)
    #[arg(long, global = true, value_name = "FILE|URL")]
    pub database: Option<PathBuf>,
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
    /// Bring the schema of the database up to date with this program
    Migrate,
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

//! The command line: what can be said, and what the exit code means.

pub mod backup;
pub mod jobs;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use monitor_probes::StatusSet;

use crate::commands;
use crate::config::{parse_duration, read_listen};

const EXIT_CODES: &str = "\
Exit codes:
  0  all went well
  1  it failed; the message says why
  2  bad usage or configuration; nothing was started";

const EXAMPLES: &str = "\
Examples:
  monitord demo                            see it at work on targets of its own
  monitord check https://example.org/      check once and see where the time goes
  monitord run --config monitord.toml      watch your own targets";

const CHECK_HELP: &str = "\
Examples:
  monitord check https://example.org/health
  monitord check example.org:5432 --timeout 2s
  monitord check https://example.org/gone --expect-status 404,410
  monitord check https://example.org/ --json | jq .phases_ms

Exit codes:
  0  up or degraded
  1  down, or unknown because the check itself failed
  2  bad usage; nothing was contacted";

const DEMO_HELP: &str = "\
Examples:
  monitord demo                            until ctrl-c, page on http://127.0.0.1:8080/
  monitord demo --for 20s --port 0         ends by itself, page on a free port
  monitord demo --keep /tmp/demo           keeps the database for a look afterwards

Exit codes:
  0  ended by ctrl-c, SIGTERM or --for
  1  it failed; the message says why
  2  bad usage; nothing was started
  130, 143  a second ctrl-c or SIGTERM cut the ending short";

const RUN_HELP: &str = "\
A minimal configuration:
  [[monitor]]
  id = \"example\"
  url = \"https://example.org/\"

Examples:
  monitord run --config monitord.toml
  monitord run --config monitord.toml --listen 127.0.0.1:9090 --database /var/lib/monitord.db
  BACKOFF_MAX_INTERVAL=600 monitord run --config monitord.toml --log-format json

What wins: flag, then environment, then file, then preset. Read from the environment:
  MAX_CONCURRENT_PROBES, PROBE_COLLECTION_INTERVAL, BACKOFF_BASE_INTERVAL,
  BACKOFF_MAX_INTERVAL, BACKOFF_MULTIPLIER, BACKOFF_MAX_FAILURES,
  CIRCUIT_BREAKER_FAILURE_THRESHOLD, CIRCUIT_BREAKER_RECOVERY_TIMEOUT (times in seconds),
  and RUST_LOG, such as RUST_LOG=monitord=debug.

SIGTERM and SIGINT end it in order: no new checks, wait for those in flight, call off the rest,
write everything, close. A second signal ends it at once.

Exit codes:
  0  ended by a signal, and every result is stored
  1  it failed, or results were lost; the message says why and how many
  2  bad usage or configuration; nothing was started
  130, 143  a second SIGINT or SIGTERM cut the ending short";

const SIMULATE_HELP: &str = "\
What decides is what decides in `monitord run`; the targets, the clocks and what goes wrong are made
up, all of it from the seed: slow and failing targets, outages of one and of many, a scheduler held
up, a machine that sleeps, processes killed and started again, clocks set by hours, checks by hand,
monitors paused, edited and deleted while they are checked. With --calm only targets fail: what your
settings would come to on a good day.

Examples:
  monitord simulate                                     10 000 targets for an hour
  monitord simulate --targets 100000 --hours 24 --plot day.svg
  monitord simulate --config monitord.toml --hours 24   your settings, none of your targets
  monitord simulate --config monitord.toml --calm       the same on a good day
  monitord simulate --hours 24 --seed 42                the same run again
  monitord simulate --json | jq .lag_ms.p99

Exit codes:
  0  all that is promised was kept
  1  a promise was broken, and the seed is told; or the picture could not be written
  2  bad usage or configuration; nothing was simulated";

const DOCTOR_HELP: &str = "\
Nothing is changed, and no daemon is held up.

Examples:
  monitord doctor --config monitord.toml
  monitord doctor --database /var/lib/monitord.db
  monitord doctor --config monitord.toml --json | jq '.[].kind'

Exit codes:
  0  nothing is wrong
  1  something is wrong, and listed; or the store cannot be read
  2  bad usage or configuration; nothing was looked at";

const EXPLAIN_HELP: &str = "\
Examples:
  monitord explain shop
  monitord explain shop --url http://127.0.0.1:9090
  monitord explain shop --json | jq .next_due_unix_ms

Exit codes:
  0  explained
  1  no daemon answers there, it lets nobody in, or it has no such monitor
  2  bad usage; nobody was asked";

/// A monitoring daemon that never lies: one binary, one TOML file, embedded SQLite, a status page.
#[derive(Debug, Parser)]
#[command(name = "monitord", version, after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show it at work: demo targets, a live table and a status page
    Demo(DemoArgs),
    /// Watch the targets of a configuration file
    Run(RunArgs),
    /// Check one target once and show where the time goes
    Check(CheckArgs),
    /// Look for what is wrong with the store of results, also while a daemon runs on it
    Doctor(DoctorArgs),
    /// Say why a monitor is or is not being checked now, and when next
    Explain(ExplainArgs),
    /// Copy the database, also while a daemon uses it
    Backup(backup::BackupArgs),
    /// Look at the jobs of a database: list, show, retry, cancel, pause, doctor
    Jobs(jobs::JobsArgs),
    /// Simulate hours of work in seconds, with everything going wrong that may
    Simulate(SimulateArgs),
}

/// The arguments of `monitord demo`.
#[derive(Debug, Args)]
#[command(after_help = DEMO_HELP)]
pub struct DemoArgs {
    /// End by itself after this time, such as 20s
    #[arg(long = "for", value_name = "TIME", value_parser = parse_positive)]
    pub duration: Option<Duration>,
    /// The page's port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// Keep the database in this folder instead of a temporary one
    #[arg(long, value_name = "FOLDER")]
    pub keep: Option<PathBuf>,
    /// Print one line per change, also on a terminal
    #[arg(long)]
    pub lines: bool,
}

/// The arguments of `monitord run`.
#[derive(Debug, Args)]
#[command(after_help = RUN_HELP)]
pub struct RunArgs {
    /// The configuration, a TOML file
    #[arg(long, short, value_name = "FILE")]
    pub config: PathBuf,
    /// Where to serve the page, instead of server.listen
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = read_listen)]
    pub listen: Option<SocketAddr>,
    /// Where to keep results, instead of store.database: a file, or postgres://... (which other
    /// users of this machine can see in the list of processes, with a password in it)
    #[arg(long, value_name = "FILE|URL")]
    pub database: Option<PathBuf>,
    /// How long an orderly end may take
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_positive)]
    pub shutdown_timeout: Duration,
    /// How to write the log, which goes to standard error
    #[arg(long, value_enum, default_value_t)]
    pub log_format: LogFormat,
}

/// How to write the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people, coloured on a terminal
    #[default]
    Human,
    /// One JSON object a line
    Json,
}

/// The arguments of `monitord check`.
#[derive(Debug, Args)]
#[command(after_help = CHECK_HELP)]
pub struct CheckArgs {
    /// What to check: http://..., https://... or host:port
    // Read later: what is refused while the command line is parsed is quoted, password included.
    #[arg(value_name = "URL|HOST:PORT")]
    pub target: String,
    /// How long the check may take
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_positive)]
    pub timeout: Duration,
    /// The statuses that are right: 200, 200-299, 4xx, separated by commas [default: 200-399]
    #[arg(long, value_name = "STATUSES")]
    pub expect_status: Option<StatusSet>,
    /// A text that the body must contain
    #[arg(long, value_name = "TEXT")]
    pub expect_body: Option<String>,
    /// An answer that takes longer than this is degraded
    #[arg(long, value_name = "TIME", value_parser = parse_positive)]
    pub degraded_over: Option<Duration>,
    /// Write one JSON object instead
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `monitord simulate`.
#[derive(Debug, Args)]
#[command(after_help = SIMULATE_HELP)]
pub struct SimulateArgs {
    /// How many targets, 1 to 10000000 [default: 10000, or as many as the configuration has]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub targets: Option<u32>,
    /// How many hours, more than 0 and 10000 at most
    #[arg(long, value_name = "HOURS", default_value = "1", value_parser = parse_hours)]
    pub hours: f64,
    /// Check the targets as the monitors of this configuration, in turns
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What all chance follows from [default: a new one each time]
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// How many checks may run at once [default: one in 40 targets, 20 at least, or as configured]
    #[arg(long, value_name = "NUMBER", value_parser = parse_count)]
    pub concurrent: Option<usize>,
    /// Let nothing go wrong but what befalls the targets
    #[arg(long)]
    pub calm: bool,
    /// What becomes of a check that is due while that many run [default: queue, or as configured]
    #[arg(long, value_enum)]
    pub without_permit: Option<WithoutPermit>,
    /// Draw lag, concurrency and missed checks over time into this SVG file
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Write one JSON object instead
    #[arg(long)]
    pub json: bool,
}

/// What becomes of a check that is due while no permit is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WithoutPermit {
    /// It is missed
    Skip,
    /// It waits, while there is room to wait
    Queue,
    /// The same, and whoever has the least right to a place gives it up
    Shed,
}

/// The arguments of `monitord doctor`.
#[derive(Debug, Args)]
#[command(after_help = DOCTOR_HELP)]
pub struct DoctorArgs {
    /// The configuration that names the store
    #[arg(long, short, value_name = "FILE", required_unless_present = "database")]
    pub config: Option<PathBuf>,
    /// The store itself, a file or postgres://..., instead of the configuration's
    #[arg(long, value_name = "FILE|URL")]
    pub database: Option<PathBuf>,
    /// Write one JSON array instead
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `monitord explain`.
#[derive(Debug, Args)]
#[command(after_help = EXPLAIN_HELP)]
pub struct ExplainArgs {
    /// The id of the monitor
    #[arg(value_name = "ID")]
    pub id: String,
    /// Where the daemon listens
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// Write what the daemon says as one JSON object
    #[arg(long)]
    pub json: bool,
}

impl Cli {
    /// Does what was asked and says how it went, in words on standard error and as exit code.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let end = match self.command {
            Command::Demo(args) => commands::demo::run(args),
            Command::Run(args) => commands::run::run(args),
            Command::Check(args) => commands::check::run(args),
            Command::Doctor(args) => commands::doctor::run(args),
            Command::Explain(args) => commands::explain::run(args),
            Command::Backup(args) => commands::backup::run(args),
            Command::Jobs(args) => commands::jobs::run(args),
            Command::Simulate(args) => commands::simulate::run(args),
        };
        if let Err(failure) = &end {
            // With standard error gone there is nobody left to tell.
            let _ = writeln!(std::io::stderr(), "monitord: {failure}");
        }
        match end {
            Ok(code) => code,
            Err(failure) => ExitCode::from(failure.code),
        }
    }
}

fn parse_hours(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(hours) if hours > 0.0 && hours <= 10_000.0 => Ok(hours),
        _ => Err("is no number of hours, more than 0 and 10000 at most".to_owned()),
    }
}

fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("is no number of 1 or more".to_owned()),
        Ok(count) => Ok(count),
    }
}

fn parse_positive(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(Duration::ZERO) => Err("is zero".to_owned()),
        Ok(duration) => Ok(duration),
        Err(what) => Err(format!(
            "{what}; write a number with a unit: 500ms, 30s, 2m"
        )),
    }
}

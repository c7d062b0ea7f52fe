//! The command line.

use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::steps::{Options, Output, Step};
use crate::workspace::Workspace;
use crate::{
    bench, ci, consume, figures, lint, load, loom, page, services, simulate, soak, steps, test,
    tidy,
};

/// The project's own chores.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    subcommand_required = true
)]
#[command(after_help = "\
Exit codes: 0 passed, 1 a step failed, 2 the command line is wrong or a program is missing.

Examples:
  cargo xtask ci                      everything that a change must pass
  cargo xtask test monitor-breaker    the tests of one crate
  cargo xtask tidy --fix              write the generated documents again")]
pub(crate) struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Everything that a change must pass, cheap checks first
    #[command(after_help = "\
Examples:
  cargo xtask ci
  cargo xtask ci --keep-going --json target/ci.json
  CARGO_TARGET_DIR=/tmp/cold cargo xtask ci    from nothing, to see how long it takes")]
    Ci(Ci),
    /// Formatting, clippy and rustdoc, warnings as errors
    Lint {
        /// Format the code instead of checking that it is formatted
        #[arg(long)]
        fix: bool,
    },
    /// Unit, integration and documentation tests
    #[command(after_help = "\
Examples:
  cargo xtask test
  cargo xtask test monitor-store
  cargo xtask test monitor-store inv_store    only tests with this in their name")]
    Test {
        /// Only this crate
        package: Option<String>,
        /// Only tests with this in their name
        #[arg(requires = "package")]
        filter: Option<String>,
    },
    /// Model checking: every interleaving of the concurrent kernels
    #[command(after_help = "\
Environment: LOOM_MAX_PREEMPTIONS bounds the search (default 3); loom's other variables work too.

Examples:
  cargo xtask loom
  cargo xtask loom monitor-operation
  LOOM_MAX_PREEMPTIONS=4 cargo xtask loom monitor-breaker --filter late_verdict")]
    Loom {
        /// Only this crate
        package: Option<String>,
        /// Only models with this in their name
        #[arg(long)]
        filter: Option<String>,
    },
    /// Measurements against other crates
    #[command(after_help = "\
Groups: backoff, breaker, operation, pool. The other crates are built too, in a workspace of their
own. All groups take about four minutes, once everything is built.

Examples:
  cargo xtask bench
  cargo xtask bench breaker --json target/breaker.json
  cargo xtask bench pool uncontended
  cargo xtask bench --check --markdown docs/benchmarks.md
  cargo xtask bench --from target/breaker.json --check    rows that were measured before")]
    Bench(bench::Wanted),
    /// Draw the pictures in docs/figures, by simulations in virtual time
    #[command(after_help = "\
Examples:
  cargo xtask figures
  cargo xtask figures --check    test the simulations; the pictures must be those they draw")]
    Figures {
        /// Only check that they are up to date
        #[arg(long)]
        check: bool,
    },
    /// The rules of the house that no compiler checks
    Tidy {
        /// Write the generated parts of the documents again
        #[arg(long)]
        fix: bool,
    },
    /// Package every library and use each one alone, outside the workspace
    Consume {
        /// Only this crate
        package: Option<String>,
    },
    /// Throw-away servers on loopback until ctrl-c
    #[command(after_help = "\
Examples:
  cargo xtask services            start nginx, PostgreSQL, Dovecot and a browser, say where
  cargo xtask services --check    say which programs are there and which are missing
  cargo xtask services --install  install what is missing")]
    Services {
        /// Only look for the programs
        #[arg(long, conflicts_with = "install")]
        check: bool,
        /// Only install what is missing
        #[arg(long)]
        install: bool,
    },
    /// Kill the daemon under load, many times; then chaos for the connection pool
    #[command(after_help = "\
Environment: MONITOR_KILL_SEED and MONITOR_CHAOS_SEED repeat the choices of a run that has failed.")]
    Soak {
        /// How many times the daemon is killed
        #[arg(long, default_value = "100")]
        rounds: NonZeroU32,
        /// How long each chaos lasts
        #[arg(long, default_value = "30")]
        seconds: u64,
    },
    /// The daemon with thousands of targets on the loopback: start lag, what was missed, CPU, memory
    #[command(after_help = "\
Examples:
  cargo xtask load                                       10 000 targets every 10 s for 10 minutes
  cargo xtask load --seconds 60                          a rehearsal
  cargo xtask load --monitors 1000 --interval-ms 1000    other loads")]
    Load {
        /// How many targets
        #[arg(long, default_value = "10000")]
        monitors: NonZeroU64,
        /// How often each is checked
        #[arg(long, default_value = "10000")]
        interval_ms: NonZeroU64,
        /// For how long
        #[arg(long, default_value = "600")]
        seconds: NonZeroU64,
    },
    /// A day of ten thousand targets on the real kernels, with everything going wrong that may
    Simulate {
        /// What all chance follows from, to repeat a run that has failed
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Take the pictures of the status page in docs/images
    Page {
        /// How long the demonstration runs before, in seconds: as many bars there are to see
        #[arg(long, default_value = "60")]
        after: u64,
    },
}

#[derive(Debug, Args)]
struct Ci {
    /// Go on after a failed step
    #[arg(long)]
    keep_going: bool,
    /// Show what the programs print while they run
    #[arg(long, short)]
    verbose: bool,
    /// Do not install missing programs
    #[arg(long)]
    no_install: bool,
    /// Also write the table to a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Cli {
    /// Does the chore. `false` when one of its steps failed.
    pub(crate) fn run(self) -> Result<bool> {
        let workspace = &Workspace::find()?;
        let live = |steps: Vec<Step<'_>>| steps::run(steps, &Options::LIVE);
        match self.verb {
            Verb::Ci(Ci {
                keep_going,
                verbose,
                no_install,
                json,
            }) => {
                let output = if verbose {
                    Output::Live
                } else {
                    Output::OnFailure
                };
                steps::run(
                    ci::steps(workspace, !no_install)?,
                    &Options {
                        output,
                        keep_going,
                        json,
                    },
                )
            }
            Verb::Lint { fix } => live(lint::steps(workspace, fix)),
            Verb::Test { package, filter } => live(test::steps(
                workspace,
                package.as_deref(),
                filter.as_deref(),
            )?),
            Verb::Loom { package, filter } => {
                live(loom::steps(workspace, package.as_deref(), filter)?)
            }
            Verb::Bench(wanted) => bench::run(workspace, &wanted),
            Verb::Figures { check } => live(figures::steps(workspace, check)),
            Verb::Tidy { fix } => tidy::run(workspace, fix),
            Verb::Consume { package } => live(consume::steps(workspace, package.as_deref())?),
            Verb::Services { check: true, .. } => Ok(crate::tools::report()),
            Verb::Services { install: true, .. } => crate::tools::ensure(true).map(|_| true),
            Verb::Services { .. } => services::run(),
            Verb::Soak { rounds, seconds } => live(soak::steps(workspace, rounds, seconds)),
            Verb::Load {
                monitors,
                interval_ms,
                seconds,
            } => live(load::steps(workspace, monitors, interval_ms, seconds)),
            Verb::Simulate { seed } => live(simulate::steps(workspace, seed)),
            Verb::Page { after } => live(page::steps(workspace, Duration::from_secs(after))),
        }
    }

    /// The names of the verbs, for the check that the documents name no other.
    pub(crate) fn verbs() -> Vec<String> {
        use clap::CommandFactory;
        Self::command()
            .get_subcommands()
            .map(|verb| verb.get_name().to_owned())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        assert!(Cli::verbs().contains(&"ci".to_owned()));
    }

    #[test]
    fn a_filter_needs_a_package_and_rounds_are_at_least_one() {
        assert!(Cli::try_parse_from(["xtask", "test", "monitor-store", "fence"]).is_ok());
        assert!(Cli::try_parse_from(["xtask", "soak", "--rounds", "0"]).is_err());
        assert!(Cli::try_parse_from(["xtask"]).is_err());
    }
}

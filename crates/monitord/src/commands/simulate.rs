//! `monitord simulate`: what the settings would come to, hours of it in seconds.

mod report;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{IsTerminal, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use monitor_model::Source;
use monitor_scheduler::Saturation;
use rustix::time::{ClockId, clock_gettime};

use super::Failure;
use crate::cli::{SimulateArgs, WithoutPermit};
use crate::config::{Config, Overrides};
use crate::simulate::{self, Plan, Report, Template, Trouble};
use crate::terminal::Paint;

const TARGETS: u32 = 10_000;
/// How many may wait for a permit, as in the daemon where nothing else is said.
const QUEUE: usize = 1024;

/// What was simulated, and what it took.
struct Simulated {
    plan: Plan,
    report: Report,
    cpu: Duration,
}

/// Simulates, and says what came of it. The exit code is 1 if a promise was broken.
///
/// # Errors
/// When the configuration is no good, or the picture cannot be written.
pub fn run(args: SimulateArgs) -> Result<ExitCode, Failure> {
    let plan = plan(&args)?;
    if let Some(path) = &args.plot {
        // Before the work, and not after it.
        write(path, "")?;
    }
    let begun = cpu_time();
    let mut bar = ProgressBar::new();
    let report = simulate::run(&plan, |share| bar.show(share));
    bar.clear();
    let cpu = cpu_time().saturating_sub(begun);
    let simulated = Simulated { plan, report, cpu };
    if let Some(path) = &args.plot {
        let title = report::title(&simulated);
        write(path, &simulate::svg(&simulated.report, &title))?;
    }
    let mut out = std::io::stdout().lock();
    let text = if args.json {
        format!("{}\n", report::json(&simulated))
    } else {
        report::text(&simulated, Paint::on(out.is_terminal()))
    };
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(match simulated.report.violations_total {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn plan(args: &SimulateArgs) -> Result<Plan, Failure> {
    // What nobody names is new each time, and told.
    let seed = args
        .seed
        .unwrap_or_else(|| RandomState::new().build_hasher().finish() >> 32);
    let duration = Duration::from_secs_f64(args.hours * 3600.0);
    let mut plan = Plan::new(args.targets.unwrap_or(TARGETS), duration, seed);
    plan.saturation = Saturation::Queue { bound: QUEUE };
    if let Some(path) = &args.config {
        let config = load(path)?;
        let monitors = u32::try_from(config.monitors.len()).unwrap_or(u32::MAX);
        plan.targets = args.targets.unwrap_or(monitors);
        plan.max_concurrent = config.max_concurrent_probes;
        plan.saturation = config.without_permit;
        plan.max_wait = config.max_wait;
        plan.templates = templates(&config)?;
    }
    match args.without_permit {
        None => {}
        Some(WithoutPermit::Skip) => plan.saturation = Saturation::Skip,
        Some(WithoutPermit::Queue) => plan.saturation = Saturation::Queue { bound: QUEUE },
        Some(WithoutPermit::Shed) => plan.saturation = Saturation::Shed { bound: QUEUE },
    }
    if args.calm {
        plan.trouble = Trouble::CALM;
    }
    if let Some(limit) = args.concurrent.and_then(NonZeroUsize::new) {
        plan.max_concurrent = limit;
    }
    Ok(plan)
}

fn load(path: &Path) -> Result<Config, Failure> {
    let config = Config::load(path, &Overrides::default());
    config.map_err(|report| {
        // With standard error gone there is nobody left to tell.
        let _ = writeln!(std::io::stderr(), "{report}");
        Failure::usage("the configuration is not valid")
    })
}

/// How the monitors of a configuration are checked. Nothing of it is contacted.
fn templates(config: &Config) -> Result<Vec<Template>, Failure> {
    let templates = config.monitors.iter().map(|monitor| {
        let definition = monitor.definition(&config.defaults, Source::File);
        let policy = monitor.policy.or(&config.defaults.policy);
        let recovery = policy.circuit_breaker_recovery_timeout;
        Ok(Template {
            settings: definition.map_err(Failure::usage)?.settings,
            recovery: recovery.unwrap_or(Duration::from_secs(60)),
            is_one_class: true,
        })
    });
    let templates: Vec<_> = templates.collect::<Result<_, Failure>>()?;
    if templates.is_empty() {
        return Err(Failure::usage("the configuration has no monitors"));
    }
    Ok(templates)
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text)
        .map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))
}

/// What the process has used of its processors.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// How far it is, on a terminal.
struct ProgressBar {
    is_on: bool,
}

impl ProgressBar {
    const WIDTH: usize = 40;

    fn new() -> Self {
        let is_on = std::io::stderr().is_terminal();
        Self { is_on }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a share from 0 to 1"
    )]
    fn show(&mut self, share: f64) {
        if self.is_on {
            let full = ((share * Self::WIDTH as f64) as usize).min(Self::WIDTH);
            let (done, left) = ("█".repeat(full), "░".repeat(Self::WIDTH - full));
            // With standard error gone there is nobody left to tell.
            let _ = write!(std::io::stderr(), "\r{done}{left} {:3.0} %", share * 100.0);
        }
    }

    fn clear(&mut self) {
        if self.is_on {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

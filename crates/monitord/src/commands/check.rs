//! `monitord check`: one check, with the time of each phase.

mod report;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use monitor_core::operation::{Epoch, Operations};
use monitor_fault::{Fault, Layer, Reason};
use monitor_model::{Finding, Observation, Phases, Probe, ProbeContext, Progress};
use monitor_probes::{HttpProbe, Target, TcpProbe, parse_target};
use tokio::time::Instant;

use super::Failure;
use crate::cli::CheckArgs;
use crate::terminal::Paint;

/// What one check came to.
struct Checked {
    kind: &'static str,
    target: String,
    observation: Observation,
    phases: Phases,
    took: Duration,
}

/// Checks once and shows what was seen.
///
/// # Errors
/// When the target or an option is no good, or the result cannot be written.
pub fn run(args: CheckArgs) -> Result<ExitCode, Failure> {
    let probe = probe(&args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let checked = runtime.block_on(look(&*probe, args.timeout))?;
    // A name lookup that does not end must not hold up the answer.
    runtime.shutdown_background();
    let mut out = std::io::stdout().lock();
    let text = if args.json {
        format!("{}\n", report::json(&checked))
    } else {
        report::text(&checked, Paint::on(out.is_terminal()))
    };
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(match checked.observation.finding {
        Finding::Up | Finding::Degraded(_) => ExitCode::SUCCESS,
        Finding::Down(_) | Finding::Unknown(_) => ExitCode::FAILURE,
    })
}

fn probe(args: &CheckArgs) -> Result<Arc<dyn Probe>, Failure> {
    let target = parse_target(&args.target).map_err(Failure::usage)?;
    let expects =
        args.expect_status.is_some() || args.expect_body.is_some() || args.degraded_over.is_some();
    match &target {
        Target::Tcp { .. } if expects => Err(Failure::usage(
            "--expect-status, --expect-body and --degraded-over are for http and https targets; \
             a port is checked by connecting to it",
        )),
        Target::Tcp { host, port } => {
            let probe = TcpProbe::new(&host.to_string(), *port).map_err(Failure::usage)?;
            Ok(Arc::new(probe))
        }
        Target::Http(_) if args.degraded_over.is_some_and(|slow| slow >= args.timeout) => {
            Err(Failure::usage(
                "--degraded-over is not below --timeout, so nothing would ever be degraded",
            ))
        }
        Target::Http(url) => {
            let mut builder = HttpProbe::builder(url.as_str());
            if let Some(statuses) = &args.expect_status {
                builder = builder.expect_status(statuses.clone());
            }
            if let Some(text) = &args.expect_body {
                builder = builder.expect_body(text);
            }
            if let Some(limit) = args.degraded_over {
                builder = builder.degraded_over(limit);
            }
            Ok(Arc::new(builder.build().map_err(Failure::usage)?))
        }
        _ => Err(Failure::usage("this kind of target cannot be checked")),
    }
}

/// Looks once. No answer in time is a finding, not an error.
async fn look(probe: &dyn Probe, timeout: Duration) -> Result<Checked, Failure> {
    let operations = Operations::new();
    operations
        .register("check", Epoch::new(1))
        .map_err(Failure::new)?;
    let operation = operations.begin(&"check").map_err(Failure::new)?;
    let progress = Progress::default();
    let context = ProbeContext {
        timeout,
        cancellation: operation.cancellation(),
        progress: progress.clone(),
        resources: Default::default(),
        footprint: Default::default(),
    };
    let begun = Instant::now();
    let observation = match tokio::time::timeout(timeout, probe.check(&context)).await {
        Ok(observation) => observation,
        Err(_) => {
            let layer = progress.layer().unwrap_or(Layer::Connect);
            let detail = format!("gave up after {}", crate::config::format_duration(timeout));
            Observation::fault(Fault::new(layer, Reason::Timeout).with_detail(detail))
        }
    };
    Ok(Checked {
        kind: probe.kind(),
        target: probe.target(),
        observation,
        phases: progress.phases(),
        took: begun.elapsed(),
    })
}

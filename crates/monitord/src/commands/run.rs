//! `monitord run`: the targets of a configuration file, until a signal.

use std::io::Write;
use std::process::ExitCode;

use monitor_core::{Definition, pressure};
use monitor_model::Source;

use super::Failure;
use crate::cli::{LogFormat, RunArgs};
use crate::config::{Config, Layer, Overrides, Report, StoreConfig};
use crate::daemon::{self, Daemon, Ending, Format, Signals, StoreOptions, start_logging};
use crate::jobs::Plan;
use crate::server::{self, AppOptions};

/// Runs until a signal, and ends in order.
///
/// # Errors
/// When the configuration is no good (nothing is started then), when the address or the store
/// cannot be had, or when results were lost at the end.
pub fn run(args: RunArgs) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let end = runtime.block_on(watch(args));
    // A check that blocks its thread must not hold up the end.
    runtime.shutdown_background();
    end
}

async fn watch(args: RunArgs) -> Result<ExitCode, Failure> {
    let mut signals = Signals::install()?;
    start_logging(
        match args.log_format {
            LogFormat::Human => Format::Human,
            LogFormat::Json => Format::Json,
        },
        "info",
    );
    let overrides = Overrides {
        listen: args.listen,
        database: args.database,
    };
    let path = args.config.clone();
    tracing::debug!(config = %path.display(), "reading the configuration");
    // Off this thread: a pipe may keep it waiting, and a signal must not wait for that.
    let load = tokio::task::spawn_blocking(move || Config::load(&path, &overrides));
    let config = tokio::select! {
        biased;
        config = load => config.map_err(Failure::new)?.map_err(refused)?,
        signal = signals.first() => {
            tracing::info!(%signal, "ended before anything was started");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let bound = server::bind(config.listen).await.map_err(Failure::new)?;
    let address = bound.local_addr();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        config = %args.config.display(),
        database = %config.store.database,
        page = format!("http://{address}/"),
        "starting"
    );
    for setting in &config.settings {
        let (key, value, source) = (&setting.key, &setting.value, setting.layer);
        match source {
            Layer::Preset => tracing::debug!(key, value, %source, "setting"),
            _ => tracing::info!(key, value, %source, "setting"),
        }
    }
    let mut daemon = Daemon::start(bound, options(&config, address.ip().is_loopback())?).await?;
    tracing::info!(page = format!("http://{address}/"), "ready");
    tokio::select! {
        signal = signals.first() => {
            tracing::info!(%signal, timeout = ?args.shutdown_timeout, "stopping");
        }
        by = daemon.until_taken_over() => {
            tracing::error!(by, "another daemon has taken the store over: stopping");
            daemon.shutdown(args.shutdown_timeout).await.log();
            return Err(Failure::new(format!("{by} has taken the store over")));
        }
    }
    finish(&daemon.shutdown(args.shutdown_timeout).await)
}

/// How the store of this configuration is opened.
pub(super) fn store(config: &StoreConfig) -> Result<StoreOptions, Failure> {
    let mut options = StoreOptions::new(&config.database).map_err(Failure::usage)?;
    match &mut options {
        StoreOptions::Sqlite(options) => {
            options.retain_history = config.retain.unwrap_or(options.retain_history);
            options.max_size = config.max_size_mb.map(|mb| mb << 20);
        }
        StoreOptions::Postgres(options) => {
            options.retain_history = config.retain.unwrap_or(options.retain_history);
        }
    }
    Ok(options)
}

fn options(config: &Config, allow_admin: bool) -> Result<daemon::Options, Failure> {
    let definitions: Result<Vec<Definition>, _> = config
        .monitors
        .iter()
        .map(|spec| spec.definition(&config.defaults, Source::File))
        .collect();
    let defaults = AppOptions::default();
    let pressure = pressure::Config::builder()
        .memory_limit_mb(config.memory_limit_mb)
        .resource_check_interval(config.resource_check_interval);
    Ok(daemon::Options {
        store: store(&config.store)?,
        pressure: pressure.build().map_err(Failure::usage)?,
        max_concurrent: config.max_concurrent_probes,
        without_permit: config.without_permit,
        max_wait: config.max_wait,
        app: AppOptions {
            title: config
                .title
                .clone()
                .unwrap_or_else(|| defaults.title.clone()),
            allow_admin,
            defaults: config.defaults.clone(),
            ..defaults
        },
        defaults: config.defaults.clone(),
        definitions: definitions.map_err(Failure::usage)?,
        sink: None,
        jobs: Plan::of(config)?,
        before_tick: None,
    })
}

/// The last lines, and what they mean for the exit code.
fn finish(ending: &Ending) -> Result<ExitCode, Failure> {
    ending.log();
    ending
        .lost()
        .map_or(Ok(ExitCode::SUCCESS), |lost| Err(Failure::new(lost)))
}

/// The report stands at the beginning of its lines, where editors look for `file:line:column`.
pub(super) fn refused(report: Report) -> Failure {
    // With standard error gone there is nobody left to tell.
    let _ = writeln!(std::io::stderr(), "{report}");
    Failure::usage("the configuration is not valid")
}

//! The log: to standard error, for people or as JSON.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// How to write the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Human,
    Json,
}

/// Starts the log of this process. `RUST_LOG` says what is in it, `default` when it does not.
/// A second start changes nothing.
pub(crate) fn start_logging(format: Format, default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        // It would say so on standard error, and panic if that is what failed.
        .log_internal_errors(false);
    // An error is a log that has been started before.
    let _ = match format {
        Format::Json => log.json().flatten_event(true).with_target(false).try_init(),
        Format::Human => {
            let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            log.with_ansi(colours).with_target(false).try_init()
        }
    };
}

//! `monitord backup`: a copy of the database, also while a daemon uses it.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use monitor_store::BackupProgress;

use super::Failure;
use crate::cli::backup::BackupArgs;
use crate::config::{Config, Database, Overrides};

/// Copies, and says how far it is.
///
/// # Errors
/// When there is nothing to copy, or nowhere to copy it to.
pub fn run(args: BackupArgs) -> Result<ExitCode, Failure> {
    let from = match (args.config, args.database) {
        (Some(config), _) => configured(&config)?,
        (None, Some(database)) => database,
        (None, None) => return Err(Failure::usage("give --config or --database")),
    };
    let mut shown = Shown::default();
    let copied = monitor_store::backup(&from, &args.to, |progress| shown.show(progress));
    shown.end();
    let bytes = copied.map_err(Failure::new)?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{} is a copy of {}, {bytes} bytes",
        args.to.display(),
        from.display()
    )?;
    Ok(ExitCode::SUCCESS)
}

fn configured(path: &Path) -> Result<PathBuf, Failure> {
    let overrides = Overrides {
        listen: None,
        database: None,
    };
    let config = Config::load(path, &overrides)
        .map_err(|report| Failure::usage(format!("the configuration is not valid\n{report}")))?;
    match config.store.database {
        Database::File(path) => Ok(path),
        Database::Postgres(_) => Err(Failure::usage(
            "store.database is on PostgreSQL: copy it with pg_dump",
        )),
    }
}

/// One line on a terminal, nothing elsewhere.
#[derive(Default)]
struct Shown {
    percent: Option<u64>,
}

impl Shown {
    fn show(&mut self, progress: BackupProgress) {
        let percent = progress.copied_bytes * 100 / progress.total_bytes.max(1);
        if self.percent != Some(percent) && std::io::stderr().is_terminal() {
            let mib = |bytes: u64| bytes.div_ceil(1 << 20);
            let (copied, total) = (mib(progress.copied_bytes), mib(progress.total_bytes));
            // With standard error gone there is nobody to show it to.
            let _ = write!(std::io::stderr(), "\r{copied} of {total} MiB, {percent} %");
            self.percent = Some(percent);
        }
    }

    /// Ends the line.
    fn end(&self) {
        if self.percent.is_some() {
            let _ = writeln!(std::io::stderr());
        }
    }
}

//! What can be said to `monitord backup`.

use std::path::PathBuf;

use clap::Args;

const HELP: &str = "\
Examples:
  monitord backup --config monitord.toml --to /backup/monitor.sqlite
  monitord backup --database monitor.sqlite --to \"/backup/$(date +%F).sqlite\"

The daemon may be running: the copy is of the instant at which it began, and checks go on.

To restore, stop the daemon, remove the database together with the files of the same name and -wal
or -shm behind it, put a copy of the backup in its place, and start the daemon.

Exit codes:
  0  copied, and looked at
  1  it failed; nothing was left behind
  2  bad usage or configuration; nothing was done";

/// The arguments of `monitord backup`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct BackupArgs {
    /// Copy the database of this configuration
    #[arg(
        long,
        short,
        value_name = "FILE",
        required_unless_present = "database",
        conflicts_with = "database"
    )]
    pub config: Option<PathBuf>,
    /// Copy this database
    #[arg(long, value_name = "FILE")]
    pub database: Option<PathBuf>,
    /// Where to; must not exist
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
}

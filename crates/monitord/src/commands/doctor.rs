//! `monitord doctor`: what is wrong with the store of results.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use monitor_model::Defect;
use monitor_store::{PostgresStore, SqliteStore};

use super::Failure;
use super::run::{refused, store};
use crate::cli::DoctorArgs;
use crate::config::{Config, Overrides};
use crate::daemon::StoreOptions;
use crate::terminal::{Colour, Paint, printable};

/// Looks, and prints what it found.
///
/// # Errors
/// When the configuration is no good, or the store cannot be read at all.
pub fn run(args: DoctorArgs) -> Result<ExitCode, Failure> {
    let defects = examine(options(&args)?)?;
    let mut out = std::io::stdout().lock();
    if args.json {
        let json = serde_json::to_string_pretty(&defects).map_err(Failure::new)?;
        writeln!(out, "{json}")?;
    } else {
        let paint = Paint::on(out.is_terminal());
        out.write_all(table(&defects, paint).as_bytes())?;
    }
    out.flush()?;
    Ok(ExitCode::from(u8::from(!defects.is_empty())))
}

/// Which store, as the daemon would open it.
fn options(args: &DoctorArgs) -> Result<StoreOptions, Failure> {
    let overrides = Overrides {
        listen: None,
        database: args.database.clone(),
    };
    if let Some(config) = &args.config {
        return store(&Config::load(config, &overrides).map_err(refused)?.store);
    }
    let database = overrides.database().map_err(Failure::usage)?;
    let database = database.ok_or_else(|| Failure::usage("name --config or --database"))?;
    StoreOptions::new(&database).map_err(Failure::usage)
}

fn examine(options: StoreOptions) -> Result<Vec<Defect>, Failure> {
    match options {
        StoreOptions::Sqlite(options) => SqliteStore::examine(&options.path),
        StoreOptions::Postgres(options) => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(PostgresStore::examine(*options))
        }
    }
    .map_err(Failure::new)
}

fn table(defects: &[Defect], paint: Paint) -> String {
    let width = |text: fn(&Defect) -> &str| {
        let widths = defects.iter().map(|defect| text(defect).chars().count());
        widths.max().unwrap_or(0)
    };
    let (kinds, subjects) = (
        width(|defect| defect.kind.as_str()),
        width(|defect| &defect.subject),
    );
    let line = |defect: &Defect| {
        let kind = format!("{:kinds$}", defect.kind.as_str());
        let kind = paint.colour(Colour::Red, &kind);
        let (subject, detail) = (printable(&defect.subject), printable(&defect.detail));
        format!("{kind}  {subject:subjects$}  {detail}\n")
    };
    match defects {
        [] => format!("{}\n", paint.colour(Colour::Green, "nothing is wrong")),
        some => some.iter().map(line).collect(),
    }
}

//! Which database the jobs are in, and opening it as it is: a look changes nothing.

use std::path::Path;
use std::sync::Arc;

use monitor_jobs::{Backend, PgJobs, PgOptions, Schema, SqliteJobs, SqliteOptions};

use crate::cli::jobs::JobsArgs;
use crate::commands::Failure;
use crate::commands::run::refused;
use crate::config::{Config, Database, Overrides};

/// Connections of a command, which does one thing after the other.
const CONNECTIONS: usize = 1;

/// The database that was named: of a configuration, that of the daemon's own jobs.
pub(super) fn named(args: &JobsArgs) -> Result<Database, Failure> {
    let overrides = Overrides {
        listen: None,
        database: args.database.clone(),
    };
    if let Some(config) = &args.config {
        let config = Config::load(config, &overrides).map_err(refused)?;
        let jobs = config.store.database.of_jobs();
        return match jobs.path() {
            Some(path) if !path.exists() => Err(Failure::new(format!(
                "there is no {}: a daemon makes it once [backup] or [doctor] of its configuration \
                 has a schedule",
                path.display()
            ))),
            _ => Ok(jobs),
        };
    }
    let database = overrides.database().map_err(Failure::usage)?;
    let database = database.ok_or_else(|| Failure::usage("name --config or --database"))?;
    match database.path() {
        Some(path) if !path.exists() => Err(Failure::new(format!(
            "there is no database {}; name it with --database",
            path.display()
        ))),
        Some(path) => beside(path, &database),
        None => Ok(database),
    }
}

/// Whoever names the results of a daemon means the jobs beside them.
fn beside(path: &Path, database: &Database) -> Result<Database, Failure> {
    let beside = database.of_jobs();
    let is_beside = beside.path().is_some_and(Path::exists);
    match is_beside && SqliteJobs::schema(path)?.found == 0 {
        true => Ok(beside),
        false => Ok(database.clone()),
    }
}

/// Opens what is there, if it can be opened as it is.
pub(super) async fn open(database: &Database, schema: Schema) -> Result<Arc<dyn Backend>, Failure> {
    let Schema {
        found, supported, ..
    } = schema;
    if found == 0 {
        return Err(Failure::new(format!(
            "{database} holds no jobs; whoever works on jobs there makes their tables, and so does \
             `monitord jobs migrate`"
        )));
    }
    if found < supported {
        return Err(Failure::new(format!(
            "{database}: its jobs have schema version {found}, and this program needs {supported}; \
             a look changes nothing: drain the workers of the older program, then run `monitord \
             jobs migrate`"
        )));
    }
    // A newer one is refused by the opening itself.
    migrated(database).await
}

/// Which schema is there; found without changing anything.
pub(super) async fn schema(database: &Database) -> Result<Schema, Failure> {
    match database {
        Database::File(path) => Ok(SqliteJobs::schema(path)?),
        Database::Postgres(url) => {
            Ok(PgJobs::schema(url.connections().map_err(Failure::new)?).await?)
        }
    }
}

/// Opens what is there, and brings its schema up to date.
pub(super) async fn migrated(database: &Database) -> Result<Arc<dyn Backend>, Failure> {
    match database {
        Database::File(path) => Ok(Arc::new(SqliteJobs::open(&SqliteOptions::new(path))?)),
        Database::Postgres(url) => {
            let mut options = PgOptions::default();
            options.max_connections = CONNECTIONS;
            options.listen = false;
            let config = url.connections().map_err(Failure::new)?;
            Ok(Arc::new(PgJobs::connect(config, options).await?))
        }
    }
}

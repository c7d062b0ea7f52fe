//! Opening: every way in which it can be the wrong file is found here and said plainly.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, MAIN_DB, OpenFlags};

use super::migrate::{self, Found, SUPPORTED};
use super::open_error::SqliteOpenError as OpenError;
use super::options::SqliteOptions;
use crate::StoreErrorKind;

/// The log is cut back to this size after a checkpoint, in bytes.
const LOG_SIZE: i64 = 16 << 20;

/// Prepared statements kept by a connection: more than there are in this crate.
const STATEMENTS: usize = 128;

/// How long to sleep between two looks at a busy file. Constant, unlike SQLite's own waiting, whose
/// steps grow to 100 ms: who has waited longest must not have the worst chances.
const STEP: Duration = Duration::from_millis(1);

/// An open database: one connection for each thread.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) path: PathBuf,
    pub(crate) writer: Connection,
    pub(crate) reader: Connection,
}

pub(crate) fn open(options: &SqliteOptions) -> Result<Opened, OpenError> {
    let path = place(&options.path)?;
    let mut waited = Duration::ZERO;
    loop {
        match attempt(&path, options) {
            // Another process opens, recovers or closes it just now: in some of these moments
            // SQLite refuses at once, whatever the busy handler says.
            Err(error)
                if error.kind() == StoreErrorKind::Transient && waited < options.busy_timeout =>
            {
                thread::sleep(10 * STEP);
                waited += 10 * STEP;
            }
            end => return end,
        }
    }
}

fn attempt(path: &Path, options: &SqliteOptions) -> Result<Opened, OpenError> {
    let writer = writer(path, options)?;
    let reader = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, options)
        .map_err(|error| OpenError::sqlite(path, &error))?;
    Ok(Opened {
        path: path.into(),
        writer,
        reader,
    })
}

/// Where the file is, without links: two names of a file would have two logs.
fn place(given: &Path) -> Result<PathBuf, OpenError> {
    let Some(name) = given.file_name() else {
        return Err(OpenError::NotAFile { path: given.into() });
    };
    let directory = match given.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !directory.is_dir() {
        return Err(OpenError::MissingDirectory {
            path: given.into(),
            directory: directory.into(),
        });
    }
    let canonical = |path: &Path| {
        path.canonicalize()
            .map_err(|error| OpenError::io(path, &error))
    };
    let path = match given.exists() {
        true => canonical(given)?,
        false => canonical(directory)?.join(name),
    };
    if path.exists() && !path.is_file() {
        return Err(OpenError::NotAFile { path });
    }
    // Beside the file, SQLite writes its log.
    let places = [Some(path.as_path()), path.parent()];
    let denied = places.into_iter().flatten().find(|path| is_read_only(path));
    if let Some(denied) = denied {
        return Err(OpenError::Denied {
            path: denied.into(),
            text: "it is read-only".into(),
        });
    }
    Ok(path)
}

/// Told apart beforehand: SQLite would open it to read, and find out at the first change.
fn is_read_only(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().readonly())
}

fn connect(
    path: &Path,
    access: OpenFlags,
    options: &SqliteOptions,
) -> rusqlite::Result<Connection> {
    let mut connection =
        Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    let steps = options.busy_timeout.as_millis() / STEP.as_millis();
    connection.busy_handler(Some(move |tries: i32| {
        thread::sleep(STEP);
        u128::try_from(tries).is_ok_and(|tries| tries < steps)
    }))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // A plan must not hang on the values that are bound: SQLite would plan anew for each value,
    // which took half of all time, only to find that a partial index still does not fit.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

fn writer(path: &Path, options: &SqliteOptions) -> Result<Connection, OpenError> {
    let failed = |error: rusqlite::Error| OpenError::sqlite(path, &error);
    let newer = |found| OpenError::Newer {
        path: path.into(),
        found,
        supported: SUPPORTED,
    };
    let access = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let mut connection = connect(path, access, options).map_err(failed)?;
    if connection.is_readonly(MAIN_DB).map_err(failed)? {
        return Err(OpenError::Denied {
            path: path.into(),
            text: "it is read-only".into(),
        });
    }
    match migrate::look(&connection).map_err(failed)? {
        Found::Version(found) if found > SUPPORTED => return Err(newer(found)),
        Found::Foreign if !options.adopt => {
            return Err(OpenError::Foreign { path: path.into() });
        }
        Found::Foreign | Found::Empty | Found::Version(_) => {}
    }
    configure(&connection, options).map_err(failed)?;
    let found = migrate::run(&mut connection).map_err(failed)?;
    if found > SUPPORTED {
        return Err(newer(found));
    }
    if let Some(size) = options.max_size {
        // After the migration, which must not fail for want of a page.
        limit(&connection, size).map_err(failed)?;
    }
    Ok(connection)
}

/// Readers and one writer do not wait for each other (WAL); what is acknowledged is as durable as
/// the options say; a reference to nothing is refused.
fn configure(connection: &Connection, options: &SqliteOptions) -> rusqlite::Result<()> {
    let mode = |connection: &Connection| -> rusqlite::Result<String> {
        connection.pragma_query_value(None, "journal_mode", |row| row.get(0))
    };
    if mode(connection)? != "wal" {
        // Has an effect in an empty file only, and only before the log is switched on.
        connection.pragma_update(None, "auto_vacuum", "incremental")?;
        let mode: String =
            connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
        if mode != "wal" {
            tracing::warn!(%mode, "the file system has no shared memory: reads wait for writes");
        }
    }
    connection.pragma_update(None, "synchronous", options.durability.synchronous())?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "journal_size_limit", LOG_SIZE)?;
    Ok(())
}

fn limit(connection: &Connection, size: u64) -> rusqlite::Result<()> {
    let page: u32 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    // SQLite's own limits are tighter, and it keeps to those: no more than 2^32 - 2 pages, no
    // fewer than the file has.
    let pages = u32::try_from(size / u64::from(page.max(1))).unwrap_or(u32::MAX);
    connection.pragma_update(None, "max_page_count", pages.clamp(1, u32::MAX - 1))
}

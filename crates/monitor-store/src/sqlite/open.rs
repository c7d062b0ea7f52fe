//! Opening: every way in which it can be the wrong file is found here and said plainly.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, MAIN_DB, OpenFlags};

use super::Options;
use super::lock::Lock;
use super::migrate::{self, Found, SUPPORTED};
use super::open_error::{OpenError, io_error};

/// The log is cut back to this size after a checkpoint, in bytes.
const LOG_SIZE: i64 = 16 << 20;
/// The log is written back to the file when it has so many pages, 16 MiB of them. Of a thousand
/// monitors each commit writes another page: a page that was written ten times since is copied once.
const CHECKPOINT_PAGES: i64 = 4096;
/// Memory for pages, in KiB: those that the next results of some thousand monitors go to.
const CACHE_KIB: i64 = 16 << 10;

/// An open database: the right to it, and one connection for each thread.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) path: PathBuf,
    pub(crate) lock: Lock,
    pub(crate) writer: Connection,
    pub(crate) reader: Connection,
    /// The most pages that the file may have, if there is a limit.
    pub(crate) max_pages: Option<u32>,
}

pub(crate) fn open(options: &Options) -> Result<Opened, OpenError> {
    let path = place(&options.path)?;
    let lock = Lock::acquire(&path)?;
    let failed = |error: rusqlite::Error| OpenError::sqlite(&path, &error);
    let (writer, max_pages) = writer(&path, options)?;
    let reader = connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY, options).map_err(failed)?;
    Ok(Opened {
        path,
        lock,
        writer,
        reader,
        max_pages,
    })
}

/// The one true path of the database: absolute and free of links, so that two names of a file
/// cannot be locked apart.
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
    let canonical = |path: &Path| path.canonicalize().map_err(|error| io_error(path, error));
    let path = if given.exists() {
        canonical(given)?
    } else if given.is_symlink() {
        // A link to nothing: the file would be made elsewhere, under a name that nobody locked.
        return Err(OpenError::NotAFile { path: given.into() });
    } else {
        canonical(directory)?.join(name)
    };
    let is_read_only =
        |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.permissions().readonly());
    if let Ok(metadata) = fs::metadata(&path) {
        if !metadata.is_file() {
            return Err(OpenError::NotAFile { path });
        }
        if is_read_only(&path) {
            return Err(OpenError::ReadOnly { path });
        }
    }
    match path.parent() {
        Some(directory) if is_read_only(directory) => Err(OpenError::ReadOnly {
            path: directory.into(),
        }),
        _ => Ok(path),
    }
}

fn connect(path: &Path, access: OpenFlags, options: &Options) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(options.busy_timeout)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Plans do not depend on what is bound. Without it, every statement that could use the partial
    // index of the living monitors is compiled again for each other id.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

/// The connection that writes, and the most pages that the file may have.
fn writer(path: &Path, options: &Options) -> Result<(Connection, Option<u32>), OpenError> {
    let failed = |error: rusqlite::Error| OpenError::sqlite(path, &error);
    let access = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let mut connection = connect(path, access, options).map_err(failed)?;
    if connection.is_readonly(MAIN_DB).map_err(failed)? {
        return Err(OpenError::ReadOnly { path: path.into() });
    }
    match migrate::look(&connection).map_err(failed)? {
        Found::Version(found) if found > SUPPORTED => {
            return Err(OpenError::Newer {
                path: path.into(),
                found,
                supported: SUPPORTED,
            });
        }
        Found::Foreign => return Err(OpenError::Foreign { path: path.into() }),
        Found::Empty | Found::Version(_) => {}
    }
    configure(&connection).map_err(failed)?;
    migrate::run(&mut connection).map_err(|failure| OpenError::failed(path, &failure))?;
    // After the migration, which must not fail for want of a page.
    let limit = options.max_size.map(|size| limit(&connection, size));
    let max_pages = limit.transpose().map_err(failed)?;
    Ok((connection, max_pages))
}

/// INV-STORE-4: what is acknowledged is on disk. WAL with `synchronous = FULL` flushes the log at
/// every commit; `NORMAL` would lose acknowledged commits when the power fails.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    // Has an effect in an empty file only, and only before the log is switched on.
    connection.pragma_update(None, "auto_vacuum", "incremental")?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        tracing::warn!(%mode, "the file system has no shared memory: reads will wait for writes");
    }
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "journal_size_limit", LOG_SIZE)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    Ok(())
}

fn limit(connection: &Connection, size: u64) -> rusqlite::Result<u32> {
    let page: u32 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    // SQLite's own limits are tighter, and it keeps to those: no more than 2^32 - 2 pages, no
    // fewer than the file has.
    let pages = u32::try_from(size / u64::from(page.max(1))).unwrap_or(u32::MAX);
    connection.pragma_update_and_check(
        None,
        "max_page_count",
        pages.clamp(1, u32::MAX - 1),
        |row| row.get(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// OPS-18: a commit is flushed before it is acknowledged.
    #[test]
    fn inv_store_4_every_commit_is_flushed() {
        let folder = tempfile::tempdir().unwrap();
        let opened = open(&Options::new(folder.path().join("a.sqlite"))).unwrap();
        let pragma = |name| -> String {
            let value = opened
                .writer
                .pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0));
            format!("{:?}", value.unwrap())
        };
        assert_eq!(pragma("journal_mode"), r#"Text("wal")"#);
        assert_eq!(pragma("synchronous"), "Integer(2)", "FULL");
        assert_eq!(pragma("foreign_keys"), "Integer(1)");
        assert_eq!(pragma("auto_vacuum"), "Integer(2)", "incremental");
    }
}

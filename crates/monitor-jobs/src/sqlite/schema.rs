//! A look at a file that changes nothing in it.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::migrate::{self, Found, SUPPORTED};
use super::{SqliteJobs, SqliteOpenError};
use crate::{Schema, StoreError};

/// How long to wait for whoever has the file to himself just now.
const PATIENCE: Duration = Duration::from_secs(5);

impl SqliteJobs {
    /// Which schema of jobs the file at `path` has. What it holds is left as it is, and no file is
    /// made. Whatever a crash has left in its log is carried over into it, as by whoever opens it.
    ///
    /// Blocks for as long as the disk takes. Needs no runtime.
    ///
    /// # Errors
    /// As [`open`](Self::open); a file of another program has the schema 0.
    pub fn schema(path: &Path) -> Result<Schema, StoreError> {
        if !path.is_file() {
            return Err(SqliteOpenError::NotAFile { path: path.into() }.into());
        }
        // Not read-only: that would leave a log behind that it may not tidy up.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let look = || {
            let connection = Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(PATIENCE)?;
            migrate::look(&connection)
        };
        let found = match look().map_err(|error| SqliteOpenError::sqlite(path, &error))? {
            Found::Version(version) => version,
            Found::Empty | Found::Foreign => 0,
        };
        let supported = SUPPORTED;
        Ok(Schema { found, supported })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backend, SqliteOptions};

    /// A look neither makes a file nor migrates one, whosever it is.
    #[tokio::test]
    async fn a_look_leaves_the_file_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sqlite");
        assert!(SqliteJobs::schema(&path).is_err());
        assert!(!path.exists());

        let other = Connection::open(&path).unwrap();
        other.execute_batch("CREATE TABLE a (x)").unwrap();
        drop(other);
        let before = std::fs::read(&path).unwrap();
        assert_eq!(SqliteJobs::schema(&path).unwrap().found, 0);
        assert_eq!(std::fs::read(&path).unwrap(), before);

        let ours = folder.path().join("b.sqlite");
        let jobs = SqliteJobs::open(&SqliteOptions::new(&ours)).unwrap();
        assert!(SqliteJobs::schema(&ours).unwrap().is_current());
        jobs.close().await.unwrap();
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert!(SqliteJobs::schema(&ours).unwrap().is_current());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), left);
    }
}

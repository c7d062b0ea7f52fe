//! Copies of the database in a folder: made, and the oldest removed.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use monitor_store::SqliteStore;
use serde::Serialize;
use tokio::sync::oneshot;

use super::text;
use crate::config::BackupConfig;

/// What a copy that is not complete is called behind its name, and what SQLite puts beside it.
const PARTIAL: &str = ".partial";
const JOURNAL: &str = ".partial-journal";

/// Makes copies.
pub(super) struct Copies {
    store: Arc<SqliteStore>,
    names: Names,
    folder: PathBuf,
    keep: NonZeroUsize,
}

/// What became of a job: its result.
#[derive(Debug, Serialize)]
pub(super) struct Made {
    file: String,
    bytes: u64,
    /// The copies that gave way to it.
    removed: Vec<String>,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, bytes, removed) = (&self.file, self.bytes, self.removed.len());
        write!(f, "{file}, {bytes} bytes; {removed} older removed")
    }
}

impl Copies {
    pub(super) fn new(store: Arc<SqliteStore>, config: &BackupConfig) -> Self {
        Self {
            names: Names::of(store.path()),
            folder: config.folder.clone(),
            keep: config.keep,
            store,
        }
    }

    /// Makes one, then removes the oldest beyond those that are kept. `None`: `stopped` came first,
    /// and nothing is left of the copy.
    ///
    /// # Cancel safety
    /// Dropped, it leaves nothing behind if the process lives for long enough.
    pub(super) async fn make(&self, stopped: impl Future) -> Option<Result<Made, String>> {
        let to = self.folder.join(self.names.at(Timestamp::now()));
        sweep(&self.folder, &self.names);
        let (at_work, ended) = oneshot::channel::<()>();
        let copy = self.store.backup(&to, move |_| {
            let _ = &at_work;
        });
        let copied = tokio::select! {
            biased;
            copied = copy => Some(copied),
            _ = stopped => None,
        };
        let Some(copied) = copied else {
            // It was called off, and cleans up. The sender is dropped when it has.
            let _ = ended.await;
            return None;
        };
        Some(copied.map_err(|error| error.to_string()).map(|bytes| {
            // The copy is made, whatever becomes of older ones.
            let removed = retire(&self.folder, &self.names, self.keep).unwrap_or_else(|error| {
                let folder = self.folder.display();
                tracing::warn!(%folder, %error, "older copies cannot be removed");
                Vec::new()
            });
            let file = text(&to);
            Made {
                file,
                bytes,
                removed,
            }
        }))
    }
}

/// How copies of one database are called: `monitord-20261121T030000Z.db`, so that they are in order
/// by their names, and no other file is taken for one.
#[derive(Debug)]
struct Names {
    before: String,
    after: String,
}

impl Names {
    fn of(database: &Path) -> Self {
        let part = |part: Option<&std::ffi::OsStr>| text(Path::new(part.unwrap_or_default()));
        let extension = database.extension();
        Self {
            before: format!("{}-", part(database.file_stem())),
            after: extension.map_or_else(String::new, |_| format!(".{}", part(extension))),
        }
    }

    fn at(&self, time: Timestamp) -> String {
        let time = time.strftime("%Y%m%dT%H%M%SZ");
        format!("{}{time}{}", self.before, self.after)
    }

    fn is_one(&self, name: &str) -> bool {
        let rest = name.strip_prefix(&self.before);
        let time = rest.and_then(|rest| rest.strip_suffix(&self.after));
        time.is_some_and(|time| {
            time.len() == 16
                && time.bytes().enumerate().all(|(place, byte)| match place {
                    8 => byte == b'T',
                    15 => byte == b'Z',
                    _ => byte.is_ascii_digit(),
                })
        })
    }
}

/// The names in that folder for which `wanted` holds, in their order.
fn names_in(folder: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        names.extend(name.to_str().filter(|name| wanted(name)).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Removes the oldest copies beyond `keep`, and says which.
fn retire(folder: &Path, names: &Names, keep: NonZeroUsize) -> io::Result<Vec<String>> {
    let mut copies = names_in(folder, |name| names.is_one(name))?;
    copies.truncate(copies.len().saturating_sub(keep.get()));
    for copy in &copies {
        fs::remove_file(folder.join(copy))?;
    }
    Ok(copies)
}

/// Removes what a process that was killed has left of a copy; one that is being made is locked.
fn sweep(folder: &Path, names: &Names) {
    let copy_of = |name: &str| {
        let part = name.strip_suffix(PARTIAL);
        let copy = part.or_else(|| name.strip_suffix(JOURNAL))?;
        names.is_one(copy).then(|| copy.to_owned())
    };
    let is_part = |name: &str| copy_of(name).is_some();
    // What cannot be removed does no harm but for its size; the copy says what is wrong.
    for name in names_in(folder, is_part).unwrap_or_default() {
        let Some(copy) = copy_of(&name) else { continue };
        let is_left = match File::open(folder.join(copy + PARTIAL)) {
            Ok(file) => file.try_lock().is_ok(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        let path = folder.join(name);
        if is_left && fs::remove_file(&path).is_ok() {
            tracing::info!(file = %path.display(), "removed what was left of a copy");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order_and_no_other_file_is_taken_for_one() {
        let names = Names::of(Path::new("/var/lib/monitord.db"));
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let name = names.at(time("2026-11-21T03:00:00Z"));
        assert_eq!(name, "monitord-20261121T030000Z.db");
        assert!(names.is_one(&name) && name < names.at(time("2026-11-21T03:00:01Z")));
        for other in [
            "monitord.db",
            "monitord-20261121T030000Z.db.partial",
            "monitord-20261121T030000Z.db-wal",
            "monitord-2026-11-21.db",
            "monitord-before-upgrade.db",
            "other-20261121T030000Z.db",
        ] {
            assert!(!names.is_one(other), "{other}");
        }
        assert!(Names::of(Path::new("results")).is_one("results-20261121T030000Z"));
    }

    #[test]
    fn the_oldest_go_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let names = Names::of(Path::new("m.db"));
        let put = |name: &str| fs::write(folder.path().join(name), "x").unwrap();
        for day in 1..=5 {
            put(&format!("m-2026110{day}T030000Z.db"));
        }
        ["m.db", "m-old.db", "notes"]
            .iter()
            .for_each(|name| put(name));
        let keep = NonZeroUsize::new(3).unwrap();
        let removed = retire(folder.path(), &names, keep).unwrap();
        assert_eq!(removed, ["m-20261101T030000Z.db", "m-20261102T030000Z.db"]);
        assert_eq!(retire(folder.path(), &names, keep).unwrap(), [""; 0]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 6);
    }

    #[test]
    fn what_a_killed_process_left_goes_and_what_is_being_made_stays() {
        let folder = tempfile::tempdir().unwrap();
        let names = Names::of(Path::new("m.db"));
        let put = |name: &str| File::create(folder.path().join(name)).unwrap();
        // The second was killed while it cleaned up.
        put("m-20261101T030000Z.db.partial");
        put("m-20261101T030000Z.db.partial-journal");
        put("m-20261102T030000Z.db.partial-journal");
        let held = put("m-20261103T030000Z.db.partial");
        held.try_lock().unwrap();
        put("m-20261103T030000Z.db.partial-journal");
        sweep(folder.path(), &names);
        let names = names_in(folder.path(), |_| true).unwrap();
        let kept = [
            "m-20261103T030000Z.db.partial",
            "m-20261103T030000Z.db.partial-journal",
        ];
        assert_eq!(names, kept);
    }
}

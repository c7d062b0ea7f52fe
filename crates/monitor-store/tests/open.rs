//! Opening the wrong file: each is refused with what to do about it, and left as it was.

#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "tests panic")]

mod common;

use std::error::Error;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use common::{Place, applied};
use monitor_model::conformance::{monitor, up};
use monitor_model::{Store, StoreError, StoreErrorKind};
use monitor_operation::Epoch;
use monitor_store::{OpenError, Options, SqliteStore};

/// Opens what must be refused. The message names the path.
fn refused(path: &Path) -> StoreError {
    let error = SqliteStore::open(Options::new(path)).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("store: cannot open the database: "),
        "{text}"
    );
    assert!(
        text.contains(path.file_name().unwrap().to_str().unwrap()),
        "{text}"
    );
    error
}

fn source(error: &StoreError) -> &OpenError {
    error.source().unwrap().downcast_ref().unwrap()
}

#[test]
fn a_missing_directory_is_named() {
    let place = Place::new();
    let error = refused(&place.folder().join("nowhere/monitor.sqlite"));
    assert_eq!(error.kind, StoreErrorKind::Io);
    assert!(matches!(source(&error), OpenError::MissingDirectory { .. }));
    assert!(
        error.to_string().contains("nowhere; create it first"),
        "{error}"
    );
    assert!(!place.folder().join("nowhere").exists());
}

#[test]
fn a_directory_a_device_and_a_link_to_nothing_are_no_files() {
    let place = Place::new();
    let link = place.folder().join("link");
    symlink("/nowhere/at/all", &link).unwrap();
    for path in [
        place.folder(),
        place.folder().join("."),
        "/dev/null".into(),
        link,
    ] {
        let error = refused(&path);
        assert!(
            matches!(source(&error), OpenError::NotAFile { .. }),
            "{error}"
        );
    }
    let error = SqliteStore::open(Options::new("")).unwrap_err();
    assert!(
        matches!(source(&error), OpenError::NotAFile { .. }),
        "{error}"
    );
    assert_eq!(
        fs::read_dir(place.folder()).unwrap().count(),
        1,
        "nothing was made"
    );
}

/// Marked read-only, that is: who may write all the same, such as root, is refused too.
#[test]
fn a_read_only_file_or_directory_is_refused() {
    let place = Place::new();
    fs::write(place.path(), "").unwrap();
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(&place.path(), 0o444);
    let error = refused(&place.path());
    assert_eq!(error.kind, StoreErrorKind::ReadOnly);
    assert!(error.to_string().contains("make it writable"), "{error}");
    mode(&place.path(), 0o644);
    mode(&place.folder(), 0o555);
    let error = SqliteStore::open(place.options()).unwrap_err();
    mode(&place.folder(), 0o755);
    assert_eq!(error.kind, StoreErrorKind::ReadOnly);
    assert_eq!(fs::read(place.path()).unwrap(), b"");
}

#[test]
fn a_file_that_is_no_database_is_left_alone() {
    let place = Place::new();
    let text = "This is not a database. ".repeat(100);
    fs::write(place.path(), &text).unwrap();
    let error = refused(&place.path());
    assert_eq!(error.kind, StoreErrorKind::Corrupt);
    assert!(
        matches!(source(&error), OpenError::NotADatabase { .. }),
        "{error}"
    );
    assert_eq!(fs::read_to_string(place.path()).unwrap(), text);
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    let place = Place::new();
    place
        .sql()
        .execute_batch("CREATE TABLE cookies (name); INSERT INTO cookies VALUES ('a')")
        .unwrap();
    let before = fs::read(place.path()).unwrap();
    let error = refused(&place.path());
    assert_eq!(error.kind, StoreErrorKind::Corrupt);
    assert!(
        matches!(source(&error), OpenError::Foreign { .. }),
        "{error}"
    );
    assert_eq!(fs::read(place.path()).unwrap(), before);
}

#[tokio::test]
async fn a_newer_database_is_named_with_both_versions_and_left_alone() {
    let place = Place::new();
    place.open().close().await.unwrap();
    place
        .sql()
        .execute_batch("UPDATE schema_version SET version = 42; PRAGMA journal_mode = delete")
        .unwrap();
    let before = fs::read(place.path()).unwrap();
    let error = refused(&place.path());
    assert_eq!(error.kind, StoreErrorKind::Newer);
    assert!(matches!(
        source(&error),
        OpenError::Newer {
            found: 42,
            supported: 4,
            ..
        }
    ));
    assert!(
        error
            .to_string()
            .contains("version 42, this program knows up to 4"),
        "{error}"
    );
    assert_eq!(fs::read(place.path()).unwrap(), before);
}

/// S2: two owners of one file would each hold epochs that the other does not know of.
#[tokio::test]
async fn inv_store_3_a_second_opener_is_refused_until_the_first_has_closed() {
    let place = Place::new();
    let first = place.open();
    assert_eq!(first.path(), place.path());
    let link = place.folder().join("link.sqlite");
    symlink(place.path(), &link).unwrap();
    for path in [place.path(), link, place.folder().join("./monitor.sqlite")] {
        let error = SqliteStore::open(Options::new(path)).unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Busy);
        let holder = format!("in use by process {};", std::process::id());
        assert!(error.to_string().contains(&holder), "{error}");
    }
    first.define(monitor("a"), Epoch::new(1)).await.unwrap();
    first.close().await.unwrap();
    let second = place.open();
    assert_eq!(second.load().await.unwrap().monitors.len(), 1);
    assert_eq!(first.load().await.unwrap_err().kind, StoreErrorKind::Closed);
}

/// Other crates may keep tables in the same file, each with a version of its own.
#[tokio::test]
async fn a_file_of_another_component_is_shared() {
    let place = Place::new();
    place
        .sql()
        .execute_batch(
            "CREATE TABLE schema_version (component TEXT PRIMARY KEY, version INTEGER NOT NULL);
             INSERT INTO schema_version VALUES ('jobs', 99); CREATE TABLE job (x)",
        )
        .unwrap();
    place.open().close().await.unwrap();
    let versions: String =
        place.ask("SELECT group_concat(component || version, ' ') FROM schema_version");
    assert_eq!(versions, "jobs99 store4");
}

#[tokio::test]
async fn closing_leaves_one_file_and_opening_again_finds_everything() {
    let place = Place::new();
    let store = place.open();
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    applied(&store, up("a", 1, 1000)).await;
    let before = store.load().await.unwrap();
    store.close().await.unwrap();
    let mut names: Vec<_> = fs::read_dir(place.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["monitor.sqlite", "monitor.sqlite-lock"],
        "the log is written back"
    );
    assert_eq!(place.open().load().await.unwrap(), before);
}

/// What was queued when the store was dropped is written all the same.
#[tokio::test]
async fn a_dropped_future_or_store_does_not_take_back_what_was_queued() {
    let place = Place::new();
    let store = place.open();
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    let mut commit = Box::pin(store.commit(up("a", 1, 1000)));
    assert!(
        futures_poll_once(commit.as_mut()).await.is_none(),
        "queued, not yet answered"
    );
    drop(commit);
    // Answered after what was queued before.
    applied(&store, up("a", 1, 2000)).await;
    assert_eq!(store.history(&monitor("a").id, 10).await.unwrap().len(), 2);
}

/// Polls once.
async fn futures_poll_once<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut future).poll(context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

//! Copies of a store that is in use.

#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "helpers of tests panic, too")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use common::{Place, applied};
use monitor_model::conformance::{id, monitor, up};
use monitor_model::{Observation, Record, Store, StoreErrorKind};
use monitor_operation::Epoch;
use monitor_store::{BackupError, Options, SqliteStore, backup};

/// A store whose file has some MiB.
async fn filled(place: &Place) -> SqliteStore {
    let store = place.open();
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    store.close().await.unwrap();
    place.put_lines(4000, -5000, "hex(zeroblob(400))");
    place
        .sql()
        .execute_batch("UPDATE head SET sequence = 4000")
        .unwrap();
    place.open()
}

fn no_leftovers(folder: &Path) {
    let names = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    for name in names {
        let name = name.to_string_lossy().into_owned();
        assert!(!name.contains("partial"), "{name} was left behind");
    }
}

/// OPS-18: a copy that is made while commits go on holds all that was acknowledged before it began,
/// nothing in part, and nothing that came after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_of_one_instant_while_commits_go_on() {
    let place = Place::new();
    let store = Arc::new(filled(&place).await);
    let (stop, due) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicI64::new(0)),
    );
    let commits = tokio::spawn({
        let (store, stop, due) = (Arc::clone(&store), Arc::clone(&stop), Arc::clone(&due));
        async move {
            while !stop.load(Ordering::Relaxed) {
                let next = due.load(Ordering::Relaxed) + 1;
                applied(&*store, up("a", 1, next)).await;
                due.store(next, Ordering::Relaxed);
            }
        }
    });
    while due.load(Ordering::Relaxed) < 10 {
        tokio::task::yield_now().await;
    }
    let before = due.load(Ordering::Relaxed);
    let copy = place.folder().join("copy.sqlite");
    let mut steps = Vec::new();
    let (sender, receiver) = std::sync::mpsc::channel();
    let during = Arc::clone(&due);
    let size = store
        .backup(&copy, move |progress| {
            // Each step waits for a commit, so that every one of them falls into the copy.
            let at = during.load(Ordering::Relaxed);
            while during.load(Ordering::Relaxed) == at {
                std::thread::yield_now();
            }
            sender.send(progress).unwrap();
        })
        .await
        .unwrap();
    let after = due.load(Ordering::Relaxed);
    stop.store(true, Ordering::Relaxed);
    commits.await.unwrap();
    steps.extend(receiver);
    assert!(steps.len() > 2, "{steps:?}");
    assert!(steps.is_sorted_by_key(|step| step.copied_bytes));
    let last = steps.last().unwrap();
    assert_eq!((last.copied_bytes, last.total_bytes), (size, size));
    assert!(after >= before + steps.len() as i64, "commits went on");

    let opened = SqliteStore::open(Options::new(&copy)).unwrap();
    let status = opened.load().await.unwrap().monitors.remove(0).status;
    let held = i64::from(status.streak);
    assert!(
        (before..after).contains(&held),
        "{held} of {before} to {after}"
    );
    let lines = opened.history(&id("a"), 10).await.unwrap();
    assert_eq!(
        lines.last().unwrap().record.due_unix_ms,
        held,
        "no line without its status"
    );
    assert!(opened.doctor().await.unwrap().is_empty());
    applied(&opened, up("a", 1, 1_000_000)).await;
    opened.close().await.unwrap();
    store.close().await.unwrap();
    no_leftovers(&place.folder());
}

/// The way back: the file, and the log of another one away.
#[tokio::test]
async fn a_copy_put_in_place_is_the_store_of_then() {
    let place = Place::new();
    let store = place.open();
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    applied(&store, up("a", 1, 1000)).await;
    let then = store.load().await.unwrap();
    let copy = place.folder().join("copy.sqlite");
    store.backup(&copy, |_| ()).await.unwrap();
    applied(&store, up("a", 1, 2000)).await;
    store.delete(&id("a"), Epoch::new(2)).await.unwrap();
    store.close().await.unwrap();
    for suffix in ["", "-wal", "-shm"] {
        let path = format!("{}{suffix}", place.path().display());
        let gone = fs::remove_file(path);
        assert!(gone.is_ok() || !suffix.is_empty());
    }
    fs::copy(&copy, place.path()).unwrap();
    let store = place.open();
    assert_eq!(store.load().await.unwrap(), then);
    applied(&store, up("a", 1, 3000)).await;
    assert_eq!(store.tally(&id("a"), 0).await.unwrap().up, 2);
}

/// Each is told with its path, and nothing is made or changed.
#[tokio::test]
async fn what_stands_in_the_way_is_named() {
    let place = Place::new();
    let store = place.open();
    let folder = place.folder();
    fs::write(folder.join("there"), "mine").unwrap();
    let told = |to: &Path| backup(&place.path(), to, |_| panic!("copied in vain")).unwrap_err();

    let error = told(&folder.join("there"));
    assert!(matches!(error, BackupError::Exists { .. }), "{error}");
    assert_eq!(error.kind(), StoreErrorKind::Conflict);
    assert!(
        error.to_string().contains("there: it exists already"),
        "{error}"
    );
    assert_eq!(fs::read(folder.join("there")).unwrap(), b"mine");
    // Its own file is one that exists, too.
    assert!(matches!(told(&place.path()), BackupError::Exists { .. }));

    // Nor one that comes while the copy is made.
    let late = folder.join("late");
    let write = |_| fs::write(&late, "mine").unwrap();
    let error = backup(&place.path(), &late, write).unwrap_err();
    assert!(matches!(error, BackupError::Exists { .. }), "{error}");
    assert_eq!(fs::read(&late).unwrap(), b"mine");

    let error = told(&folder.join("nowhere/copy"));
    assert!(
        matches!(error, BackupError::MissingDirectory { .. }),
        "{error}"
    );
    assert!(
        error.to_string().ends_with("nowhere; create it first"),
        "{error}"
    );

    let error = told(Path::new("/proc/copy"));
    assert!(error.to_string().starts_with("/proc/copy"), "{error}");

    let copy = folder.join("copy");
    let from = |from: &Path| backup(from, &copy, |_| ()).unwrap_err();
    let error = from(&folder.join("nothing"));
    assert!(
        matches!(error, BackupError::MissingSource { .. }),
        "{error}"
    );
    let error = from(&folder.join("there"));
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    assert!(error.to_string().contains("there: "), "{error}");
    let other = folder.join("other");
    rusqlite::Connection::open(&other)
        .unwrap()
        .execute_batch("CREATE TABLE a (x)")
        .unwrap();
    assert!(matches!(from(&other), BackupError::Foreign { .. }));
    assert!(!copy.exists());
    no_leftovers(&folder);
    store.close().await.unwrap();
}

/// Whoever may write anyway, such as root, is not kept out by the file system; others are.
#[test]
fn a_directory_that_may_not_be_written_is_told() {
    let place = Place::new();
    drop(place.open());
    let closed = place.folder().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    let copied = backup(&place.path(), &closed.join("copy"), |_| ());
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
    match copied {
        Ok(_) => assert!(closed.join("copy").exists(), "root"),
        Err(error) => {
            assert_eq!(error.kind(), StoreErrorKind::ReadOnly);
            assert!(error.to_string().contains("permission denied"), "{error}");
            assert_eq!(fs::read_dir(&closed).unwrap().count(), 0);
        }
    }
}

/// A copy is looked at before it has its name.
#[tokio::test]
async fn a_damaged_database_has_no_copy() {
    let place = Place::new();
    filled(&place).await.close().await.unwrap();
    let mut bytes = fs::read(place.path()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 9000].fill(0xa5);
    fs::write(place.path(), bytes).unwrap();
    let copy = place.folder().join("copy");
    let error = backup(&place.path(), &copy, |_| ()).unwrap_err();
    assert!(matches!(error, BackupError::Damaged { .. }), "{error}");
    assert!(
        error.to_string().contains("monitor.sqlite: it is damaged"),
        "{error}"
    );
    assert!(!copy.exists());
    no_leftovers(&place.folder());
}

#[tokio::test]
async fn a_copy_that_nobody_waits_for_is_called_off() {
    let place = Place::new();
    let store = filled(&place).await;
    let copy = place.folder().join("copy");
    let (first, began) = std::sync::mpsc::channel();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    {
        let future = store.backup(&copy, move |_| {
            first.send(()).unwrap();
            // The other end has gone when the future has.
            let _ = wait.recv();
        });
        let mut future = Box::pin(future);
        let started = std::future::poll_fn(|context| {
            assert!(future.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        });
        started.await;
        began.recv().unwrap();
    }
    drop(go);
    // The thread takes its part away and ends; nothing else writes there.
    while place.folder().join("copy.partial").exists() {
        tokio::task::yield_now().await;
    }
    assert!(!copy.exists());
    let _ = applied(
        &store,
        Record::observed(
            id("a"),
            Epoch::new(1),
            9,
            Observation::up(),
            Default::default(),
        ),
    )
    .await;
    store.close().await.unwrap();
}

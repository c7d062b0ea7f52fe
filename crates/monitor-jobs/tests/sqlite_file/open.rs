//! Every way in which a file can be the wrong one is said plainly, and leaves the file as it was.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use monitor_jobs::{
    Backend, SqliteJobs, SqliteOpenError, SqliteOptions, StoreError, StoreErrorKind,
};

use crate::place::{Place, work};

/// Opening fails with this kind and text, and leaves the file to the byte.
fn refused(place: &Place, kind: StoreErrorKind, text: &str) -> StoreError {
    let before = fs::read(place.path()).ok();
    let error = SqliteJobs::open(&place.options()).unwrap_err();
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.to_string().contains(text), "{error}");
    assert_eq!(fs::read(place.path()).ok(), before, "unchanged");
    error
}

async fn create(options: &SqliteOptions) {
    let jobs = SqliteJobs::open(options).unwrap();
    jobs.enqueue(&[work()]).await.unwrap();
    jobs.close().await.unwrap();
}

/// JOB-53: a file that a newer version wrote is refused, both versions named.
#[tokio::test]
async fn a_newer_schema_is_refused_and_named() {
    let place = Place::new();
    create(&place.options()).await;
    place
        .sql()
        .execute_batch(
            "UPDATE schema_version SET version = 7 WHERE component = 'jobs';
             PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE",
        )
        .unwrap();
    let error = refused(
        &place,
        StoreErrorKind::Schema,
        "version 7, this program knows up to 1",
    );
    let source = error.source.downcast_ref::<SqliteOpenError>().unwrap();
    assert!(matches!(
        source,
        SqliteOpenError::Newer {
            found: 7,
            supported: 1,
            ..
        }
    ));
}

/// Another program's file is refused, unless it is said to be the caller's own.
#[tokio::test]
async fn the_file_of_another_program_is_refused_or_adopted() {
    let place = Place::new();
    let tables = "CREATE TABLE song (title TEXT); INSERT INTO song VALUES ('Wir')";
    place.sql().execute_batch(tables).unwrap();
    refused(&place, StoreErrorKind::Schema, "another program");
    let options = SqliteOptions {
        adopt: true,
        ..place.options()
    };
    create(&options).await;
    assert_eq!(place.count("SELECT count(*) FROM song"), 1);
    // From then on it says itself whose it is.
    create(&place.options()).await;
}

/// Components that say so live in one file, each with its own version.
#[tokio::test]
async fn other_components_may_live_in_the_same_file() {
    let place = Place::new();
    let theirs =
        "CREATE TABLE schema_version (component TEXT PRIMARY KEY, version INTEGER NOT NULL)
                      STRICT, WITHOUT ROWID;
                  INSERT INTO schema_version VALUES ('store', 9);
                  CREATE TABLE history (a)";
    place.sql().execute_batch(theirs).unwrap();
    create(&place.options()).await;
    let sql = place.sql();
    let mut versions = sql
        .prepare("SELECT component, version FROM schema_version ORDER BY component")
        .unwrap();
    let versions: Vec<(String, i64)> = versions
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(versions, [("jobs".into(), 1), ("store".into(), 9)]);
}

/// What is no database, or was damaged, is named as such.
#[tokio::test]
async fn a_damaged_file_is_refused() {
    let place = Place::new();
    fs::write(
        place.path(),
        "not a database, but long enough to be read as one. ".repeat(40),
    )
    .unwrap();
    refused(&place, StoreErrorKind::Schema, "is damaged");

    let place = Place::new();
    create(&place.options()).await;
    let mut bytes = fs::read(place.path()).unwrap();
    // The first page behind the header: its table of tables.
    bytes[100..4000].fill(0xa5);
    fs::write(place.path(), bytes).unwrap();
    refused(&place, StoreErrorKind::Schema, "is damaged");
}

/// Denied is told from missing, and says what would be right.
#[tokio::test]
async fn what_may_not_be_written_is_refused() {
    let place = Place::new();
    create(&place.options()).await;
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    mode(&place.path(), 0o444);
    refused(&place, StoreErrorKind::Denied, "make it writable");
    mode(&place.path(), 0o644);
    mode(place.folder(), 0o555);
    refused(&place, StoreErrorKind::Denied, "make it writable");
    mode(place.folder(), 0o755);
    create(&place.options()).await;

    let options = SqliteOptions::new(place.folder().join("no/jobs.sqlite"));
    let error = SqliteJobs::open(&options).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Denied);
    assert!(
        error.to_string().contains("there is no directory"),
        "{error}"
    );
    let error = SqliteJobs::open(&SqliteOptions::new(place.folder())).unwrap_err();
    assert!(error.to_string().contains("it is not a file"), "{error}");
}

/// However many open a new file at the same time, it is made once, and all of them work.
#[tokio::test]
async fn many_create_the_same_file_at_the_same_time() {
    let place = Place::new();
    let opened: Vec<_> = (0..8)
        .map(|_| {
            let options = place.options();
            std::thread::spawn(move || SqliteJobs::open(&options).unwrap())
        })
        .collect();
    for jobs in opened {
        let jobs = jobs.join().unwrap();
        jobs.enqueue(&[work()]).await.unwrap();
        assert_eq!(jobs.doctor().await.unwrap(), []);
    }
    let jobs = SqliteJobs::open(&place.options()).unwrap();
    assert_eq!(jobs.list(&Default::default()).await.unwrap().len(), 8);
}

/// Closing twice is closing once; what comes after is refused as such.
#[tokio::test]
async fn closed_is_closed() {
    let place = Place::new();
    let jobs = SqliteJobs::open(&place.options()).unwrap();
    jobs.close().await.unwrap();
    jobs.close().await.unwrap();
    let error = jobs.now_unix_ms().await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Closed);
    let error = jobs.set_paused("a", true).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Closed);
    let error = jobs.begin().await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Closed);
}

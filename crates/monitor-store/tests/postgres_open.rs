//! Opening: every way in which it can be the wrong database is an error that says so, and a database
//! that was refused is as it was. And failures later on, each with its kind.

#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, reason = "tests panic")]

#[path = "common/postgres.rs"]
mod postgres;

use std::sync::Arc;
use std::time::Duration;

use monitor_model::conformance::{down, id, monitor, up};
use monitor_model::{Commit, DefectKind, Lifecycle, Store, StoreError, StoreErrorKind};
use monitor_operation::Epoch;
use monitor_store::{PostgresOpenError, PostgresOptions, PostgresStore};
use monitor_testkit::services::Shutdown;
use postgres::Schema;

fn source(error: &StoreError) -> &PostgresOpenError {
    error.source.downcast_ref().unwrap()
}

async fn refused(options: PostgresOptions) -> StoreError {
    let error = PostgresStore::open(options).await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(!text.contains("correct-horse"), "a password in {text}");
    error
}

/// Where something has to fail by the end of its patience, which is also all the time there is to
/// connect.
fn impatient(url: &str) -> PostgresOptions {
    let mut options = PostgresOptions::new(url).unwrap();
    options.patience = Duration::from_secs(2);
    options.wait_for_owner = Duration::ZERO;
    options
}

#[tokio::test]
async fn a_newer_schema_is_named_with_both_versions_and_left_alone() {
    let schema = Schema::new().await;
    schema.open().await.close().await.unwrap();
    let sql = schema.sql().await;
    sql.batch_execute("UPDATE schema_version SET version = 42")
        .await
        .unwrap();
    let epoch = schema.ask("SELECT epoch FROM owner").await;
    let error = refused(schema.options()).await;
    assert_eq!(error.kind, StoreErrorKind::Newer);
    assert!(matches!(
        source(&error),
        PostgresOpenError::Newer {
            found: 42,
            supported: 2,
            ..
        }
    ));
    assert!(
        error
            .to_string()
            .contains("version 42, this program knows up to 2"),
        "{error}"
    );
    assert_eq!(schema.ask("SELECT epoch FROM owner").await, epoch);
    assert_eq!(schema.ask("SELECT version FROM schema_version").await, 42);
}

/// OPS-18: a database of version 1 goes on where it was.
#[tokio::test]
async fn a_database_of_version_1_is_read_as_it_was_written() {
    let schema = Schema::new().await;
    let sql = schema.sql().await;
    let version_1 = [
        "CREATE TABLE schema_version (component TEXT PRIMARY KEY, version BIGINT NOT NULL);
         INSERT INTO schema_version VALUES ('store', 1)",
        include_str!("../migrations/postgres/0001_initial.sql"),
        "INSERT INTO monitor (id, name, source, spec) VALUES ('a', 'A', 'api', '{}');
         INSERT INTO status (monitor, epoch, lifecycle, last_due_unix_ms, last_slots,
             last_interval_ms) SELECT number, 7, 'paused', 5000, 3, 1000 FROM monitor",
    ];
    for step in version_1 {
        sql.batch_execute(step).await.unwrap();
    }
    let store = schema.open().await;
    let stored = store.load().await.unwrap().monitors.remove(0);
    assert_eq!(stored.status.epoch, Epoch::new(7));
    assert_eq!(stored.last_due.unwrap().end_unix_ms(), 7000);
    assert_eq!(stored.due_from_unix_ms, None, "nobody knows");
    let (a, epoch, due_from) = (id("a"), Epoch::new(8), Some(9000));
    let resumed = store.set_lifecycle(&a, Lifecycle::Active, epoch, due_from);
    assert!(resumed.await.unwrap().is_some());
    let stored = store.load().await.unwrap().monitors.remove(0);
    assert_eq!(stored.due_from_unix_ms, due_from);
    store.close().await.unwrap();
}

/// A newer program that migrates while an older one takes over: the older one waits, finds it out, and
/// leaves both the schema and the right to it alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_becomes_newer_while_it_is_opened_is_refused() {
    let schema = Schema::alone("").await;
    schema.open().await.close().await.unwrap();
    let newer = schema.sql().await;
    let migrates = "BEGIN;
        SELECT pg_advisory_xact_lock(hashtext('schema_version'), hashtext(current_schema()));
        UPDATE schema_version SET version = 42";
    newer.batch_execute(migrates).await.unwrap();
    let epoch = schema.ask("SELECT epoch FROM owner").await;
    let mut options = schema.options();
    options.take_over = true;
    let opening = tokio::spawn(PostgresStore::open(options));
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    while schema.ask(waiting).await == 0 {
        assert!(!opening.is_finished());
        tokio::task::yield_now().await;
    }
    newer.batch_execute("COMMIT").await.unwrap();
    let error = opening.await.unwrap().unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Newer, "{error}");
    assert_eq!(schema.ask("SELECT epoch FROM owner").await, epoch);
}

/// The doctor takes as long as there is much to look at; each of its questions has a limit.
#[tokio::test]
async fn a_doctor_of_a_large_database_ends() {
    let schema = Schema::new().await;
    let mut options = schema.options();
    options.statement_timeout = Duration::from_secs(4);
    let store = PostgresStore::open(options).await.unwrap();
    // Three questions of two seconds each are more than one may take. One table in a transaction: who
    // locked three of them in an order of its own could meet the upkeep, which has another.
    let sql = schema.sql().await;
    for table in ["status", "incident", "bucket"] {
        let slow = format!(
            "ALTER TABLE {table} RENAME TO slow_{table};
             CREATE VIEW {table} AS
                 SELECT * FROM slow_{table} WHERE (SELECT pg_sleep(2)) IS NOT NULL;"
        );
        sql.batch_execute(&slow).await.unwrap();
    }
    assert_eq!(store.doctor().await.unwrap(), []);
}

/// Eight programs meet an empty database at once: one of them has it, each of the others is told by
/// whom, none sees half a schema.
#[tokio::test(flavor = "multi_thread")]
async fn first_starts_that_meet_neither_fail_nor_share() {
    let schema = Schema::new().await;
    let mut starts = Vec::new();
    for _ in 0..8 {
        let mut options = schema.options();
        options.wait_for_owner = Duration::ZERO;
        starts.push(tokio::spawn(PostgresStore::open(options)));
    }
    let mut stores = Vec::new();
    for start in starts {
        match start.await.unwrap() {
            Ok(store) => stores.push(store),
            Err(error) => {
                let is_owned = matches!(source(&error), PostgresOpenError::Owned { .. });
                assert!(is_owned, "{error}");
            }
        }
    }
    assert_eq!(stores.len(), 1);
    assert_eq!(schema.ask("SELECT count(*) FROM schema_version").await, 1);
    // And when all of them insist, the last has it, and only the last.
    let mut starts = Vec::new();
    for _ in 0..8 {
        let mut options = schema.options();
        options.take_over = true;
        starts.push(tokio::spawn(PostgresStore::open(options)));
    }
    for start in starts {
        stores.push(start.await.unwrap().unwrap());
    }
    let mut owners = 0;
    for store in &stores {
        match store.define(monitor("a"), Epoch::new(1)).await {
            Ok(_) => owners += 1,
            Err(error) => assert_eq!(error.kind, StoreErrorKind::Fenced, "{error}"),
        }
    }
    assert_eq!(owners, 1);
}

#[tokio::test]
async fn other_components_share_the_table_of_versions() {
    let schema = Schema::new().await;
    let jobs = "CREATE TABLE schema_version (component TEXT PRIMARY KEY, version BIGINT NOT NULL);
        INSERT INTO schema_version VALUES ('jobs', 99)";
    schema.sql().await.batch_execute(jobs).await.unwrap();
    schema.open().await.close().await.unwrap();
    let versions = "SELECT sum(version)::int8 FROM schema_version";
    assert_eq!(schema.ask(versions).await, 101);
}

/// Tables of another program: nothing of the schema is made, not even the part before the clash.
#[tokio::test]
async fn tables_of_another_program_are_left_alone() {
    let schema = Schema::new().await;
    schema
        .sql()
        .await
        .batch_execute("CREATE TABLE history (x int)")
        .await
        .unwrap();
    let error = refused(schema.options()).await;
    assert!(
        error.to_string().contains("\"history\" already exists"),
        "{error}"
    );
    let tables = format!(
        "SELECT count(*) FROM pg_tables WHERE schemaname = '{}'",
        schema.name()
    );
    assert_eq!(schema.ask(&tables).await, 1);
}

#[tokio::test]
async fn a_wrong_password_and_a_missing_database_are_told_at_once() {
    let schema = Schema::new().await;
    let wrong = PostgresOptions::new(&schema.url_as("monitor", "wrong-horse")).unwrap();
    let error = refused(wrong).await;
    assert_eq!(error.kind, StoreErrorKind::Denied);
    assert!(
        error.to_string().contains("authentication failed"),
        "{error}"
    );
    assert!(!error.to_string().contains("wrong-horse"), "{error}");
    let missing = schema.url().replace("/postgres?", "/nowhere?");
    let error = refused(PostgresOptions::new(&missing).unwrap()).await;
    assert!(error.to_string().contains("nowhere"), "{error}");
}

#[tokio::test]
async fn too_few_connections_are_refused() {
    let schema = Schema::new().await;
    let mut options = schema.options();
    options.connections = 2;
    let error = refused(options).await;
    assert!(
        error
            .to_string()
            .contains("connections is 2; it has to be at least 3"),
        "{error}"
    );
}

/// A role that may look and not write, before and after the schema is there.
#[tokio::test]
async fn a_role_without_privileges_is_denied_and_changes_nothing() {
    let schema = Schema::new().await;
    let name = schema.name().to_owned();
    let sql = schema.sql().await;
    let role =
        format!("CREATE ROLE {name} LOGIN PASSWORD 'p'; GRANT USAGE ON SCHEMA {name} TO {name}");
    sql.batch_execute(&role).await.unwrap();
    let url = schema.url_as(&name, "p");
    let error = refused(impatient(&url)).await;
    assert_eq!(error.kind, StoreErrorKind::Denied, "{error}");
    assert!(error.to_string().contains("42501"), "{error}");
    schema.open().await.close().await.unwrap();
    let grant = format!("GRANT SELECT ON ALL TABLES IN SCHEMA {name} TO {name}");
    sql.batch_execute(&grant).await.unwrap();
    assert_eq!(refused(impatient(&url)).await.kind, StoreErrorKind::Denied);
    // Taken away later: the next commit says so, and nothing of it is written.
    let grant = format!("GRANT ALL ON ALL TABLES IN SCHEMA {name} TO {name}");
    sql.batch_execute(&grant).await.unwrap();
    let store = PostgresStore::open(impatient(&url)).await.unwrap();
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    sql.batch_execute(&format!("REVOKE INSERT ON outbox FROM {name}"))
        .await
        .unwrap();
    let error = store.commit(down("a", 1, 1000)).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Denied, "{error}");
    assert_eq!(schema.ask("SELECT count(*) FROM history").await, 0);
    assert_eq!(schema.ask("SELECT streak FROM status").await, 0);
    store.close().await.unwrap();
    sql.batch_execute(&format!("DROP OWNED BY {name}; DROP ROLE {name}"))
        .await
        .unwrap();
}

/// A standby, or a server that an operator has set to read only.
#[tokio::test]
async fn a_database_that_may_only_be_read_says_so() {
    let schema = Schema::alone("").await;
    let store = schema.open().await;
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    store.close().await.unwrap();
    let sql = schema.sql().await;
    let set = "ALTER DATABASE postgres SET default_transaction_read_only = on";
    sql.batch_execute(set).await.unwrap();
    let error = refused(impatient(&schema.url())).await;
    assert_eq!(error.kind, StoreErrorKind::ReadOnly, "{error}");
}

/// OPS-18: a full disk, an error of the disk, a deadlock: each has its kind, nothing of the record is
/// written, other monitors do not suffer, and when it has passed the same record is taken.
#[tokio::test]
async fn each_failure_of_the_server_has_its_kind_and_leaves_nothing() {
    let schema = Schema::new().await;
    let store = Arc::new(PostgresStore::open(impatient(&schema.url())).await.unwrap());
    for name in ["a", "b"] {
        store.define(monitor(name), Epoch::new(1)).await.unwrap();
    }
    let sql = schema.sql().await;
    let failing = "CREATE TABLE failing (code text);
        CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS 'DECLARE wanted text; BEGIN
            SELECT code INTO wanted FROM failing;
            IF wanted IS NOT NULL THEN RAISE EXCEPTION ''on request'' USING ERRCODE = wanted; END IF;
            RETURN NEW; END';
        CREATE TRIGGER fail BEFORE INSERT ON incident FOR EACH ROW EXECUTE FUNCTION fail()";
    sql.batch_execute(failing).await.unwrap();
    let kinds = [
        ("53100", StoreErrorKind::Full),
        ("58030", StoreErrorKind::Io),
        ("25006", StoreErrorKind::ReadOnly),
        ("40001", StoreErrorKind::Busy),
        ("40P01", StoreErrorKind::Busy),
        ("XX001", StoreErrorKind::Corrupt),
        ("P0001", StoreErrorKind::Other),
    ];
    for (due, (code, kind)) in (1i64..).zip(kinds) {
        let set = format!("DELETE FROM failing; INSERT INTO failing VALUES ('{code}')");
        sql.batch_execute(&set).await.unwrap();
        // Only that of "a" opens an incident.
        let (bad, good) = tokio::join!(
            store.commit(down("a", 1, due)),
            store.commit(up("b", 1, due))
        );
        let error = bad.unwrap_err();
        assert_eq!(error.kind, kind, "{code}: {error}");
        assert!(error.to_string().contains(code), "{error}");
        if kind != StoreErrorKind::Busy {
            assert!(matches!(good, Ok(Commit::Applied(_))), "{code}: {good:?}");
        }
        assert!(
            store.history(&id("a"), 9).await.unwrap().is_empty(),
            "{code}"
        );
    }
    sql.batch_execute("DELETE FROM failing").await.unwrap();
    let after = store.commit(down("a", 1, 1)).await.unwrap();
    assert!(matches!(after, Commit::Applied(_)), "{after:?}");
    assert_eq!(store.doctor().await.unwrap(), []);
}

/// OPS-19: while the database is gone, commands fail in bounded time; when it is back, they work.
#[tokio::test]
async fn a_database_that_is_gone_is_unreachable_and_then_back() {
    let schema = Schema::alone("").await;
    let store = PostgresStore::open(impatient(&schema.url())).await.unwrap();
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    schema.server().stop(Shutdown::Immediate).unwrap();
    let errors = [
        store.commit(up("a", 1, 1000)).await.unwrap_err(),
        store.define(monitor("b"), Epoch::new(1)).await.unwrap_err(),
        store.load().await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind, StoreErrorKind::Unreachable, "{error}");
    }
    assert_eq!(
        refused(impatient(&schema.url())).await.kind,
        StoreErrorKind::Unreachable
    );
    schema.server().start_again().unwrap();
    // As a scheduler does: until it is taken.
    let commit = loop {
        match store.commit(up("a", 1, 1000)).await {
            Ok(commit) => break commit,
            // Or busy: it is there again, and no connection is made yet.
            Err(error) => {
                let may_pass = [StoreErrorKind::Unreachable, StoreErrorKind::Busy];
                assert!(may_pass.contains(&error.kind), "{error}");
            }
        }
    };
    assert!(matches!(commit, Commit::Applied(_)), "{commit:?}");
}

/// OPS-19: an unreadable row is an error that names it, and the doctor finds it.
#[tokio::test]
async fn a_row_that_cannot_be_read_is_named() {
    let schema = Schema::new().await;
    let store = schema.open().await;
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    store.commit(up("a", 1, 1000)).await.unwrap();
    let sql = schema.sql().await;
    for (damage, problem) in [
        ("outcome = 'upp'", "column outcome: "),
        ("outcome = 'missed'", "column reason: it is null"),
        (
            "outcome = 'missed', reason = 'breaker_open'",
            "breaker_open is no reason of missed",
        ),
        (
            "fault_layer = 'moon', outcome = 'down'",
            "column fault_layer: ",
        ),
        ("slots = 0", "column slots: it is 0"),
        ("took_us = -1", "column took_us: "),
        ("operation = '\\x00'", "column operation: "),
        ("note = E'\\x01\\x01'", "column note: "),
        ("\"trigger\" = ''", "column trigger: unknown"),
    ] {
        let damage = format!(
            "BEGIN; CREATE TEMP TABLE before ON COMMIT DROP AS TABLE history;
            UPDATE history SET {damage}; COMMIT"
        );
        let good = sql
            .query_one("SELECT history::text FROM history", &[])
            .await
            .unwrap();
        sql.batch_execute(&damage).await.unwrap();
        let error = store.history(&id("a"), 9).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Corrupt, "{damage}");
        assert!(error.to_string().contains(problem), "{damage}: {error}");
        assert!(error.to_string().contains("history row 1"), "{error}");
        let good: String = good.get(0);
        let restore = format!(
            "DELETE FROM history; INSERT INTO history OVERRIDING SYSTEM VALUE
            SELECT ('{good}'::history).*"
        );
        sql.batch_execute(&restore).await.unwrap();
        assert_eq!(store.history(&id("a"), 9).await.unwrap().len(), 1);
    }
}

/// What the doctor is there for, each by the damage that it finds.
#[tokio::test]
async fn the_doctor_finds_each_kind_of_damage() {
    let cases = [
        ("UPDATE schema_version SET version = 7", DefectKind::Schema),
        (
            "DELETE FROM status WHERE monitor = (SELECT number FROM monitor WHERE id = 'b')",
            DefectKind::Orphan,
        ),
        ("DELETE FROM history", DefectKind::Status),
        ("DELETE FROM incident", DefectKind::Incident),
        (
            "UPDATE status SET outcome = 'up', fault_layer = NULL WHERE outcome = 'down'",
            DefectKind::Incident,
        ),
        ("UPDATE outbox SET state = 'given_up'", DefectKind::Notice),
        ("INSERT INTO grave VALUES ('a', 1)", DefectKind::Epoch),
        (
            "UPDATE status SET lifecycle = 'asleep' WHERE outcome = 'down'",
            DefectKind::Damaged,
        ),
    ];
    for (damage, kind) in cases {
        let schema = Schema::new().await;
        let store = schema.open().await;
        for name in ["a", "b"] {
            store.define(monitor(name), Epoch::new(1)).await.unwrap();
        }
        store.commit(down("a", 1, 1000)).await.unwrap();
        assert_eq!(store.doctor().await.unwrap(), [], "{damage}");
        schema.sql().await.batch_execute(damage).await.unwrap();
        let found = store.doctor().await.unwrap();
        assert!(
            found.iter().any(|defect| defect.kind == kind),
            "{damage}: {found:?}"
        );
        store.close().await.unwrap();
    }
}

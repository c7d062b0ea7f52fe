//! What keeps a write out: each guard against the very schedule it is there for, on two connections.

#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, reason = "tests panic")]

#[path = "common/postgres.rs"]
mod postgres;

use std::sync::Arc;
use std::time::Duration;

use monitor_model::conformance::{down, id, monitor, up};
use monitor_model::{
    Commit, Lifecycle, Record, Refusal, Store, StoreError, StoreErrorKind, Trigger,
};
use monitor_operation::Epoch;
use monitor_pool::managers::postgres::tokio_postgres::Client;
use monitor_store::{PostgresOpenError, PostgresOptions, PostgresStore};
use monitor_testkit::proxy::{Direction, Effect, Fault, Proxy};
use postgres::Schema;
use tokio::task::JoinHandle;

fn committing(
    store: &Arc<PostgresStore>,
    record: Record,
) -> JoinHandle<Result<Commit, StoreError>> {
    let store = Arc::clone(store);
    tokio::spawn(async move { store.commit(record).await })
}

/// Looks until so many sessions of the store wait for a lock, or `is_over`.
async fn until_waiting(sql: &Client, count: i64, is_over: impl Fn() -> bool) {
    let waiting = "SELECT count(*) FROM pg_stat_activity
        WHERE wait_event_type = 'Lock' AND application_name = 'monitor-store'
            AND query NOT LIKE '%pg_stat_activity%'";
    while sql.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) < count && !is_over() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn store_with_a(schema: &Schema) -> Arc<PostgresStore> {
    let store = schema.open().await;
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    Arc::new(store)
}

fn applied(commit: Result<Commit, StoreError>) {
    assert!(matches!(commit, Ok(Commit::Applied(_))), "{commit:?}");
}

/// OPS-16, OPS-30, OPS-31, OPS-32, OPS-42: a stop or a new start that comes between the look and the write of
/// a commit keeps the write out, by the condition on the row that it waits for.
#[tokio::test(flavor = "multi_thread")]
async fn inv_store_1_a_change_that_is_under_way_fences_the_commit_that_waits_for_it() {
    use Trigger::{Manual, Timer};
    let cases = [
        ("epoch = 2", Timer, Some(Refusal::Stale)),
        ("lifecycle = 'paused'", Timer, Some(Refusal::Paused)),
        (
            "epoch = 2, lifecycle = 'paused'",
            Timer,
            Some(Refusal::Stale),
        ),
        ("epoch = 2", Manual, Some(Refusal::Stale)),
        (
            "epoch = 2, lifecycle = 'paused'",
            Manual,
            Some(Refusal::Stale),
        ),
        // It is asked for, and nothing else has changed.
        ("lifecycle = 'paused'", Manual, None),
    ];
    for (change, trigger, refusal) in cases {
        let schema = Schema::alone("").await;
        let store = store_with_a(&schema).await;
        let sql = schema.sql().await;
        sql.batch_execute(&format!("BEGIN; UPDATE status SET {change}"))
            .await
            .unwrap();
        let mut record = up("a", 1, 1000);
        record.trigger = trigger;
        let commit = committing(&store, record);
        until_waiting(&schema.sql().await, 1, || commit.is_finished()).await;
        sql.batch_execute("COMMIT").await.unwrap();
        let answer = commit.await.unwrap().unwrap();
        let refused = match answer {
            Commit::Applied(_) => None,
            Commit::Refused(refusal) => Some(refusal),
        };
        assert_eq!(refused, refusal, "{change}, {trigger:?}");
        let written = i64::from(refusal.is_none());
        assert_eq!(schema.ask("SELECT count(*) FROM history").await, written);
        assert_eq!(schema.ask("SELECT streak FROM status").await, written);
    }
}

/// OPS-17: a delete that comes between the look and the write leaves nothing behind.
#[tokio::test(flavor = "multi_thread")]
async fn inv_store_1_a_delete_that_is_under_way_fences_the_commit_that_waits_for_it() {
    let schema = Schema::alone("").await;
    let store = store_with_a(&schema).await;
    let sql = schema.sql().await;
    let delete = "BEGIN; UPDATE monitor SET ended = true; DELETE FROM status;
        INSERT INTO grave VALUES ('a', 2)";
    sql.batch_execute(delete).await.unwrap();
    let commit = committing(&store, down("a", 1, 1000));
    until_waiting(&schema.sql().await, 1, || commit.is_finished()).await;
    sql.batch_execute("COMMIT").await.unwrap();
    assert_eq!(
        commit.await.unwrap().unwrap(),
        Commit::Refused(Refusal::Gone)
    );
    for table in ["history", "incident", "outbox", "status"] {
        assert_eq!(
            schema.ask(&format!("SELECT count(*) FROM {table}")).await,
            0,
            "{table}"
        );
    }
}

/// S2: of two stores that are opened on one database by mistake, the second is refused; and when it
/// takes over, the first can write no more, whatever it tries.
#[tokio::test(flavor = "multi_thread")]
async fn inv_store_7_a_second_owner_is_refused_or_fences_the_first() {
    let schema = Schema::new().await;
    let mut options = schema.options();
    options.name = "the first".into();
    let first = PostgresStore::open(options).await.unwrap();
    first.define(monitor("a"), Epoch::new(1)).await.unwrap();
    let mut options = schema.options();
    options.wait_for_owner = Duration::ZERO;
    let refused = PostgresStore::open(options.clone()).await.unwrap_err();
    assert_eq!(refused.kind, StoreErrorKind::Busy);
    let source = refused.source.downcast_ref::<PostgresOpenError>().unwrap();
    assert!(
        matches!(source, PostgresOpenError::Owned { owner, .. } if owner.contains("the first"))
    );
    applied(first.commit(up("a", 1, 1000)).await);

    options.take_over = true;
    options.name = "the second".into();
    let second = PostgresStore::open(options).await.unwrap();
    let (name, epoch) = (id("a"), Epoch::new(2));
    let errors = [
        first.commit(up("a", 1, 2000)).await.unwrap_err(),
        first.define(monitor("b"), epoch).await.unwrap_err(),
        first
            .set_lifecycle(&name, Lifecycle::Paused, epoch, None)
            .await
            .unwrap_err(),
        first.delete(&name, epoch).await.unwrap_err(),
        first.take_notices(1, Duration::ZERO).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind, StoreErrorKind::Fenced, "{error}");
        assert!(error.to_string().contains("the second"), "{error}");
    }
    assert_eq!(schema.ask("SELECT count(*) FROM history").await, 1);
    applied(second.commit(up("a", 1, 2000)).await);
    second.close().await.unwrap();
    first.close().await.unwrap();
    schema.open().await.close().await.unwrap();
}

/// S2: whoever took over shows that it lives as soon as the former owner has gone, so that a third is
/// refused.
#[tokio::test(flavor = "multi_thread")]
async fn inv_store_7_whoever_took_over_is_not_taken_over_by_mistake() {
    let schema = Schema::alone("").await;
    let first = schema.open().await;
    let mut options = schema.options();
    options.take_over = true;
    options.name = "the second".into();
    let second = PostgresStore::open(options).await.unwrap();
    let holder = "SELECT coalesce(min(pid), 0)::int8 FROM pg_locks
        WHERE locktype = 'advisory' AND granted";
    let of_the_first = schema.ask(holder).await;
    assert_ne!(of_the_first, 0);
    first.close().await.unwrap();
    while [0, of_the_first].contains(&schema.ask(holder).await) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut options = schema.options();
    options.wait_for_owner = Duration::ZERO;
    let refused = PostgresStore::open(options).await.unwrap_err();
    assert_eq!(refused.kind, StoreErrorKind::Busy);
    assert!(refused.to_string().contains("the second"), "{refused}");
    second.define(monitor("a"), Epoch::new(1)).await.unwrap();
}

/// A takeover waits for the commit that is under way: what the old owner acknowledges was written
/// before the new one reads.
#[tokio::test(flavor = "multi_thread")]
async fn inv_store_7_a_takeover_waits_for_the_transaction_that_is_under_way() {
    let schema = Schema::alone("").await;
    let first = store_with_a(&schema).await;
    let sql = schema.sql().await;
    sql.batch_execute("BEGIN; SELECT 1 FROM status FOR UPDATE")
        .await
        .unwrap();
    let commit = committing(&first, up("a", 1, 1000));
    let look = schema.sql().await;
    until_waiting(&look, 1, || commit.is_finished()).await;
    let mut options = schema.options();
    options.take_over = true;
    let takeover = tokio::spawn(PostgresStore::open(options));
    until_waiting(&look, 2, || takeover.is_finished()).await;
    assert!(
        !takeover.is_finished(),
        "it waits for the owner's transaction"
    );
    sql.batch_execute("COMMIT").await.unwrap();
    applied(commit.await.unwrap());
    let second = takeover.await.unwrap().unwrap();
    assert_eq!(second.history(&id("a"), 9).await.unwrap().len(), 1);
    let fenced = first.commit(up("a", 1, 2000)).await.unwrap_err();
    assert_eq!(fenced.kind, StoreErrorKind::Fenced);
}

/// OPS-18, OPS-19: the answer to COMMIT is lost while the server still works on it. The store asks
/// again instead of guessing, waits for what may still come, and says what is true: written, once.
#[tokio::test(flavor = "multi_thread")]
async fn inv_store_2_a_lost_answer_is_found_out_and_the_record_is_there_once() {
    a_lost_answer(up("a", 1, 1000), 2, 0).await;
    a_lost_answer(down("a", 1, 1000), 1, 2).await;
}

/// The answer for an up after `first` is lost; it leaves this streak and as many notices.
async fn a_lost_answer(first: Record, streak: i64, notices: i64) {
    let schema = Schema::alone("").await;
    let proxy = Proxy::start(schema.address()).await.unwrap();
    let mut options = PostgresOptions::new(&schema.url_at(proxy.addr())).unwrap();
    options.patience = Duration::from_secs(60);
    let store = Arc::new(PostgresStore::open(options).await.unwrap());
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    applied(store.commit(first).await);
    // From now on each COMMIT of a line waits for this lock.
    let sql = schema.sql().await;
    let slow = "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql
            AS 'BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NULL; END';
        CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON history DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION wait();
        SELECT pg_advisory_lock(42)";
    sql.batch_execute(slow).await.unwrap();
    let commit = committing(&store, up("a", 1, 2000));
    let look = schema.sql().await;
    until_waiting(&look, 1, || commit.is_finished()).await;
    // The server learns nothing of the cut while it waits, and the store asks on a new connection:
    // it waits for the row that the first transaction has locked.
    proxy.inject_all(Fault::new(Direction::ToClient, 0, Effect::Fin));
    until_waiting(&look, 2, || commit.is_finished()).await;
    sql.batch_execute("SELECT pg_advisory_unlock(42)")
        .await
        .unwrap();
    let Commit::Applied(answer) = commit.await.unwrap().unwrap() else {
        panic!("it was written, and refused");
    };
    let is_news = notices > 0;
    assert_eq!(answer.incident.is_some(), is_news, "as the first attempt");
    let rows = store.history(&id("a"), 9).await.unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[1].sequence, answer.sequence);
    assert_eq!(schema.ask("SELECT streak FROM status").await, streak);
    assert_eq!(schema.ask("SELECT count(*) FROM outbox").await, notices);
    // Brought once more, when nothing is in doubt: a due time has one record.
    let again = store.commit(up("a", 1, 2000)).await.unwrap();
    assert_eq!(again, Commit::Refused(Refusal::Duplicate));
    assert_eq!(store.doctor().await.unwrap(), []);
}

/// The keys themselves, against a program that does not ask.
#[tokio::test]
async fn inv_store_2_inv_store_5_the_database_refuses_doubles() {
    let schema = Schema::new().await;
    let store = store_with_a(&schema).await;
    applied(store.commit(down("a", 1, 1000)).await);
    let sql = schema.sql().await;
    let doubles = [
        "INSERT INTO history (monitor, due_unix_ms, slots, interval_ms, epoch, outcome, \"trigger\",
             started_unix_ms, turned)
         SELECT monitor, due_unix_ms, slots, interval_ms, epoch, outcome, \"trigger\",
             started_unix_ms, turned FROM history",
        "INSERT INTO incident (id, monitor, opened_unix_ms, fault_layer, fault_reason)
         SELECT id + 1, monitor, opened_unix_ms, fault_layer, fault_reason FROM incident",
        "INSERT INTO outbox (incident, kind, monitor, opened_unix_ms, fault_layer, fault_reason,
             paused)
         SELECT incident, kind, monitor, opened_unix_ms, fault_layer, fault_reason, paused
         FROM outbox",
        "INSERT INTO monitor (id, name, source, spec) SELECT id, name, source, spec FROM monitor",
    ];
    for double in doubles {
        let error = sql.batch_execute(double).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "23505", "{double}");
    }
}

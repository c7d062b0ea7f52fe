//! Rounds and their slices, the statements on a server.

use monitor_model::conformance::{id, up};
use monitor_model::{Commit, Store};

use super::*;
use crate::postgres::testing::Place;

/// Records of very different due times ask for a round each: the present one ends all the same,
/// and is followed by another.
#[test]
fn a_round_ends_however_often_one_is_asked_for() {
    let options = PostgresOptions::new("postgres://u@localhost/d").unwrap();
    let mut retention = Retention::new(&options, Horizons::NONE);
    let mut steps = Vec::new();
    for due in [0, 10, 0, 10, 0, 10, 0].map(|rounds| rounds * STEP_MS) {
        retention.record(due);
        let step = retention.next.unwrap();
        retention.step_on(step);
        steps.push(step);
    }
    let round = [
        Step::Ended,
        Step::Plan,
        Step::Roll,
        Step::Lines,
        Step::Buckets,
        Step::Incidents,
        Step::Ended,
    ];
    assert_eq!(steps, round);
    for step in round.into_iter().skip(1) {
        assert_eq!(retention.next, Some(step));
        retention.step_on(step);
    }
    assert!(!retention.is_pending());
}

const END: &str = "UPDATE monitor SET ended = true; DELETE FROM status";

/// OPS-17: a monitor that is deleted after its lines were looked for, and before the monitors are
/// removed, waits for the next round: nothing refers to what is not there.
#[tokio::test]
async fn a_monitor_that_is_deleted_between_two_statements_fails_no_slice() {
    let place = Place::with(&["a"]).await;
    let commit = place.store.commit(up("a", 1, 1000)).await.unwrap();
    assert!(matches!(commit, Commit::Applied(_)));
    place.without_upkeep().await;
    let slice = place.begin().await;
    let me: i32 = slice.rows("SELECT pg_backend_pid()", &[]).await.unwrap()[0].get(0);
    // Lets rows of `monitor` be read, and none be removed.
    let sql = place.sql().await;
    let lock = "BEGIN; LOCK TABLE monitor IN SHARE MODE";
    sql.batch_execute(lock).await.unwrap();
    let waiting = format!("SELECT count(*) FROM pg_locks WHERE pid = {me} AND NOT granted");
    let delete = async {
        while place.ask(&waiting).await == 0 {
            tokio::task::yield_now().await;
        }
        sql.batch_execute(&format!("{END}; COMMIT")).await.unwrap();
    };
    let (end, ()) = tokio::join!(ended(&slice), delete);
    assert_eq!(end.unwrap(), (0, false));
    slice.commit().await.unwrap();
    let slice = place.begin().await;
    assert_eq!(ended(&slice).await.unwrap(), (1, true));
    while ended(&slice).await.unwrap().1 {}
    slice.commit().await.unwrap();
    assert_eq!(place.ask("SELECT count(*) FROM monitor").await, 0);
}

/// OPS-17: not only lines of a deleted monitor are many.
#[tokio::test]
async fn counts_of_a_deleted_monitor_go_in_slices_too() {
    let place = Place::with(&["a"]).await;
    place.without_upkeep().await;
    let rows = 2 * SLICE_ROWS + 1;
    let fill = format!(
        "INSERT INTO bucket SELECT number, 0, 60000 * n, 1, 0, 0, 1, 0, 0, 0, 0
             FROM monitor, generate_series(1, {rows}) AS n;
         INSERT INTO incident (id, monitor, opened_unix_ms, fault_layer, fault_reason,
             closed_unix_ms, closed_by)
             SELECT n, number, n, 'connect', 'refused', n, 'recovery'
             FROM monitor, generate_series(1, {rows}) AS n;
         {END}"
    );
    place.sql().await.batch_execute(&fill).await.unwrap();
    let mut left = Vec::new();
    loop {
        let slice = place.begin().await;
        let (lines, is_more) = ended(&slice).await.unwrap();
        slice.commit().await.unwrap();
        assert_eq!(lines, 0);
        if !is_more {
            break;
        }
        let rows = "SELECT (SELECT count(*) FROM bucket) + (SELECT count(*) FROM incident)";
        left.push(place.ask(rows).await);
    }
    assert_eq!(left.len(), 3 + 3 + 1, "{left:?}");
    assert!(
        left.is_sorted_by(|more, less| more - less <= SLICE_ROWS),
        "{left:?}"
    );
    assert_eq!(place.ask("SELECT count(*) FROM monitor").await, 0);
}

/// OPS-18: due times at either end of what a row can hold stop the rolling up of nobody.
#[tokio::test]
async fn the_first_and_the_last_due_time_there_can_be_are_rolled_up_with_others() {
    let place = Place::with(&["a", "b", "c"]).await;
    for (name, due) in [("a", i64::MIN), ("b", STEP_MS + 1), ("c", i64::MAX)] {
        let commit = place.store.commit(up(name, 1, due)).await.unwrap();
        assert!(matches!(commit, Commit::Applied(_)));
    }
    place.without_upkeep().await;
    let slice = place.begin().await;
    roll(&slice, &Horizons::NONE, i64::MAX).await.unwrap();
    slice.commit().await.unwrap();
    let mark = "SELECT mark_unix_ms FROM status JOIN monitor ON number = monitor WHERE id = ";
    assert_eq!(place.ask(&format!("{mark}'b'")).await, STEP_MS);
    assert!(place.ask(&format!("{mark}'c'")).await > i64::MAX - 2 * STEP_MS);
    for name in ["a", "b", "c"] {
        let tally = place.store.tally(&id(name), i64::MIN).await.unwrap();
        assert_eq!(tally.due, 1, "{name}");
    }
}

/// What this session has looked at of what is kept, in rows.
async fn looked_at(slice: &Transaction) -> i64 {
    let rows = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::int8
        FROM pg_stat_xact_user_tables WHERE relname IN ('history', 'bucket', 'incident')";
    slice.rows(rows, &[]).await.unwrap()[0].get(0)
}

/// OPS-29: what is kept is much, and a round passes it by: it looks at what it removes, once to find
/// it and once to remove it. To make a plan the server looks at the ends of some indexes, too.
#[tokio::test]
async fn a_round_looks_at_nothing_that_stays() {
    const PLANNING: i64 = 32;
    let place = Place::with(&["a"]).await;
    place.without_upkeep().await;
    // A verdict that changed with nearly every check, counts, and incidents that are over.
    let kept = 2 * SLICE_ROWS;
    let fill = format!(
        "INSERT INTO history (monitor, due_unix_ms, slots, interval_ms, epoch, outcome, \"trigger\",
             started_unix_ms, turned)
             SELECT number, n, 1, 1000, 1, 'up', 'timer', n, n % 100 > 0
             FROM monitor, generate_series(1, {kept}) AS n;
         INSERT INTO bucket SELECT number, n % 3, n, 1, 0, 0, 1, 0, 0, 0, 0
             FROM monitor, generate_series(1, {kept}) AS n;
         INSERT INTO incident (id, monitor, opened_unix_ms, fault_layer, fault_reason,
             closed_unix_ms, closed_by)
             SELECT n, number, n, 'connect', 'refused', n, 'recovery'
             FROM monitor, generate_series(1, {kept}) AS n;
         UPDATE status SET last_due_unix_ms = {kept}, mark_unix_ms = {kept};
         ANALYZE"
    );
    place.sql().await.batch_execute(&fill).await.unwrap();
    let horizons = Horizons {
        history: kept / 2 + 1,
        ..Horizons::NONE
    };
    for goes in [kept / 2 / 100, 0] {
        let slice = place.begin().await;
        let before = looked_at(&slice).await;
        assert!(!roll(&slice, &horizons, kept).await.unwrap());
        let removed = lines(&slice, &horizons).await.unwrap();
        assert_eq!(removed, goes.unsigned_abs());
        assert_eq!(buckets(&slice, &horizons).await.unwrap(), 0);
        assert_eq!(incidents(&slice, &horizons).await.unwrap(), 0);
        assert_eq!(ended(&slice).await.unwrap(), (0, false));
        let looked = looked_at(&slice).await - before;
        slice.commit().await.unwrap();
        assert!(looked <= 2 * goes + PLANNING, "{looked} for {goes}");
    }
}

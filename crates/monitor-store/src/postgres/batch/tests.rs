//! A batch and a change of its monitors, on two connections.

use std::cell::Cell;

use monitor_model::conformance::down;

use super::*;
use crate::postgres::testing::Place;

/// OPS-16: a pause cannot come between the look and the write of a batch: a check by hand that is
/// entitled only after it would be written as if there were none, and somebody be woken.
#[tokio::test]
async fn a_pause_waits_for_the_batch_that_has_looked() {
    let place = Place::with(&["a"]).await;
    place.without_upkeep().await;
    let mut record = down("a", 2, 1000);
    record.trigger = Trigger::Manual;
    let transaction = place.begin().await;
    let mut found = find(&transaction, &[&record]).await.unwrap();
    let candidate = Candidate {
        place: 0,
        record: &record,
        living: found.remove(&record.monitor).unwrap(),
    };
    let (sql, is_paused) = (place.sql().await, Cell::new(false));
    let pause = async {
        let pause = "UPDATE status SET lifecycle = 'paused', epoch = 2";
        sql.batch_execute(pause).await.unwrap();
        is_paused.set(true);
    };
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    let batch = async {
        while !is_paused.get() && place.ask(waiting).await == 0 {
            tokio::task::yield_now().await;
        }
        write(transaction, &Horizons::NONE, &[candidate]).await
    };
    let ((), written) = tokio::join!(pause, batch);
    let refused = [Commit::Refused(Refusal::Stale)];
    assert_eq!(written.ok().unwrap(), refused, "as before the pause");
    for table in ["incident", "outbox"] {
        let rows = format!("SELECT count(*) FROM {table}");
        assert_eq!(place.ask(&rows).await, 0, "{table}");
    }
}

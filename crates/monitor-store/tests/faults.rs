//! Each statement of each change fails once, in the embedded store.

#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "tests panic")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use common::Place;
use monitor_model::Store;
use monitor_model::conformance::{Breakable, all_or_nothing};
use monitor_store::SqliteStore;

struct File {
    place: Place,
    store: Arc<SqliteStore>,
}

impl File {
    /// For each table and each change to it, the statement that `write` makes of both.
    fn each_change(&self, write: impl Fn(&str, &str) -> String) -> String {
        let sql = self.place.sql();
        let named = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'test_note'
            AND name NOT LIKE 'sqlite%'";
        let mut named = sql.prepare(named).unwrap();
        let tables = named.query_map([], |row| row.get::<_, String>(0)).unwrap();
        let changes = ["INSERT", "UPDATE", "DELETE"];
        let each = tables.flat_map(|table| {
            let table = table.unwrap();
            changes.map(|change| write(change, &table))
        });
        each.collect()
    }
}

#[async_trait]
impl Breakable for File {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store) as Arc<dyn Store>
    }

    async fn trace(&self) {
        let notes = "CREATE TABLE test_note (change TEXT);".to_owned();
        let triggers = self.each_change(|change, table| {
            format!(
                "CREATE TRIGGER test_{change}_{table} AFTER {change} ON {table} BEGIN
                    INSERT INTO test_note VALUES ('{change} ON {table}'); END;"
            )
        });
        self.place
            .sql()
            .execute_batch(&(notes + &triggers))
            .unwrap();
    }

    async fn traced(&self) -> Vec<String> {
        let sql = self.place.sql();
        let noted = "SELECT DISTINCT change FROM test_note ORDER BY change";
        let mut noted = sql.prepare(noted).unwrap();
        let noted = noted.query_map([], |row| row.get(0)).unwrap();
        let noted = noted.map(Result::unwrap).collect();
        let end = self.each_change(|change, table| format!("DROP TRIGGER test_{change}_{table};"));
        sql.execute_batch(&(end + "DROP TABLE test_note")).unwrap();
        noted
    }

    async fn fail(&self, change: Option<&str>) {
        let trigger = match change {
            Some(change) => format!(
                "CREATE TRIGGER test BEFORE {change} BEGIN SELECT raise(ABORT, 'broken'); END"
            ),
            None => "DROP TRIGGER test".to_owned(),
        };
        self.place.sql().execute_batch(&trigger).unwrap();
    }
}

/// OPS-18, OPS-19: status, history, counts, incident and notice are one transaction, whichever of
/// their statements fails.
#[tokio::test(flavor = "multi_thread")]
async fn all_of_a_change_or_nothing() {
    let place = Place::new();
    let mut options = place.options();
    options.retain_history = Duration::MAX;
    options.retain_minutes = Duration::MAX;
    options.retain_hours = Duration::MAX;
    options.retain_days = Duration::MAX;
    let store = Arc::new(SqliteStore::open(options).unwrap());
    all_or_nothing(&File { place, store }).await;
}

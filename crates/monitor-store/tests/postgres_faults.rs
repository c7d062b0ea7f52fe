//! Each statement of each change fails once, in the store on PostgreSQL.

#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, reason = "tests panic")]

#[path = "common/postgres.rs"]
mod postgres;

use std::sync::Arc;

use async_trait::async_trait;
use monitor_model::Store;
use monitor_model::conformance::{Breakable, all_or_nothing};
use monitor_pool::managers::postgres::tokio_postgres::Client;
use monitor_store::PostgresStore;
use postgres::Schema;

struct Database {
    store: Arc<PostgresStore>,
    sql: Client,
}

#[async_trait]
impl Breakable for Database {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store) as Arc<dyn Store>
    }

    async fn trace(&self) {
        self.switch("traces = true").await;
    }

    async fn traced(&self) -> Vec<String> {
        self.switch("traces = false").await;
        let noted = "WITH gone AS (DELETE FROM test_note RETURNING change)
            SELECT DISTINCT change FROM gone ORDER BY change";
        let noted = self.sql.query(noted, &[]).await.unwrap();
        noted.iter().map(|row| row.get(0)).collect()
    }

    async fn fail(&self, change: Option<&str>) {
        let change = change.unwrap_or_default();
        self.switch(&format!("fails = '{change}'")).await;
    }
}

impl Database {
    async fn switch(&self, to: &str) {
        let switch = format!("UPDATE test_switch SET {to}");
        self.sql.batch_execute(&switch).await.unwrap();
    }
}

/// At each table of the store, while nobody uses it: later the upkeep would stand in the way.
const HOOKS: &str = "CREATE TABLE test_switch (traces boolean, fails text);
    INSERT INTO test_switch VALUES (false, '');
    CREATE TABLE test_note (change text);
    CREATE FUNCTION test_hook() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE
        made text := TG_OP || ' ON ' || TG_TABLE_NAME;
        switch test_switch;
    BEGIN
        SELECT * INTO switch FROM test_switch;
        IF switch.fails = made THEN RAISE EXCEPTION 'broken'; END IF;
        IF switch.traces THEN INSERT INTO test_note VALUES (made); END IF;
        RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
    END $$;
    DO $$ DECLARE t text; BEGIN
        FOR t IN SELECT tablename FROM pg_tables
            WHERE schemaname = current_schema() AND tablename NOT LIKE 'test%'
        LOOP
            EXECUTE format('CREATE TRIGGER test_hook BEFORE INSERT OR UPDATE OR DELETE ON %I
                FOR EACH ROW EXECUTE FUNCTION test_hook()', t);
        END LOOP;
    END $$";

/// OPS-18, OPS-19: status, history, counts, incident and notice are one transaction, whichever of
/// their statements fails.
#[tokio::test(flavor = "multi_thread")]
async fn all_of_a_change_or_nothing_on_postgres() {
    let schema = Schema::new().await;
    schema.open().await.close().await.unwrap();
    let sql = schema.sql().await;
    sql.batch_execute(HOOKS).await.unwrap();
    let store = Arc::new(PostgresStore::open(schema.keeping_all()).await.unwrap());
    all_or_nothing(&Database { store, sql }).await;
}

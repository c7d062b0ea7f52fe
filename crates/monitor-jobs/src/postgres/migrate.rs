//! The schema: numbered steps, forward only, all in one transaction.

use monitor_pool::managers::postgres::tokio_postgres::Client;

use super::failure::Failure;

/// The name of this crate's schema. Other crates may keep theirs in the same database.
const COMPONENT: &str = "jobs";

/// Step n brings a database from version n - 1 to version n.
const STEPS: &[&[&str]] = &[&[
    include_str!("../../migrations/postgres/01_tables.sql"),
    include_str!("../../migrations/postgres/02_claim.sql"),
    include_str!("../../migrations/postgres/03_settle.sql"),
    include_str!("../../migrations/postgres/04_edges.sql"),
    include_str!("../../migrations/postgres/05_enqueue.sql"),
    include_str!("../../migrations/postgres/06_rescue.sql"),
    include_str!("../../migrations/postgres/07_people.sql"),
    include_str!("../../migrations/postgres/08_views.sql"),
]];

/// The version that this code reads and writes.
pub(super) const SUPPORTED: i64 = STEPS.len() as i64;

/// All who start at the same moment come one after the other.
const BEGIN: &str = "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('schema_version', 0))";

/// Brings the schema up to date, or changes nothing. Returns the version that it had if that is
/// newer than this code.
pub(super) async fn run(client: &Client) -> Result<Option<i64>, Failure> {
    apply(client, STEPS).await
}

/// Nothing is written, nothing is locked and no right to create anything is needed when the schema
/// is right already.
async fn apply(client: &Client, steps: &[&[&str]]) -> Result<Option<i64>, Failure> {
    let supported = i64::try_from(steps.len()).unwrap_or(i64::MAX);
    match version(client).await? {
        found if found > supported => return Ok(Some(found)),
        found if found == supported => return Ok(None),
        _ => client.batch_execute(BEGIN).await.map_err(Failure::write)?,
    }
    let found = version(client).await?;
    if found > supported {
        client
            .batch_execute("ROLLBACK")
            .await
            .map_err(Failure::write)?;
        return Ok(Some(found));
    }
    client
        .batch_execute(
            "CREATE TABLE IF NOT EXISTS schema_version (
                 component text PRIMARY KEY,
                 version bigint NOT NULL
             )",
        )
        .await
        .map_err(Failure::write)?;
    for (number, step) in (1..).zip(steps).skip_while(|(number, _)| *number <= found) {
        for part in *step {
            client.batch_execute(part).await.map_err(Failure::write)?;
        }
        let note = format!(
            "INSERT INTO schema_version VALUES ('{COMPONENT}', {number})
             ON CONFLICT (component) DO UPDATE SET version = excluded.version"
        );
        client.batch_execute(&note).await.map_err(Failure::write)?;
        tracing::info!(version = number, "migrated the schema of the jobs");
    }
    client
        .batch_execute("COMMIT")
        .await
        .map_err(Failure::write)?;
    Ok(None)
}

/// 0 where there is none yet.
pub(super) async fn version(client: &Client) -> Result<i64, Failure> {
    // By way of a table: otherwise a session that looked before goes on believing what it saw then.
    let known = "SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('schema_version'))";
    let row = client.query_one(known, &[]).await.map_err(Failure::read)?;
    if !row.get::<_, bool>(0) {
        return Ok(0);
    }
    let sql = "SELECT version::bigint FROM schema_version WHERE component = 'jobs'";
    let row = client.query_opt(sql, &[]).await.map_err(Failure::read)?;
    Ok(row.map_or(0, |row| row.get(0)))
}

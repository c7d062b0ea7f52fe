//! The schema: numbered steps, forward only, all in one transaction.

use std::sync::Arc;

use monitor_pool::managers::postgres::tokio_postgres::types::Type;
use monitor_pool::managers::postgres::tokio_postgres::{Client, Transaction};

use super::failure::Failure;
use super::open_error::PostgresOpenError;
use super::session::{COMPONENT, Session};

/// Step n brings a database from version n - 1 to version n.
const STEPS: &[&str] = &[
    include_str!("../../migrations/postgres/0001_initial.sql"),
    include_str!("../../migrations/postgres/0002_due_from_and_age.sql"),
];

/// The version that this code reads and writes.
pub(super) const SUPPORTED: i64 = STEPS.len() as i64;

/// One at a time, with the other crates that migrate in this schema: the lock is on the name of its
/// shared table, and ends with the transaction.
const LOCK: &str = "SELECT pg_advisory_xact_lock(
    hashtext('schema_version'), hashtext(current_schema()))";

const SHARED: &str = "CREATE TABLE IF NOT EXISTS schema_version (
    component TEXT PRIMARY KEY, version BIGINT NOT NULL)";

/// Looks without changing anything.
pub(super) async fn refuse_newer(
    session: &Session,
    place: &Arc<str>,
) -> Result<(), PostgresOpenError> {
    let found = version(session).await;
    let found = found.map_err(|failure| PostgresOpenError::at(place, &failure))?;
    refuse(found.unwrap_or(0), place)
}

fn refuse(found: i64, place: &Arc<str>) -> Result<(), PostgresOpenError> {
    if found <= SUPPORTED {
        return Ok(());
    }
    Err(PostgresOpenError::Newer {
        place: Arc::clone(place),
        found,
        supported: SUPPORTED,
    })
}

/// Brings the schema to the version of this code, or changes nothing. A newer one, which may have come
/// since it was looked for, stays as it is and is refused.
pub(super) async fn run(session: &mut Session, place: &Arc<str>) -> Result<(), PostgresOpenError> {
    let at = |failure: Failure| PostgresOpenError::at(place, &failure);
    let transaction = session.transaction().await.map_err(|e| at(e.into()))?;
    let found = apply(&transaction, STEPS).await.map_err(at)?;
    refuse(found, place)?;
    transaction.commit().await.map_err(|e| at(e.into()))
}

/// Takes the missing steps. Returns the version that was found.
async fn apply(transaction: &Transaction<'_>, steps: &[&str]) -> Result<i64, Failure> {
    // A step takes as long as it takes; to wait for others has its limit all the same.
    let unlimited = "SET LOCAL statement_timeout = 0";
    transaction.batch_execute(unlimited).await?;
    transaction.batch_execute(LOCK).await?;
    let mut found = version(transaction.client()).await?;
    if found.is_none() {
        transaction.batch_execute(SHARED).await?;
        found = Some(0);
    }
    let found = found.unwrap_or(0);
    for (number, step) in (1i64..)
        .zip(steps)
        .skip_while(|(number, _)| *number <= found)
    {
        transaction.batch_execute(step).await?;
        let versions = "INSERT INTO schema_version VALUES ($1, $2)
            ON CONFLICT (component) DO UPDATE SET version = excluded.version";
        let parameters: super::session::Parameters<'_> =
            &[(&COMPONENT, Type::TEXT), (&number, Type::INT8)];
        transaction
            .client()
            .execute_typed(versions, parameters)
            .await?;
        tracing::info!(version = number, "migrated the schema");
    }
    Ok(found)
}

/// The version that is there; 0 for another crate's database; `None` without the shared table.
pub(super) async fn version(client: &Client) -> Result<Option<i64>, Failure> {
    let known = "SELECT to_regclass('schema_version') IS NOT NULL";
    if !client.query_one(known, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(None);
    }
    let version = "SELECT max(version) FROM schema_version WHERE component = $1";
    let row = client
        .query_typed(version, &[(&COMPONENT, Type::TEXT)])
        .await?;
    let version = row
        .first()
        .map(|row| row.try_get::<_, Option<i64>>(0))
        .transpose()?;
    Ok(Some(version.flatten().unwrap_or(0)))
}

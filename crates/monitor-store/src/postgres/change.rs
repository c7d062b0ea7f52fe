//! Changes of monitors, each a transaction of its own.
//!
//! A change of which the connection failed is made again. Epochs are given out once, so that a row
//! which has the epoch already was changed by the attempt before.

use monitor_model::{Incident, Lifecycle, Monitor, MonitorId, Status};
use monitor_operation::Epoch;
use monitor_pool::managers::postgres::tokio_postgres::types::Type;

use super::batch::{notify, put_incidents};
use super::failure::Failure;
use super::row::{Fields, epoch_number};
use super::session::{Database, End, Parameter, Transaction};
use super::text::encode;

/// A living monitor, its state locked to the end of the transaction.
struct Living {
    number: i64,
    status: Status,
}

async fn living(transaction: &Transaction, id: &MonitorId) -> Result<Option<Living>, Failure> {
    let rows = transaction
        .rows(
            "SELECT monitor.id, status.* FROM monitor
             JOIN status ON status.monitor = monitor.number
             WHERE monitor.id = $1 AND NOT monitor.ended FOR UPDATE OF status",
            &[(&id.as_str(), Type::TEXT)],
        )
        .await?;
    let read = |row| {
        let fields = Fields::of(row, "status of monitor", "id");
        Ok(Living {
            number: fields.get("monitor")?,
            status: fields.status(id.clone())?,
        })
    };
    rows.first().map(read).transpose()
}

async fn open_incident(
    transaction: &Transaction,
    living: &Living,
) -> Result<Option<Incident>, Failure> {
    let rows = transaction
        .rows(
            "SELECT * FROM incident WHERE monitor = $1 AND closed_unix_ms IS NULL",
            &[(&living.number, Type::INT8)],
        )
        .await?;
    let id = &living.status.monitor;
    let read = |row| Fields::of(row, "incident", "id").incident("id", id.clone());
    rows.first().map(read).transpose()
}

fn newer(standing: Epoch, epoch: Epoch) -> Result<(), Failure> {
    if epoch > standing {
        Ok(())
    } else {
        Err(Failure::Conflict { epoch, standing })
    }
}

/// Adds a monitor, or replaces its definition. `again`: an attempt before this one may have been
/// committed.
pub(super) async fn define(
    database: &Database,
    monitor: &Monitor,
    epoch: Epoch,
    again: bool,
) -> Result<Status, End> {
    let transaction = database.begin().await?;
    let number = epoch_number(epoch)?;
    let Some(standing) = living(&transaction, &monitor.id).await? else {
        let status = begin(&transaction, monitor, epoch).await?;
        transaction.commit().await?;
        return Ok(status);
    };
    if again && standing.status.epoch == epoch {
        transaction.roll_back().await;
        return Ok(standing.status);
    }
    newer(standing.status.epoch, epoch)?;
    transaction
        .change(
            "UPDATE monitor SET name = $2, source = $3, spec = $4 WHERE number = $1",
            &[
                (&standing.number, Type::INT8),
                (&encode(&monitor.name), Type::TEXT),
                (&monitor.source.as_str(), Type::TEXT),
                (&encode(&monitor.spec), Type::TEXT),
            ],
        )
        .await?;
    let fence = "UPDATE status SET epoch = $2 WHERE monitor = $1";
    transaction
        .change(
            fence,
            &[(&standing.number, Type::INT8), (&number, Type::INT8)],
        )
        .await?;
    transaction.commit().await?;
    Ok(Status {
        epoch,
        ..standing.status
    })
}

/// A new monitor, or an old id with a new life.
async fn begin(
    transaction: &Transaction,
    monitor: &Monitor,
    epoch: Epoch,
) -> Result<Status, Failure> {
    let id = monitor.id.as_str();
    let graves = "DELETE FROM grave WHERE id = $1 RETURNING id, epoch";
    let graves = transaction.rows(graves, &[(&id, Type::TEXT)]).await?;
    if let Some(row) = graves.first() {
        newer(Fields::of(row, "grave of", "id").epoch()?, epoch)?;
    }
    transaction
        .change(
            "WITH born AS (
             INSERT INTO monitor (id, name, source, spec) VALUES ($1, $2, $3, $4)
             RETURNING number)
         INSERT INTO status (monitor, lifecycle, epoch) SELECT number, $5, $6 FROM born",
            &[
                (&id, Type::TEXT),
                (&encode(&monitor.name), Type::TEXT),
                (&monitor.source.as_str(), Type::TEXT),
                (&encode(&monitor.spec), Type::TEXT),
                (&Lifecycle::Active.as_str(), Type::TEXT),
                (&epoch_number(epoch)?, Type::INT8),
            ],
        )
        .await?;
    Ok(Status::new(monitor.id.clone(), Lifecycle::Active, epoch))
}

/// Pauses or resumes.
pub(super) async fn set_lifecycle(
    database: &Database,
    id: &MonitorId,
    (lifecycle, epoch, due_from_unix_ms): (Lifecycle, Epoch, Option<i64>),
    again: bool,
) -> Result<Option<Status>, End> {
    let transaction = database.begin().await?;
    let number = epoch_number(epoch)?;
    let Some(standing) = living(&transaction, id).await? else {
        transaction.roll_back().await;
        return Ok(None);
    };
    if again && standing.status.epoch == epoch {
        transaction.roll_back().await;
        return Ok(Some(standing.status));
    }
    newer(standing.status.epoch, epoch)?;
    transaction
        .change(
            "UPDATE status SET lifecycle = $2, epoch = $3,
                 due_from_unix_ms = coalesce($4, due_from_unix_ms)
             WHERE monitor = $1",
            &[
                (&standing.number, Type::INT8),
                (&lifecycle.as_str(), Type::TEXT),
                (&number, Type::INT8),
                (&due_from_unix_ms, Type::INT8),
            ],
        )
        .await?;
    if let Some(open) = open_incident(&transaction, &standing).await? {
        let marked = open.under(lifecycle);
        put_incidents(&transaction, &[(standing.number, &marked)]).await?;
    }
    transaction.commit().await?;
    Ok(Some(Status {
        lifecycle,
        epoch,
        ..standing.status
    }))
}

/// Ends a monitor's life. Its history is out of reach at once and removed in slices later, so that
/// deleting a large one holds nobody up.
pub(super) async fn delete(
    database: &Database,
    id: &MonitorId,
    epoch: Epoch,
    again: bool,
) -> Result<bool, End> {
    let transaction = database.begin().await?;
    let number = epoch_number(epoch)?;
    let name = id.as_str();
    let grave: [Parameter<'_>; 2] = [(&name, Type::TEXT), (&number, Type::INT8)];
    let Some(standing) = living(&transaction, id).await? else {
        let buried = "SELECT 1 FROM grave WHERE id = $1 AND epoch = $2";
        let is_done = again && !transaction.rows(buried, &grave).await?.is_empty();
        transaction.roll_back().await;
        return Ok(is_done);
    };
    newer(standing.status.epoch, epoch)?;
    if let Some(open) = open_incident(&transaction, &standing).await? {
        let closed = open.deleted(&standing.status);
        put_incidents(&transaction, &[(standing.number, &closed)]).await?;
        notify(&transaction, &[(standing.number, &closed)]).await?;
    }
    let ended = "WITH ended AS (UPDATE monitor SET ended = true WHERE number = $1)
        DELETE FROM status WHERE monitor = $1";
    transaction
        .change(ended, &[(&standing.number, Type::INT8)])
        .await?;
    let bury = "INSERT INTO grave (id, epoch) VALUES ($1, $2)";
    transaction.change(bury, &grave).await?;
    transaction.commit().await?;
    Ok(true)
}

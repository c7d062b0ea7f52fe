//! What can be wrong with a database.

use std::time::Duration;

use monitor_model::{Defect, DefectKind};
use monitor_operation::Epoch;
use monitor_pool::managers::postgres::tokio_postgres::Row;

use super::failure::Failure;
use super::migrate::{self, SUPPORTED};
use super::row::Fields;
use super::session::{Session, answer};

/// Rows that belong to nothing. The keys of the schema see to it; this sees to the keys.
const ORPHANS: &[(&str, &str)] = &[
    (
        "status",
        "SELECT monitor AS key FROM status WHERE NOT EXISTS (
        SELECT 1 FROM monitor WHERE number = status.monitor AND NOT ended)",
    ),
    (
        "history",
        "SELECT sequence AS key FROM history WHERE NOT EXISTS (
        SELECT 1 FROM monitor WHERE number = history.monitor)",
    ),
    (
        "incident",
        "SELECT id AS key FROM incident WHERE NOT EXISTS (
        SELECT 1 FROM monitor WHERE number = incident.monitor)",
    ),
    (
        "bucket",
        "SELECT start_unix_ms AS key FROM bucket WHERE NOT EXISTS (
        SELECT 1 FROM monitor WHERE number = bucket.monitor)",
    ),
    (
        "monitor",
        "SELECT number AS key FROM monitor WHERE NOT ended AND NOT EXISTS (
        SELECT 1 FROM status WHERE status.monitor = number)",
    ),
];

/// At most so many of a kind: the first say what is wrong.
const MOST: usize = 100;

/// A session to look with. To look at everything takes as long as there is much; each question has
/// its limit.
struct Look<'s> {
    session: &'s Session,
    silence: Duration,
}

impl Look<'_> {
    async fn rows(&self, query: &str) -> Result<Vec<Row>, Failure> {
        let asked = self.session.query_typed(query, &[]);
        answer(self.silence, async { Ok(asked.await?) }).await
    }
}

/// Looks at everything, as of one instant, and changes nothing.
pub(super) async fn examine(session: &Session, silence: Duration) -> Result<Vec<Defect>, Failure> {
    let look = Look { session, silence };
    let snapshot = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    look.rows(snapshot).await?;
    let mut defects = Vec::new();
    if let Some(other) = answer(silence, schema(session)).await? {
        look.rows("COMMIT").await?;
        return Ok(vec![other]);
    }
    for (table, orphans) in ORPHANS {
        for row in &look.rows(&format!("{orphans} LIMIT {MOST}")).await? {
            let key: i64 = Fields::of(row, table, "key").get("key")?;
            defects.push(Defect {
                kind: DefectKind::Orphan,
                subject: format!("{table} {key}"),
                detail: "the row that it belongs to, or that belongs to it, does not exist".into(),
            });
        }
    }
    monitors(&look, &mut defects).await?;
    notices(&look, &mut defects).await?;
    look.rows("COMMIT").await?;
    Ok(defects)
}

async fn schema(session: &Session) -> Result<Option<Defect>, Failure> {
    let found = migrate::version(session).await?.unwrap_or(0);
    Ok((found != SUPPORTED).then(|| Defect {
        kind: DefectKind::Schema,
        subject: "the database".into(),
        detail: format!("its schema has version {found}, this program {SUPPORTED}"),
    }))
}

async fn monitors(look: &Look<'_>, defects: &mut Vec<Defect>) -> Result<(), Failure> {
    let monitors = "SELECT monitor.id, status.*, grave.epoch AS grave,
            EXISTS (SELECT 1 FROM history WHERE history.monitor = number)
                OR EXISTS (SELECT 1 FROM bucket WHERE bucket.monitor = number) AS is_recorded
        FROM monitor JOIN status ON status.monitor = number
        LEFT JOIN grave ON grave.id = monitor.id WHERE NOT ended ORDER BY monitor.id";
    let incidents = "SELECT monitor.id AS monitor_id, incident.* FROM incident
        JOIN monitor ON monitor.number = incident.monitor AND NOT ended
        WHERE closed_unix_ms IS NULL";
    let mut open = std::collections::HashMap::new();
    for row in &look.rows(incidents).await? {
        let fields = Fields::of(row, "incident", "id");
        let id = fields.id("monitor_id");
        match id.and_then(|id| Ok((id.clone(), fields.incident("id", id)?))) {
            Ok((id, incident)) => drop(open.insert(id, incident)),
            Err(failure) => defects.push(damaged(&failure)),
        }
    }
    for row in &look.rows(monitors).await? {
        let fields = Fields::of(row, "monitor", "id");
        let status = match fields.id("id").and_then(|id| fields.status(id)) {
            Ok(status) => status,
            Err(failure) => {
                defects.push(damaged(&failure));
                continue;
            }
        };
        defects.extend(Defect::of_status(&status, fields.get("is_recorded")?));
        defects.extend(Defect::of_incident(&status, open.get(&status.monitor)));
        if let Some(grave) = fields.get::<Option<i64>>("grave")? {
            defects.extend(Defect::of_epoch(&status, Epoch::new(grave.unsigned_abs())));
        }
    }
    Ok(())
}

fn damaged(failure: &Failure) -> Defect {
    Defect {
        kind: DefectKind::Damaged,
        subject: "a row".into(),
        detail: failure.to_string(),
    }
}

async fn notices(look: &Look<'_>, defects: &mut Vec<Defect>) -> Result<(), Failure> {
    let notices = "SELECT sequence, incident || '-' || kind AS dedup_key, attempt,
            state = 'given_up' AS is_given_up FROM outbox ORDER BY sequence";
    for row in &look.rows(notices).await? {
        let fields = Fields::of(row, "notice", "sequence");
        let key: String = fields.get("dedup_key")?;
        let (attempt, given_up) = (fields.number("attempt")?, fields.get("is_given_up")?);
        defects.extend(Defect::of_notice(&key, attempt, given_up));
    }
    Ok(())
}

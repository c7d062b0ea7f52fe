//! The schema: numbered steps, forward only, all in one transaction.
//!
//! What the steps said is remembered beside the version, as the comment of a table: a schema that
//! says this version and was made by other steps is refused at the start, not by each call.

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

/// Why a schema is not worked with. It is left as it is.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(
        "the schema of the jobs has version {found}, this program knows {}: start a newer program, \
         nothing was changed",
        SUPPORTED
    )]
    Newer { found: i64 },
    #[error(
        "the schema of the jobs says version {found}, but was not made by the steps that this \
         program knows: it is of an unreleased program, or its table job has lost its comment; use \
         the program that made it, or an empty schema, nothing was changed"
    )]
    Other { found: i64 },
}

/// How a schema stands to some steps.
enum Standing {
    Current,
    /// It has this version; 0: there is none yet.
    Older(i64),
    Refused(Refusal),
}

/// Brings the schema up to date, or changes nothing.
pub(super) async fn run(client: &Client) -> Result<Option<Refusal>, Failure> {
    apply(client, STEPS).await
}

/// Nothing is written, nothing is locked and no right to create anything is needed when the schema
/// is right already.
async fn apply(client: &Client, steps: &[&[&str]]) -> Result<Option<Refusal>, Failure> {
    match standing(client, steps).await? {
        Standing::Current => return Ok(None),
        Standing::Refused(refusal) => return Ok(Some(refusal)),
        Standing::Older(_) => client.batch_execute(BEGIN).await.map_err(Failure::write)?,
    }
    let mut end = "COMMIT";
    let refusal = match standing(client, steps).await? {
        Standing::Current => None,
        Standing::Refused(refusal) => {
            end = "ROLLBACK";
            Some(refusal)
        }
        Standing::Older(found) => {
            climb(client, steps, found).await?;
            None
        }
    };
    client.batch_execute(end).await.map_err(Failure::write)?;
    Ok(refusal)
}

async fn climb(client: &Client, steps: &[&[&str]], found: i64) -> Result<(), Failure> {
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
    let mark = format!("COMMENT ON TABLE job IS '{}'", fingerprint(steps));
    client.batch_execute(&mark).await.map_err(Failure::write)
}

async fn standing(client: &Client, steps: &[&[&str]]) -> Result<Standing, Failure> {
    let found = version(client).await?;
    let known = usize::try_from(found).ok();
    let Some(taken) = known.and_then(|known| steps.get(..known)) else {
        return Ok(Standing::Refused(Refusal::Newer { found }));
    };
    if taken.is_empty() {
        return Ok(Standing::Older(found));
    }
    let mark =
        "SELECT obj_description(oid, 'pg_class') FROM pg_class WHERE oid = to_regclass('job')";
    let mark = client.query_opt(mark, &[]).await.map_err(Failure::read)?;
    let mark: Option<String> = mark.and_then(|row| row.get(0));
    Ok(match mark {
        Some(mark) if mark == fingerprint(taken) => match taken.len() < steps.len() {
            true => Standing::Older(found),
            false => Standing::Current,
        },
        _ => Standing::Refused(Refusal::Other { found }),
    })
}

/// What these steps say, apart from comments and line breaks, as a number: FNV-1a.
fn fingerprint(steps: &[&[&str]]) -> String {
    let lines = steps
        .iter()
        .copied()
        .flatten()
        .flat_map(|part| part.lines());
    let said = lines.filter(|line| !line.trim_start().starts_with("--"));
    let words = said.flat_map(str::split_whitespace);
    let bytes = words.flat_map(|word| word.bytes().chain([b' ']));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("monitor-jobs {hash:016x}")
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said counts, and nothing else.
    #[test]
    fn a_fingerprint_is_of_what_is_said() {
        let one = fingerprint(&[&["-- A table.\nCREATE TABLE a\n    (b text);\n"]]);
        assert_eq!(
            one,
            fingerprint(&[&["CREATE TABLE a (b\n  text);", "  -- none"]])
        );
        for other in ["CREATE TABLE a (b bigint);", "CREATE TABLEa (b text);", ""] {
            assert_ne!(one, fingerprint(&[&[other]]), "{other}");
        }
    }
}

//! The schema: numbered steps, forward only, all in one transaction.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

/// The name of this crate's schema. Other crates may keep theirs in the same file.
const COMPONENT: &str = "jobs";

/// Step n brings a file from version n - 1 to version n.
const STEPS: &[&str] = &[include_str!("../../migrations/sqlite/0001_initial.sql")];

/// The version that this code reads and writes.
pub(crate) const SUPPORTED: i64 = STEPS.len() as i64;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing at all.
    Empty,
    /// A schema of this crate at this version; 0 when only other crates have one in it.
    Version(i64),
    /// Tables, but nothing that says whose.
    Foreign,
}

/// Looks without changing anything.
pub(crate) fn look(connection: &Connection) -> rusqlite::Result<Found> {
    let tables: i64 = connection.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table'",
        [],
        |row| row.get(0),
    )?;
    if tables == 0 {
        return Ok(Found::Empty);
    }
    let known: i64 = connection.query_row(
        "SELECT count(*) FROM pragma_table_info('schema_version')
         WHERE name IN ('component', 'version')",
        [],
        |row| row.get(0),
    )?;
    if known == 2 {
        version(connection).map(Found::Version)
    } else {
        Ok(Found::Foreign)
    }
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    let version = connection
        .query_row(
            "SELECT version FROM schema_version WHERE component = ?1",
            [COMPONENT],
            |row| row.get(0),
        )
        .optional()?;
    Ok(version.unwrap_or(0))
}

/// Brings the schema to the version of this code, or changes nothing. Returns the version that was
/// found: above [`SUPPORTED`] when another process has brought it further in the meantime.
pub(crate) fn run(connection: &mut Connection) -> rusqlite::Result<i64> {
    apply(connection, STEPS)
}

fn apply(connection: &mut Connection, steps: &[&str]) -> rusqlite::Result<i64> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS schema_version (
             component TEXT PRIMARY KEY,
             version INTEGER NOT NULL
         ) STRICT, WITHOUT ROWID",
    )?;
    let from = version(&transaction)?;
    for (number, step) in (1..).zip(steps).skip_while(|(number, _)| *number <= from) {
        transaction.execute_batch(step)?;
        transaction.execute(
            "INSERT INTO schema_version VALUES (?1, ?2)
             ON CONFLICT DO UPDATE SET version = excluded.version",
            params![COMPONENT, number],
        )?;
        tracing::info!(version = number, "migrated the schema of the jobs");
    }
    transaction.commit()?;
    Ok(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Connection {
        Connection::open_in_memory().unwrap()
    }

    #[test]
    fn steps_run_once_and_in_order() {
        let mut connection = memory();
        let steps = [
            "CREATE TABLE a (x) ",
            "ALTER TABLE a ADD COLUMN y; INSERT INTO a VALUES (1, 2)",
        ];
        assert_eq!(look(&connection).unwrap(), Found::Empty);
        apply(&mut connection, &steps[..1]).unwrap();
        assert_eq!(look(&connection).unwrap(), Found::Version(1));
        for _ in 0..2 {
            apply(&mut connection, &steps).unwrap();
            assert_eq!(look(&connection).unwrap(), Found::Version(2));
        }
        let rows: i64 = connection
            .query_row("SELECT count(*) FROM a", [], |row| row.get(0))
            .unwrap();
        assert_eq!(rows, 1, "the second step ran once");
    }

    #[test]
    fn a_failing_step_takes_all_steps_of_the_run_back() {
        let mut connection = memory();
        let steps = ["CREATE TABLE a (x)", "INSERT INTO nowhere VALUES (1)"];
        assert!(apply(&mut connection, &steps).is_err());
        assert_eq!(look(&connection).unwrap(), Found::Empty);
    }

    #[test]
    fn another_component_and_another_program_are_told_apart() {
        let mut connection = memory();
        connection.execute_batch("CREATE TABLE a (x)").unwrap();
        assert_eq!(look(&connection).unwrap(), Found::Foreign);
        apply(&mut connection, &[]).unwrap();
        connection
            .execute("INSERT INTO schema_version VALUES ('store', 7)", [])
            .unwrap();
        assert_eq!(look(&connection).unwrap(), Found::Version(0));
        run(&mut connection).unwrap();
        assert_eq!(look(&connection).unwrap(), Found::Version(SUPPORTED));
    }

    #[test]
    fn a_table_of_that_name_with_another_meaning_is_another_programs() {
        let connection = memory();
        connection
            .execute_batch("CREATE TABLE schema_version (version INTEGER)")
            .unwrap();
        assert_eq!(look(&connection).unwrap(), Found::Foreign);
    }
}

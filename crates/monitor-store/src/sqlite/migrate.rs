//! The schema: numbered steps, forward only, all in one transaction.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::failure::Failure;
use super::term;

mod compact;

/// The name of this crate's schema. Other crates may keep theirs in the same file.
const COMPONENT: &str = "store";

/// Step n brings a file from version n - 1 to version n.
const STEPS: &[Step] = &[
    |connection| {
        batch(
            connection,
            include_str!("../../migrations/0001_initial.sql"),
        )
    },
    |connection| {
        batch(
            connection,
            include_str!("../../migrations/0002_incidents.sql"),
        )
    },
    compact::run,
    |connection| {
        batch(
            connection,
            include_str!("../../migrations/0004_due_from.sql"),
        )
    },
];

type Step = fn(&Connection) -> Result<(), Failure>;

fn batch(connection: &Connection, text: &str) -> Result<(), Failure> {
    Ok(connection.execute_batch(text)?)
}

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
    let known: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'schema_version')",
        [],
        |row| row.get(0),
    )?;
    if known {
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

/// Brings the schema from what was [found](look) to the version of this code, or changes nothing.
pub(crate) fn run(connection: &mut Connection) -> Result<(), Failure> {
    apply(connection, STEPS)?;
    // Not part of a step: a program may know more names than the one that wrote the file.
    let transaction = connection.transaction()?;
    term::register(&transaction)?;
    Ok(transaction.commit()?)
}

fn apply(connection: &mut Connection, steps: &[Step]) -> Result<(), Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS schema_version (
             component TEXT PRIMARY KEY,
             version INTEGER NOT NULL
         ) STRICT, WITHOUT ROWID",
    )?;
    let from = version(&transaction)?;
    for (number, step) in (1..).zip(steps).skip_while(|(number, _)| *number <= from) {
        step(&transaction)?;
        transaction.execute(
            "INSERT INTO schema_version VALUES (?1, ?2)
             ON CONFLICT DO UPDATE SET version = excluded.version",
            params![COMPONENT, number],
        )?;
        tracing::info!(version = number, "migrated the schema");
    }
    Ok(transaction.commit()?)
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
        let steps: [Step; 2] = [
            |connection| batch(connection, "CREATE TABLE a (x) "),
            |connection| {
                batch(
                    connection,
                    "ALTER TABLE a ADD COLUMN y; INSERT INTO a VALUES (1, 2)",
                )
            },
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
        let steps: [Step; 2] = [
            |connection| batch(connection, "CREATE TABLE a (x)"),
            |connection| batch(connection, "INSERT INTO nowhere VALUES (1)"),
        ];
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
            .execute("INSERT INTO schema_version VALUES ('jobs', 7)", [])
            .unwrap();
        assert_eq!(look(&connection).unwrap(), Found::Version(0));
        run(&mut connection).unwrap();
        assert_eq!(look(&connection).unwrap(), Found::Version(SUPPORTED));
    }
}

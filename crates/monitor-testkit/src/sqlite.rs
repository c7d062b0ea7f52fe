//! Triggers in an SQLite file: each change of each table is traced, or one kind of change fails.
//!
//! A change is told by what is done and to which table: `UPDATE ON job`.

use rusqlite::{Connection, Result};

/// Notes each change from now on, until [`traced`] asks for the notes.
///
/// # Errors
/// When the triggers cannot be made, such as a second time.
pub fn trace(sql: &Connection) -> Result<()> {
    let triggers = each_change(sql, |change, table| {
        format!(
            "CREATE TRIGGER test_{change}_{table} AFTER {change} ON {table} BEGIN
                INSERT INTO test_note VALUES ('{change} ON {table}'); END;"
        )
    })?;
    sql.execute_batch(&format!("CREATE TABLE test_note (change TEXT); {triggers}"))
}

/// The changes since [`trace`], each once and in their order by name. From now on none is noted.
///
/// # Errors
/// When nothing is traced.
pub fn traced(sql: &Connection) -> Result<Vec<String>> {
    let noted = strings(sql, "SELECT DISTINCT change FROM test_note ORDER BY change")?;
    let triggers = each_change(sql, |change, table| {
        format!("DROP TRIGGER test_{change}_{table};")
    })?;
    sql.execute_batch(&format!("{triggers} DROP TABLE test_note"))?;
    Ok(noted)
}

/// Fails this one change from now on, with the text `broken`; `None`: none any more. A condition may
/// follow the change: `INSERT ON job WHEN new.id = 4`.
///
/// # Errors
/// When the trigger cannot be made or taken away, such as a second time.
pub fn fail(sql: &Connection, change: Option<&str>) -> Result<()> {
    match change {
        Some(change) => sql.execute_batch(&format!(
            "CREATE TRIGGER test BEFORE {change} BEGIN SELECT raise(ABORT, 'broken'); END"
        )),
        None => sql.execute_batch("DROP TRIGGER test"),
    }
}

/// For each table and each change to it, the statement that `write` makes of both.
fn each_change(sql: &Connection, write: impl Fn(&str, &str) -> String) -> Result<String> {
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'test_note'
        AND name NOT LIKE 'sqlite%'";
    let each = strings(sql, tables)?
        .into_iter()
        .flat_map(|table| ["INSERT", "UPDATE", "DELETE"].map(|change| write(change, &table)));
    Ok(each.collect())
}

fn strings(sql: &Connection, query: &str) -> Result<Vec<String>> {
    let mut statement = sql.prepare(query)?;
    statement.query_map([], |row| row.get(0))?.collect()
}

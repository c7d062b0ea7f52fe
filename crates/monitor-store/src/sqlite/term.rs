//! Names that stand in many rows as short numbers.
//!
//! Statements look them up themselves, in both directions, so that codes stay inside the file and a
//! file explains itself.

use monitor_fault::{Layer, Reason};
use monitor_model::{Outcome, Unobserved};
use rusqlite::Connection;

/// Gives a code to each name that this program may write and the file does not have yet.
pub(crate) fn register(connection: &Connection) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(
        "INSERT INTO term (name) SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM term WHERE name = ?1)",
    )?;
    let outcomes = Outcome::ALL.iter().map(|name| name.as_str());
    let reasons = Unobserved::ALL.iter().map(|name| name.as_str());
    let layers = Layer::ALL.iter().map(|name| name.as_str());
    let faults = Reason::ALL.iter().map(|name| name.as_str());
    for name in outcomes.chain(reasons).chain(layers).chain(faults) {
        statement.execute([name])?;
    }
    Ok(())
}

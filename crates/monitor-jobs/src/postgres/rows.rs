//! Values between the database and this crate.

use monitor_pool::managers::postgres::tokio_postgres::Row;
use monitor_pool::managers::postgres::tokio_postgres::types::FromSql;

use super::failure::Failure;
use crate::Priority;

/// A column by its name.
pub(super) fn get<'r, T: FromSql<'r>>(row: &'r Row, column: &str) -> Result<T, Failure> {
    row.try_get(column).map_err(Failure::read)
}

/// What a constraint of the table keeps from being negative.
pub(super) fn number<T>(number: T) -> u32
where
    u32: TryFrom<T>,
{
    u32::try_from(number).unwrap_or(0)
}

/// The same for what is counted in 16 bits.
pub(super) fn small(number: i16) -> u16 {
    u16::try_from(number).unwrap_or(0)
}

pub(super) fn priority(column: &'static str, stored: i16) -> Result<Priority, Failure> {
    let number = u8::try_from(stored).ok();
    let priority = number.and_then(|number| Priority::new(number).ok());
    priority.ok_or_else(|| Failure::Unreadable {
        column,
        value: stored.to_string(),
    })
}

/// As many as the database counts.
pub(super) fn limit(limit: u32) -> i32 {
    i32::try_from(limit).unwrap_or(i32::MAX)
}

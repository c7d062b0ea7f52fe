//! Which schema a database has, found out without bringing it up to date.

/// The version of the schema of jobs in a database, and the one that this program needs.
///
/// Opening jobs migrates; whoever only wants to look asks for this first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Schema {
    /// What is there; 0: no jobs were ever kept there.
    pub found: i64,
    /// What this program reads and writes.
    pub supported: i64,
}

impl Schema {
    /// Whether the database can be opened as it is.
    #[must_use]
    pub const fn is_current(self) -> bool {
        self.found == self.supported
    }
}

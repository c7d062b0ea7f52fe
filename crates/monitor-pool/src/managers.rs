//! Managers for real servers, each behind a feature of its name.
//!
//! | feature | connection | what makes it unfit for the next holder |
//! |---|---|---|
//! | `postgres` | a PostgreSQL session by `tokio-postgres` | a statement under way, a transaction open, the server gone |
//! | `line` | JSON commands over TCP, one line each | a reply owed, bytes nobody asked for, the server gone |

#[cfg(feature = "line")]
pub mod line;
#[cfg(feature = "postgres")]
pub mod postgres;

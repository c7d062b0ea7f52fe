#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
#[cfg_attr(
    not(feature = "sqlite"),
    allow(
        dead_code,
        reason = "PostgreSQL counts in its own words, and does not grow by bytes"
    )
)]
mod rollup;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod row;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "postgres")]
pub use postgres::{PostgresOpenError, PostgresOptions, PostgresStats, PostgresStore};
#[cfg(feature = "sqlite")]
pub use sqlite::{BackupError, BackupProgress, OpenError, Options, SqliteStore, Stats, backup};

#[doc(no_inline)]
pub use monitor_model as model;

//! Names of the metrics, to be exported with the values of [`Status`](crate::Status) and
//! [`Event`](crate::Event). Label of all: `pool`.

/// Histogram, seconds: from the first poll of an acquire to its end. Label `outcome`: `acquired`,
/// `timeout`, `connect`, `overloaded`, `closed`, `deadlock`, `no_runtime`.
pub const ACQUIRE_DURATION_SECONDS: &str = "pool_acquire_duration_seconds";
/// The same histogram in milliseconds, under its older name.
pub const ACQUIRE_DURATION_MS: &str = "connection_pool.acquire_duration_ms";
/// Counter: a connection came back that was not out. Stays 0.
pub const RACES_TOTAL: &str = "pool_races_total";
/// The same counter, under its older name.
pub const RACE_DETECTED: &str = "connection_pool.race_detected";
/// Gauge: callers that wait.
pub const WAITING: &str = "pool_waiting";
/// The same gauge, under its older name.
pub const QUEUE_SIZE: &str = "connection_pool.queue_size";
/// Gauge, seconds: how long the oldest of them has waited.
pub const OLDEST_WAIT_SECONDS: &str = "pool_oldest_wait_seconds";
/// Gauge: connections by `state`: `connecting`, `idle`, `offered`, `leased`, `checking`, `closing`.
pub const CONNECTIONS: &str = "pool_connections";
/// Gauge: the most connections there may be.
pub const MAX_CONNECTIONS: &str = "pool_max_connections";
/// Counter: connections opened.
pub const CONNECTS_TOTAL: &str = "pool_connects_total";
/// Counter: attempts to connect that failed.
pub const CONNECT_FAILURES_TOTAL: &str = "pool_connect_failures_total";
/// Counter: connections closed. Label `reason`.
pub const CLOSED_TOTAL: &str = "pool_closed_total";

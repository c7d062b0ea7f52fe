//! Why a monitor could not be changed.

use monitor_model::StoreError;
use monitor_operation::RegisterError;
use monitor_scheduler::{ScheduleError, SpecError};

/// Why a change of a monitor was not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CoreError {
    /// The store could not be read or written. A pause or a deletion holds in memory all the same:
    /// nothing of the monitor runs, and the call may be repeated.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The settings are refused. Nothing changed.
    #[error("monitor {monitor}: {source}")]
    Settings {
        /// The monitor.
        monitor: monitor_model::MonitorId,
        /// What is wrong.
        #[source]
        source: SpecError,
    },
    /// The scheduler refused the monitor.
    #[error("monitor {monitor}: {source}")]
    Schedule {
        /// The monitor.
        monitor: monitor_model::MonitorId,
        /// Why.
        #[source]
        source: ScheduleError,
    },
    /// The store holds an epoch that no monitor can have reached: it is damaged.
    #[error("monitor {monitor}: the store is damaged: {source}")]
    Epoch {
        /// The monitor.
        monitor: monitor_model::MonitorId,
        /// What is wrong with its epoch.
        #[source]
        source: RegisterError,
    },
    /// The core is shutting down and takes no changes.
    #[error("the core is shutting down and takes no changes")]
    ShuttingDown,
}

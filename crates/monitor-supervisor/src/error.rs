//! What is refused.

use thiserror::Error;

/// Why a task's settings are refused. Nothing was started.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SpecError {
    /// A value is out of its range.
    #[error("task {task}: {field} is {value}: allowed is {allowed}")]
    OutOfRange {
        /// The task.
        task: String,
        /// The setting.
        field: &'static str,
        /// What it was set to.
        value: String,
        /// What would be right.
        allowed: &'static str,
    },
}

/// Why a task is not started.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// A task of this name is running.
    #[error("task {name} is running already: give each task its own name")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// The supervisor was stopped.
    #[error("task {name} is not started: the supervisor has been stopped")]
    Stopped {
        /// The name.
        name: String,
    },
}

/// Why a shutdown handler is not registered. It is dropped, and will not run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// A handler of this name is registered.
    #[error("shutdown handler {name} is registered already: give each handler its own name")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// Shutdown has begun. Whoever wanted to register cleans up itself, now.
    #[error("shutdown handler {name} comes too late: shutdown has begun")]
    ShuttingDown {
        /// The name.
        name: String,
    },
}

//! The decisions, synchronous: they take `now`, the time since an origin of the shell's.

pub(crate) mod alarm;
pub(crate) mod cadence;
#[cfg(all(test, monitor_loom))]
mod loom;
pub(crate) mod registry;
pub(crate) mod task;

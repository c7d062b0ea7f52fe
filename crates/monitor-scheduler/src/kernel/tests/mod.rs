//! Tests of the kernel: plain calls with made-up times.

#[cfg(not(monitor_loom))]
mod accounting;
#[cfg(not(monitor_loom))]
mod coverage;
#[cfg(not(monitor_loom))]
mod grid;
#[cfg(monitor_loom)]
mod loom;
#[cfg(not(monitor_loom))]
mod rules;
#[cfg(not(monitor_loom))]
mod timing;
#[cfg(not(monitor_loom))]
mod wheel;
#[cfg(not(monitor_loom))]
mod world;

use super::Tick;

/// What became of due times, in order: what the accounting is checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// The key was added: its due times begin anew.
    Born,
    Armed(Tick),
    TakenBack(Tick),
    Ran(Tick),
    Missed {
        due: Tick,
        slots: u32,
    },
}

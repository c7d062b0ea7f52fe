//! Tests of the kernel: plain calls with made-up times.

use super::Tick;

/// What became of due times, in order: what the accounting is checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    Armed(Tick),
    TakenBack(Tick),
    Ran(Tick),
    Missed { due: Tick, slots: u32 },
}

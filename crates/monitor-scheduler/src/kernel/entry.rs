//! All that the kernel knows of one key.

use std::sync::Arc;

use monitor_backoff::FailureStreak;
use monitor_operation::Epoch;

use super::{grid::Grid, tick::Tick};
use crate::{Spec, Trigger};

/// One key.
pub(super) struct Entry<K, H> {
    pub(super) key: Arc<K>,
    pub(super) handler: H,
    pub(super) spec: Spec,
    pub(super) grid: Grid,
    /// The newest epoch the kernel has heard of: a label for reports, no right to anything.
    pub(super) epoch: Epoch,
    pub(super) life: Life,
    /// INV-SCHEDULER-1: an active key has either a wait or a run, exactly one of the two; a key
    /// that is not active has no wait.
    pub(super) wait: Wait,
    /// INV-SCHEDULER-2: one run at most; the next is put here only when this is empty.
    pub(super) run: Option<Running>,
    /// Triggered while its run was going on: one more run follows.
    pub(super) again: bool,
    /// New, and to be run at once when the run of its former life has ended.
    pub(super) at_once: bool,
    /// INV-SCHEDULER-3: the last due time that came to its end, as a run or as missed. The next
    /// one to do so is later.
    pub(super) last_due: Option<Tick>,
    /// Slots before this are accounted for: run, reported as missed, or never promised.
    pub(super) covered: Tick,
    /// The handler asked not to be run by the timer before this.
    pub(super) not_before: Tick,
    pub(super) streak: FailureStreak,
    pub(super) past: Past,
}

/// Whether a key runs at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Active,
    Paused,
    /// Cancelled; here only until its run has ended, so that no second one starts meanwhile.
    Removed,
}

/// What an active key without a run waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    Nothing,
    Timer(Armed),
    Queue(Queued),
}

/// A key that waits for its time. Its timer is set to `start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Armed {
    /// The nominal time.
    pub(super) due: Tick,
    /// The nominal time, displaced by the jitter.
    pub(super) start: Tick,
    /// Whether `due` is a slot; after a failure it is not.
    pub(super) on_grid: bool,
}

/// A key that is due and waits for a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Queued {
    pub(super) due: Tick,
    pub(super) trigger: Trigger,
    pub(super) on_grid: bool,
    /// Its place in the queue.
    pub(super) ticket: u64,
    pub(super) since: Tick,
}

/// A run that has its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) serial: u64,
    pub(super) due: Tick,
    pub(super) trigger: Trigger,
    pub(super) stage: Stage,
    /// When it was confirmed; when it was decided on, until then.
    pub(super) started: Tick,
    pub(super) deadline: Tick,
    /// The backoff has set it, not the grid.
    pub(super) in_backoff: bool,
    /// It waited in the queue before, where slots may have passed.
    pub(super) queued: bool,
    /// INV-SCHEDULER-4: it holds one process permit.
    pub(super) permit: bool,
    /// The key was paused, edited or cancelled meanwhile: its verdict counts for nothing.
    pub(super) withdrawn: bool,
    /// How it ended has been decided and told.
    pub(super) judged: bool,
    pub(super) handler_ended: bool,
    pub(super) claim_ended: bool,
}

/// How far a run has come. All stages but the first have a timer, `Stuck` for an active key only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Decided on; the shell begins the operation and asks whether the run is still wanted.
    Starting,
    /// Until the deadline.
    Running,
    /// Cancelled; until the clean-up grace is over.
    Cancelled,
    /// Given up: it keeps its key, and nothing else.
    Stuck,
}

/// What is kept for the status alone.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    pub(super) started: Option<Tick>,
    pub(super) succeeded: Option<Tick>,
    pub(super) failed: Option<Tick>,
    pub(super) error: Option<String>,
    pub(super) took_ms: Option<u64>,
    pub(super) missed: u64,
}

impl<K, H> Entry<K, H> {
    pub(super) fn is_active(&self) -> bool {
        self.life == Life::Active
    }

    /// The first tick at which a new due time may lie.
    pub(super) fn after_last_due(&self) -> Tick {
        self.last_due.map_or(Tick::ZERO, |last| last.plus(1))
    }

    /// Accounts for the slots up to the start of a run at `now`. A run beside the grid also stands
    /// for a slot that is less than half an interval ahead: whoever has just been looked at is not
    /// looked at again on the heels of it, and a slot that falls into such a run is not missed.
    pub(super) fn cover(&mut self, due: Tick, now: Tick) {
        let beside_grid = self.grid.at_or_after(due) != due;
        let ahead = if beside_grid {
            self.grid.interval_ms / 2
        } else {
            0
        };
        self.covered = now.plus(ahead);
    }

    /// The due time of something that starts at `now` outside of the grid.
    pub(super) fn due_at(&self, now: Tick) -> Tick {
        now.max(self.after_last_due())
    }
}

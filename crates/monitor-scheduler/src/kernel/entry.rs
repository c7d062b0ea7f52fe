//! All that the kernel knows of one key.

use std::num::{NonZeroU32, NonZeroU64};

use monitor_backoff::FailureStreak;

use super::{grid::Grid, permits::Permit, queue::Place, tick::Tick};
use crate::Trigger;

/// One key: with a handler of two words 64 bytes, which is one cache line.
#[repr(align(64))]
pub(super) struct Entry<H> {
    /// Which knows the key.
    pub(super) handler: H,
    /// The number of what it has in common with others.
    pub(super) kind: u32,
    /// Where in the interval its slots lie.
    pub(super) offset_ms: u32,
    pub(super) doing: Doing,
    /// INV-SCHEDULER-3: the first tick that a due time may lie at: after the last one that came to
    /// its end, as a run or as missed.
    pub(super) after_last: Tick,
    /// Slots before this are accounted for: run, reported as missed, or never promised.
    pub(super) covered: Tick,
    /// The number of its history, or `NO_PAST`.
    pub(super) past: u32,
    pub(super) life: Life,
    /// How many due times in a row came to nothing for want of a permit; it ages by as many
    /// intervals.
    pub(super) losses: u8,
    pub(super) marks: Marks,
}

/// No key has so many others before it.
pub(super) const NO_PAST: u32 = u32::MAX;

/// Whether a key runs at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Active,
    Paused,
    /// Cancelled; here only until its run has ended, so that no second one starts meanwhile.
    Removed,
}

/// What a key waits for, or its run.
///
/// INV-SCHEDULER-1: an active key is never at `Nothing`. INV-SCHEDULER-2: there is one place for a
/// run.
#[derive(Debug)]
pub(super) enum Doing {
    Nothing,
    Timer(Armed),
    Queue(Box<Queued>),
    Run(Box<Running>),
}

/// A key that waits for its time. Its timer is set to its start: the due time, displaced by the
/// jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Armed {
    /// The nominal time.
    pub(super) due: Tick,
    /// Whether `due` is a slot; after a failure it is not.
    pub(super) on_grid: bool,
}

/// A key that is due and waits for a permit. It may have a timer: for how long it waits at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Queued {
    pub(super) due: Tick,
    pub(super) trigger: Trigger,
    pub(super) on_grid: bool,
    pub(super) place: Place,
    pub(super) since: Tick,
}

/// A run that has its key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Running {
    /// INV-SCHEDULER-7: what is told of a run counts only for the run of this number.
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
    /// INV-SCHEDULER-4: the permit of its class and of the process, while it has one.
    pub(super) permit: Option<Permit>,
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

/// Small facts, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks(u8);

/// Triggered while its run was going on: one more run follows.
pub(super) const AGAIN: u8 = 1;
/// New, and to be run at once when the run of its former life has ended.
pub(super) const AT_ONCE: u8 = 2;
/// New and not run yet: stands in the line of the newcomers.
pub(super) const NEW: u8 = 4;

/// What is known of a key that was run, or missed a due time: 64 bytes, as above.
#[derive(Clone, Debug, Default)]
#[repr(align(64))]
pub(super) struct Past {
    pub(super) streak: FailureStreak,
    pub(super) started: Stamp,
    pub(super) succeeded: Stamp,
    pub(super) failed: Option<Box<Failed>>,
    /// The handler asked not to be run by the timer before this.
    pub(super) not_before: Tick,
    /// How long the last run took, in milliseconds, and one more.
    pub(super) took: Option<NonZeroU32>,
    /// Saturates.
    pub(super) missed: u32,
}

/// The last failure of a key.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    pub(super) at: Tick,
    pub(super) error: Option<Box<str>>,
}

/// A tick, or never: milliseconds and one more, so that zero is free to say that there is no history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp(NonZeroU64);

impl Marks {
    pub(super) fn has(self, mark: u8) -> bool {
        self.0 & mark != 0
    }

    pub(super) fn put(&mut self, mark: u8, on: bool) {
        self.0 = if on { self.0 | mark } else { self.0 & !mark };
    }

    /// Whether there was such a mark; there is none any more.
    pub(super) fn take(&mut self, mark: u8) -> bool {
        let had = self.has(mark);
        self.put(mark, false);
        had
    }
}

impl Stamp {
    pub(super) fn put(&mut self, at: Tick) {
        self.0 = NonZeroU64::MIN.saturating_add(at.0);
    }

    pub(super) fn get(self) -> Option<Tick> {
        (self.0 != NonZeroU64::MAX).then_some(Tick(self.0.get() - 1))
    }
}

impl Default for Stamp {
    fn default() -> Self {
        Self(NonZeroU64::MAX)
    }
}

impl<H> Entry<H> {
    pub(super) fn is_active(&self) -> bool {
        self.life == Life::Active
    }

    pub(super) fn run(&self) -> Option<&Running> {
        match &self.doing {
            Doing::Run(run) => Some(run),
            Doing::Nothing | Doing::Timer(_) | Doing::Queue(_) => None,
        }
    }

    pub(super) fn run_mut(&mut self) -> Option<&mut Running> {
        match &mut self.doing {
            Doing::Run(run) => Some(run),
            Doing::Nothing | Doing::Timer(_) | Doing::Queue(_) => None,
        }
    }

    pub(super) fn stage(&self) -> Option<Stage> {
        self.run().map(|run| run.stage)
    }

    /// Takes the run out, if there is one.
    pub(super) fn take_run(&mut self) -> Option<Box<Running>> {
        match std::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Run(run) => Some(run),
            other => {
                self.doing = other;
                None
            }
        }
    }

    /// Accounts for the slots up to the start of a run at `now`. A run beside the grid also stands
    /// for a slot that is less than half an interval ahead: whoever has just been looked at is not
    /// looked at again on the heels of it, and a slot that falls into such a run is not missed.
    pub(super) fn cover(&mut self, grid: Grid, due: Tick, now: Tick) {
        let beside_grid = grid.at_or_after(due) != due;
        let ahead = if beside_grid {
            grid.interval_ms() / 2
        } else {
            0
        };
        self.covered = now.plus(ahead);
    }

    /// The due time of something that starts at `now` outside of the grid.
    pub(super) fn due_at(&self, now: Tick) -> Tick {
        now.max(self.after_last)
    }

    /// Another due time came to nothing for want of a permit.
    pub(super) fn lose(&mut self) {
        self.losses = self.losses.saturating_add(1);
    }

    /// Since when a key that comes now counts as waiting.
    pub(super) fn waiting_since(&self, grid: Grid, now: Tick) -> Tick {
        let lost = grid.interval_ms().saturating_mul(u64::from(self.losses));
        Tick(now.0.saturating_sub(lost))
    }
}

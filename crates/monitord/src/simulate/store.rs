//! What outlives the process: a row for each monitor, as the store keeps it.

use std::collections::VecDeque;
use std::time::Duration;

use monitor_core::operation::Epoch;
use monitor_model::{LastDue, Lifecycle, Refusal};
use monitor_scheduler::{Spec, Trigger};

use super::Ms;
use super::books::Life;

/// How long a record may be on its way: a crash within this time loses it.
const SYNC: Ms = 20;

/// The rows, and which of them the disk may not have yet.
pub(super) struct Store {
    rows: Vec<Row>,
    /// When which row got a new end of its history, and what it was before.
    unsynced: VecDeque<(Ms, u32, Option<LastDue>)>,
}

/// What is known of a monitor after a restart.
#[derive(Clone)]
pub(super) struct Row {
    pub(super) life: Life,
    pub(super) edited: bool,
    /// Results of an older epoch are refused.
    pub(super) epoch: Epoch,
    /// The end of its history.
    pub(super) last: Option<LastDue>,
    /// When it was last resumed, in unix milliseconds.
    pub(super) due_from: Option<i64>,
}

impl Store {
    pub(super) fn new(targets: u32) -> Self {
        let row = Row {
            life: Life::Gone,
            edited: false,
            epoch: Epoch::default(),
            last: None,
            due_from: None,
        };
        Self {
            rows: vec![row; targets as usize],
            unsynced: VecDeque::new(),
        }
    }

    pub(super) fn row(&self, key: u32) -> &Row {
        &self.rows[key as usize]
    }

    /// Writes a change that somebody asked for, who is told when it is on disk.
    pub(super) fn change(&mut self, key: u32, life: Life, epoch: Epoch) {
        let row = &mut self.rows[key as usize];
        if life == Life::Gone {
            (row.last, row.due_from) = (None, None);
        }
        (row.life, row.epoch) = (life, epoch);
    }

    /// Notes that a monitor was resumed.
    pub(super) fn resume(&mut self, key: u32, unix_ms: i64) {
        self.rows[key as usize].due_from = Some(unix_ms);
    }

    /// Whether a record of this epoch, set off like this, may be written.
    pub(super) fn takes(&self, key: u32, epoch: Epoch, trigger: Trigger) -> bool {
        let row = &self.rows[key as usize];
        let lifecycle = match row.life {
            Life::Active => Lifecycle::Active,
            Life::Paused => Lifecycle::Paused,
            Life::Gone => return false,
        };
        let trigger = match trigger {
            Trigger::Timer => monitor_model::Trigger::Timer,
            Trigger::Manual => monitor_model::Trigger::Manual,
        };
        Refusal::of((epoch, trigger), (row.epoch, lifecycle)).is_none()
    }

    pub(super) fn edit(&mut self, key: u32, edited: bool) {
        self.rows[key as usize].edited = edited;
    }

    /// Writes a record, which ends the history of its monitor unless there is a later one.
    pub(super) fn record(&mut self, key: u32, last: LastDue, now: Ms) {
        let row = &mut self.rows[key as usize];
        if row
            .last
            .is_some_and(|it| it.end_unix_ms() >= last.end_unix_ms())
        {
            return;
        }
        let before = row.last.replace(last);
        while self
            .unsynced
            .front()
            .is_some_and(|(at, ..)| at + SYNC < now)
        {
            self.unsynced.pop_front();
        }
        self.unsynced.push_back((now, key, before));
    }

    /// A crash: what was written since then was not on disk.
    pub(super) fn lose(&mut self, since: Ms) {
        while let Some((at, key, before)) = self.unsynced.pop_back() {
            let row = &mut self.rows[key as usize];
            if at >= since && row.life != Life::Gone {
                row.last = before;
            }
        }
    }
}

/// The due times between the end of a history and now, if there are any: the first one, and how
/// many. The same reckoning as in `monitor-core`: those before it was last resumed do not count.
pub(super) fn absence(row: &Row, spec: &Spec, key: u32, now_unix_ms: i64) -> Option<LastDue> {
    let end = row.last.map(|last| last.end_unix_ms());
    let (first, step) = match row.due_from.filter(|from| end < Some(*from)) {
        Some(from) => {
            let from = Duration::from_millis(u64::try_from(from).unwrap_or(0));
            let slot = spec.slot_at_or_after(&key, from).as_millis();
            (
                i64::try_from(slot).ok()?,
                i64::try_from(spec.interval().as_millis()).ok()?,
            )
        }
        None => {
            let step = row.last?.interval_ms.max(1);
            (end?.saturating_add(step), step)
        }
    };
    let slots = now_unix_ms.checked_sub(first).filter(|ago| *ago >= 0)? / step + 1;
    Some(LastDue {
        due_unix_ms: first,
        slots: u32::try_from(slots).unwrap_or(u32::MAX),
        interval_ms: step,
    })
}

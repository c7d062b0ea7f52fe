//! The books of the audit: what was promised for each key, without a look into the kernel.

use std::num::NonZeroU64;
use std::rc::Rc;

use monitor_backoff::Verdict;
use monitor_scheduler::{MissedReason, Trigger};

use super::Ms;
use super::audit::{Audit, Property};

/// What is known of one key: 64 bytes, for with many keys each look at one is a wait for memory.
#[repr(align(64))]
pub(super) struct Book {
    pub(super) life: Life,
    /// Due times in a row that came to nothing for want of a permit; saturates.
    pub(super) losses: u8,
    /// In a row; saturates.
    failures: u16,
    /// How often its right to commit was withdrawn.
    pub(super) generation: u32,
    /// Its check goes on, and where it is kept.
    pub(super) place: Option<u32>,
    pub(super) terms: Rc<Terms>,
    /// Everything up to this due time has its record.
    last: Option<When>,
    /// The next record is of a due time no later than this.
    pub(super) promised: Ms,
    not_before: Ms,
    /// The timer starts no check before this, for the last one failed.
    floor: Ms,
    /// When its timer is to start it, jitter included.
    planned: Option<When>,
}

/// A time in a word, which none fits in as well.
#[derive(Clone, Copy)]
struct When(NonZeroU64);

impl When {
    const fn new(at: Ms) -> Self {
        Self(NonZeroU64::MIN.saturating_add(at))
    }

    const fn ms(self) -> Ms {
        self.0.get() - 1
    }
}

/// Whether a key is to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Active,
    Paused,
    Gone,
}

/// How often a key is to be looked at.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) interval: Ms,
    /// The longest wait after a failure.
    pub(super) longest_wait: Ms,
    /// How far a start may be put off.
    pub(super) jitter: Ms,
    /// The shortest waits after so many failures in a row, from one on; the last one stands for
    /// more.
    pub(super) waits: Vec<Ms>,
}

/// What a new process knows of a key that the last one looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct History {
    /// Where it ends.
    pub(super) last: Ms,
    /// The first and the last of the due times at which no process ran, as they were told.
    pub(super) absent: Option<(Ms, Ms)>,
}

/// Something that follows, or precedes, the effects of a step in the books.
#[derive(Debug)]
pub(super) enum Note {
    /// A check ended.
    Ended {
        at: Ms,
        /// What it counts for, if for anything.
        verdict: Option<Verdict>,
        not_before: Ms,
    },
    /// A check was given up, which is a failure.
    GivenUp,
    /// Scheduled, anew or once more.
    Placed {
        at: Ms,
        terms: Rc<Terms>,
    },
    /// Resumed: what its last check asked to wait still holds.
    Resumed {
        at: Ms,
    },
    Paused,
    Gone,
    /// The failures are forgotten.
    Reset,
}

impl Book {
    pub(super) fn new(terms: Rc<Terms>) -> Self {
        Self {
            life: Life::Gone,
            place: None,
            generation: 0,
            terms,
            last: None,
            promised: 0,
            not_before: 0,
            floor: 0,
            failures: 0,
            losses: 0,
            planned: None,
        }
    }

    /// Takes note of what a step did to the key.
    pub(super) fn note(&mut self, note: Note) {
        match note {
            Note::Ended {
                at,
                verdict,
                not_before,
            } => {
                if let Some(verdict) = verdict {
                    self.not_before = not_before;
                    match verdict {
                        Verdict::Success => self.failures = 0,
                        Verdict::Failure => self.fail(),
                        Verdict::Ignore => {}
                    }
                }
                let waits = &self.terms.waits;
                self.floor = match usize::from(self.failures) {
                    0 => 0,
                    failures => at + waits[failures.min(waits.len()) - 1],
                };
                self.expect(at);
            }
            Note::GivenUp => self.fail(),
            Note::Placed { at, terms } => {
                self.terms = terms;
                self.not_before = 0;
                if self.life == Life::Gone {
                    (self.failures, self.last) = (0, None);
                }
                self.place(at);
            }
            Note::Resumed { at } => self.place(at),
            Note::Paused => self.life = Life::Paused,
            Note::Gone => self.life = Life::Gone,
            Note::Reset => (self.failures, self.floor) = (0, 0),
        }
    }

    fn fail(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// Says when its timer is set to.
    pub(super) fn plan(&mut self, planned: Option<Ms>) {
        self.planned = planned.map(When::new);
    }

    /// When its timer was to start it; it has come.
    pub(super) fn take_planned(&mut self) -> Option<Ms> {
        self.planned.take().map(When::ms)
    }

    /// Up to which due time everything has its record.
    fn told_up_to(&self) -> Ms {
        self.last.map_or(0, When::ms)
    }

    /// It is active from now on: its next slot is not far, unless it waits out its backoff.
    fn place(&mut self, now: Ms) {
        let from = now.max(self.told_up_to()).max(self.not_before);
        let slot = from + 2 * self.terms.interval;
        self.promised = match self.life {
            Life::Active => self.promised.max(slot),
            Life::Paused | Life::Gone => slot,
        };
        self.floor = 0;
        self.life = Life::Active;
    }

    /// A new process goes on from what the store had; failures are not in it.
    pub(super) fn reloaded(
        &mut self,
        history: Option<History>,
        now: Ms,
        key: u32,
        audit: &mut Audit,
    ) {
        (self.failures, self.floor, self.not_before, self.losses) = (0, 0, 0, 0);
        let told = self.told_up_to();
        self.last = history.map(|history| When::new(history.last));
        if self.life != Life::Active {
            return;
        }
        let Some(history) = history else {
            self.promised = now + 2 * self.terms.interval + 1;
            return;
        };
        if history.last > told {
            // More than was told: a former process wrote it, before the clock was set back across
            // these due times. They have their record, by the clock.
            let next = history.last + self.terms.interval;
            self.promised = self.promised.max(next);
        }
        let promised = self.promised;
        if let Some((first, last)) = history.absent {
            self.record(first, last, now, key, audit);
        }
        self.expect(now);
        if history.absent.is_none() {
            // Nothing was told, so what was promised still is; but a time beside the slots, which
            // follows a check by hand, is forgotten, and then the next slot comes in its place.
            let next_slot = history.last + 2 * self.terms.interval;
            self.promised = self.promised.min(promised.max(next_slot));
        }
    }

    /// A check began.
    pub(super) fn ran(&mut self, due: Ms, trigger: Trigger, now: Ms, key: u32, audit: &mut Audit) {
        if trigger == Trigger::Timer && self.failures > 0 && now < self.floor {
            let what = format!(
                "{} ms too soon after failure {} in a row",
                self.floor - now,
                self.failures
            );
            audit.fail(Property::L8, now, Some(key), what);
        }
        let by_hand = self.life == Life::Paused && trigger == Trigger::Manual;
        if self.life != Life::Active && !by_hand {
            let what = format!("a check began though it is {:?}", self.life);
            audit.fail(Property::S2, now, Some(key), what);
        }
        self.record(due, due, now, key, audit);
        self.losses = 0;
        self.expect(now);
    }

    /// Due times came to nothing.
    pub(super) fn missed(
        &mut self,
        due: Ms,
        slots: u32,
        reason: MissedReason,
        now: Ms,
        key: u32,
        audit: &mut Audit,
    ) {
        let last = due + u64::from(slots.saturating_sub(1)) * self.terms.interval;
        self.record(due, last, now, key, audit);
        match reason {
            MissedReason::Overload | MissedReason::Shed => {
                self.losses = self.losses.saturating_add(1);
            }
            _ => {}
        }
        self.expect(now);
    }

    /// Due times, the first and the last, have their record.
    fn record(&mut self, due: Ms, last: Ms, now: Ms, key: u32, audit: &mut Audit) {
        if self.last.is_some_and(|before| due <= before.ms()) {
            let what = format!("due at {due} ms, which is accounted for already");
            audit.fail(Property::Record, now, Some(key), what);
        }
        if due > self.promised && self.life == Life::Active {
            let what = format!(
                "nothing was told of what was due by {} ms; next is {due} ms",
                self.promised
            );
            audit.fail(Property::Record, now, Some(key), what);
        }
        self.last = Some(When::new(last.max(self.told_up_to())));
    }

    /// Works out how late the next due time may be.
    fn expect(&mut self, now: Ms) {
        let interval = self.terms.interval;
        let slot = now.max(self.told_up_to()).max(self.not_before) + interval * 3 / 2;
        let wait = if self.failures > 0 {
            (now + self.terms.longest_wait).max(self.not_before)
        } else {
            0
        };
        self.promised = slot.max(wait) + 1;
    }

    /// Whether it should have been heard of by now.
    pub(super) fn is_overdue(&self, now: Ms) -> bool {
        const SLACK: Ms = 1000;
        self.life == Life::Active
            && self.place.is_none()
            && now > self.promised + self.terms.jitter + SLACK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Ms = 60_000;

    /// A key that was told of up to the third minute, read again in the fifth.
    fn found(history: History) -> u64 {
        let terms = Terms {
            interval: MINUTE,
            longest_wait: MINUTE,
            jitter: 0,
            waits: vec![MINUTE],
        };
        let (mut book, mut audit) = (Book::new(Rc::new(terms)), Audit::default());
        book.place(0);
        for due in [MINUTE, 2 * MINUTE, 3 * MINUTE] {
            book.ran(due, Trigger::Timer, due, 0, &mut audit);
        }
        assert_eq!(audit.total, 0);
        book.reloaded(Some(history), 5 * MINUTE + 1000, 0, &mut audit);
        audit.total
    }

    fn history(last: Ms, absent: Ms) -> History {
        History {
            last,
            absent: Some((absent, 5 * MINUTE)),
        }
    }

    /// Found by a seed: a clock that was set back leaves records of due times that come once more.
    /// A process that ends before such a one is run says nothing of it, and need not.
    #[test]
    fn what_a_clock_ahead_has_written_is_accounted_for() {
        assert_eq!(found(history(3 * MINUTE, 4 * MINUTE)), 0, "no such record");
        assert_eq!(
            found(history(4 * MINUTE, 5 * MINUTE)),
            0,
            "the fourth minute has one"
        );
        assert_eq!(found(history(3 * MINUTE, 5 * MINUTE)), 1, "nobody wrote it");
    }
}

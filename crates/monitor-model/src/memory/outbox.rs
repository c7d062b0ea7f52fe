//! The outbox of the store in memory.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::{Delivery, Incident, Notice, Outbox, Settlement};

/// All notices that are not delivered, by sequence.
#[derive(Debug, Default)]
pub(super) struct Notices {
    last: u64,
    all: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    incident: Incident,
    attempt: u32,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// To be taken; not before this instant, if there is one.
    Waiting(Option<Instant>),
    /// Taken, until this instant.
    Taken(Option<Instant>),
    GivenUp,
}

#[expect(clippy::disallowed_methods, reason = "the shell's clock; leases end")]
pub(super) fn now() -> Instant {
    Instant::now()
}

impl Notices {
    pub(super) fn extend(&mut self, incidents: impl IntoIterator<Item = Incident>) {
        for incident in incidents {
            self.last += 1;
            let (attempt, state) = (0, State::Waiting(None));
            let entry = Entry {
                incident,
                attempt,
                state,
            };
            self.all.insert(self.last, entry);
        }
    }

    pub(super) fn take(&mut self, limit: u32, lease: Duration, now: Instant) -> Vec<Delivery> {
        let is_due = |until: Option<Instant>| until.is_none_or(|until| until <= now);
        let mut unsettled = Vec::new();
        let mut taken = Vec::new();
        for (&sequence, entry) in &mut self.all {
            if taken.len() >= limit as usize {
                break;
            }
            let incident = entry.incident.id;
            let first = !unsettled.contains(&incident);
            match entry.state {
                State::GivenUp => continue,
                State::Waiting(until) if first && is_due(until) => {}
                // A lease without an end never ends by itself.
                State::Taken(Some(until)) if first && until <= now => {}
                State::Waiting(_) | State::Taken(_) => {
                    unsettled.push(incident);
                    continue;
                }
            }
            unsettled.push(incident);
            entry.attempt = entry.attempt.saturating_add(1);
            entry.state = State::Taken(now.checked_add(lease));
            let incident = entry.incident.clone();
            taken.push(Delivery {
                notice: Notice { sequence, incident },
                attempt: entry.attempt,
            });
        }
        taken
    }

    pub(super) fn settle(&mut self, of: &Delivery, settlement: Settlement, now: Instant) -> bool {
        let sequence = of.notice.sequence;
        let Some(entry) = self.all.get_mut(&sequence) else {
            return false;
        };
        if entry.attempt != of.attempt || !matches!(entry.state, State::Taken(_)) {
            return false;
        }
        match settlement {
            Settlement::Delivered => drop(self.all.remove(&sequence)),
            Settlement::Retry(after) => {
                // Too far to reckon with is as far as one can see.
                let far = || now.checked_add(Duration::from_secs(u64::from(u32::MAX)));
                entry.state = State::Waiting(now.checked_add(after).or_else(far));
            }
            Settlement::GivenUp => entry.state = State::GivenUp,
        }
        true
    }

    pub(super) fn counts(&self) -> Outbox {
        let given_up = |entry: &&Entry| entry.state == State::GivenUp;
        let given_up = self.all.values().filter(given_up).count() as u64;
        Outbox {
            waiting: self.all.len() as u64 - given_up,
            given_up,
        }
    }

    /// Notices with how often they were taken; those that were given up, too.
    pub(super) fn attempts(&self) -> impl Iterator<Item = (Notice, u32, bool)> {
        self.all.iter().map(|(&sequence, entry)| {
            let incident = entry.incident.clone();
            let given_up = entry.state == State::GivenUp;
            (Notice { sequence, incident }, entry.attempt, given_up)
        })
    }
}

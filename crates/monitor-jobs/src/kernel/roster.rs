//! What a worker holds: its slots, and whether its registration stands.

use std::collections::BTreeMap;

use crate::{Epoch, JobId};

/// A job and the right to it.
pub(crate) type Key = (JobId, Epoch);

/// The jobs in the hands of one registration. `S` is what tells a holder to stop.
///
/// INV-JOBS-5: `held.len() + reserved` never exceeds `capacity`, and a slot is free only after the
/// database has acknowledged the end of what was in it.
/// INV-JOBS-6: once poisoned, it holds nothing that has not been told to stop.
#[derive(Debug)]
pub(crate) struct Roster<S> {
    capacity: usize,
    /// Slots of claims that are on their way.
    reserved: usize,
    held: BTreeMap<Key, S>,
    poisoned: bool,
    /// Claims begun so far.
    claims: u64,
}

/// What became of a claim's answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    Held,
    /// The registration ended in the meantime: the jobs are another's by now.
    Poisoned,
}

impl<S: Clone> Roster<S> {
    pub(crate) const fn new(capacity: usize) -> Self {
        Self {
            capacity,
            reserved: 0,
            held: BTreeMap::new(),
            poisoned: false,
            claims: 0,
        }
    }

    /// Slots that neither a job nor a claim has.
    pub(crate) fn free(&self) -> usize {
        self.capacity
            .saturating_sub(self.held.len() + self.reserved)
    }

    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    pub(crate) const fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// Takes slots for a claim that is about to be sent: at most `limit`, at most what is free.
    pub(crate) fn reserve(&mut self, limit: usize) -> usize {
        let slots = limit.min(self.free());
        self.reserved += slots;
        self.claims += u64::from(slots > 0);
        slots
    }

    /// The claim of `slots` was answered with these; none when it failed.
    pub(crate) fn admit(
        &mut self,
        slots: usize,
        jobs: impl IntoIterator<Item = (Key, S)>,
    ) -> Admitted {
        self.reserved -= slots.min(self.reserved);
        if self.poisoned {
            return Admitted::Poisoned;
        }
        self.held.extend(jobs);
        Admitted::Held
    }

    /// The database acknowledged the end of that attempt, or it is not ours any more.
    pub(crate) fn end(&mut self, key: Key) -> bool {
        self.held.remove(&key).is_some()
    }

    /// The registration has ended: whom to tell, outside of any lock.
    pub(crate) fn poison(&mut self) -> Vec<S> {
        self.poisoned = true;
        std::mem::take(&mut self.held).into_values().collect()
    }

    /// Who holds that job.
    pub(crate) fn holder(&self, key: Key) -> Option<S> {
        self.held.get(&key).cloned()
    }

    /// All holders.
    pub(crate) fn holders(&self) -> Vec<S> {
        self.held.values().cloned().collect()
    }

    /// What an [`Audit`] may be begun with: no claim may be on its way.
    pub(crate) fn audit(&self) -> Option<Audit> {
        (self.reserved == 0).then_some(Audit {
            claims: self.claims,
        })
    }

    /// What the database believes to be held here and nobody holds: to be handed back. `None`: a
    /// claim began in the meantime, ask again.
    pub(crate) fn orphans(&self, audit: Audit, book: &[Key]) -> Option<Vec<Key>> {
        let unknown = book.iter().filter(|key| !self.held.contains_key(key));
        (self.claims == audit.claims).then(|| unknown.copied().collect())
    }
}

/// A comparison of the roster with the database's book, begun when no claim was on its way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Audit {
    claims: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(job: i64) -> Key {
        (JobId(job), Epoch(1))
    }

    /// JOB-39, C4: slots count until the end is acknowledged, those of claims on their way too.
    #[test]
    fn inv_jobs_5_never_more_than_capacity() {
        let mut roster = Roster::new(3);
        assert_eq!(
            (roster.reserve(2), roster.reserve(9), roster.reserve(1)),
            (2, 1, 0)
        );
        roster.admit(2, [(key(1), ()), (key(2), ())]);
        roster.admit(1, []);
        assert_eq!((roster.free(), roster.len()), (1, 2));
        assert!(roster.end(key(1)) && !roster.end(key(1)));
        assert_eq!(roster.free(), 2);
    }

    /// W3: an answer that comes after the end of the registration gives nothing.
    #[test]
    fn inv_jobs_6_a_poisoned_roster_takes_nothing() {
        let mut roster = Roster::new(3);
        roster.reserve(2);
        roster.admit(0, [(key(1), 'a')]);
        assert_eq!(roster.poison(), ['a']);
        assert_eq!(roster.admit(2, [(key(2), 'b')]), Admitted::Poisoned);
        assert_eq!((roster.len(), roster.is_poisoned()), (0, true));
    }

    /// F6: jobs whose claim was committed and whose answer was lost are found; one of a claim that
    /// is on its way is not taken for such.
    #[test]
    fn lost_answers_are_found() {
        let mut roster = Roster::new(9);
        roster.admit(0, [(key(1), ())]);
        let audit = roster.audit().unwrap();
        assert_eq!(roster.orphans(audit, &[key(1), key(2)]), Some(vec![key(2)]));
        let slots = roster.reserve(1);
        assert!(roster.audit().is_none());
        roster.admit(slots, [(key(3), ())]);
        assert_eq!(roster.orphans(audit, &[key(2), key(3)]), None);
    }
}

//! From where on claims look, beside an old snapshot.
//!
//! As long as one is held open anywhere in the database, nothing that died since can be cleared
//! away: a claim walks past an entry of each job that was ready once, and a drain takes time in
//! square. So what a walk from the start has found is remembered for ten times as long as the walk
//! took, and a second at most. Until then a job that becomes ready before all others may be
//! passed over by a claim that finds others; never by one that would come back empty.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Dead entries that are not worth it.
const FEW: u64 = 1000;
/// Ten times what it takes to pass one.
const EACH: Duration = Duration::from_micros(10);
const LONGEST: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Floors {
    /// By the name of the queue: none of its ready jobs has a lower key.
    keys: BTreeMap<String, i64>,
    until: Duration,
}

impl Floors {
    /// What a claim is told: queues, and at the same places from which key on it is to look.
    pub(super) fn at(&mut self, now: Duration) -> Option<(Vec<String>, Vec<i64>)> {
        if now >= self.until {
            self.keys.clear();
        }
        (!self.keys.is_empty()).then(|| self.keys.clone().into_iter().unzip())
    }

    /// A claim from the start looked at so many entries; `taken`: queues and keys of its jobs, in
    /// the order of the keys.
    pub(super) fn walked(&mut self, now: Duration, entries: u64, taken: &[(&str, i64)]) {
        self.keys.clear();
        let dead = entries.saturating_sub(taken.len() as u64);
        if dead < FEW {
            return;
        }
        let worth = EACH.saturating_mul(u32::try_from(dead).unwrap_or(u32::MAX));
        self.until = now.saturating_add(worth.min(LONGEST));
        for (queue, key) in taken {
            if !self.keys.contains_key(*queue) {
                self.keys.insert((*queue).to_owned(), *key);
            }
        }
    }

    /// A claim that was told a floor found these: what it took is dead, too, by the next one. Of two
    /// that are answered in the other order the higher stays.
    pub(super) fn raise(&mut self, taken: &[(&str, i64)]) {
        let mut seen = BTreeSet::new();
        // Of each queue the first counts.
        for (queue, key) in taken.iter().filter(|(queue, _)| seen.insert(*queue)) {
            if let Some(floor) = self.keys.get_mut(*queue) {
                *floor = (*floor).max(*key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn told(floors: &mut Floors, now: Duration) -> Vec<(String, i64)> {
        let (queues, keys) = floors.at(now).unwrap_or_default();
        queues.into_iter().zip(keys).collect()
    }

    /// JOB-48: what is cheap is done again each time, what is dear is remembered, and not for long.
    #[test]
    fn a_long_walk_is_remembered_for_ten_times_as_long() {
        let mut floors = Floors::default();
        floors.walked(MS(0), 1001, &[("a", 5), ("a", 6)]);
        assert_eq!(told(&mut floors, MS(0)), [], "999 dead entries");
        floors.walked(MS(0), 2003, &[("a", 5), ("b", 6), ("a", 7)]);
        let both = [("a".to_owned(), 5), ("b".to_owned(), 6)];
        assert_eq!(told(&mut floors, MS(19)), both);
        assert_eq!(told(&mut floors, MS(21)), [], "2000 entries of 10 us");
        floors.walked(MS(0), 1_000_000_000, &[("a", 5)]);
        assert_eq!(told(&mut floors, MS(999)).len(), 1);
        assert_eq!(told(&mut floors, MS(1000)), [], "the longest");
    }

    /// JOB-48: each claim begins where the one before did, and what it does not know it leaves.
    #[test]
    fn a_floor_rises_with_what_is_taken() {
        let mut floors = Floors::default();
        floors.walked(MS(0), 5000, &[("a", 5)]);
        floors.raise(&[("b", 1), ("a", 8), ("a", 9)]);
        floors.raise(&[("a", 7)]);
        assert_eq!(
            told(&mut floors, MS(1)),
            [("a".to_owned(), 8)],
            "answered late"
        );
        floors.walked(MS(1), 3, &[("a", 2), ("a", 3)]);
        assert_eq!(told(&mut floors, MS(1)), [], "it was cleared away");
    }
}

//! The keys that wait for a permit: first come first served within a class, and between classes
//! whoever is the oldest, by a clock that runs as many times faster as the class weighs.
//!
//! # Source
//!
//! L. Kleinrock, "A delay dependent queue discipline", Naval Research Logistics 11 (1964): the
//! priority of a waiter grows with its wait, at a rate of its class. So weight decides between two
//! that came together, and nobody waits for ever: who has waited longer than the ratio of the
//! weights times the longest wait of the others goes first.

use std::collections::BTreeMap;

use super::tick::Tick;
use crate::{Class, Classes};

/// The keys that wait for a permit.
pub(super) struct Queue {
    classes: [BTreeMap<Place, u32>; 3],
    weights: [u32; 3],
    len: usize,
}

/// A place in the queue: since when its holder counts as waiting, and a number never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) since: Tick,
    pub(super) ticket: u64,
}

impl Queue {
    pub(super) fn new(classes: &Classes) -> Self {
        Self {
            classes: [const { BTreeMap::new() }; 3],
            weights: Class::ALL.map(|class| classes.of(class).weight.get()),
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn insert(&mut self, class: Class, place: Place, index: u32) {
        self.classes[class.index()].insert(place, index);
        self.len += 1;
    }

    pub(super) fn remove(&mut self, class: Class, place: Place) {
        self.len -= usize::from(self.classes[class.index()].remove(&place).is_some());
    }

    /// Takes the one whose turn it is of those classes that may start.
    pub(super) fn pop(&mut self, now: Tick, may_start: impl Fn(Class) -> bool) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        let heads = Class::ALL.into_iter().filter(|class| may_start(*class));
        let (_, class) = heads
            .filter_map(|class| {
                let (place, _) = self.classes[class.index()].first_key_value()?;
                Some((self.age(class, *place, now), class))
            })
            .max()?;
        let (_, index) = self.classes[class.index()].pop_first()?;
        self.len -= 1;
        Some(index)
    }

    /// The one with the least claim to a place, if it is less than that of somebody who comes now.
    pub(super) fn least_below(&self, class: Class, place: Place, now: Tick) -> Option<u32> {
        let comes = self.age(class, place, now);
        let lasts = Class::ALL.into_iter().filter_map(|class| {
            let (place, index) = self.classes[class.index()].last_key_value()?;
            Some((self.age(class, *place, now), class, *index))
        });
        let (age, _, index) = lasts.min()?;
        (age < comes).then_some(index)
    }

    /// How many of its class are before a place.
    pub(super) fn before(&self, class: Class, place: Place) -> usize {
        self.classes[class.index()].range(..place).count()
    }

    /// Who waits in a class, in order.
    pub(super) fn of(&self, class: Class) -> impl Iterator<Item = u32> {
        self.classes[class.index()].values().copied()
    }

    /// Who is at a place.
    pub(super) fn at(&self, class: Class, place: Place) -> Option<u32> {
        self.classes[class.index()].get(&place).copied()
    }

    fn age(&self, class: Class, place: Place, now: Tick) -> u128 {
        // One more than the wait, so that weight decides between two that have just come.
        let waited = u128::from(now.since(place.since)) + 1;
        waited * u128::from(self.weights[class.index()])
    }
}

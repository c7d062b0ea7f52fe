//! The tree of permits above the keys: one number for the process, one for each class.
//!
//! Claim order: the key, then its class and the process in one step, so that nobody holds the one
//! while he waits for the other.

use crate::{Class, Classes};

/// The permits of the process, and of each class among them.
pub(super) struct Permits {
    limit: usize,
    held: usize,
    classes: [Share; 3],
}

struct Share {
    limit: usize,
    held: usize,
}

/// The right of one run to one permit of its class and of the process. Neither copied nor cloned:
/// it goes back to [`Permits::give_back`], once.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a permit that is not given back is lost"]
pub(super) struct Permit(Class);

impl Permits {
    pub(super) fn new(limit: usize, classes: &Classes) -> Self {
        let share = |class| Share {
            limit: classes
                .of(class)
                .max_concurrent
                .map_or(usize::MAX, usize::from),
            held: 0,
        };
        Self {
            limit,
            held: 0,
            classes: Class::ALL.map(share),
        }
    }

    /// Whether a run of this class may start.
    pub(super) fn has_free(&self, class: Class) -> bool {
        let share = &self.classes[class.index()];
        self.held < self.limit && share.held < share.limit
    }

    /// Takes a permit, if there is one.
    pub(super) fn take(&mut self, class: Class) -> Option<Permit> {
        if !self.has_free(class) {
            return None;
        }
        self.held += 1;
        self.classes[class.index()].held += 1;
        Some(Permit(class))
    }

    /// Gives a permit back. Whoever does so dispatches afterwards.
    pub(super) fn give_back(&mut self, permit: Permit) {
        let Permit(class) = permit;
        self.held -= 1;
        self.classes[class.index()].held -= 1;
    }

    pub(super) fn held(&self) -> usize {
        self.held
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn held_by(&self, class: Class) -> usize {
        self.classes[class.index()].held
    }

    /// The limit of a class, if it has one.
    pub(super) fn limit_of(&self, class: Class) -> Option<usize> {
        let limit = self.classes[class.index()].limit;
        (limit != usize::MAX).then_some(limit)
    }

    /// Changes how many permits there are. Those above a lowered limit stay held.
    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }
}

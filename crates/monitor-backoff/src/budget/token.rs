//! The right to one retry.

use std::fmt;

use super::RetryBudget;

/// The right to one retry, taken from a [`RetryBudget`].
///
/// INV-BACKOFF-5: while it lives its cost is in no balance; it ends put back or spent, once.
///
/// # Cancel safety
/// Dropped before its retry was [started](RetryToken::start), it goes back into the budget: no load
/// was caused. Dropped afterwards it is spent: the target has had the request, and a caller that
/// times out its retries must not get them for nothing.
#[must_use = "dropping it gives the retry up"]
pub struct RetryToken {
    budget: RetryBudget,
    /// In milli-tokens.
    cost: u64,
    /// Whether the retry may have reached the target: decides what dropping it means.
    started: bool,
}

impl RetryToken {
    pub(super) fn new(budget: RetryBudget, cost: u64) -> Self {
        RetryToken {
            budget,
            cost,
            started: false,
        }
    }

    /// Marks the retry as made: from here on dropping the token spends it.
    pub fn start(&mut self) {
        self.started = true;
    }

    /// Puts the token back: the retry was not made, or it succeeded and so did no harm.
    pub fn put_back(mut self) {
        self.started = false;
    }

    /// Spends the token: the retry failed.
    pub fn spend(mut self) {
        self.started = true;
    }
}

impl Drop for RetryToken {
    fn drop(&mut self) {
        if !self.started {
            self.budget.put_back(self.cost);
        }
    }
}

impl fmt::Debug for RetryToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryToken")
            .field("cost_milli", &self.cost)
            .field("started", &self.started)
            .finish_non_exhaustive()
    }
}

//! Building a budget, and refusing one that makes no sense.

use std::ops::RangeInclusive;

use super::{MILLI, NOT_YET, RetryBudget, Shared};
use crate::{
    Class,
    sync::{Arc, AtomicU64},
};

const RATIOS_PER_MILLE: RangeInclusive<u32> = 0..=10_000;
const RATES: RangeInclusive<u32> = 0..=1_000_000;
const CAPACITIES: RangeInclusive<u32> = 1..=1_000_000;

/// Builds a [`RetryBudget`], whose defaults it starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct BudgetBuilder {
    ratio_per_mille: u32,
    min_per_second: u32,
    capacity: u32,
    costs: [u32; Class::COUNT],
}

/// Why [`BudgetBuilder::build`] refused a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BudgetError {
    /// A number outside its range.
    #[error("{field} is {value}; it must be {min} to {max}")]
    OutOfRange {
        /// The setting.
        field: &'static str,
        /// The rejected value.
        value: u32,
        /// The smallest that is accepted.
        min: u32,
        /// The largest that is accepted.
        max: u32,
    },
    /// A budget that nothing is ever paid into.
    #[error(
        "ratio_per_mille and min_per_second are both 0, so that no retry would ever be granted"
    )]
    NoIncome,
    /// A cost that the budget can never hold.
    #[error("the cost of a {class} retry is {cost}, more than the capacity of {capacity}")]
    CostAboveCapacity {
        /// Which retries.
        class: Class,
        /// What they cost, in tokens.
        cost: u32,
        /// The most tokens there can be.
        capacity: u32,
    },
}

impl BudgetBuilder {
    pub(super) fn new() -> Self {
        let mut costs = [1; Class::COUNT];
        costs[Class::Throttled.index()] = 2;
        costs[Class::Local.index()] = 0;
        BudgetBuilder {
            ratio_per_mille: 200,
            min_per_second: 10,
            capacity: 100,
            costs,
        }
    }

    /// Sets how many retries 1000 requests pay for, 0 to 10 000. Default: 200, which is 20 %.
    pub fn ratio_per_mille(mut self, ratio_per_mille: u32) -> Self {
        self.ratio_per_mille = ratio_per_mille;
        self
    }

    /// Sets the tokens that are paid in every second, whatever the traffic, 0 to 1 000 000. The
    /// first second's are there at the start. Default: 10.
    pub fn min_per_second(mut self, min_per_second: u32) -> Self {
        self.min_per_second = min_per_second;
        self
    }

    /// Sets the most tokens that are saved up, 1 to 1 000 000: the longest burst of retries.
    /// Default: 100.
    pub fn capacity(mut self, capacity: u32) -> Self {
        self.capacity = capacity;
        self
    }

    /// Sets what a retry of one class costs, in tokens. Default: 1; 2 for [`Class::Throttled`], 0
    /// for [`Class::Local`].
    pub fn cost(mut self, class: Class, tokens: u32) -> Self {
        self.costs[class.index()] = tokens;
        self
    }

    /// Returns the budget.
    ///
    /// # Errors
    /// - [`BudgetError::OutOfRange`]: a number outside the range of its setting.
    /// - [`BudgetError::NoIncome`]: ratio and rate are both 0.
    /// - [`BudgetError::CostAboveCapacity`]: a cost that could never be paid.
    pub fn build(self) -> Result<RetryBudget, BudgetError> {
        within("ratio_per_mille", self.ratio_per_mille, RATIOS_PER_MILLE)?;
        within("min_per_second", self.min_per_second, RATES)?;
        within("capacity", self.capacity, CAPACITIES)?;
        if self.ratio_per_mille == 0 && self.min_per_second == 0 {
            return Err(BudgetError::NoIncome);
        }
        let capacity = self.capacity;
        for class in Class::ALL {
            let cost = self.costs[class.index()];
            if cost > capacity {
                return Err(BudgetError::CostAboveCapacity {
                    class,
                    cost,
                    capacity,
                });
            }
        }
        let milli = |tokens: u32| u64::from(tokens) * MILLI;
        let balance = milli(self.min_per_second.min(capacity));
        Ok(RetryBudget(Arc::new(Shared {
            balance: AtomicU64::new(balance),
            paid_until: AtomicU64::new(NOT_YET),
            granted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            returned: AtomicU64::new(0),
            deposit: u64::from(self.ratio_per_mille),
            reserve: u64::from(self.min_per_second),
            capacity: milli(capacity),
            costs: self.costs.map(milli),
        })))
    }
}

fn within(field: &'static str, value: u32, range: RangeInclusive<u32>) -> Result<(), BudgetError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(BudgetError::OutOfRange {
        field,
        value,
        min: *range.start(),
        max: *range.end(),
    })
}

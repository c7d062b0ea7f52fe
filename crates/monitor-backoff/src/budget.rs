//! How many retries all callers together may make.

mod builder;
mod token;

#[cfg(test)]
mod tests;

use std::{fmt, time::Duration};

use crate::{
    Class,
    sync::{Arc, AtomicU64, Ordering},
};

pub use self::{
    builder::{BudgetBuilder, BudgetError},
    token::RetryToken,
};

/// What one retry costs, in the unit that all arithmetic is done in: there is no rounding.
const MILLI: u64 = 1000;

/// `paid_until` before the first withdrawal, which is where the time begins.
const NOT_YET: u64 = u64::MAX;

/// A budget of retries, shared by many callers, so that retries cannot multiply an outage.
///
/// Every *first* attempt deposits a share of a token; every retry takes whole tokens out before it
/// sleeps, and is refused where there are none. A trickle of tokens per second lets callers with
/// little traffic retry at all. A clone is another handle to the same budget; one per target is
/// right.
///
/// # Semantics
/// - Integers throughout: a token is 1000 milli-tokens, a deposit is the ratio in per mille, a
///   second's reserve is paid by the millisecond. A ratio of 600 ‰ grants 6 retries per 10 requests.
/// - INV-BACKOFF-4: what is held and spent is never more than
///   `reserve * (1 + seconds) + deposits * ratio`, under any interleaving of callers.
/// - INV-BACKOFF-5: a token is in the budget, held by one retry, or spent: dropping a future that
///   sleeps towards a retry puts it back.
/// - More than the capacity is not saved up.
/// - No lock, no allocation; a deposit into a full budget stores nothing.
///
/// # Defaults
/// 200 ‰, 10 tokens per second, capacity 100; a retry costs 1 token, 2 where the server asked for
/// less load, none where it was refused before anything was sent.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use monitor_backoff::{BudgetError, Class, RetryBudget};
///
/// # fn main() -> Result<(), BudgetError> {
/// let budget = RetryBudget::builder().ratio_per_mille(600).min_per_second(0).build()?;
/// (0..10).for_each(|_| budget.deposit());
/// let granted = (0..10)
///     .filter_map(|_| budget.withdraw_at(Duration::ZERO, Class::Transient).ok())
///     .map(|token| token.spend());
/// assert_eq!(granted.count(), 6);
/// # Ok(())
/// # }
/// ```
///
/// Source: the retry budgets of Finagle and the token buckets of the AWS SDKs.
#[derive(Clone)]
pub struct RetryBudget(Arc<Shared>);

struct Shared {
    /// INV-BACKOFF-4: milli-tokens that nobody holds. Falls by compare-and-swap only, so that it is
    /// never granted twice; never above `capacity`.
    balance: AtomicU64,
    /// Up to when the reserve has been paid in, in milliseconds. Whoever moves it pays.
    paid_until: AtomicU64,
    granted: AtomicU64,
    refused: AtomicU64,
    returned: AtomicU64,
    /// Milli-tokens per first attempt.
    deposit: u64,
    /// Milli-tokens per millisecond, which is tokens per second.
    reserve: u64,
    /// Milli-tokens.
    capacity: u64,
    /// Milli-tokens by class.
    costs: [u64; Class::COUNT],
}

/// Why a retry was refused: this process has retried enough. The target had no part in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the budget for retries has {balance_milli} of the {cost_milli} milli-tokens that this one costs"
)]
#[non_exhaustive]
pub struct BudgetExhausted {
    /// What was there.
    pub balance_milli: u64,
    /// What the retry costs.
    pub cost_milli: u64,
}

/// What a budget has and had, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BudgetStats {
    /// What nobody holds, in thousandths of a token.
    pub balance_milli: u64,
    /// The most it can be.
    pub capacity_milli: u64,
    /// Retries and hedges that were granted.
    pub granted: u64,
    /// Those that were refused.
    pub refused: u64,
    /// Tokens that came back: their retry was not made, or succeeded.
    pub returned: u64,
}

impl RetryBudget {
    /// Starts a budget from the defaults.
    pub fn builder() -> BudgetBuilder {
        BudgetBuilder::new()
    }

    /// Pays in the share of one request. Called once per request, before its first attempt, and
    /// for none of its retries; [`Retry`](crate::Retry) does so.
    pub fn deposit(&self) {
        self.0.add(self.0.deposit);
    }

    /// Takes out what a retry of this class costs; [`withdraw_at`](RetryBudget::withdraw_at) the
    /// process's own time.
    ///
    /// # Errors
    /// [`BudgetExhausted`]; nothing was taken.
    pub fn withdraw(&self, class: Class) -> Result<RetryToken, BudgetExhausted> {
        self.withdraw_at(crate::clock::process_time(), class)
    }

    /// Takes out what a retry of this class costs.
    ///
    /// # Shape and units
    /// `now` is the time since an origin that all callers share. One that falls behind pays
    /// nothing in and is otherwise harmless.
    ///
    /// # Errors
    /// [`BudgetExhausted`]; nothing was taken.
    pub fn withdraw_at(&self, now: Duration, class: Class) -> Result<RetryToken, BudgetExhausted> {
        self.0.pay_reserve(now);
        let cost = self.0.costs[class.index()];
        match self.0.take(cost) {
            Ok(()) => {
                self.0.granted.fetch_add(1, Ordering::Relaxed);
                Ok(RetryToken::new(self.clone(), cost))
            }
            Err(balance_milli) => {
                self.0.refused.fetch_add(1, Ordering::Relaxed);
                Err(BudgetExhausted {
                    balance_milli,
                    cost_milli: cost,
                })
            }
        }
    }

    /// Returns what the budget has and had.
    #[must_use]
    pub fn stats(&self) -> BudgetStats {
        let shared = &*self.0;
        BudgetStats {
            balance_milli: shared.balance.load(Ordering::Relaxed),
            capacity_milli: shared.capacity,
            granted: shared.granted.load(Ordering::Relaxed),
            refused: shared.refused.load(Ordering::Relaxed),
            returned: shared.returned.load(Ordering::Relaxed),
        }
    }

    /// Puts back what a token held.
    fn put_back(&self, cost: u64) {
        self.0.add(cost);
        self.0.returned.fetch_add(1, Ordering::Relaxed);
    }
}

impl Shared {
    /// Adds up to the capacity. Relaxed, as everywhere here: the balance guards no other data.
    fn add(&self, amount: u64) {
        let mut balance = self.balance.load(Ordering::Relaxed);
        loop {
            let more = balance.saturating_add(amount).min(self.capacity);
            if more == balance {
                return;
            }
            match self.replace(balance, more) {
                Ok(()) => return,
                Err(newer) => balance = newer,
            }
        }
    }

    /// Takes all of `cost` or nothing; an error is the balance.
    fn take(&self, cost: u64) -> Result<(), u64> {
        let mut balance = self.balance.load(Ordering::Relaxed);
        loop {
            let less = balance.checked_sub(cost).ok_or(balance)?;
            match self.replace(balance, less) {
                Ok(()) => return Ok(()),
                Err(newer) => balance = newer,
            }
        }
    }

    fn replace(&self, from: u64, to: u64) -> Result<(), u64> {
        self.balance
            .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed)
            .map(drop)
    }

    /// Pays the reserve for the time since it was last paid. One caller pays for each millisecond:
    /// whoever moves `paid_until` over it.
    fn pay_reserve(&self, now: Duration) {
        // 584 million years.
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let now = now.min(NOT_YET - 1);
        let mut paid = self.paid_until.load(Ordering::Relaxed);
        while paid == NOT_YET || paid < now {
            let moved =
                self.paid_until
                    .compare_exchange(paid, now, Ordering::Relaxed, Ordering::Relaxed);
            match moved {
                Ok(NOT_YET) => return,
                Ok(paid) => return self.add((now - paid).saturating_mul(self.reserve)),
                Err(newer) => paid = newer,
            }
        }
    }
}

impl fmt::Debug for RetryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RetryBudget").field(&self.stats()).finish()
    }
}

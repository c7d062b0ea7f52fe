//! Models of the real budget: every interleaving of its words, up to the bound on preemptions.
//! Each says which one-line change breaks it.

use std::time::Duration;

use loom::thread;

use crate::{Class, RetryBudget};

const ONE: u64 = 1000;

/// A budget with `ratio_per_mille` and one token to start with.
fn one_token(ratio_per_mille: u32) -> RetryBudget {
    RetryBudget::builder()
        .ratio_per_mille(ratio_per_mille)
        .min_per_second(1)
        .capacity(3)
        .build()
        .expect("valid")
}

/// Whether a retry was granted at that second; it is spent.
fn spends(budget: &RetryBudget, second: u64) -> u64 {
    match budget.withdraw_at(Duration::from_secs(second), Class::Transient) {
        Ok(token) => {
            token.spend();
            1
        }
        Err(_) => 0,
    }
}

/// ROB-96: INV-BACKOFF-4: of two callers, one gets the last token.
///
/// Breaks when `Shared::take` loads, compares, and then subtracts with `fetch_sub`: the
/// check-then-add of other budgets.
#[test]
fn loom_inv_backoff_4_the_last_token_is_granted_once() {
    loom::model(|| {
        let budget = one_token(0);
        let other = budget.clone();
        let theirs = thread::spawn(move || spends(&other, 0));
        let mine = spends(&budget, 0);
        assert_eq!(mine + theirs.join().expect("no panic"), 1, "INV-BACKOFF-4");
        assert_eq!(budget.stats().balance_milli, 0);
    });
}

/// ROB-96: INV-BACKOFF-4: a deposit beside a withdrawal is neither lost nor doubled.
///
/// Breaks when `Shared::add` stores its sum instead of swapping it in.
#[test]
fn loom_inv_backoff_4_deposits_and_withdrawals_add_up() {
    loom::model(|| {
        let budget = one_token(500);
        let other = budget.clone();
        let depositor = thread::spawn(move || {
            other.deposit();
            other.deposit();
        });
        let granted = spends(&budget, 0) + spends(&budget, 0);
        depositor.join().expect("no panic");
        let left = budget.stats().balance_milli;
        assert_eq!(left + granted * ONE, 2 * ONE, "INV-BACKOFF-4");
    });
}

/// ROB-96: INV-BACKOFF-4: two callers that see the same second pass pay its reserve once.
///
/// Breaks when `Shared::pay_reserve` stores `paid_until` instead of swapping it in.
#[test]
fn loom_inv_backoff_4_a_second_is_paid_once() {
    loom::model(|| {
        let budget = one_token(0);
        assert_eq!(spends(&budget, 0), 1);
        let other = budget.clone();
        let theirs = thread::spawn(move || spends(&other, 1));
        let mine = spends(&budget, 1);
        let granted = mine + theirs.join().expect("no panic");
        let left = budget.stats().balance_milli;
        assert_eq!(left + granted * ONE, ONE, "INV-BACKOFF-4");
    });
}

/// ROB-96: INV-BACKOFF-5: a token that is given up while another is taken is neither lost nor there
/// twice.
///
/// Breaks when `Shared::take` stores what is left instead of swapping it in.
#[test]
fn loom_inv_backoff_5_a_token_given_up_is_there_for_another() {
    loom::model(|| {
        let budget = RetryBudget::builder().ratio_per_mille(0).min_per_second(2);
        let budget = budget.capacity(3).build().expect("valid");
        let sleeping = budget
            .withdraw_at(Duration::ZERO, Class::Transient)
            .expect("two tokens");
        let canceller = thread::spawn(move || drop(sleeping));
        let early = spends(&budget, 0);
        canceller.join().expect("no panic");
        let late = spends(&budget, 0) + spends(&budget, 0);
        assert_eq!((early, late), (1, 1), "INV-BACKOFF-5");
    });
}

/// ROB-96: INV-BACKOFF-4: a token that comes back beside a deposit does not lift the balance above
/// the capacity.
///
/// Breaks when `Shared::add` adds what it found room for with `fetch_add`.
#[test]
fn loom_inv_backoff_4_no_more_is_saved_up_than_the_capacity() {
    loom::model(|| {
        let budget = RetryBudget::builder()
            .ratio_per_mille(1000)
            .min_per_second(2);
        let budget = budget.capacity(2).build().expect("valid");
        let token = budget.withdraw_at(Duration::ZERO, Class::Transient);
        let returner = thread::spawn(move || drop(token));
        budget.deposit();
        returner.join().expect("no panic");
        assert_eq!(budget.stats().balance_milli, 2 * ONE, "INV-BACKOFF-4");
    });
}

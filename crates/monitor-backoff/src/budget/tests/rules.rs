//! What the budget grants, refuses and takes back.

use std::time::Duration;

use proptest::prelude::*;

use crate::{BudgetError, BudgetExhausted, Class, RetryBudget, RetryToken};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A budget with nothing in it that lives from deposits alone.
fn from_deposits(ratio_per_mille: u32) -> RetryBudget {
    RetryBudget::builder()
        .ratio_per_mille(ratio_per_mille)
        .min_per_second(0)
        .capacity(100_000)
        .build()
        .expect("valid")
}

/// How many retries are granted at `now` until one is refused.
fn drain(budget: &RetryBudget, now: Duration, class: Class) -> u64 {
    std::iter::from_fn(|| budget.withdraw_at(now, class).ok())
        .map(RetryToken::spend)
        .count() as u64
}

/// ROB-96: INV-BACKOFF-4: 1000 requests at r ‰ pay for r retries, for every r. Peers round the
/// *price* of a retry and grant 333 at 30 %, 500 at 40 %, and 1000 at 60, 70 and 90 %.
#[test]
fn inv_backoff_4_a_ratio_is_granted_exactly() {
    for ratio in [
        0, 1, 50, 200, 300, 333, 400, 600, 700, 900, 999, 1000, 1500, 10_000,
    ] {
        let budget = from_deposits(ratio.max(1));
        (0..1000).for_each(|_| budget.deposit());
        let granted = drain(&budget, Duration::ZERO, Class::Transient);
        assert_eq!(granted, u64::from(ratio.max(1)), "at {ratio} per mille");
    }
}

/// ROB-96: a trickle lets a caller without traffic retry, by the millisecond and not above the
/// capacity.
#[test]
fn the_reserve_is_paid_by_the_millisecond() {
    let budget = RetryBudget::builder()
        .min_per_second(10)
        .capacity(15)
        .build()
        .expect("valid");
    let drain = |at| drain(&budget, millis(at), Class::Transient);
    assert_eq!(drain(5000), 10, "the first second's, whatever the origin");
    assert_eq!(drain(5099), 0);
    assert_eq!(drain(5100), 1);
    assert_eq!(drain(5450), 3);
    assert_eq!(drain(5500), 1, "the half that was left counts");
    assert_eq!(drain(1000), 0, "a clock that falls back pays nothing");
    assert_eq!(
        drain(99_000_000),
        15,
        "what is above the capacity is not saved up"
    );
}

/// ROB-96, ROB-97: a class has its price, and a refusal takes nothing.
#[test]
fn a_class_costs_what_it_costs() {
    let budget = from_deposits(1000);
    (0..7).for_each(|_| budget.deposit());
    assert_eq!(drain(&budget, Duration::ZERO, Class::Throttled), 3);
    let refused = budget.withdraw_at(Duration::ZERO, Class::Throttled);
    let expected = BudgetExhausted {
        balance_milli: 1000,
        cost_milli: 2000,
    };
    assert_eq!(refused.err(), Some(expected));
    let local = budget.withdraw_at(Duration::ZERO, Class::Local);
    assert!(local.is_ok(), "a local refusal caused no load");
    assert_eq!(drain(&budget, Duration::ZERO, Class::Connect), 1);
    let stats = budget.stats();
    assert_eq!((stats.granted, stats.refused), (5, 3));
}

/// ROB-96: INV-BACKOFF-5: before its retry starts a token goes back, afterwards it is spent.
#[test]
fn inv_backoff_5_a_token_is_put_back_or_spent() {
    let budget = from_deposits(1000);
    budget.deposit();
    let balance = || budget.stats().balance_milli;
    let take = || {
        let token = budget.withdraw_at(Duration::ZERO, Class::Transient);
        assert_eq!(balance(), 0, "held");
        token.expect("one token")
    };
    drop(take());
    assert_eq!(balance(), 1000);
    take().put_back();
    assert_eq!(balance(), 1000);
    let mut succeeds = take();
    succeeds.start();
    succeeds.put_back();
    assert_eq!(balance(), 1000);
    let mut cancelled = take();
    cancelled.start();
    drop(cancelled);
    assert_eq!(balance(), 0);
    budget.deposit();
    take().spend();
    assert_eq!(balance(), 0);
    assert_eq!(budget.stats().returned, 3);
}

/// ROB-46: settings out of range are refused by name, and so is a budget that grants nothing.
#[test]
fn a_budget_that_makes_no_sense_is_refused() {
    let refused = |builder: crate::BudgetBuilder| builder.build().expect_err("no sense");
    let builder = RetryBudget::builder();
    assert_eq!(
        refused(builder.ratio_per_mille(10_001)).to_string(),
        "ratio_per_mille is 10001; it must be 0 to 10000"
    );
    for (builder, name) in [
        (builder.min_per_second(1_000_001), "min_per_second"),
        (builder.capacity(0), "capacity"),
        (builder.capacity(1_000_001), "capacity"),
    ] {
        let error = refused(builder);
        assert!(
            matches!(error, BudgetError::OutOfRange { field, .. } if field == name),
            "{error}"
        );
    }
    assert_eq!(
        refused(builder.ratio_per_mille(0).min_per_second(0)),
        BudgetError::NoIncome
    );
    assert_eq!(
        refused(builder.capacity(5).cost(Class::Connect, 6)).to_string(),
        "the cost of a connect retry is 6, more than the capacity of 5"
    );
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Deposit,
    Withdraw(Class),
    PutBack,
    Spend,
    Pass(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Deposit),
        4 => prop::sample::select(Class::ALL.to_vec()).prop_map(Step::Withdraw),
        1 => Just(Step::PutBack),
        1 => Just(Step::Spend),
        2 => (0_u64..500).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// ROB-96: INV-BACKOFF-4, INV-BACKOFF-5: held and spent tokens never exceed what was paid in.
    #[test]
    fn inv_backoff_4_and_5_no_more_is_granted_than_was_paid_in(
        ratio in 1_u32..=2000,
        rate in 0_u32..20,
        steps in prop::collection::vec(any_step(), 1..200),
    ) {
        let budget = RetryBudget::builder()
            .ratio_per_mille(ratio)
            .min_per_second(rate)
            .capacity(1_000_000)
            .build()
            .expect("valid");
        let cost = |class| match class {
            Class::Throttled => 2000,
            Class::Local => 0,
            _ => 1000,
        };
        // Time begins with the first withdrawal.
        let (mut now, mut began, mut paid_in) = (0, None, u64::from(rate) * 1000);
        let (mut held, mut spent) = (Vec::new(), 0);
        for step in steps {
            match step {
                Step::Deposit => {
                    budget.deposit();
                    paid_in += u64::from(ratio);
                }
                Step::Withdraw(class) => {
                    began.get_or_insert(now);
                    let free = budget.stats().balance_milli;
                    let token = budget.withdraw_at(millis(now), class);
                    prop_assert!(token.is_ok() || free < cost(class), "refused without need");
                    held.extend(token.ok().map(|token| (token, cost(class))));
                }
                Step::PutBack => drop(held.pop()),
                Step::Spend => {
                    if let Some((token, cost)) = held.pop() {
                        token.spend();
                        spent += cost;
                    }
                }
                Step::Pass(more) => now += more,
            }
            let reserve = began.map_or(0, |began| (now - began) * u64::from(rate));
            let held: u64 = held.iter().map(|(_, cost)| cost).sum();
            let accounted = budget.stats().balance_milli + held + spent;
            prop_assert!(accounted <= paid_in + reserve, "{accounted} of {paid_in} + {reserve}");
            prop_assert!(accounted >= paid_in, "{accounted} of {paid_in}");
        }
    }
}

/// ROB-96: INV-BACKOFF-4: eight threads on one budget get what one would have got. A budget that
/// checks and then adds grants more.
#[test]
fn inv_backoff_4_threads_share_one_budget() {
    let budget = from_deposits(300);
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let budget = budget.clone();
            std::thread::spawn(move || {
                let mut granted = 0;
                for _ in 0..1000 {
                    budget.deposit();
                    granted += u64::from(
                        budget
                            .withdraw_at(Duration::ZERO, Class::Transient)
                            .map(RetryToken::spend)
                            .is_ok(),
                    );
                }
                granted
            })
        })
        .collect();
    let granted: u64 = threads
        .into_iter()
        .map(|thread| thread.join().expect("no panic"))
        .sum();
    assert!(granted <= 2400, "{granted} granted");
    let left = drain(&budget, Duration::ZERO, Class::Transient);
    assert_eq!(granted + left, 2400);
}

/// ROB-96: INV-BACKOFF-4: no time makes the reserve begin anew, not even the last one that the
/// budget can tell.
#[test]
fn inv_backoff_4_the_end_of_time_is_paid_once() {
    let budget = RetryBudget::builder().ratio_per_mille(0).capacity(10);
    let budget = budget.min_per_second(10).build().expect("valid");
    let last = Duration::from_millis(u64::MAX);
    assert_eq!(drain(&budget, last, Class::Transient), 10);
    assert_eq!(drain(&budget, millis(1_000), Class::Transient), 0);
    assert_eq!(drain(&budget, millis(2_000), Class::Transient), 0);
}

/// ROB-96: INV-BACKOFF-4: the first second's reserve is not more than the budget can hold.
#[test]
fn inv_backoff_4_the_start_is_within_the_capacity() {
    let budget = RetryBudget::builder().ratio_per_mille(0).capacity(5);
    let budget = budget.min_per_second(10).build().expect("valid");
    assert_eq!(budget.stats().balance_milli, budget.stats().capacity_milli);
    assert_eq!(drain(&budget, Duration::ZERO, Class::Transient), 5);
}

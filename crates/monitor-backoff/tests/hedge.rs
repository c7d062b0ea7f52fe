//! Hedging: who starts when, who wins, who is dropped, and who pays.

use std::{cell::RefCell, rc::Rc, time::Duration};

use monitor_backoff::{Class, Disposition, Hedge, HedgeBuilder, RetryBudget, RetryConfigError};
use proptest::prelude::*;
use tokio::time::{Instant, sleep};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What the attempts did, in order.
#[derive(Default)]
struct Log {
    in_flight: u32,
    most_in_flight: u32,
    started: Vec<Duration>,
    finished: Vec<u32>,
}

/// Counts an attempt out when it ends or is dropped.
struct InFlight(Rc<RefCell<Log>>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.borrow_mut().in_flight -= 1;
    }
}

/// What an attempt does: how long it takes, and whether it succeeds.
type Script = [(u64, Result<(), &'static str>)];

/// Runs one call by the script; the winner, what happened, and how long it took.
async fn run(hedge: &Hedge, script: &Script) -> (Result<u32, &'static str>, Log, Duration) {
    let (log, begun) = (Rc::new(RefCell::new(Log::default())), Instant::now());
    let attempt = |number: u32| {
        let guard = InFlight(Rc::clone(&log));
        {
            let mut log = log.borrow_mut();
            log.in_flight += 1;
            log.most_in_flight = log.most_in_flight.max(log.in_flight);
            log.started.push(begun.elapsed());
        }
        let (takes, result) = script[number as usize - 1];
        async move {
            sleep(millis(takes)).await;
            guard.0.borrow_mut().finished.push(number);
            result.map(|()| number)
        }
    };
    let classify = |error: &&str| match *error {
        "permanent" => Disposition::Permanent,
        "busy" => Disposition::RetryAfter(Class::Throttled, millis(1)),
        _ => Disposition::TRANSIENT,
    };
    let result = hedge.run(attempt, classify).await;
    let took = begun.elapsed();
    (result, log.take(), took)
}

fn hedge(delay: u64) -> HedgeBuilder {
    Hedge::builder(millis(delay))
}

fn build(builder: HedgeBuilder) -> Hedge {
    builder.build().expect("valid")
}

/// ROB-96: a target that asks to be left alone gets no further attempt, neither at once nor after the
/// delay; one that is in flight may still win.
#[tokio::test(start_paused = true)]
async fn a_push_back_ends_the_hedging() {
    let three = build(hedge(50).max_attempts(3));
    let (result, log, took) = run(&three, &[(10, Err("busy")), (0, Ok(())), (0, Ok(()))]).await;
    assert_eq!((result, log.started.len()), (Err("busy"), 1));
    assert_eq!(took, millis(10));
    let (result, log, took) = run(&three, &[(200, Ok(())), (10, Err("busy")), (0, Ok(()))]).await;
    assert_eq!((result, log.started.len()), (Ok(1), 2));
    assert_eq!(took, millis(200));
}

/// ROB-96: an attempt that answers in time stays alone.
#[tokio::test(start_paused = true)]
async fn a_quick_answer_needs_no_second_attempt() {
    let (result, log, took) = run(&build(hedge(50)), &[(49, Ok(()))]).await;
    assert_eq!((result, took), (Ok(1), millis(49)));
    assert_eq!(log.started.len(), 1);
}

/// ROB-96: the first success wins; the loser is dropped and never finishes.
#[tokio::test(start_paused = true)]
async fn the_first_success_wins_and_the_loser_is_dropped() {
    let hedge = build(hedge(50));
    let (result, log, took) = run(&hedge, &[(900, Ok(())), (30, Ok(()))]).await;
    assert_eq!((result, took), (Ok(2), millis(80)));
    assert_eq!(log.started, [millis(0), millis(50)]);
    assert_eq!((log.finished, log.in_flight), (vec![2], 0));
    let (result, log, _) = run(&hedge, &[(60, Ok(())), (900, Ok(()))]).await;
    assert_eq!((result, log.in_flight), (Ok(1), 0));
}

/// ROB-96: a failure does not end the call while another attempt runs; with none left the next one
/// starts at once, and the last error is returned when there is no next.
#[tokio::test(start_paused = true)]
async fn failures_are_made_good_by_other_attempts() {
    let hedge = build(hedge(50).max_attempts(3));
    let script = [(60, Err("a")), (100, Ok(())), (900, Ok(()))];
    let (result, _, took) = run(&hedge, &script).await;
    assert_eq!((result, took), (Ok(2), millis(150)));
    let script = [(10, Err("a")), (10, Err("b")), (10, Err("c"))];
    let (result, log, took) = run(&hedge, &script).await;
    assert_eq!((result, took), (Err("c"), millis(30)));
    assert_eq!(log.started, [millis(0), millis(10), millis(20)]);
}

/// ROB-97: a permanent error ends the call.
#[tokio::test(start_paused = true)]
async fn a_permanent_error_wins_too() {
    let hedge = build(hedge(50).max_attempts(3));
    let (result, log, took) = run(&hedge, &[(900, Ok(())), (10, Err("permanent"))]).await;
    assert_eq!((result, took), (Err("permanent"), millis(60)));
    assert_eq!((log.started.len(), log.in_flight), (2, 0));
}

/// ROB-96: every attempt but the first is paid for, and an empty budget means no hedge, not an
/// error.
#[tokio::test(start_paused = true)]
async fn hedges_are_paid_from_the_budget() {
    let builder = RetryBudget::builder().ratio_per_mille(1).min_per_second(1);
    let budget = builder.capacity(2).build().expect("valid");
    let hedge = build(hedge(50).max_attempts(9).budget(budget.clone()));
    let slow = [(300, Ok(())); 9];
    let (result, log, took) = run(&hedge, &slow).await;
    assert_eq!((result, took), (Ok(1), millis(300)));
    assert_eq!(log.started.len(), 2, "one token, one hedge");
    let stats = budget.stats();
    assert_eq!((stats.granted, stats.refused, stats.returned), (1, 1, 0));
}

/// ROB-46: an attempt there must be.
#[test]
fn no_attempts_are_refused() {
    for (builder, field) in [
        (hedge(1).max_attempts(0), "max_attempts"),
        (hedge(1).max_in_flight(0), "max_in_flight"),
    ] {
        let error = builder.build().expect_err("zero");
        assert_eq!(error, RetryConfigError::Zero { field });
    }
}

/// ROB-96: a delay that no clock reaches means no hedge.
#[tokio::test(start_paused = true)]
async fn a_delay_of_ages_is_no_hedge() {
    let hedge = build(Hedge::builder(Duration::MAX));
    let (result, log, _) = run(&hedge, &[(5000, Ok(()))]).await;
    assert_eq!((result, log.started.len()), (Ok(1), 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// ROB-96: INV-BACKOFF-7: never more than `max_in_flight` at a time, never more than
    /// `max_attempts`, and a success is found if any attempt that was made could bring one.
    #[test]
    fn inv_backoff_7_attempts_are_bounded(
        delay in 0_u64..100,
        max_attempts in 1_u32..6,
        max_in_flight in prop::option::of(1_u32..6),
        script in prop::collection::vec((0_u64..300, any::<bool>()), 6),
    ) {
        let mut builder = hedge(delay).max_attempts(max_attempts);
        if let Some(most) = max_in_flight {
            builder = builder.max_in_flight(most);
        }
        let hedge = build(builder);
        let script: Vec<_> = script
            .into_iter()
            .map(|(takes, good)| (takes, if good { Ok(()) } else { Err("down") }))
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let (result, log, _) = runtime.block_on(run(&hedge, &script));
        prop_assert!(log.most_in_flight <= max_in_flight.unwrap_or(max_attempts));
        prop_assert!(log.started.len() <= max_attempts as usize);
        prop_assert_eq!(log.in_flight, 0);
        match result {
            Ok(winner) => prop_assert!(script[winner as usize - 1].1.is_ok()),
            Err(_) => {
                prop_assert_eq!(log.started.len(), max_attempts as usize);
                prop_assert!(script[..max_attempts as usize].iter().all(|(_, good)| good.is_err()));
            }
        }
    }
}

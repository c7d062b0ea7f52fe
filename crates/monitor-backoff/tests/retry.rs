//! The kernel of a call: when it goes on, how long it waits, and why it stops. Time is a number.

use std::time::Duration;

use monitor_backoff::{
    Attempts, Base, Class, ClassChange, Decision, Disposition, ExponentOrigin, LongPushBack,
    Policy, Retry, RetryBudget, RetryBuilder, RetryConfigError, RetryToken, Schedule, Stop,
};
use rand::{SeedableRng, rngs::SmallRng};

const NOW: Duration = Duration::from_secs(1_000_000);
const TRANSIENT: Disposition = Disposition::TRANSIENT;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Waits of 1, 2, 4, 8, 10 s, and 5 attempts.
fn settings() -> RetryBuilder {
    Retry::builder(Policy::socket()).max_attempts(5)
}

fn retry(settings: RetryBuilder) -> Retry {
    settings.build().expect("valid")
}

fn fail(attempts: &mut Attempts, now: Duration, disposition: Disposition) -> Decision {
    attempts.fail(now, disposition, &mut SmallRng::seed_from_u64(1))
}

/// The wait before the next attempt, which begins at once.
fn next(attempts: &mut Attempts, disposition: Disposition) -> Duration {
    match fail(attempts, NOW, disposition) {
        Decision::Retry { after, token } => {
            attempts.resume(token);
            after
        }
        Decision::Stop(stop) => panic!("{stop}"),
    }
}

fn stop(attempts: &mut Attempts, disposition: Disposition) -> Stop {
    match fail(attempts, NOW, disposition) {
        Decision::Retry { after, .. } => panic!("again after {after:?}"),
        Decision::Stop(stop) => stop,
    }
}

/// A budget of so many tokens, into which nothing more is paid.
fn tokens(tokens: u32) -> RetryBudget {
    let budget = RetryBudget::builder()
        .ratio_per_mille(1)
        .min_per_second(tokens)
        .capacity(tokens.max(2))
        .build();
    budget.expect("valid")
}

/// ROB-96: the waits are the policy's, and `max_attempts` counts the first attempt.
#[test]
fn a_call_makes_its_attempts_and_stops() {
    let retry = retry(settings());
    let mut attempts = retry.begin(NOW);
    let waits = [(); 4].map(|()| next(&mut attempts, TRANSIENT));
    assert_eq!(waits, [1, 2, 4, 8].map(seconds));
    let stop = stop(&mut attempts, TRANSIENT);
    assert_eq!(stop, Stop::Exhausted { max_attempts: 5 });
    let error = attempts.give_up(stop, "still down");
    assert_eq!((error.last, error.attempts), ("still down", 5));
    assert_eq!(error.waited, seconds(15));
}

/// ROB-97: what will not go away is not repeated, whatever is left.
#[test]
fn a_permanent_error_stops_at_once() {
    let retry = retry(settings().budget(tokens(9)));
    let mut attempts = retry.begin(NOW);
    let stop = stop(&mut attempts, Disposition::Permanent);
    assert_eq!(stop, Stop::Permanent);
    let error = attempts.give_up(stop, "no such user");
    assert_eq!(
        error.to_string(),
        "gave up after attempt 1: the error is permanent"
    );
    assert_eq!(retry.budget().map(|budget| budget.stats().granted), Some(0));
}

/// ROB-96: INV-BACKOFF-6: no wait for an attempt that could not end in time.
#[test]
fn inv_backoff_6_a_retry_that_would_be_late_is_not_waited_for() {
    let settings = settings().total(seconds(10)).min_attempt(seconds(3));
    let retry = retry(settings.budget(tokens(9)));
    let mut attempts = retry.begin(NOW);
    // 1 s to wait and 3 s to run fit into 4 s exactly.
    let Decision::Retry { after, token } = fail(&mut attempts, NOW + seconds(6), TRANSIENT) else {
        panic!("it fits");
    };
    assert_eq!(after, seconds(1));
    attempts.resume(token);
    let late = fail(&mut attempts, NOW + seconds(7), TRANSIENT);
    let expected = Stop::Deadline {
        needed: seconds(5),
        left: seconds(3),
    };
    assert!(
        matches!(late, Decision::Stop(stop) if stop == expected),
        "{late:?}"
    );
    let granted = retry.budget().map(|budget| budget.stats().granted);
    assert_eq!(granted, Some(1), "no token for what is not tried");
}

/// ROB-96: INV-BACKOFF-6: a call's own deadline holds where it is the earlier one.
#[test]
fn inv_backoff_6_the_earlier_deadline_holds() {
    let retry = retry(settings().total(seconds(10)));
    for (own, is_late) in [(1, false), (0, true), (99, false)] {
        let mut attempts = retry.begin(NOW).deadline(NOW + seconds(own));
        let decision = fail(&mut attempts, NOW, TRANSIENT);
        assert_eq!(
            matches!(decision, Decision::Stop(Stop::Deadline { .. })),
            is_late
        );
    }
    let mut attempts = retry.begin(NOW).deadline(Duration::MAX);
    let decision = fail(&mut attempts, Duration::MAX, TRANSIENT);
    assert!(matches!(decision, Decision::Stop(Stop::Deadline { .. })));
}

/// ROB-96: INV-BACKOFF-6: where no wait is needed and no least time is set, the deadline is one
/// all the same: full jitter may draw a wait of zero.
#[test]
fn inv_backoff_6_a_retry_without_a_wait_keeps_the_deadline() {
    let at_once = Policy::socket().to_builder();
    let at_once = at_once.schedule(Schedule::Fixed(Duration::ZERO)).build();
    let settings = Retry::builder(at_once.expect("valid")).unlimited_attempts();
    let retry = retry(settings.total(seconds(1)));
    let mut attempts = retry.begin(NOW);
    for (now, is_late) in [(0, false), (1, false), (2, true)] {
        let decision = fail(&mut attempts, NOW + seconds(now), TRANSIENT);
        let stopped = matches!(decision, Decision::Stop(Stop::Deadline { .. }));
        assert_eq!(stopped, is_late, "INV-BACKOFF-6: after {now} s");
    }
}

/// ROB-96: a chain of decorrelated delays goes on from what its policy drew, not from a push-back
/// that took its place.
#[test]
fn a_push_back_does_not_lengthen_the_chain() {
    let schedule = Schedule::Decorrelated {
        base: Base::Fixed(seconds(1)),
        factor: 3.0,
    };
    let policy = Policy::exponential(seconds(1), seconds(1000)).schedule(schedule);
    let policy = policy.exponent_origin(ExponentOrigin::Failures);
    let policy = policy.build().expect("valid");
    let retry = retry(Retry::builder(policy));
    let busy = Disposition::RetryAfter(Class::Transient, seconds(50));
    for seed in 0..100 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let drawn = policy.delay_after(Duration::ZERO, 1, seconds(1), &mut rng);
        let (mut attempts, mut rng) = (retry.begin(NOW), SmallRng::seed_from_u64(seed));
        let mut next = |disposition| match attempts.fail(NOW, disposition, &mut rng) {
            Decision::Retry { after, .. } => after,
            Decision::Stop(stop) => panic!("{stop}"),
        };
        assert!(next(busy) >= seconds(50));
        let after = next(TRANSIENT);
        assert!(after <= drawn * 3, "{after:?} after {drawn:?}");
    }
}

/// ROB-96: a push-back is never cut short, is spread upwards, and yields to a longer own delay.
#[test]
fn a_push_back_is_waited_for() {
    let retry = retry(settings());
    let pushed = Disposition::RetryAfter(Class::Throttled, seconds(30));
    let mut drawn = Vec::new();
    for seed in 0..200 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let Decision::Retry { after, .. } = retry.begin(NOW).fail(NOW, pushed, &mut rng) else {
            panic!("30 s is within the limit");
        };
        assert!((seconds(30)..=seconds(33)).contains(&after), "{after:?}");
        drawn.push(after);
    }
    drawn.sort();
    drawn.dedup();
    assert!(
        drawn.len() > 190,
        "callers who were told the same come back together"
    );
    let mut attempts = retry.begin(NOW);
    next(&mut attempts, TRANSIENT);
    let short = Disposition::RetryAfter(Class::Throttled, Duration::from_millis(1));
    assert_eq!(next(&mut attempts, short), seconds(2));
}

/// ROB-96: a push-back that is too long, or for good, ends the call; or it is cut, if asked for.
#[test]
fn a_push_back_that_is_too_long_stops_or_is_clamped() {
    let hour = Disposition::RetryAfter(Class::Throttled, seconds(3600));
    let stopping = retry(settings());
    let expected = Stop::PushBack {
        retry_after: Some(seconds(3600)),
        limit: seconds(60),
    };
    let stopped = stop(&mut stopping.begin(NOW), hour);
    assert_eq!(stopped, expected);
    assert_eq!(
        stopped.to_string(),
        "the target asked for no retry for 3600s, longer than max_push_back of 60s"
    );
    let refused = stop(&mut stopping.begin(NOW), Disposition::DoNotRetry);
    assert_eq!(refused.to_string(), "the target asked for no retry");
    assert!(!refused.is_local());
    let clamping = retry(settings().on_long_push_back(LongPushBack::Clamp));
    let after = next(&mut clamping.begin(NOW), hour);
    assert!((seconds(60)..=seconds(66)).contains(&after), "{after:?}");
}

/// ROB-97: each class has its policy; the count of failures goes on over a change of class, or not.
#[test]
fn a_class_has_its_policy_and_the_count_is_kept_or_reset() {
    let steps = |change| {
        let throttled = Policy::jobs_claim();
        let settings = settings().policy_for(Class::Throttled, throttled);
        let retry = retry(settings.on_class_change(change));
        let mut attempts = retry.begin(NOW);
        let (transient, throttled) = (TRANSIENT, Disposition::Retry(Class::Throttled));
        let waits = [transient, transient, throttled, transient]
            .map(|disposition| next(&mut attempts, disposition).as_millis());
        assert_eq!(attempts.failed_with(Class::Transient), 3);
        assert_eq!(attempts.failed_with(Class::Throttled), 1);
        assert_eq!(attempts.failed_with(Class::Connect), 0);
        assert_eq!(attempts.begun(), 5);
        waits
    };
    assert_eq!(steps(ClassChange::Keep), [1000, 2000, 400, 8000]);
    assert_eq!(steps(ClassChange::Reset), [1000, 2000, 100, 1000]);
}

/// ROB-97: changing classes does not make a call endless.
#[test]
fn a_reset_count_still_counts_attempts() {
    let retry = retry(
        settings()
            .on_class_change(ClassChange::Reset)
            .max_attempts(3),
    );
    let mut attempts = retry.begin(NOW);
    next(&mut attempts, TRANSIENT);
    next(&mut attempts, Disposition::Retry(Class::Connect));
    let stop = stop(&mut attempts, TRANSIENT);
    assert_eq!(stop, Stop::Exhausted { max_attempts: 3 });
}

/// ROB-96: an empty budget is a reason of its own, and this process's, not the target's.
#[test]
fn an_empty_budget_stops_and_says_that_it_is_local() {
    let retry = retry(settings().budget(tokens(2)));
    let mut attempts = retry.begin(NOW);
    next(&mut attempts, TRANSIENT);
    next(&mut attempts, TRANSIENT);
    let stop = stop(&mut attempts, TRANSIENT);
    assert!(stop.is_local());
    assert_eq!(stop.as_str(), "budget");
    assert_eq!(
        attempts.give_up(stop, "down").to_string(),
        "gave up after attempt 3: the budget for retries has 0 of the 1000 milli-tokens that this \
         one costs"
    );
}

/// ROB-96: a breaker's rejection costs no budget, and supplies the delay.
#[test]
fn a_local_rejection_is_free() {
    let retry = retry(settings().budget(tokens(0)));
    let rejected = Disposition::RetryAfter(Class::Local, seconds(5));
    let after = next(&mut retry.begin(NOW), rejected);
    assert!(after >= seconds(5));
    assert!(stop(&mut retry.begin(NOW), TRANSIENT).is_local());
}

/// ROB-96: INV-BACKOFF-5: the token of a failed retry is spent, that of a success goes back.
#[test]
fn inv_backoff_5_success_refunds_and_failure_spends() {
    let budget = tokens(5);
    let balance = || budget.stats().balance_milli / 1000;
    let retry = retry(settings().budget(budget.clone()));
    let mut attempts = retry.begin(NOW);
    next(&mut attempts, TRANSIENT);
    assert_eq!(balance(), 4);
    next(&mut attempts, TRANSIENT);
    assert_eq!(balance(), 3, "the first retry failed");
    attempts.succeed();
    assert_eq!(balance(), 4, "the second one succeeded");
    let mut cancelled = retry.begin(NOW);
    next(&mut cancelled, TRANSIENT);
    drop(cancelled);
    assert_eq!(balance(), 3, "the target had the request");
}

/// ROB-96: only first attempts pay into the budget.
#[test]
fn only_first_attempts_deposit() {
    let budget = RetryBudget::builder()
        .ratio_per_mille(1)
        .min_per_second(50)
        .build()
        .expect("valid");
    let retry = retry(settings().budget(budget.clone()));
    for _ in 0..10 {
        let mut attempts = retry.begin(NOW);
        let waited: Duration = (0..4).map(|_| next(&mut attempts, TRANSIENT)).sum();
        assert_eq!(waited, seconds(15));
    }
    assert_eq!(budget.stats().balance_milli, 50_000 - 40_000 + 10);
}

/// ROB-98: attempts, delay, recoveries, failures by class and reasons to give up are counted.
#[test]
fn everything_is_counted() {
    let retry = retry(settings().max_attempts(2).budget(tokens(3)));
    retry.begin(NOW).succeed();
    let mut recovers = retry.begin(NOW);
    next(&mut recovers, Disposition::Retry(Class::Connect));
    recovers.succeed();
    let mut exhausted = retry.begin(NOW);
    next(&mut exhausted, TRANSIENT);
    stop(&mut exhausted, TRANSIENT);
    stop(&mut retry.begin(NOW), Disposition::Permanent);
    stop(&mut retry.begin(NOW), Disposition::DoNotRetry);
    stop(&mut retry.begin(NOW).deadline(NOW), TRANSIENT);
    let mut drained: Vec<Option<RetryToken>> = Vec::new();
    let refused = loop {
        match fail(&mut retry.begin(NOW), NOW, TRANSIENT) {
            Decision::Retry { token, .. } => drained.push(token),
            Decision::Stop(stop) => break stop,
        }
    };
    assert!(refused.is_local());
    assert_eq!(drained.len(), 2);
    let stats = retry.stats();
    assert_eq!((stats.calls, stats.attempts, stats.recovered), (9, 11, 1));
    assert_eq!(stats.delay, seconds(4));
    let gave_up = stats.gave_up;
    assert_eq!(
        (gave_up.permanent, gave_up.exhausted, gave_up.deadline),
        (1, 1, 1)
    );
    assert_eq!((gave_up.budget, gave_up.push_back), (1, 1));
    assert_eq!(stats.failures, [1, 6, 0, 0]);
}

/// ROB-46: settings that mean nothing are refused by name.
#[test]
fn settings_that_mean_nothing_are_refused() {
    let zero = |settings: RetryBuilder| match settings.build() {
        Err(RetryConfigError::Zero { field }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(zero(settings().max_attempts(0)), "max_attempts");
    assert_eq!(zero(settings().total(Duration::ZERO)), "total");
    assert_eq!(zero(settings().interval(Duration::ZERO)), "interval");
    assert_eq!(
        zero(settings().max_push_back(Duration::ZERO)),
        "max_push_back"
    );
    let error = settings().total(seconds(1)).min_attempt(seconds(2)).build();
    assert_eq!(
        error.expect_err("no attempt could end").to_string(),
        "min_attempt is 2s, longer than the total of 1s"
    );
}

/// ROB-96: a policy that is relative to an interval does not become a hot loop of retries.
#[test]
fn a_policy_for_monitors_waits_between_retries_too() {
    let retry = retry(Retry::builder(Policy::hardened()));
    let after = next(&mut retry.begin(NOW), TRANSIENT);
    assert!(after >= Duration::from_millis(800), "{after:?}");
}

/// PRB-11, ROB-96: the same seed gives the same waits, another one gives others.
#[test]
fn calls_are_a_function_of_the_seed() {
    let waits = |seed| {
        let policy = Policy::exponential(Duration::from_nanos(100), Duration::from_micros(1));
        let retry = Retry::builder(policy.build().expect("valid"))
            .seed(seed)
            .max_attempts(8);
        let retry = retry.build().expect("valid");
        let mut waits = Vec::new();
        for _ in 0..2 {
            let call = retry.call_blocking(|| Err::<(), _>("down"));
            let result = call
                .on_retry(|event| waits.push(event.after))
                .run_blocking();
            assert!(result.is_err());
        }
        waits
    };
    assert_eq!(waits(1), waits(1));
    assert_ne!(waits(1), waits(2));
    let both = waits(1);
    assert_ne!(both[..7], both[7..], "calls draw apart");
}

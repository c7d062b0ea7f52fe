//! What the builder refuses, and how it says so.

use std::time::Duration;

use monitor_backoff::{BackoffError, Base, Builder, Cap, Floor, Jitter, Policy, Schedule, Steps};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn refused(builder: Builder) -> BackoffError {
    builder.build().expect_err("contradicts itself")
}

fn exponential(base: Base, factor: f64) -> Builder {
    Policy::builder().schedule(Schedule::Exponential { base, factor })
}

fn steps(steps: Vec<Duration>) -> Builder {
    Policy::builder().schedule(Schedule::Steps(steps.into()))
}

/// ROB-46: a factor is finite and grows.
#[test]
fn a_factor_must_grow_and_be_a_number() {
    for factor in [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        -2.0,
        0.0,
        0.5,
        1.0,
        1.009,
        100.1,
    ] {
        let error = refused(exponential(Base::Interval, factor));
        assert!(
            matches!(error, BackoffError::Factor { .. }),
            "{factor}: {error}"
        );
    }
    for factor in [1.01, 1.1, 2.0, 5.0, 100.0] {
        assert!(
            exponential(Base::Interval, factor).build().is_ok(),
            "{factor}"
        );
    }
}

/// PRB-11: a ratio is a share, not a percentage.
#[test]
fn a_ratio_must_be_a_share() {
    for ratio in [f64::NAN, f64::INFINITY, -0.1, 1.1, 20.0] {
        let error = refused(Policy::builder().jitter(Jitter::symmetric(ratio)));
        assert!(
            matches!(error, BackoffError::Ratio { .. }),
            "{ratio}: {error}"
        );
    }
}

#[test]
fn steps_must_exist_and_not_fall() {
    assert_eq!(refused(steps(vec![])), BackoffError::NoSteps);
    let error = refused(steps(vec![seconds(2), seconds(2), seconds(1)]));
    let expected = BackoffError::FallingSteps {
        index: 2,
        step: seconds(1),
        previous: seconds(2),
    };
    assert_eq!(error, expected);
    assert!(
        steps(vec![seconds(2), seconds(2), seconds(3)])
            .build()
            .is_ok()
    );
}

#[test]
fn a_base_must_not_exceed_the_cap() {
    let expected = BackoffError::BaseAboveCap {
        base: seconds(11),
        cap: seconds(10),
    };
    let (base, cap) = (Base::Fixed(seconds(11)), Cap::Fixed(seconds(10)));
    assert_eq!(refused(exponential(base, 2.0).cap(cap)), expected);
    let linear = Schedule::Linear {
        base,
        step: seconds(1),
    };
    assert_eq!(
        refused(Policy::builder().schedule(linear).cap(cap)),
        expected
    );
    let fixed = Schedule::Fixed(seconds(11));
    assert_eq!(
        refused(Policy::builder().schedule(fixed).cap(cap)),
        expected
    );
}

#[test]
fn a_minimum_must_not_exceed_cap_or_confirmation() {
    let builder = Policy::builder().min_delay(seconds(11));
    assert_eq!(
        refused(builder.cap(Cap::IntervalOr(seconds(10)))),
        BackoffError::MinDelayAboveCap {
            min_delay: seconds(11),
            cap: seconds(10)
        }
    );
    assert_eq!(
        refused(builder.floor(Floor::FastConfirm {
            count: 2,
            delay: seconds(2)
        })),
        BackoffError::ConfirmationBelowMinDelay {
            delay: seconds(2),
            min_delay: seconds(11)
        }
    );
}

#[test]
fn a_message_says_what_was_wrong_and_what_would_be_right() {
    let message = |error: BackoffError| error.to_string();
    assert_eq!(
        message(refused(Policy::builder().jitter(Jitter::symmetric(20.0)))),
        "jitter: ratio is 20; it must be 0 to 1, where 0.2 means ±20 %"
    );
    assert_eq!(
        message(refused(steps(vec![seconds(5), seconds(2)]))),
        "schedule: step 1 is 2s, shorter than the 5s before it; steps must not fall"
    );
}

/// ROB-46: what cannot grow is refused, by the name of its setting.
#[test]
fn zeros_that_cannot_grow_are_refused() {
    let zero = Base::Fixed(Duration::ZERO);
    let base = BackoffError::Zero {
        field: "schedule: base",
    };
    assert_eq!(refused(exponential(zero, 2.0)), base);
    let decorrelated = Schedule::Decorrelated {
        base: zero,
        factor: 3.0,
    };
    assert_eq!(refused(Policy::builder().schedule(decorrelated)), base);
    let linear = Schedule::Linear {
        base: zero,
        step: Duration::ZERO,
    };
    let error = refused(Policy::builder().schedule(linear));
    assert_eq!(
        error.to_string(),
        "schedule: step is zero; it must be 1 ns to 584 years"
    );
}

/// ROB-45: a duration that does not fit is refused, not cut.
#[test]
fn durations_of_centuries_are_refused() {
    let too_long = |field| BackoffError::TooLong {
        field,
        duration: Duration::MAX,
    };
    let (longest, builder) = (Duration::MAX, Policy::builder());
    assert_eq!(refused(builder.cap(Cap::Fixed(longest))), too_long("cap"));
    assert_eq!(refused(builder.min_delay(longest)), too_long("min_delay"));
    let linear = Schedule::Linear {
        base: Base::Interval,
        step: longest,
    };
    assert_eq!(
        refused(builder.schedule(linear)),
        too_long("schedule: step")
    );
    let floor = Floor::FastConfirm {
        count: 1,
        delay: longest,
    };
    assert_eq!(
        refused(builder.floor(floor)),
        too_long("fast-confirm delay")
    );
    assert_eq!(
        refused(steps(vec![longest])),
        BackoffError::TooLong {
            field: "schedule: step",
            duration: Duration::from_nanos(u64::MAX)
        }
    );
    let (base, cap) = (Base::Fixed(longest), seconds(3600));
    assert_eq!(
        refused(exponential(base, 2.0)),
        BackoffError::BaseAboveCap { base: longest, cap }
    );
}

#[test]
fn a_table_has_at_most_twelve_steps() {
    let full = vec![seconds(1); Steps::MAX];
    assert!(steps(full.clone()).build().is_ok());
    let error = refused(steps([full, vec![seconds(1)]].concat()));
    assert_eq!(
        error.to_string(),
        "schedule: 13 steps; a table has 1 to 12, and its last one repeats"
    );
}

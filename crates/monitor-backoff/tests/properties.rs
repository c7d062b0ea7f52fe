//! What holds for every policy that can be built.

use std::time::Duration;

use monitor_backoff::{Base, Cap, ExponentOrigin, Floor, Jitter, JitterKind, Policy, Schedule};
use proptest::prelude::*;
use rand::{SeedableRng, rngs::SmallRng};

/// The longest duration that is not rounded down.
const LONGEST: Duration = Duration::from_nanos(u64::MAX);

fn any_duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        1 => Just(Duration::ZERO),
        1 => Just(Duration::MAX),
        1 => Just(Duration::from_nanos(1)),
        6 => (0_u64..10_000_000).prop_map(Duration::from_millis),
        2 => any::<u64>().prop_map(Duration::from_nanos),
        1 => (any::<u64>(), 0_u32..1_000_000_000).prop_map(|(s, ns)| Duration::new(s, ns)),
    ]
}

/// A duration that a policy takes.
fn any_setting() -> impl Strategy<Value = Duration> {
    prop_oneof![
        1 => Just(Duration::ZERO),
        1 => Just(LONGEST - Duration::from_nanos(1)),
        1 => Just(Duration::from_nanos(1)),
        6 => (0_u64..10_000_000).prop_map(Duration::from_millis),
        2 => (0..u64::MAX).prop_map(Duration::from_nanos),
    ]
}

fn any_failures() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0_u32..20, 1 => any::<u32>(), 1 => Just(u32::MAX)]
}

fn any_base() -> impl Strategy<Value = Base> {
    prop_oneof![Just(Base::Interval), any_setting().prop_map(Base::Fixed)]
}

fn any_schedule() -> impl Strategy<Value = Schedule> {
    let steps = prop::collection::vec(any_setting(), 1..5).prop_map(|mut steps| {
        steps.sort();
        Schedule::Steps(steps.into())
    });
    prop_oneof![
        steps,
        any_setting().prop_map(Schedule::Fixed),
        (any_base(), any_setting()).prop_map(|(base, step)| Schedule::Linear { base, step }),
        (any_base(), 1.01_f64..=100.0)
            .prop_map(|(base, factor)| Schedule::Exponential { base, factor }),
        (any_base(), prop::sample::select(vec![1.01, 2.0, 4.0, 64.0]))
            .prop_map(|(base, factor)| Schedule::Exponential { base, factor }),
        (any_base(), 1.01_f64..=100.0)
            .prop_map(|(base, factor)| Schedule::Decorrelated { base, factor }),
    ]
}

fn any_floor() -> impl Strategy<Value = Floor> {
    prop_oneof![
        Just(Floor::Absolute),
        Just(Floor::AtLeastInterval),
        (0_u32..5, any_setting()).prop_map(|(count, delay)| Floor::FastConfirm { count, delay }),
    ]
}

fn any_jitter() -> impl Strategy<Value = Jitter> {
    let kind = prop_oneof![
        Just(JitterKind::None),
        Just(JitterKind::Full),
        Just(JitterKind::Equal),
        (0.0_f64..=1.0).prop_map(|ratio| JitterKind::Symmetric { ratio }),
        Just(JitterKind::Symmetric { ratio: 1.0 }),
    ];
    (kind, any::<bool>()).prop_map(|(kind, normal_interval)| Jitter {
        kind,
        normal_interval,
    })
}

prop_compose! {
    fn any_settings()(
        schedule in any_schedule(),
        origin in prop_oneof![
            Just(ExponentOrigin::Failures),
            Just(ExponentOrigin::FailuresMinusOne),
        ],
        exponent_cap in prop::option::of(0_u32..40),
        min_delay in prop_oneof![3 => Just(Duration::ZERO), 1 => any_setting()],
        floor in any_floor(),
        cap in (any::<bool>(), any_setting()).prop_map(|(fixed, longest)| {
            if fixed { Cap::Fixed(longest) } else { Cap::IntervalOr(longest) }
        }),
        jitter in any_jitter(),
    ) -> monitor_backoff::Builder {
        Policy::builder()
            .schedule(schedule)
            .exponent_origin(origin)
            .exponent_cap(exponent_cap)
            .min_delay(min_delay)
            .floor(floor)
            .cap(cap)
            .jitter(jitter)
    }
}

fn any_policy() -> impl Strategy<Value = Policy> {
    any_settings().prop_filter_map("contradicts itself", |settings| settings.build().ok())
}

/// The bounds of a wait after at least one failure, worked out apart from the code under test.
fn bounds(policy: &Policy, failures: u32, interval: Duration) -> (Duration, Duration) {
    let at_least = match policy.floor() {
        Floor::FastConfirm { count, .. } if failures <= count => {
            return (Duration::ZERO, interval);
        }
        Floor::FastConfirm { .. } | Floor::AtLeastInterval => interval,
        Floor::Absolute => Duration::ZERO,
    };
    let low = policy.min_delay().max(at_least);
    let high = match policy.cap() {
        Cap::Fixed(longest) => longest,
        Cap::IntervalOr(longest) => longest.max(interval),
    };
    (low, high.max(low))
}

/// Twice the mean delay, in nanoseconds.
fn twice_the_mean(policy: &Policy, failures: u32, interval: Duration) -> u128 {
    let range = policy.range(failures, interval);
    range.start().as_nanos() + range.end().as_nanos()
}

/// How many failures it takes until the schedule itself decides.
fn first_scheduled(policy: &Policy) -> u32 {
    match policy.floor() {
        Floor::FastConfirm { count, .. } => count + 1,
        Floor::Absolute | Floor::AtLeastInterval => 1,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// ROB-43, ROB-45, ROB-52, ROB-96: INV-BACKOFF-1: floor and cap hold after jitter.
    #[test]
    fn inv_backoff_1_bounds_hold_after_jitter(
        policy in any_policy(),
        failures in 1_u32..50,
        interval in any_duration(),
        seed in any::<u64>(),
    ) {
        let (low, high) = bounds(&policy, failures, interval);
        let delay = policy.delay(failures, interval, &mut SmallRng::seed_from_u64(seed));
        prop_assert!(delay <= high, "{delay:?} above {high:?}");
        prop_assert!(delay >= low.min(LONGEST), "{delay:?} below {low:?}");
        let nominal = policy.nominal(failures, interval);
        prop_assert!((low.min(LONGEST)..=high).contains(&nominal));
    }

    /// ROB-42, ROB-51, PRB-13: INV-BACKOFF-2: more failures never mean more visits.
    #[test]
    fn inv_backoff_2_the_rate_never_rises_with_failures(
        policy in any_policy(),
        more in any_failures(),
        interval in any_duration(),
    ) {
        let first = first_scheduled(&policy);
        let failures = more.saturating_add(first);
        let mean = |failures| twice_the_mean(&policy, failures, interval);
        prop_assert!(mean(failures) <= mean(failures.saturating_add(1)));
        prop_assert!(mean(first) <= mean(failures));
        // Against the healthy rate too, unless the policy gave that up.
        if policy.floor() != Floor::Absolute {
            prop_assert!(mean(0) <= mean(first));
        }
    }

    /// PRB-11, ROB-43: INV-BACKOFF-3: ±r is at most ±r, and on the normal interval exactly ±r.
    #[test]
    fn inv_backoff_3_a_ratio_means_that_ratio(
        policy in any_policy(),
        ratio in 0.0_f64..=1.0,
        failures in any_failures(),
        interval in (0_u64..10_000_000_000_000_000).prop_map(Duration::from_nanos),
    ) {
        // That one spreads itself.
        prop_assume!(failures == 0 || !matches!(policy.schedule(), Schedule::Decorrelated { .. }));
        let jitter = Jitter::symmetric(ratio);
        let policy = policy.to_builder().jitter(jitter).build().expect("still valid");
        let range = policy.range(failures, interval);
        let nominal = policy.nominal(failures, interval);
        prop_assert!(range.contains(&nominal));
        let spread = u128::from(u64::MAX).min(nominal.as_nanos()) as f64 * ratio;
        let below = (nominal - *range.start()).as_nanos() as f64;
        let above = (*range.end() - nominal).as_nanos() as f64;
        // One nanosecond of rounding, and what a float of that size cannot show.
        let tolerance = 1.0 + spread * 1e-12;
        prop_assert!(below <= spread + tolerance && above <= spread + tolerance);
        if failures == 0 {
            prop_assert!(below >= spread - tolerance && above >= spread - tolerance);
        }
    }

    /// PRB-10: without jitter on it, the normal interval is the interval.
    #[test]
    fn without_jitter_the_normal_interval_is_exact(
        policy in any_policy(),
        interval in any_duration(),
    ) {
        let jitter = policy.jitter().on_failures_only();
        let policy = policy.to_builder().jitter(jitter).build().expect("still valid");
        let delay = policy.delay(0, interval, &mut SmallRng::seed_from_u64(0));
        prop_assert_eq!(delay, interval.min(LONGEST));
    }

    /// ROB-46, ROB-96: nothing panics, whatever goes in, and every delay is in its range.
    #[test]
    fn any_input_is_safe(
        policy in any_policy(),
        failures in any_failures(),
        interval in any_duration(),
        seed in any::<u64>(),
    ) {
        let delay = policy.delay(failures, interval, &mut SmallRng::seed_from_u64(seed));
        prop_assert!(policy.range(failures, interval).contains(&delay));
    }

    /// ROB-43, ROB-96: a chain of delays lies where each of its delays may lie, and but for
    /// decorrelated ones is what single delays are.
    #[test]
    fn a_chain_of_delays_keeps_to_the_ranges(
        policy in any_policy(),
        interval in any_duration(),
        seed in any::<u64>(),
    ) {
        let chain = policy.delays(interval, SmallRng::seed_from_u64(seed)).take(20);
        let mut rng = SmallRng::seed_from_u64(seed);
        for (failures, delay) in (1..).zip(chain) {
            prop_assert!(policy.range(failures, interval).contains(&delay));
            if !matches!(policy.schedule(), Schedule::Decorrelated { .. }) {
                prop_assert_eq!(delay, policy.delay(failures, interval, &mut rng));
            }
        }
    }

    /// ROB-96: building a policy from its own settings changes nothing.
    #[test]
    fn a_policy_is_its_settings(policy in any_policy()) {
        prop_assert_eq!(policy.to_builder().build(), Ok(policy));
    }

    /// ROB-96: the same seed gives the same delays.
    #[test]
    fn delays_are_a_function_of_the_seed(
        policy in any_policy(),
        interval in any_duration(),
        seed in any::<u64>(),
    ) {
        let delays = || {
            let mut rng = SmallRng::seed_from_u64(seed);
            (0..8).map(|failures| policy.delay(failures, interval, &mut rng)).collect::<Vec<_>>()
        };
        prop_assert_eq!(delays(), delays());
    }
}

//! Jitter is spread evenly over its window: bounds alone would accept a constant.

use std::time::Duration;

use monitor_backoff::{Base, ExponentOrigin, Jitter, JitterKind, Policy, Schedule};
use rand::{SeedableRng, rngs::SmallRng};

const DRAWS: usize = 10_000;

/// Draws, and asserts that each tenth of the range got a fair tenth of them and that their mean is
/// within 1 % of the middle.
fn assert_even(policy: &Policy, failures: u32, interval: Duration, seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let range = policy.range(failures, interval);
    let (low, high) = (range.start().as_secs_f64(), range.end().as_secs_f64());
    let mut tenths = [0_usize; 10];
    let mut sum = 0.0;
    for _ in 0..DRAWS {
        let delay = policy.delay(failures, interval, &mut rng);
        assert!(range.contains(&delay), "{delay:?} outside {range:?}");
        let position = (delay.as_secs_f64() - low) / (high - low);
        tenths[((position * 10.0) as usize).min(9)] += 1;
        sum += delay.as_secs_f64();
    }
    let (mean, middle) = (sum / DRAWS as f64, f64::midpoint(low, high));
    assert!(
        (mean / middle - 1.0).abs() < 0.01,
        "mean {mean} s, middle {middle} s"
    );
    // A fair tenth is 1000 with a standard deviation of 30: both tails and no clustering.
    assert!(
        tenths.iter().all(|count| (850..=1150).contains(count)),
        "{tenths:?}"
    );
}

/// PRB-11, PRB-37, ROB-43: ±20 %: bounds, mean within 1 %, both tails, at every level.
#[test]
fn symmetric_jitter_is_even_at_every_level() {
    for failures in 0..=3 {
        assert_even(
            &Policy::gate2(),
            failures,
            Duration::from_secs(60),
            u64::from(failures),
        );
        assert_even(&Policy::hardened(), failures, Duration::from_secs(60), 7);
    }
    assert_even(&Policy::monitor(), 2, Duration::from_secs(60), 8);
}

/// ROB-43: at the cap the window is cut, and still even.
#[test]
fn a_cut_window_is_even() {
    assert_even(&Policy::mail(), 9, Duration::from_secs(300), 9);
}

/// ROB-43: the other kinds fill the windows they name.
#[test]
fn full_and_equal_jitter_are_even() {
    for (kind, low) in [(JitterKind::Full, 0), (JitterKind::Equal, 30)] {
        let jitter = Jitter {
            kind,
            normal_interval: true,
        };
        let policy = Policy::builder().jitter(jitter).build().expect("valid");
        let interval = Duration::from_secs(60);
        assert_eq!(
            policy.range(0, interval),
            Duration::from_secs(low)..=interval
        );
        assert_even(&policy, 0, interval, 10);
    }
}

/// PRB-11: the same random number gives the same delay on every machine.
#[test]
fn a_delay_is_fixed_by_one_random_number() {
    /// Yields one number, for ever, and counts how often it was asked.
    struct Always(u64, u32);

    impl rand::rand_core::TryRng for Always {
        type Error = std::convert::Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            unreachable!("a delay takes 64 bits")
        }

        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            self.1 += 1;
            Ok(self.0)
        }

        fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Self::Error> {
            unreachable!("a delay takes 64 bits")
        }
    }

    let delay = |bits, failures| {
        let mut rng = Always(bits, 0);
        let delay = Policy::mail().delay(failures, Duration::from_secs(300), &mut rng);
        (delay.as_millis(), rng.1)
    };
    assert_eq!(delay(0, 1), (480_000, 1));
    assert_eq!(delay(1 << 63, 1), (600_000, 1));
    assert_eq!(delay(u64::MAX, 1), (720_000, 1));
    // Nothing to draw: the mail preset does not spread its normal interval.
    assert_eq!(delay(u64::MAX, 0), (300_000, 0));
}

/// A chain of decorrelated delays of 1 s to 60 s.
fn decorrelated(seed: u64) -> impl Iterator<Item = Duration> {
    let policy = Policy::exponential(Duration::from_secs(1), Duration::from_secs(60))
        .schedule(Schedule::Decorrelated {
            base: Base::Fixed(Duration::from_secs(1)),
            factor: 3.0,
        })
        .exponent_origin(ExponentOrigin::Failures)
        .build()
        .expect("valid");
    policy.delays(Duration::ZERO, SmallRng::seed_from_u64(seed))
}

/// ROB-96: each delay is uniform between the base and three times the one before it, up to the cap.
#[test]
fn a_decorrelated_chain_grows_from_the_delay_before() {
    let (base, cap) = (Duration::from_secs(1), Duration::from_secs(60));
    let mut previous = base;
    let (mut shrank, mut at_cap) = (0, 0);
    for delay in decorrelated(1).take(DRAWS) {
        let longest = (previous * 3).min(cap);
        assert!((base..=longest).contains(&delay), "{previous:?}, {delay:?}");
        shrank += usize::from(delay < previous);
        at_cap += usize::from(delay == cap);
        previous = delay;
    }
    assert!((2000..8000).contains(&shrank), "{shrank}");
    assert!(at_cap <= 1, "{at_cap}: cut, not clamped");
}

/// ROB-96: clients that fail together have drifted apart by the second delay.
#[test]
fn decorrelated_clients_drift_apart() {
    let mut second: Vec<_> = (0..1000)
        .filter_map(|seed| decorrelated(seed).nth(1))
        .collect();
    second.sort();
    second.dedup();
    assert!(second.len() > 990, "{} different delays", second.len());
}

//! The named policies: data, not code paths.

use std::{borrow::Cow, time::Duration};

use crate::{Base, Cap, ExponentOrigin, Floor, Jitter, Policy, Schedule};

impl Policy {
    /// The names that [`Policy::preset`] knows.
    pub const PRESETS: &[&str] = &[
        "gate2",
        "monitor",
        "socket",
        "mail",
        "jobs_claim",
        "jobs_retry",
        "hardened",
    ];

    /// Returns the policy of that name, if there is one.
    ///
    /// # Examples
    /// ```
    /// use monitor_backoff::Policy;
    ///
    /// assert_eq!(Policy::preset("hardened"), Some(Policy::hardened()));
    /// assert_eq!(Policy::preset("Hardened"), None);
    /// ```
    #[must_use]
    pub fn preset(name: &str) -> Option<Policy> {
        match name {
            "gate2" => Some(Policy::gate2()),
            "monitor" => Some(Policy::monitor()),
            "socket" => Some(Policy::socket()),
            "mail" => Some(Policy::mail()),
            "jobs_claim" => Some(Policy::jobs_claim()),
            "jobs_retry" => Some(Policy::jobs_retry()),
            "hardened" => Some(Policy::hardened()),
            _ => None,
        }
    }

    /// 2 s, 5 s, then 10 s for ever, ±20 % on every wait; at least 100 ms after a failure.
    ///
    /// The cap is 12 s: it holds after jitter, and 10 s + 20 % has to fit. A service that is
    /// visited less often than every 10 s is visited *more* often while it fails; see
    /// [`Policy::hardened`].
    #[must_use]
    pub const fn gate2() -> Policy {
        const STEPS: &[Duration] = &[
            Duration::from_secs(2),
            Duration::from_secs(5),
            Duration::from_secs(10),
        ];
        Policy {
            schedule: Schedule::Steps(Cow::Borrowed(STEPS)),
            origin: ExponentOrigin::Failures,
            exponent_cap: None,
            min_delay: Duration::from_millis(100),
            floor: Floor::Absolute,
            cap: Cap::Fixed(Duration::from_secs(12)),
            jitter: Jitter::symmetric(0.2),
        }
    }

    /// The interval × 2, × 4, × 8 and so on up to 60 min, or the interval where that is longer;
    /// at least 5 s; ±10 % on every wait.
    #[must_use]
    pub const fn monitor() -> Policy {
        Policy {
            schedule: Schedule::Exponential {
                base: Base::Interval,
                factor: 2.0,
            },
            origin: ExponentOrigin::Failures,
            exponent_cap: None,
            min_delay: Duration::from_secs(5),
            floor: Floor::AtLeastInterval,
            cap: Cap::IntervalOr(Duration::from_secs(3600)),
            jitter: Jitter::symmetric(0.1),
        }
    }

    /// Reconnects: 1 s, 2 s, 4 s, 8 s, then 10 s; no jitter. How often to try is the caller's.
    #[must_use]
    pub const fn socket() -> Policy {
        Policy {
            schedule: doubling(Duration::from_secs(1)),
            origin: ExponentOrigin::FailuresMinusOne,
            exponent_cap: None,
            min_delay: Duration::ZERO,
            floor: Floor::Absolute,
            cap: Cap::Fixed(Duration::from_secs(10)),
            jitter: Jitter::NONE,
        }
    }

    /// 600 s, 1200 s, 2400 s, then 3600 s; at least 30 s; ±20 % on waits after a failure only.
    #[must_use]
    pub const fn mail() -> Policy {
        Policy {
            schedule: doubling(Duration::from_secs(300)),
            origin: ExponentOrigin::Failures,
            exponent_cap: Some(5),
            min_delay: Duration::from_secs(30),
            floor: Floor::Absolute,
            cap: Cap::Fixed(Duration::from_secs(3600)),
            jitter: Jitter::symmetric(0.2).on_failures_only(),
        }
    }

    /// Claiming a job: 100 ms, 200 ms, then 400 ms; no jitter.
    #[must_use]
    pub const fn jobs_claim() -> Policy {
        Policy {
            schedule: doubling(Duration::from_millis(100)),
            origin: ExponentOrigin::FailuresMinusOne,
            exponent_cap: None,
            min_delay: Duration::ZERO,
            floor: Floor::Absolute,
            cap: Cap::Fixed(Duration::from_millis(400)),
            jitter: Jitter::NONE,
        }
    }

    /// Retrying a failed job: 1 s, 2 s, 4 s and so on up to 60 s; no jitter.
    #[must_use]
    pub const fn jobs_retry() -> Policy {
        Policy {
            schedule: doubling(Duration::from_secs(1)),
            origin: ExponentOrigin::FailuresMinusOne,
            exponent_cap: None,
            min_delay: Duration::ZERO,
            floor: Floor::Absolute,
            cap: Cap::Fixed(Duration::from_secs(60)),
            jitter: Jitter::NONE,
        }
    }

    /// Two looks after 2 s each to confirm the failure; from then on the interval × 2, × 4, × 8 and
    /// so on up to 60 min, or the interval where that is longer; ±20 % on every wait.
    ///
    /// Once the failure is confirmed, a failing target is never visited more often than a healthy
    /// one.
    #[must_use]
    pub const fn hardened() -> Policy {
        Policy {
            schedule: Schedule::Exponential {
                base: Base::Interval,
                factor: 2.0,
            },
            origin: ExponentOrigin::Failures,
            exponent_cap: None,
            min_delay: Duration::ZERO,
            floor: Floor::FastConfirm {
                count: 2,
                delay: Duration::from_secs(2),
            },
            cap: Cap::IntervalOr(Duration::from_secs(3600)),
            jitter: Jitter::symmetric(0.2),
        }
    }
}

const fn doubling(from: Duration) -> Schedule {
    Schedule::Exponential {
        base: Base::Fixed(from),
        factor: 2.0,
    }
}

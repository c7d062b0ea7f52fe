//! The named policies: data, not code paths.

use core::time::Duration;

use crate::{Builder, Cap, ExponentOrigin, Floor, Jitter, Policy, Schedule, Steps};

impl Policy {
    /// The names that [`Policy::preset`] knows.
    pub const PRESETS: &[&str] = &[
        "gate2",
        "monitor",
        "socket",
        "mail",
        "jobs_claim",
        "jobs_retry",
        "retry",
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
            "retry" => Some(Policy::retry()),
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
        const STEPS: Steps = Steps::new(&[
            Duration::from_secs(2),
            Duration::from_secs(5),
            Duration::from_secs(10),
        ]);
        const GATE2: Policy = valid(
            Policy::builder()
                .schedule(Schedule::Steps(STEPS))
                .min_delay(Duration::from_millis(100))
                .floor(Floor::Absolute)
                .cap(Cap::Fixed(Duration::from_secs(12))),
        );
        GATE2
    }

    /// The interval × 2, × 4, × 8 and so on up to 60 min, or the interval where that is longer;
    /// at least 5 s; ±10 % on every wait.
    #[must_use]
    pub const fn monitor() -> Policy {
        const MONITOR: Policy = valid(
            Policy::builder()
                .min_delay(Duration::from_secs(5))
                .jitter(Jitter::symmetric(0.1)),
        );
        MONITOR
    }

    /// Reconnects: 1 s, 2 s, 4 s, 8 s, then 10 s; no jitter. How often to try is the caller's.
    #[must_use]
    pub const fn socket() -> Policy {
        const SOCKET: Policy = valid(doubling(Duration::from_secs(1), Duration::from_secs(10)));
        SOCKET
    }

    /// 600 s, 1200 s, 2400 s, then 3600 s; at least 30 s; ±20 % on waits after a failure only.
    #[must_use]
    pub const fn mail() -> Policy {
        const MAIL: Policy = valid(
            doubling(Duration::from_secs(300), Duration::from_secs(3600))
                .exponent_origin(ExponentOrigin::Failures)
                .exponent_cap(Some(5))
                .min_delay(Duration::from_secs(30))
                .jitter(Jitter::symmetric(0.2).on_failures_only()),
        );
        MAIL
    }

    /// Claiming a job: 100 ms, 200 ms, then 400 ms; no jitter.
    #[must_use]
    pub const fn jobs_claim() -> Policy {
        const CLAIM: Policy = valid(doubling(
            Duration::from_millis(100),
            Duration::from_millis(400),
        ));
        CLAIM
    }

    /// Retrying a failed job: 1 s, 2 s, 4 s and so on up to 60 s; no jitter.
    #[must_use]
    pub const fn jobs_retry() -> Policy {
        const RETRY: Policy = valid(doubling(Duration::from_secs(1), Duration::from_secs(60)));
        RETRY
    }

    /// Retrying a request: 100 ms, 200 ms, 400 ms and so on up to 10 s, with full jitter.
    #[must_use]
    pub const fn retry() -> Policy {
        const RETRY: Policy = valid(Policy::exponential(
            Duration::from_millis(100),
            Duration::from_secs(10),
        ));
        RETRY
    }

    /// Two looks after 2 s each to confirm the failure; from then on the interval × 2, × 4, × 8 and
    /// so on up to 60 min, or the interval where that is longer; ±20 % on every wait.
    ///
    /// Once the failure is confirmed, a failing target is never visited more often than a healthy
    /// one.
    #[must_use]
    pub const fn hardened() -> Policy {
        const HARDENED: Policy = valid(Policy::builder().floor(Floor::FastConfirm {
            count: 2,
            delay: Duration::from_secs(2),
        }));
        HARDENED
    }
}

const fn doubling(base: Duration, longest: Duration) -> Builder {
    Policy::exponential(base, longest).jitter(Jitter::NONE)
}

/// Called at compile time only, where a contradiction is an error of the build.
const fn valid(builder: Builder) -> Policy {
    match builder.build() {
        Ok(policy) => policy,
        Err(_) => panic!("a preset contradicts itself"),
    }
}

//! What a user sets is what holds.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use common::{Act, Puppet, core_on, definition, id, next_record};
use monitor_core::Settings;
use monitor_core::backoff::{Jitter, Policy, Retry};
use monitor_core::fault::{Fault, Layer, Reason};
use monitor_core::model::{MemoryStore, Observation, Outcome, Probe, ProbeContext};
use monitor_core::scheduler::Config;
use proptest::prelude::*;
use tokio::time::Instant;

/// Timers are as fine as this, and an attempt and its deadline have one each.
const SLACK: Duration = Duration::from_millis(5);

/// Tries again and again within the time that a check has; each attempt takes this long and fails.
struct Retries {
    attempt: Duration,
    /// When each attempt began, and the time that the check had then.
    begun: Mutex<Vec<(Instant, Duration)>>,
}

#[async_trait]
impl Probe for Retries {
    fn kind(&self) -> &'static str {
        "retries"
    }

    fn target(&self) -> String {
        "none".into()
    }

    async fn check(&self, context: &ProbeContext) -> Observation {
        let checked = Instant::now();
        let retry = Retry::builder(Policy::socket())
            .unlimited_attempts()
            .min_attempt(self.attempt + SLACK)
            .build()
            .unwrap();
        let attempt = || async {
            let left = context.timeout.saturating_sub(checked.elapsed());
            self.begun.lock().unwrap().push((Instant::now(), left));
            tokio::time::sleep(self.attempt).await;
            Err::<(), _>("refused")
        };
        let failed = retry.call(attempt).within(context.timeout).run().await;
        let fault = Fault::new(Layer::Connect, Reason::Refused);
        Observation::fault(fault.with_detail(failed.unwrap_err().to_string()))
    }
}

fn paused() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// OPS-26: whatever interval and timeout a user sets: the probe is told that timeout, one that
    /// never answers is cut off at it exactly, and due times are that interval apart.
    #[test]
    fn interval_and_timeout_are_those_of_the_user(
        interval in 100u64..100_000,
        timeout in prop::option::of(1u64..200_000),
        answers in any::<bool>(),
    ) {
        let (interval, timeout) = (Duration::from_millis(interval), timeout.map(Duration::from_millis));
        let allowed = timeout.unwrap_or(interval.min(Duration::from_secs(30)));
        let (record, next) = paused().block_on(async {
            let core = core_on(Arc::new(MemoryStore::new())).await;
            let mut events = core.subscribe();
            let act = if answers { Act::Up } else { Act::Never };
            let mut wanted = definition("a", &Puppet::new(act));
            wanted.settings = Settings {
                interval,
                timeout,
                backoff: Policy::builder().jitter(Jitter::NONE).build().unwrap(),
                breaker: None,
                ..Settings::default()
            };
            let settings = wanted.settings.clone();
            core.define(wanted).await.unwrap();
            let (record, _) = next_record(&mut events).await;
            let shown = core.view(&id("a")).unwrap().settings;
            assert_eq!((&shown, shown.effective_timeout()), (&settings, allowed));
            (record, next_record(&mut events).await.0)
        });
        if answers {
            prop_assert_eq!(record.outcome(), Outcome::Up);
            let gap = u128::try_from(next.due_unix_ms - record.due_unix_ms).unwrap();
            // The first look comes at once; from then on it is the grid's.
            prop_assert!(gap > 0 && gap <= 2 * interval.as_millis());
            prop_assert_eq!(next.interval_ms, i64::try_from(interval.as_millis()).unwrap());
        } else {
            prop_assert_eq!((record.outcome(), record.took), (Outcome::Down, Some(allowed)));
        }
    }

    /// OPS-26: retries within a check keep to its timeout: none begins that has not its time left,
    /// and the check is over before it would be cut off.
    #[test]
    fn retries_keep_within_the_timeout(timeout in 1u64..60_000, attempt in 1u64..10_000) {
        let (timeout, attempt) = (Duration::from_millis(timeout), Duration::from_millis(attempt));
        let probe = Arc::new(Retries { attempt, begun: Mutex::default() });
        let record = paused().block_on(async {
            let core = core_on(Arc::new(MemoryStore::new())).await;
            let mut events = core.subscribe();
            let mut wanted = definition("a", &Puppet::new(Act::Up));
            wanted.probe = Arc::clone(&probe) as _;
            wanted.settings.interval = Duration::from_secs(3600);
            wanted.settings.timeout = Some(timeout);
            core.define(wanted).await.unwrap();
            next_record(&mut events).await.0
        });
        prop_assert!(record.took.unwrap() <= timeout);
        let begun = probe.begun.lock().unwrap();
        prop_assert!(!begun.is_empty(), "the first is made in any case");
        for (_, left) in &begun[1..] {
            prop_assert!(*left >= attempt, "{left:?}");
        }
        let reason = record.fault().unwrap().reason();
        if attempt + SLACK <= timeout {
            prop_assert_eq!(reason, Reason::Refused, "over before it is cut off");
        } else if attempt > timeout {
            prop_assert_eq!(reason, Reason::Timeout);
        }
    }
}

/// The defaults as the README has them.
fn documented() -> String {
    let settings = Settings::default();
    let config = Config::default();
    let breaker = settings.breaker.as_ref().unwrap();
    let rows = [
        ("`Settings::interval`", format!("{:?}", settings.interval)),
        (
            "`Settings::timeout`",
            format!(
                "the interval, {:?} at most",
                Settings {
                    interval: Duration::MAX,
                    ..Settings::default()
                }
                .effective_timeout()
            ),
        ),
        (
            "`Settings::backoff`",
            match settings.backoff == Policy::hardened() {
                true => "the preset `hardened`".to_owned(),
                false => "another".to_owned(),
            },
        ),
        (
            "`Settings::breaker`",
            format!(
                "the preset `hardened`: open after {} failures in a row",
                breaker.failure_threshold(),
            ),
        ),
        (
            "`Settings::trigger_resets_backoff`",
            settings.trigger_resets_backoff.to_string(),
        ),
        ("`Settings::class`", settings.class.as_str().to_owned()),
        (
            "`Settings::by_category`",
            match settings.by_category {
                None => "none: whatever failed, the backoff says".to_owned(),
                Some(_) => "some".to_owned(),
            },
        ),
        (
            "`Settings::maintenance`",
            match settings.maintenance == Default::default() {
                true => "none".to_owned(),
                false => "some".to_owned(),
            },
        ),
        (
            "`Builder::max_concurrent`",
            config.max_concurrent.to_string(),
        ),
        ("`Builder::saturation`", format!("{:?}", config.saturation)),
        (
            "`Builder::cleanup_grace`",
            format!("{:?}", config.cleanup_grace),
        ),
    ];
    let mut table = String::from("| setting | default |\n|---|---|\n");
    for (setting, default) in rows {
        writeln!(table, "| {setting} | {default} |").unwrap();
    }
    table
}

/// OPS-40: the defaults stand in one place, and the table of them in the README is what that place
/// says. Where it is not, this says what it would have to be.
#[test]
fn the_documented_defaults_are_those_of_the_code() {
    let readme = include_str!("../README.md");
    let expected = documented();
    assert!(
        readme.contains(&expected),
        "the README wants this table:\n{expected}"
    );
}

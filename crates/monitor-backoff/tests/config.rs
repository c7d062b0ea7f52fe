//! Configuration as files write it: what is read, and how a mistake is named.

use std::time::Duration;

use monitor_backoff::{
    Base, Cap, ExponentOrigin, Floor, Jitter, Policy, Retry, RetryBudget, Schedule,
    config::{BudgetConfig, ConfigError, PolicyConfig, RetryConfig},
};

fn read(text: &str) -> PolicyConfig {
    toml::from_str(text).expect("readable")
}

fn policy(text: &str) -> Result<Policy, ConfigError> {
    Policy::try_from(&read(text))
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// ROB-44, ROB-45, ROB-46, ROB-47: every setting has a key.
#[test]
fn every_setting_can_be_written() {
    let written = policy(
        r#"
        schedule = { exponential = { base_ms = 250, factor = 1.5 } }
        exponent_origin = "failures_minus_one"
        exponent_cap = 7
        min_delay_ms = 20
        floor = "absolute"
        cap = { fixed_ms = 60_000 }
        jitter = { symmetric = 0.1 }
        jitter_normal_interval = false
        "#,
    );
    let built = Policy::builder()
        .schedule(Schedule::Exponential {
            base: Base::Fixed(millis(250)),
            factor: 1.5,
        })
        .exponent_origin(ExponentOrigin::FailuresMinusOne)
        .exponent_cap(Some(7))
        .min_delay(millis(20))
        .floor(Floor::Absolute)
        .cap(Cap::Fixed(millis(60_000)))
        .jitter(Jitter::symmetric(0.1).on_failures_only())
        .build()
        .expect("valid");
    assert_eq!(written, Ok(built));
}

/// ROB-96: presets by name, and the other kinds of each setting.
#[test]
fn presets_and_what_differs_from_them() {
    assert_eq!(policy(""), Ok(Policy::hardened()));
    for name in Policy::PRESETS {
        let preset = Policy::preset(name).expect("a known preset");
        assert_eq!(policy(&format!("preset = {name:?}")), Ok(preset));
    }
    let policy = policy(
        r#"
        preset = "gate2"
        schedule = { steps_ms = [100, 500] }
        floor = { fast_confirm = { count = 1, delay_ms = 200 } }
        cap = { interval_or_ms = 900 }
        jitter = "none"
        "#,
    )
    .expect("valid");
    let waits = [1, 2, 3, 4].map(|failures| policy.nominal(failures, millis(300)).as_millis());
    assert_eq!(waits, [200, 300, 500, 500]);
}

/// ROB-46: a key that does not exist and a value out of range are errors that name it.
#[test]
fn mistakes_are_named() {
    let unreadable = |text: &str| {
        let error = toml::from_str::<PolicyConfig>(text).expect_err("a mistake");
        error.message().to_owned()
    };
    assert!(unreadable("cap_ms = 1").contains("unknown field `cap_ms`"));
    let deep = unreadable("schedule = { linear = { step_ms = 1, setp_ms = 2 } }");
    assert!(deep.contains("setp_ms"), "{deep}");
    let refused = |text: &str| policy(text).expect_err("refused").to_string();
    assert_eq!(
        refused("schedule = { exponential = { factor = nan } }"),
        "policy: schedule: factor is NaN; it must be 1.01 to 100 (a wait that does not grow is a \
         fixed schedule)"
    );
    assert_eq!(
        refused("jitter = { symmetric = 20.0 }"),
        "policy: jitter: ratio is 20; it must be 0 to 1, where 0.2 means ±20 %"
    );
    assert_eq!(
        refused("preset = 'fast'"),
        "preset is \"fast\"; it must be one of gate2, monitor, socket, mail, jobs_claim, \
         jobs_retry, retry, hardened"
    );
    let zero: RetryConfig = toml::from_str("max_attempts = 0").expect("readable");
    let error = Retry::try_from(&zero).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "retry: max_attempts is zero; it must be more"
    );
    let none: BudgetConfig = toml::from_str("capacity = 0").expect("readable");
    let error = RetryBudget::try_from(&none).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "budget: capacity is 0; it must be 1 to 1000000"
    );
}

/// ROB-96: what was read can be written and read again.
#[test]
fn a_configuration_survives_a_round_trip() {
    let text = r#"
        max_attempts = 4
        total_ms = 5000
        min_attempt_ms = 10
        max_push_back_ms = 900

        [policy]
        schedule = { decorrelated = { base_ms = 50, factor = 3.0 } }
        jitter = "full"

        [budget]
        ratio_per_mille = 50
        min_per_second = 1
        capacity = 10
    "#;
    let config: RetryConfig = toml::from_str(text).expect("readable");
    let json = serde_json::to_string(&config).expect("writable");
    assert_eq!(
        serde_json::from_str::<RetryConfig>(&json).ok(),
        Some(config.clone())
    );
    let retry = Retry::try_from(&config).expect("valid");
    let stats = retry.budget().expect("a budget").stats();
    assert_eq!((stats.balance_milli, stats.capacity_milli), (1000, 10_000));
}

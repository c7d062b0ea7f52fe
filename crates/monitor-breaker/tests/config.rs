//! What the builder refuses, and what the presets are.

use std::time::Duration;

use monitor_breaker::{Breaker, Config, ConfigError};

#[test]
fn zero_is_refused_by_name() {
    let refused = |builder: monitor_breaker::Builder| builder.build().expect_err("zero");
    let zero = |field| ConfigError::ZeroCount { field };
    assert_eq!(
        refused(Config::builder().failure_threshold(0)),
        zero("failure_threshold")
    );
    assert_eq!(
        refused(Config::builder().success_threshold(0)),
        zero("success_threshold")
    );
    assert_eq!(
        refused(Config::builder().half_open_trials(0)),
        zero("half_open_trials")
    );
    let zero = |field| ConfigError::ZeroDuration { field };
    let none = Duration::ZERO;
    assert_eq!(
        refused(Config::builder().trial_deadline(none)),
        zero("trial_deadline")
    );
    assert_eq!(
        refused(Config::builder().open_duration(none)),
        zero("open_duration")
    );
    assert_eq!(
        zero("open_duration").to_string(),
        "open_duration is 0 s; it must be longer"
    );
}

/// ROB-13, ROB-14, ROB-20: the defaults and the presets are valid.
#[test]
fn presets_are_valid() {
    for config in [Config::hardened(), Config::mail()] {
        assert_eq!(config.to_builder().build().as_ref(), Ok(&config));
    }
    assert_eq!(Config::default(), Config::hardened());
    assert_eq!(Config::builder().build(), Ok(Config::hardened()));
}

/// ROB-14: the preset of 60 s means 60 s every time; the default grows, and is never below 60 s.
#[test]
fn open_intervals_of_the_presets() {
    let intervals = |config: Config| {
        let (breaker, mut now) = (Breaker::new(config), Duration::ZERO);
        [(); 6].map(|()| {
            breaker.trip(now);
            let wait = breaker.retry_after(now).expect("open");
            now += wait;
            wait.as_secs()
        })
    };
    assert_eq!(intervals(Config::mail()), [60; 6]);
    let bounds = [
        (60, 72),
        (96, 144),
        (192, 288),
        (384, 576),
        (480, 600),
        (480, 600),
    ];
    for (wait, (low, high)) in intervals(Config::hardened()).into_iter().zip(bounds) {
        assert!(
            (low..=high).contains(&wait),
            "{wait} s is not in {low}..={high} s"
        );
    }
}

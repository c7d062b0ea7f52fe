//! What the builder refuses, and what the presets are.

use std::time::Duration;

use monitor_breaker::{Breaker, Builder, Config, ConfigError, Trip};

fn refused(builder: Builder) -> String {
    builder.build().expect_err("to be refused").to_string()
}

/// Three settings by name, each with what sets it.
type Setters<T> = [(&'static str, fn(T) -> Builder); 3];

fn windowed() -> Builder {
    Config::builder().count_window(100)
}

/// ROB-13: a number that is 0 or too large is refused by name, with its range.
#[test]
fn counts_out_of_range_are_refused() {
    let at_least_1 = |field| format!("{field} is 0; it must be at least 1");
    let zeros = [
        (Config::builder().failure_threshold(0), "failure_threshold"),
        (Config::builder().success_threshold(0), "success_threshold"),
        (Config::builder().half_open_trials(0), "half_open_trials"),
        (windowed().minimum_calls(0), "minimum_calls"),
    ];
    for (builder, field) in zeros {
        assert_eq!(refused(builder), at_least_1(field));
    }
    for calls in [0, 1_000_001, u32::MAX] {
        assert_eq!(
            refused(Config::builder().count_window(calls)),
            format!("count_window is {calls}; it must be 1 to 1000000")
        );
    }
}

/// ROB-13: NaN, infinity, negative numbers, 0 and more than all are no share.
#[test]
fn shares_out_of_range_are_refused() {
    let setters: Setters<f64> = [
        ("failure_rate", |share| windowed().failure_rate(share)),
        ("slow_call_rate", |share| {
            let slow = windowed().slow_call_threshold(Duration::from_secs(1));
            slow.slow_call_rate(share)
        }),
        ("ramp_from", |share| Config::builder().ramp_from(share)),
    ];
    for (field, with) in setters {
        for share in [
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            -0.5,
            -0.0,
            0.0,
            1e-9,
            1.000_1,
            f64::MAX,
        ] {
            let expected = format!("{field} is {share}; it must be 0.000001 to 1");
            assert_eq!(refused(with(share)), expected);
        }
        for share in [0.000_001, 0.5, 1.0] {
            assert!(with(share).build().is_ok(), "{field} {share}");
        }
    }
}

/// ROB-14: a duration of zero, or one that overflows, is refused by name, with its range.
#[test]
fn durations_out_of_range_are_refused() {
    let setters: Setters<Duration> = [
        ("trial_deadline", |d| Config::builder().trial_deadline(d)),
        ("open_duration", |d| Config::builder().open_duration(d)),
        ("slow_call_threshold", |d| {
            Config::builder().slow_call_threshold(d)
        }),
    ];
    let year = Duration::from_secs(365 * 86_400);
    for (field, with) in setters {
        for value in [
            Duration::ZERO,
            year + Duration::from_nanos(1),
            Duration::MAX,
        ] {
            let expected = format!("{field} is {value:?}; it must be above 0 s, to 365 days");
            assert_eq!(refused(with(value)), expected);
        }
    }
    let setters: Setters<Duration> = [
        ("healthy_after", |d| Config::builder().healthy_after(d)),
        ("push_back_max", |d| Config::builder().push_back_max(d)),
        ("ramp", |d| Config::builder().ramp(d)),
    ];
    for (field, with) in setters {
        let expected = format!("{field} is {:?}; it must be 0 s to 365 days", Duration::MAX);
        assert_eq!(refused(with(Duration::MAX)), expected);
        assert!(with(Duration::ZERO).build().is_ok());
    }
    for span in [Duration::ZERO, Duration::from_millis(15), Duration::MAX] {
        assert_eq!(
            refused(Config::builder().time_window(span)),
            format!("time_window is {span:?}; it must be 16 ms to 1 day")
        );
    }
}

/// ROB-13: two settings that contradict each other are both named.
#[test]
fn contradictions_name_both_settings() {
    assert_eq!(
        refused(windowed().minimum_calls(101)),
        "minimum_calls is 101 and count_window is 100; \
         the window must hold at least the minimum of calls"
    );
    assert_eq!(
        refused(Config::builder().failure_rate(0.25)),
        "failure_rate is 0.25 and failure_threshold is 5; \
         a rate needs count_window or time_window instead"
    );
    assert_eq!(
        refused(windowed().slow_call_rate(0.5)),
        "slow_call_rate is 0.5 and slow_call_threshold is not set; \
         a rate of slow calls needs the threshold from which a call is slow"
    );
    let minute = Duration::from_secs(60);
    assert_eq!(
        refused(windowed().slow_call_threshold(minute)),
        "trial_deadline is 60s and slow_call_threshold is 60s; \
         a trial must get longer than a slow call takes"
    );
    assert!(matches!(
        Config::builder().minimum_calls(3).build(),
        Err(ConfigError::Contradiction {
            field: "minimum_calls",
            other: "failure_threshold",
            ..
        })
    ));
}

/// ROB-13, ROB-14, ROB-20: the defaults and the presets are valid.
#[test]
fn presets_are_valid() {
    for config in [Config::hardened(), Config::mail(), Config::service()] {
        assert_eq!(config.to_builder().build().as_ref(), Ok(&config));
    }
    assert_eq!(Config::default(), Config::hardened());
    assert_eq!(Config::builder().build(), Ok(Config::hardened()));
    assert_eq!(Config::hardened().trip(), Trip::Consecutive(5));
    assert_eq!(
        Config::service().trip(),
        Trip::Time(Duration::from_secs(10))
    );
}

/// ROB-13: the fewest failures that open a window, as shown to users.
#[test]
fn the_failure_threshold_of_a_window_is_its_fewest_failures() {
    let threshold = |builder: Builder| builder.build().expect("valid").failure_threshold();
    assert_eq!(threshold(Config::builder()), 5);
    assert_eq!(
        threshold(windowed()),
        5,
        "half of the default minimum of 10"
    );
    assert_eq!(threshold(windowed().minimum_calls(7)), 4);
    assert_eq!(threshold(windowed().failure_rate(0.000_001)), 1);
    assert_eq!(threshold(Config::builder().count_window(3)), 2);
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

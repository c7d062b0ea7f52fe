//! Configuration files: units in the names, nothing unknown, contradictions by name.
#![cfg(feature = "serde")]

use std::time::Duration;

use monitor_breaker::{Breaker, Config, Mode, State};

fn refused(text: &str) -> String {
    toml::from_str::<Config>(text)
        .expect_err("refused")
        .to_string()
}

/// ROB-13, ROB-14, ROB-20: every key, in its unit, does what its builder method does.
#[test]
fn every_key_is_read() {
    let config: Config = toml::from_str(
        "time_window_ms = 10_000
         failure_rate = 0.4
         slow_call_rate = 0.8
         slow_call_threshold_ms = 1500
         minimum_calls = 30
         success_threshold = 4
         half_open_trials = 2
         trial_deadline_ms = 20_000
         open_duration_ms = 5_000
         healthy_after_ms = 30_000
         push_back_max_ms = 600_000
         ramp_ms = 10_000
         ramp_from = 0.2
         mode = 'shadow'
         seed = 7",
    )
    .expect("valid");
    let built = Config::builder()
        .time_window(Duration::from_secs(10))
        .failure_rate(0.4)
        .slow_call_rate(0.8)
        .slow_call_threshold(Duration::from_millis(1500))
        .minimum_calls(30)
        .success_threshold(4)
        .half_open_trials(2)
        .trial_deadline(Duration::from_secs(20))
        .open_duration(Duration::from_secs(5))
        .healthy_after(Duration::from_secs(30))
        .push_back_max(Duration::from_secs(600))
        .ramp(Duration::from_secs(10))
        .ramp_from(0.2)
        .mode(Mode::Shadow)
        .seed(7)
        .build();
    assert_eq!(Ok(config), built);
    assert_eq!(
        toml::from_str::<Config>("").as_ref(),
        Ok(&Config::hardened())
    );
}

/// ROB-14: the open interval grows from its duration to its longest, spread by its jitter.
#[test]
fn the_open_interval_is_read() {
    let text =
        "failure_threshold = 1\nopen_duration_ms = 1000\nopen_max_ms = 3000\nopen_jitter = 0.0";
    let breaker = Breaker::new(toml::from_str(text).expect("valid"));
    let mut now = Duration::ZERO;
    for expected in [1, 2, 3, 3] {
        breaker.try_acquire(now).expect("admitted").failure(now);
        assert_eq!(breaker.state(now), State::Open);
        let wait = breaker.retry_after(now).expect("open");
        assert_eq!(wait, Duration::from_secs(expected));
        now += wait;
    }
}

/// ROB-13: a key that nobody knows, a value out of range, and two keys that exclude each other.
#[test]
fn what_makes_no_sense_is_refused() {
    assert!(refused("failure_treshold = 3").contains("unknown field `failure_treshold`"));
    assert!(refused("open_duration = 3").contains("unknown field `open_duration`"));
    assert!(refused("ramp_from = nan").contains("ramp_from is NaN; it must be 0.000001 to 1"));
    assert!(refused("open_jitter = 1.5").contains("open_jitter"));
    assert!(refused("mode = 'off'").contains("forced_open"));
    let text = "failure_threshold = 3\ncount_window_calls = 10";
    assert!(refused(text).contains("failure_threshold is 3 and count_window_calls is 10"));
    let text = "minimum_calls = 30\ncount_window_calls = 10";
    assert!(refused(text).contains("minimum_calls is 30 and count_window is 10"));
}

//! What a spec accepts.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use monitor_scheduler::{Completion, Phase, Spec, SpecError, Verdict};

/// PRB-14: an interval that makes no sense is refused, with what would; the original took it, and
/// ran 432 times in half a second.
#[test]
fn an_interval_is_a_tenth_of_a_second_to_thirty_days() {
    let day = Duration::from_secs(86_400);
    for interval in [
        Duration::ZERO,
        Duration::from_millis(99),
        day * 30 + Duration::from_millis(1),
        Duration::MAX,
    ] {
        let refused = Spec::builder(interval).build().unwrap_err();
        assert_eq!(refused, SpecError::IntervalRange { interval });
        assert!(
            refused
                .to_string()
                .ends_with("is outside of 100 ms to 30 d")
        );
    }
    for interval in [Duration::from_millis(100), day * 30] {
        assert_eq!(
            Spec::builder(interval).build().unwrap().interval(),
            interval
        );
    }
    let interval = Duration::from_micros(100_500);
    let refused = Spec::builder(interval).build();
    assert_eq!(refused, Err(SpecError::IntervalFraction { interval }));
}

/// PRB-8: the timeout is the interval, and no more than 30 s, unless set.
#[test]
fn a_timeout_is_the_interval_up_to_thirty_seconds() {
    let spec = |seconds| Spec::builder(Duration::from_secs(seconds));
    assert_eq!(spec(10).build().unwrap().timeout(), Duration::from_secs(10));
    assert_eq!(spec(60).build().unwrap().timeout(), Duration::from_secs(30));
    let long = spec(10).timeout(Duration::from_secs(90)).build().unwrap();
    assert_eq!(long.timeout(), Duration::from_secs(90));
    for timeout in [Duration::ZERO, Spec::MAX_TIMEOUT + Duration::from_millis(1)] {
        let refused = spec(10).timeout(timeout).build();
        assert_eq!(refused, Err(SpecError::TimeoutRange { timeout }));
    }
}

/// PRB-41: the hash of a phase never changes: a restart with a new version moves nothing.
#[test]
fn the_phase_of_an_id_never_changes() {
    assert_eq!(Phase::of(b""), Phase::Hashed(0xefd0_1f60_ba99_2926));
    assert_eq!(Phase::of(b"web"), Phase::Hashed(0x8b8f_9c35_7cbd_25a9));
}

/// PRB-30: an error text is cut between two characters, and has no control characters.
#[test]
fn an_error_text_is_cut() {
    let text = format!("a{}", "é".repeat(400));
    let error = Completion::new(Verdict::Failure).error(text).error.unwrap();
    assert_eq!((error.len(), error.chars().count()), (511, 256));
    let error = Completion::from(Verdict::Failure)
        .error("one\r\ntwo\u{1b}[0m\u{85}")
        .error;
    assert_eq!(error.as_deref(), Some("one  two [0m "));
}

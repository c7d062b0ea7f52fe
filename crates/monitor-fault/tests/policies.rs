//! The policies of the categories, as sequences.

use std::time::Duration;

use monitor_fault::{Category, policy_for};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The delays in seconds after the first failures in a row at an interval of one minute.
fn sequence(category: Category, failures: u32) -> Vec<Option<u64>> {
    let policy = policy_for(category);
    let delay = |failure| policy.delay(failure, secs(60)).map(|delay| delay.as_secs());
    (1..=failures).map(delay).collect()
}

/// ROB-58: network failures are retried soon, then at the interval.
#[test]
fn network_is_retried_aggressively() {
    let expected = [Some(2), Some(5), Some(10), Some(60), Some(60)];
    for category in [Category::Network, Category::Tls, Category::Timeout] {
        assert_eq!(sequence(category, 5), expected, "{category}");
    }
    assert_eq!(
        policy_for(Category::Network).delay(9, secs(7)),
        Some(secs(7))
    );
}

/// ROB-59: one retry, an alert at once, and never more than two tries in any hour, however short
/// the interval: a prober must not lock an account.
#[test]
fn authentication_is_tried_twice_an_hour_at_most() {
    let policy = policy_for(Category::Authentication);
    assert_eq!(policy.alert_after, 1);
    let mut tries = vec![Duration::ZERO];
    let mut now = Duration::ZERO;
    for failure in 1..=50 {
        now += policy.delay(failure, secs(1)).expect("never suspended");
        tries.push(now);
    }
    for start in &tries {
        let hour = *start..*start + secs(3600);
        let inside = tries.iter().filter(|at| hour.contains(at)).count();
        assert!(inside <= 2, "{inside} tries in the hour from {start:?}");
    }
}

/// ROB-60: a wrong configuration is not tried again until somebody acts, and alerts at once.
#[test]
fn configuration_is_suspended() {
    assert_eq!(sequence(Category::Configuration, 3), [None, None, None]);
    assert_eq!(policy_for(Category::Configuration).alert_after, 1);
}

/// ROB-61: names are asked for again at longer intervals, 30 s to 300 s.
#[test]
fn dns_is_retried_moderately() {
    let expected = [Some(30), Some(60), Some(120), Some(300), Some(300)];
    assert_eq!(sequence(Category::Dns, 5), expected);
}

/// ROB-62: a certificate is looked at once a day; a failed handshake is no certificate.
#[test]
fn certificates_are_retried_daily() {
    assert_eq!(
        sequence(Category::Certificate, 2),
        [Some(86_400), Some(86_400)]
    );
    assert_eq!(sequence(Category::Tls, 1), [Some(2)]);
}

/// ROB-56: no category waits less than its interval for ever, and none overflows.
#[test]
fn every_sequence_settles() {
    for category in Category::ALL {
        let policy = policy_for(*category);
        assert_eq!(
            policy.delay(0, secs(60)),
            Some(secs(60)),
            "{category}: no failure, no change"
        );
        let late = policy.delay(u32::MAX, secs(60));
        assert!(
            late.is_none_or(|late| late >= secs(60)),
            "{category}: {late:?}"
        );
        assert!(policy.alert_after >= 1, "{category}");
    }
}

//! The policies of the categories, as sequences.

use std::time::Duration;

use monitor_fault::{
    AlertStep, Category, CategoryPolicy, Fault, Layer, OnSwitch, Policies, Reason, Then, policy_for,
};

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
    assert_eq!(policy.alert_after(), Some(1));
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
    assert_eq!(policy_for(Category::Configuration).alert_after(), Some(1));
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
        let never = *category == Category::Cancelled;
        assert_eq!(policy.alert_after().is_none(), never, "{category}");
    }
}

/// ROB-63: thresholds are a map with defaults: what is set counts for its category, and all
/// others keep theirs.
#[test]
fn thresholds_per_category() {
    let mut policies = Policies::default();
    for category in Category::ALL {
        assert_eq!(*policies.get(*category), policy_for(*category));
    }
    let mut dns = policies.get(Category::Dns).clone();
    dns.alerts = vec![AlertStep {
        failures: 7,
        after: Duration::ZERO,
    }]
    .into();
    policies.set(dns).expect("a sound policy");
    assert_eq!(policies.get(Category::Dns).alert_after(), Some(7));
    let others = Category::ALL.iter().filter(|c| **c != Category::Dns);
    for category in others {
        assert_eq!(*policies.get(*category), policy_for(*category));
    }
    assert_eq!(policies.iter().count(), Category::ALL.len());
}

/// ROB-56: whoever is to blame stays so, whatever a policy says.
#[test]
fn the_verdict_is_not_configured() {
    let mut policies = Policies::default();
    let mut borrowed = policy_for(Category::Resource);
    borrowed.category = Category::Network;
    policies.set(borrowed).expect("a sound policy");
    let network = policies.get(Category::Network);
    assert_eq!(network.verdict, policy_for(Category::Network).verdict);
}

/// ROB-61, INV-FAULT-1: whoever answers for a name cannot put its check off for good: the longest
/// negative TTL of DNS is 136 years.
#[test]
fn no_answer_puts_its_own_check_off() {
    let missing = Fault::new(Layer::Dns, Reason::Nxdomain);
    let forever = missing.with_retry_after(Some(secs(u64::from(u32::MAX))));
    let mut policies = Policies::default();
    let delay = |policies: &Policies| {
        let policy = policies.get(Category::Dns);
        policy.delay_after(&forever, 1, secs(60))
    };
    assert_eq!(delay(&policies), Some(secs(3600)));
    let mut dns = policies.get(Category::Dns).clone();
    dns.asked_at_most = Duration::ZERO;
    policies.set(dns).expect("a sound policy");
    assert_eq!(delay(&policies), Some(secs(30)), "its own retry");
}

/// Bad input: every number out of its range is refused by an error that names field, value and
/// range, and changes nothing.
#[test]
fn bad_numbers_are_refused() {
    const ZERO: Duration = Duration::ZERO;
    let step = |failures, after| AlertStep { failures, after };
    type Change = Box<dyn Fn(&mut CategoryPolicy)>;
    let table: [(Change, &str); 10] = [
        (
            Box::new(|p| p.retries = vec![secs(1), ZERO].into()),
            "dns: retries[1] is 0ns, must be from 100ms to 30 days",
        ),
        (
            Box::new(|p| p.retries = vec![Duration::MAX].into()),
            "dns: retries[0] is 18446744073709551615.999999999s, must be from 100ms to 30 days",
        ),
        (
            Box::new(|p| p.retries = vec![secs(1); 33].into()),
            "dns: retries has 33 entries, may have 32 at most",
        ),
        (
            Box::new(|p| p.then = Then::Every(ZERO)),
            "dns: then.every is 0ns, must be from 100ms to 30 days",
        ),
        (
            Box::new(|p| p.asked_at_most = Duration::from_secs(31 * 86_400)),
            "dns: asked_at_most is 2678400s, must be 30 days at most",
        ),
        (
            Box::new(move |p| p.alerts = vec![step(0, ZERO)].into()),
            "dns: alerts[0].failures is 0, must be 1 at least",
        ),
        (
            Box::new(move |p| p.alerts = vec![step(1, Duration::MAX)].into()),
            "dns: alerts[0].after is 18446744073709551615.999999999s, must be 30 days at most",
        ),
        (
            Box::new(move |p| p.alerts = vec![step(2, ZERO), step(1, ZERO)].into()),
            "dns: alerts[1].failures is less than the one before, must never fall",
        ),
        (
            Box::new(move |p| p.alerts = vec![step(1, secs(2)), step(1, secs(1))].into()),
            "dns: alerts[1].after is less than the one before, must never fall",
        ),
        (
            Box::new(move |p| p.alerts = vec![step(1, ZERO); 17].into()),
            "dns: alerts has 17 entries, may have 16 at most",
        ),
    ];
    let mut policies = Policies::default();
    for (change, expected) in table {
        let mut dns = policy_for(Category::Dns);
        change(&mut dns);
        let error = policies.set(dns).expect_err(expected);
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.category(), Category::Dns);
        assert_eq!(policies, Policies::default());
    }
}

/// A policy past the check is odd, and still neither panics nor hangs.
#[test]
fn odd_policies_are_total() {
    let mut odd = policy_for(Category::Dns);
    odd.retries = vec![Duration::MAX].into();
    odd.then = Then::Every(Duration::MAX);
    odd.on_switch = OnSwitch::Reset;
    odd.alerts = vec![AlertStep {
        failures: 0,
        after: Duration::MAX,
    }]
    .into();
    assert_eq!(odd.delay(u32::MAX, Duration::MAX), Some(Duration::MAX));
    assert_eq!(odd.level(0, Duration::MAX), 0, "no failure, no alert");
    assert_eq!(odd.level(1, Duration::MAX), 1);
}

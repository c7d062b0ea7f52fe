//! Names, faults and policies as JSON and TOML.

use std::time::Duration;

use monitor_fault::{
    AlertChange, AlertStep, Blame, Category, CategoryStreaks, Escalation, Fault, Layer, MAX_DETAIL,
    OnSwitch, Policies, Reason, Then,
};
use proptest::prelude::*;

/// C23: each name is written as it is, and an unknown one is refused with the known ones.
#[test]
fn names() {
    let json = serde_json::to_string(&(Category::RateLimit, Blame::Path)).expect("names");
    assert_eq!(json, r#"["rate_limit","path"]"#);
    let read: (Category, Blame) = serde_json::from_str(&json).expect("names");
    assert_eq!(read, (Category::RateLimit, Blame::Path));
    let error = serde_json::from_str::<Layer>(r#""nowhere""#).expect_err("no layer");
    let text = error.to_string();
    assert!(
        text.starts_with(r#"unknown layer "nowhere"; known are config, local"#),
        "{text}"
    );
    assert!(serde_json::from_str::<Reason>("7").is_err());
}

/// A fault is written as its two names and what it says.
#[test]
fn faults() {
    let fault = Fault::new(Layer::Dns, Reason::Nxdomain)
        .with_detail("no.such.test")
        .with_retry_after(Some(Duration::from_micros(1_500)));
    let json = serde_json::to_string(&fault).expect("a fault");
    let expected =
        r#"{"layer":"dns","reason":"nxdomain","detail":"no.such.test","retry_after_ms":2}"#;
    assert_eq!(json, expected);
    let bare = r#"{"layer":"dns","reason":"nxdomain"}"#;
    let read: Fault = serde_json::from_str(bare).expect("a fault");
    assert_eq!(read, Fault::new(Layer::Dns, Reason::Nxdomain));
    assert_eq!(serde_json::to_string(&read).expect("a fault"), bare);
    for wrong in [
        r#"{"layer":"dns"}"#,
        r#"{"layer":"dns","reason":"nxdomain","blame":"target"}"#,
        r#"{"layer":"dns","reason":"NXDOMAIN"}"#,
        r#"{"layer":"dns","reason":"nxdomain","retry_after_ms":-1}"#,
    ] {
        assert!(serde_json::from_str::<Fault>(wrong).is_err(), "{wrong}");
    }
}

/// PRB-30: what is read is as short and clean as what is made.
#[test]
fn details_from_outside() {
    let long = format!(
        r#"{{"layer":"dns","reason":"other","detail":"\u001b[2J{}"}}"#,
        "x".repeat(10_000)
    );
    let read: Fault = serde_json::from_str(&long).expect("a fault");
    let detail = read.detail().expect("a detail");
    assert!(detail.len() <= MAX_DETAIL && !detail.contains('\u{1b}'));
}

/// ROB-63: what a configuration file does not mention stays as it is.
#[test]
fn policies_from_a_file() {
    let text = r#"
        [network]
        retries_ms = [500, 1000]
        on_switch = "reset"
        asked_at_most_ms = 60000

        [certificate]
        then = { every_ms = 3600000 }
        alerts = [{ failures = 2 }, { failures = 2, after_ms = 60000 }]

        [configuration]
        then = "interval"
    "#;
    let policies: Policies = toml::from_str(text).expect("sound policies");
    let mut expected = Policies::default();
    let mut network = expected.get(Category::Network).clone();
    network.retries = vec![Duration::from_millis(500), Duration::from_secs(1)].into();
    network.on_switch = OnSwitch::Reset;
    network.asked_at_most = Duration::from_secs(60);
    expected.set(network).expect("sound");
    let mut certificate = expected.get(Category::Certificate).clone();
    certificate.then = Then::Every(Duration::from_secs(3600));
    certificate.alerts = [0, 60]
        .map(|after| AlertStep {
            failures: 2,
            after: Duration::from_secs(after),
        })
        .to_vec()
        .into();
    expected.set(certificate).expect("sound");
    let mut configuration = expected.get(Category::Configuration).clone();
    configuration.then = Then::Interval;
    expected.set(configuration).expect("sound");
    assert_eq!(policies, expected);

    let json = serde_json::to_string(&policies).expect("policies");
    assert_eq!(
        serde_json::from_str::<Policies>(&json).expect("what was written"),
        policies
    );
}

/// Bad input: the error names the category, the field, the value and the range.
#[test]
fn bad_policies() {
    for (text, expected) in [
        (
            "[dns]\nretries_ms = [0]",
            "dns: retries[0] is 0ns, must be from 100ms to 30 days",
        ),
        (
            "[dns]\nretries_ms = [-5]",
            "invalid value: integer `-5`, expected u64",
        ),
        (
            "[dns]\nretries_ms = [nan]",
            "invalid type: floating point `NaN`, expected u64",
        ),
        (
            "[dns]\nretries_ms = [inf]",
            "invalid type: floating point `inf`, expected u64",
        ),
        ("[dns]\nthen = { every_ms = 1 }", "dns: then.every is 1ms"),
        (
            "[dns]\nalerts = [{ failures = 0 }]",
            "dns: alerts[0].failures is 0",
        ),
        ("[dns]\nretry_ms = [1000]", "unknown field `retry_ms`"),
        (
            "[dsn]\nretries_ms = [1000]",
            "unknown category \"dsn\"; known are network, dns",
        ),
        (
            "[dns]\non_switch = \"maybe\"",
            "unknown switch rule \"maybe\"; known are keep, reset",
        ),
        ("[dns]\nthen = \"later\"", "unknown variant `later`"),
    ] {
        let error = toml::from_str::<Policies>(text)
            .expect_err(text)
            .to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

/// ROB-65: an alert that was told is not told again after a restart, and goes on from there.
#[test]
fn an_alert_over_a_restart() {
    let policies = Policies::default();
    let at = |minutes: u64| Duration::from_secs(1_800_000_000 + 60 * minutes);
    let mut alert = Escalation::new();
    let told = alert.failure(at(0), Category::Certificate, &policies);
    assert!(matches!(told, Some(AlertChange::Raised { level: 1, .. })));
    alert.silence(at(10));
    let json = serde_json::to_string(&alert).expect("an alert");
    let mut read: Escalation = serde_json::from_str(&json).expect("what was written");
    assert_eq!(read, alert);
    assert_eq!(read.failure(at(20), Category::Certificate, &policies), None);
    assert_eq!(read.next_at(&policies), Some(at(24 * 60)));
    let over = read.success(at(30));
    assert!(matches!(over, Some(AlertChange::Resolved { level: 1, .. })));
}

/// ROB-59: nor is a password tried as if for the first time.
#[test]
fn counts_over_a_restart() {
    let policies = Policies::default();
    let mut streaks = CategoryStreaks::new();
    streaks.failure(Category::Authentication, &policies);
    streaks.failure(Category::Authentication, &policies);
    streaks.failure(Category::Timeout, &policies);
    let json = serde_json::to_string(&streaks).expect("counts");
    let expected = r#"{"failures":{"authentication":2,"timeout":1},"last":"timeout"}"#;
    assert_eq!(json, expected);
    let mut read: CategoryStreaks = serde_json::from_str(&json).expect("what was written");
    assert_eq!(read, streaks);
    assert_eq!(read.failure(Category::Authentication, &policies), 3);
    let full = r#"{"failures":{"dns":4294967295},"last":"dns"}"#;
    let mut full: CategoryStreaks = serde_json::from_str(full).expect("counts");
    assert_eq!(
        full.failure(Category::Dns, &policies),
        u32::MAX,
        "it saturates"
    );
    assert!(serde_json::from_str::<CategoryStreaks>(r#"{"failures":{"dns":-1}}"#).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Every fault comes back as it was written, to the millisecond.
    #[test]
    fn faults_come_back(
        layer in 0..Layer::ALL.len(),
        reason in 0..Reason::ALL.len(),
        detail in proptest::option::of(any::<String>()),
        asked in proptest::option::of(0u64..u64::from(u32::MAX)),
    ) {
        let mut fault = Fault::new(Layer::ALL[layer], Reason::ALL[reason])
            .with_retry_after(asked.map(Duration::from_millis));
        if let Some(detail) = detail {
            fault = fault.with_detail(detail);
        }
        let json = serde_json::to_string(&fault).expect("a fault");
        prop_assert_eq!(serde_json::from_str::<Fault>(&json).expect("what was written"), fault);
    }
}

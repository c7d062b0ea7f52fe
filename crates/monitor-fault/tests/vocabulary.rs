//! The words and what follows from them.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use monitor_backoff::{Class, Disposition, Verdict};
use monitor_fault::{
    Blame, Category, CoarseCategory, Fault, Layer, MAX_DETAIL, Reason, policy_for,
};
use proptest::prelude::*;

fn every_fault() -> impl Iterator<Item = Fault> {
    Layer::ALL
        .iter()
        .flat_map(|layer| Reason::ALL.iter().map(|reason| Fault::new(*layer, *reason)))
}

/// C23: every name is unique, stable `snake_case` and reads back; an unknown one is refused by
/// an error that lists the known ones.
#[test]
fn names_read_back() {
    fn check<T>(all: &[T])
    where
        T: Copy + fmt::Display + fmt::Debug + PartialEq + std::str::FromStr<Err: fmt::Display>,
    {
        let names: HashSet<String> = all.iter().map(T::to_string).collect();
        assert_eq!(names.len(), all.len(), "two values share a name: {all:?}");
        for value in all {
            let name = value.to_string();
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{name}"
            );
            assert_eq!(name.parse::<T>().ok(), Some(*value));
            assert!(
                name.to_uppercase().parse::<T>().is_err(),
                "{name} in capitals was accepted"
            );
        }
        let error = match "nonsense".parse::<T>() {
            Ok(value) => panic!("read as {value}"),
            Err(error) => error.to_string(),
        };
        assert!(names.iter().all(|name| error.contains(name)), "{error}");
    }
    check(Category::ALL);
    check(CoarseCategory::ALL);
    check(Layer::ALL);
    check(Reason::ALL);
    check(Blame::ALL);
}

/// ROB-53, C23: every category can be made from a layer and a reason, and every older scheme's
/// kind is reached by the mapping.
#[test]
fn every_category_is_reached() {
    let reached: HashSet<Category> = every_fault().map(|fault| fault.category()).collect();
    let all: HashSet<Category> = Category::ALL.iter().copied().collect();
    assert_eq!(reached, all);

    let coarse: HashSet<CoarseCategory> = all.iter().filter_map(|c| c.coarse()).collect();
    assert_eq!(coarse, CoarseCategory::ALL.iter().copied().collect());

    let labels: HashSet<&str> = all.iter().map(|c| c.legacy_label()).collect();
    let known = [
        "network",
        "dns",
        "auth",
        "cert",
        "timeout",
        "check_failed",
        "unknown",
    ];
    assert_eq!(labels, known.into_iter().collect());
}

/// C23: where an older scheme has a word for a category, both agree on it.
#[test]
fn older_schemes_are_mapped_by_table() {
    let table = [
        (Category::Network, Some(CoarseCategory::Network), "network"),
        (Category::Dns, Some(CoarseCategory::Dns), "dns"),
        (Category::Tls, Some(CoarseCategory::Network), "network"),
        (
            Category::Certificate,
            Some(CoarseCategory::Certificate),
            "cert",
        ),
        (
            Category::Authentication,
            Some(CoarseCategory::Authentication),
            "auth",
        ),
        (
            Category::Configuration,
            Some(CoarseCategory::Configuration),
            "unknown",
        ),
        (Category::Protocol, None, "check_failed"),
        (Category::Assertion, None, "check_failed"),
        (Category::Timeout, Some(CoarseCategory::Network), "timeout"),
        (
            Category::RateLimit,
            Some(CoarseCategory::Network),
            "check_failed",
        ),
        (Category::Resource, None, "unknown"),
        (Category::Cancelled, None, "unknown"),
        (Category::Internal, None, "unknown"),
    ];
    let mapped = table.map(|(category, ..)| category);
    assert_eq!(mapped, Category::ALL, "the table misses a category");
    for (category, coarse, label) in table {
        assert_eq!(
            (category.coarse(), category.legacy_label()),
            (coarse, label),
            "{category}"
        );
    }
}

/// ROB-54: whatever the prober is out of is its own fault at every layer, counted by no breaker.
#[test]
fn the_probers_own_limits_are_never_the_targets_fault() {
    let own = [
        Reason::DescriptorLimit,
        Reason::PortsExhausted,
        Reason::BufferLimit,
        Reason::OutOfMemory,
        Reason::NetworkDown,
        Reason::Stalled,
        Reason::PermissionDenied,
        Reason::Cancelled,
        Reason::Panicked,
        Reason::Invalid,
        Reason::Unsupported,
    ];
    for layer in Layer::ALL {
        for reason in own {
            let fault = Fault::new(*layer, reason);
            assert_eq!(fault.blame(), Blame::Prober, "{fault}");
            assert_eq!(fault.verdict(), Verdict::Ignore, "{fault}");
        }
    }
    let seen = [
        Reason::Refused,
        Reason::CertExpired,
        Reason::Status,
        Reason::Malformed,
    ];
    for reason in seen {
        assert_eq!(
            Fault::new(Layer::Connect, reason).blame(),
            Blame::Target,
            "{reason}"
        );
    }
}

/// ROB-56: the policy and the fault give a breaker the same verdict, whatever the fault.
#[test]
fn policy_and_fault_agree_on_the_verdict() {
    for fault in every_fault() {
        let policy = policy_for(fault.category());
        assert_eq!(policy.category, fault.category());
        assert_eq!(policy.verdict, fault.verdict(), "{fault}");
    }
}

/// ROB-97: what a retry makes of a fault: refused for good, sent to the right budget, or delayed
/// as the other side asks.
#[test]
fn dispositions() {
    for fault in every_fault() {
        let is_permanent = fault.disposition() == Disposition::Permanent;
        assert_eq!(is_permanent, !fault.is_retryable(), "{fault}");
    }
    let table = [
        (Layer::Connect, Reason::Refused, Class::Connect),
        (Layer::Dns, Reason::Servfail, Class::Connect),
        (Layer::Connect, Reason::Timeout, Class::Connect),
        (Layer::Response, Reason::Timeout, Class::Transient),
        (Layer::Response, Reason::Reset, Class::Transient),
        (Layer::Response, Reason::ServerError, Class::Transient),
        (Layer::Response, Reason::RateLimited, Class::Throttled),
        (Layer::Local, Reason::DescriptorLimit, Class::Local),
        (Layer::Process, Reason::Panicked, Class::Transient),
    ];
    let asked = Duration::from_secs(7);
    for (layer, reason, class) in table {
        let fault = Fault::new(layer, reason);
        assert_eq!(fault.disposition(), Disposition::Retry(class), "{fault}");
        let fault = fault.with_retry_after(Some(asked));
        let after = Disposition::RetryAfter(class, asked);
        assert_eq!(fault.disposition(), after, "{fault}");
    }
}

/// ROB-54: the HTTP rows of the table.
#[test]
fn http_status_to_fault() {
    let table = [
        (401, Reason::Unauthorized, Category::Authentication),
        (403, Reason::Forbidden, Category::Authentication),
        (407, Reason::Unauthorized, Category::Authentication),
        (404, Reason::Status, Category::Assertion),
        (429, Reason::RateLimited, Category::RateLimit),
        (500, Reason::ServerError, Category::Assertion),
        (503, Reason::ServerError, Category::Assertion),
        (599, Reason::ServerError, Category::Assertion),
        (301, Reason::Status, Category::Assertion),
        (200, Reason::Status, Category::Assertion),
        (0, Reason::Status, Category::Assertion),
        (u16::MAX, Reason::Status, Category::Assertion),
    ];
    for (status, reason, category) in table {
        let fault = Fault::from_http_status(status);
        assert_eq!(
            (fault.layer(), fault.reason()),
            (Layer::Response, reason),
            "{status}"
        );
        assert_eq!(fault.category(), category, "{status}");
        assert_eq!(
            fault.detail(),
            Some(format!("HTTP status {status}").as_str())
        );
    }
    assert!(Fault::from_http_status(503).is_retryable());
    assert!(!Fault::from_http_status(404).is_retryable());
    assert!(!Fault::from_http_status(401).is_retryable());
}

/// ROB-54: the SMTP rows of the table. Refused credentials were once classified as network, since
/// the library's exception is an operating system error by inheritance.
#[test]
fn smtp_reply_to_fault() {
    let category = |code| Fault::from_smtp_reply(code).category();
    assert_eq!(category(535), Category::Authentication);
    assert_eq!(category(530), Category::Authentication);
    assert_eq!(category(550), Category::Assertion);
    assert_eq!(category(454), Category::Assertion);
    assert_eq!(category(421), Category::RateLimit);
    assert!(
        Fault::from_smtp_reply(454).is_retryable(),
        "454 is a temporary failure"
    );
    assert!(!Fault::from_smtp_reply(550).is_retryable());
}

/// ROB-54: the rows of SQLSTATEs, and anything else that may come in their place.
#[test]
fn sqlstate_to_fault() {
    let table = [
        ("28P01", Reason::Unauthorized, Category::Authentication),
        ("28000", Reason::Unauthorized, Category::Authentication),
        ("42501", Reason::Forbidden, Category::Authentication),
        ("53300", Reason::RateLimited, Category::RateLimit),
        ("53100", Reason::ServerError, Category::Assertion),
        ("57014", Reason::Timeout, Category::Timeout),
        ("57P01", Reason::Closed, Category::Network),
        ("57P02", Reason::Closed, Category::Network),
        ("57P05", Reason::Closed, Category::Network),
        ("57P03", Reason::ServerError, Category::Assertion),
        ("57P04", Reason::Status, Category::Assertion),
        ("08006", Reason::Closed, Category::Network),
        ("08P01", Reason::Malformed, Category::Protocol),
        ("40001", Reason::ServerError, Category::Assertion),
        ("40P01", Reason::ServerError, Category::Assertion),
        ("55P03", Reason::ServerError, Category::Assertion),
        ("XX000", Reason::ServerError, Category::Assertion),
        ("3D000", Reason::Status, Category::Assertion),
        ("42P01", Reason::Status, Category::Assertion),
        ("", Reason::Status, Category::Assertion),
        ("2", Reason::Status, Category::Assertion),
        ("\u{fffd}8000", Reason::Status, Category::Assertion),
    ];
    for (code, reason, category) in table {
        let fault = Fault::from_sqlstate(code);
        assert_eq!(
            (fault.reason(), fault.category()),
            (reason, category),
            "{code}"
        );
        assert_eq!(fault.blame(), Blame::Target, "{code}");
    }
    assert!(Fault::from_sqlstate("57P03").is_retryable());
    assert!(!Fault::from_sqlstate("28P01").is_retryable());
    assert!(!Fault::from_sqlstate("3D000").is_retryable());
    let long = Fault::from_sqlstate(&"9".repeat(1 << 20));
    assert_eq!(long.detail().map(str::len), Some(MAX_DETAIL));
}

/// PRB-30: a megabyte of error text is cut, and control characters do not reach a page.
#[test]
fn details_are_short_and_clean() {
    let fault = Fault::new(Layer::Response, Reason::Other).with_detail("x".repeat(1 << 20));
    assert_eq!(fault.detail().map(str::len), Some(MAX_DETAIL));
    let fault = fault.with_detail("\u{1b}[2J a\r\n\tb\u{202e}c\0");
    assert_eq!(fault.detail(), Some("[2J a b c"));
    assert_eq!(fault.with_detail("\n \t").detail(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Any text becomes a detail of at most 512 bytes without control characters, and
    /// cleaning it again changes nothing.
    #[test]
    fn any_detail_is_bounded(text in any::<String>(), again in 0usize..400) {
        let fault = Fault::new(Layer::Response, Reason::Other).with_detail(text.repeat(again));
        if let Some(detail) = fault.detail() {
            prop_assert!(!detail.is_empty() && detail.len() <= MAX_DETAIL);
            prop_assert!(!detail.chars().any(char::is_control));
            prop_assert_eq!(fault.clone().with_detail(detail), fault.clone());
        }
    }

    /// ROB-61: a negative TTL lengthens the delay, by an hour at most, and never shortens it.
    #[test]
    fn asked_waits_are_honoured(
        category in 0..Category::ALL.len(),
        failures in 0u32..20,
        interval in 0u64..100_000,
        asked in proptest::option::of(0u64..100_000),
    ) {
        let policy = policy_for(Category::ALL[category]);
        let interval = Duration::from_secs(interval);
        let asked = asked.map(Duration::from_secs);
        let fault = Fault::new(Layer::Dns, Reason::Nxdomain).with_retry_after(asked);
        let own = policy.delay(failures, interval);
        let asked = asked.unwrap_or_default().min(Duration::from_secs(3600));
        let expected = own.map(|own| own.max(asked));
        prop_assert_eq!(policy.delay_after(&fault, failures, interval), expected);
    }
}

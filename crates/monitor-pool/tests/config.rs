//! Settings that cannot be meant.
#![allow(clippy::unwrap_used, reason = "helpers outside of #[test] functions")]

mod common;

use std::time::Duration;

use common::{Script, Scripted};
use monitor_pool::{Builder, ConfigError};

type Change = fn(Builder<Scripted>) -> Builder<Scripted>;

fn error(change: impl FnOnce(Builder<Scripted>) -> Builder<Scripted>) -> String {
    let built = change(Script::default().builder()).build();
    built.map(drop).unwrap_err().to_string()
}

/// STB-57: zero where something has to be more, named with its field.
#[test]
fn inv_pool_7_zeros_are_refused() {
    const NONE: Duration = Duration::ZERO;
    let cases: [(&str, Change); 13] = [
        ("max_size", |builder| builder.max_size(0)),
        ("max_waiters", |builder| builder.max_waiters(0)),
        ("acquire_timeout", |builder| builder.acquire_timeout(NONE)),
        ("connect_timeout", |builder| builder.connect_timeout(NONE)),
        ("check_timeout", |builder| builder.check_timeout(NONE)),
        ("close_timeout", |builder| builder.close_timeout(NONE)),
        ("offer_grace", |builder| builder.offer_grace(NONE)),
        ("connect_limit", |builder| builder.connect_limit(0)),
        ("max_uses", |builder| builder.max_uses(Some(0))),
        ("idle_timeout", |builder| builder.idle_timeout(Some(NONE))),
        ("max_lifetime", |builder| builder.max_lifetime(Some(NONE))),
        ("keepalive", |builder| builder.keepalive(Some(NONE))),
        ("leak_after", |builder| builder.leak_after(Some(NONE))),
    ];
    for (field, change) in cases {
        let error = error(change);
        assert!(error.starts_with(&format!("{field} is 0;")), "{error}");
    }
}

/// STB-57: two settings that exclude each other, both named.
#[test]
fn inv_pool_7_contradictions_name_both_fields() {
    let secs = Duration::from_secs;
    let cases = [
        (
            error(|b| b.max_size(2).min_idle(3)),
            "min_idle is 3, but max_size is 2",
        ),
        (
            error(|b| b.max_size(2).connect_limit(3)),
            "connect_limit is 3, but max_size is 2",
        ),
        (
            error(|b| b.idle_timeout(Some(secs(9))).max_lifetime(Some(secs(9)))),
            "idle_timeout is 9s, but max_lifetime is 9s",
        ),
        (
            error(|b| b.keepalive(Some(secs(700)))),
            "keepalive is 700s, but idle_timeout is 600s",
        ),
        (
            error(|b| b.offer_grace(secs(9)).acquire_timeout(secs(9))),
            "offer_grace is 9s, but acquire_timeout is 9s",
        ),
    ];
    for (error, expected) in cases {
        assert!(error.starts_with(expected), "{error}");
    }
}

/// Ratios and sizes that are none.
#[test]
fn inv_pool_7_numbers_out_of_range() {
    for jitter in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        assert!(error(|b| b.lifetime_jitter(jitter)).starts_with("lifetime_jitter is "));
    }
    assert!(error(|b| b.max_size(usize::MAX)).contains("at most 1000000"));
    let pool = Script::default()
        .builder()
        .max_size(4)
        .min_idle(4)
        .build()
        .unwrap();
    assert!(matches!(
        pool.resize(usize::MAX),
        Err(ConfigError::TooLarge { .. })
    ));
    assert!(pool.resize(2).is_ok(), "min_idle gives way");
}

/// STB-44, STB-45: to build a pool takes no runtime, opens nothing, and a clone is the same pool.
#[test]
fn to_build_does_nothing() {
    let script = Script::default();
    let pool = script.builder().name("db").min_idle(3).build().unwrap();
    let clone = pool.clone();
    clone.resize(7).unwrap();
    assert_eq!((pool.status().max_size, script.connects()), (7, 0));
    assert_eq!((pool.name(), pool.status().size), ("db", 0));
    assert!(format!("{pool:?}").contains("\"db\""));
}

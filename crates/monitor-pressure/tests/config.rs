//! The configuration, and what is refused.

#![allow(clippy::unwrap_used, reason = "tests panic")]

use std::time::Duration;

use monitor_pressure::{Builder, Config, Level, Rule, Source, Thresholds};

fn refused(builder: Builder) -> String {
    builder.build().unwrap_err().to_string()
}

fn rule(thresholds: Thresholds) -> Rule {
    Rule {
        thresholds,
        ..Rule::default()
    }
}

/// ROB-73, ROB-74: the defaults are the documented ones.
#[test]
fn defaults() {
    let config = Config::default();
    assert_eq!(config.memory_limit_mb(), 512);
    assert_eq!(config.resource_check_interval(), Duration::from_secs(60));
    assert_eq!(config.stale_after(), Duration::from_secs(300));
    let Rule {
        thresholds,
        hold_up,
        hold_down,
        ceiling,
    } = config.rule(&Source::MEMORY);
    let Thresholds {
        elevated,
        degraded,
        critical,
        margin,
    } = thresholds;
    assert_eq!((elevated, degraded, critical, margin), (60, 80, 95, 5));
    assert_eq!(
        (hold_up, hold_down),
        (Duration::ZERO, Duration::from_secs(120))
    );
    assert_eq!(ceiling, Level::Critical);
    let machine = config.rule(&Source::MACHINE_MEMORY_STALL);
    assert_eq!(machine.ceiling, Level::Elevated);
    let own = Config::builder().rule_of(Source::MACHINE_MEMORY_STALL, Rule::default());
    let own = own.build().unwrap().rule(&Source::MACHINE_MEMORY_STALL);
    assert_eq!(own.ceiling, Level::Critical, "whoever asks for it");
}

/// ROB-73, ROB-74: a value out of range is refused with its name, the value and what is allowed.
#[test]
fn ranges() {
    let config = Config::builder;
    let seconds = Duration::from_secs;
    for (builder, message) in [
        (
            config().memory_limit_mb(0),
            "memory_limit_mb is 0: allowed is 1 to 1073741824 (MiB)",
        ),
        (
            config().memory_limit_mb(u64::MAX),
            "memory_limit_mb is 18446744073709551615: allowed is 1 to 1073741824 (MiB)",
        ),
        (
            config().resource_check_interval(Duration::ZERO),
            "resource_check_interval is 0ns: allowed is 1 s to 1 h",
        ),
        (
            config().resource_check_interval(seconds(3601)),
            "resource_check_interval is 3601s: allowed is 1 s to 1 h",
        ),
        (
            config().max_threads(0),
            "max_threads is 0: allowed is at least 1",
        ),
        (
            config().max_stall_percent(101),
            "max_stall_percent is 101: allowed is 1 to 100",
        ),
        (
            config().max_event_loop_lag(Duration::ZERO),
            "max_event_loop_lag is 0ns: allowed is 1 ms to 60 s",
        ),
        (
            config().stale_after(Duration::MAX),
            "stale_after is 18446744073709551615.999999999s: allowed is at most 24 h",
        ),
        (
            config().rule(Rule {
                hold_down: Duration::MAX,
                ..Rule::default()
            }),
            "hold_down is 18446744073709551615.999999999s: allowed is at most 24 h",
        ),
    ] {
        assert_eq!(refused(builder), message);
    }
}

/// ROB-73, ROB-74: a contradiction names both settings.
#[test]
fn contradictions() {
    let standard = Thresholds::default();
    let build = |thresholds| refused(Config::builder().rule(rule(thresholds)));
    assert_eq!(
        build(Thresholds {
            degraded: 50,
            ..standard
        }),
        "degraded is 50 % and elevated is 60 %: the thresholds must not fall from level to level"
    );
    assert_eq!(
        build(Thresholds {
            critical: 79,
            ..standard
        }),
        "critical is 79 % and degraded is 80 %: the thresholds must not fall from level to level"
    );
    assert_eq!(
        build(Thresholds {
            margin: 60,
            ..standard
        }),
        "margin is 60 % and elevated is 60 %: the margin must be smaller, or no usage is low \
         enough to come down"
    );
    let own = rule(Thresholds {
        elevated: 0,
        ..standard
    });
    assert_eq!(
        refused(Config::builder().rule_of(Source::pool("db"), own)),
        "rule of pool:db: elevated is 0 %: allowed is 1 % to 1000 %"
    );
}

/// ROB-74: a longer interval alone contradicts nothing.
#[test]
fn staleness_follows_the_interval() {
    let config = Config::builder().resource_check_interval(Duration::from_secs(600));
    assert_eq!(
        config.build().unwrap().stale_after(),
        Duration::from_secs(3000)
    );
}

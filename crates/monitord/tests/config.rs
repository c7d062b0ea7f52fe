//! The configuration: what is read, what is refused and how that is told, and what wins.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use monitor_model::Source;
use monitord::config::{
    Config, Defaults, Layer, MonitorSpec, Overrides, Report, VARIABLES, format_duration,
    parse_duration,
};
use serde_json::json;

const MINIMAL: &str = "[[monitor]]\nid = \"a\"\nurl = \"http://127.0.0.1:1/\"\n";

fn parse(text: &str) -> Result<Config, Report> {
    parse_with(text, &Overrides::default(), &[])
}

fn parse_with(
    text: &str,
    overrides: &Overrides,
    environment: &[(&str, &str)],
) -> Result<Config, Report> {
    let environment: HashMap<_, _> = environment.iter().copied().collect();
    let variable = |name: &str| environment.get(name).map(OsString::from);
    Config::parse(
        Path::new("/etc/monitord.toml"),
        text.as_bytes(),
        overrides,
        variable,
    )
}

/// The problems as they are printed.
fn problems(text: &str) -> Vec<String> {
    let report = parse(text).expect_err("this configuration is wrong");
    report.problems.iter().map(ToString::to_string).collect()
}

/// The one problem of a minimal file with one key more.
fn problem_of(line: &str) -> String {
    let mut all = problems(&format!("{MINIMAL}{line}\n"));
    assert_eq!(all.len(), 1, "{line}: {all:#?}");
    all.remove(0)
}

fn settings(config: &Config) -> monitor_core::Settings {
    config.monitors[0]
        .definition(&config.defaults, Source::File)
        .unwrap()
        .settings
}

/// ROB-1: a minimal file is enough; everything else has its default.
#[test]
fn a_minimal_file_is_enough() {
    let config = parse(MINIMAL).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(
        config.store.path,
        Path::new("/etc/monitord.db"),
        "next to the file"
    );
    assert_eq!(config.max_concurrent_probes.get(), 20);
    let settings = settings(&config);
    assert_eq!(
        (settings.interval, settings.timeout),
        (Duration::from_secs(60), None)
    );
    assert_eq!(settings.backoff, monitor_backoff::Policy::hardened());
    assert!(settings.breaker.is_some());
}

/// ROB-1, ROB-7: each problem names file, line, column, key and value, says what is wrong and what
/// is allowed; all of them come at once, in the order of the file.
#[test]
fn all_problems_come_at_once_and_say_where() {
    let text = r#"
[server]
listen = "127.0.0.1:70000"

[defaults]
interval = 0
preset = "hardend"

[limits]
max_concurrent_probes = "many"

[[monitor]]
id = "a"
url = "htp://example.org/"
intervall = "3s"

[[monitor]]
id = "a"
tcp = "db:70000"
"#;
    let found = problems(text);
    let expected = [
        ":3:10: server.listen = \"127.0.0.1:70000\": port 70000 is out of range; allowed: ",
        ":6:12: defaults.interval = 0: is a number without a unit; allowed: 100ms to 30d",
        ":7:10: defaults.preset = \"hardend\": is no preset, did you mean `hardened`?",
        ":10:25: limits.max_concurrent_probes = \"many\": is text; allowed: a whole number",
        ":14:7: monitor[1].url = \"htp://example.org/\": scheme \"htp\" is not supported",
        ":15:1: monitor[1].intervall: unknown key, did you mean `interval`?; allowed: id, name",
        ":18:1: monitor[2].id = \"a\": is the id of another monitor already, at \
         /etc/monitord.toml:13:1",
        ":19:7: monitor[2].tcp = \"db:70000\": port \"70000\" is not a number from 1 to 65535",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            found.starts_with(&format!("/etc/monitord.toml{expected}")),
            "{found}"
        );
    }
}

/// ROB-4: ports are 1 to 65535; only the listener may leave the choice open with 0.
#[test]
fn ports_in_a_table() {
    for port in ["1", "443", "65535"] {
        let text = format!("[[monitor]]\nid = \"a\"\ntcp = \"db.example:{port}\"");
        assert!(parse(&text).is_ok(), "{port}");
    }
    for port in [
        "0",
        "65536",
        "70000",
        "-1",
        "+80",
        "25x",
        "",
        "99999999999999999999",
    ] {
        let tcp = problems(&format!(
            "[[monitor]]\nid = \"a\"\ntcp = \"db.example:{port}\""
        ));
        assert!(tcp[0].contains("monitor[1].tcp = "), "{tcp:?}");
        let listen = format!("[server]\nlisten = \"127.0.0.1:{port}\"\n{MINIMAL}");
        assert_eq!(parse(&listen).is_ok(), port == "0", "{port}");
    }
}

/// ROB-3: the own address is an IP address, of version 4 or 6, or localhost.
#[test]
fn own_addresses_in_a_table() {
    for (text, read) in [
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("[::1]:80", "[::1]:80"),
        ("0.0.0.0:0", "0.0.0.0:0"),
        ("localhost:81", "127.0.0.1:81"),
    ] {
        let config = parse(&format!("[server]\nlisten = \"{text}\"\n{MINIMAL}")).unwrap();
        assert_eq!(config.listen.to_string(), read);
    }
    for bad in [
        "",
        "8080",
        ":8080",
        "127.0.0.1",
        "256.0.0.1:80",
        "::1:80",
        "example.org:80",
        " ",
    ] {
        let found = problems(&format!("[server]\nlisten = \"{bad}\"\n{MINIMAL}"));
        assert!(
            found[0].contains("server.listen") && found[0].contains("allowed:"),
            "{found:?}"
        );
    }
}

/// ROB-6: the interval has bounds, and preset `mail` keeps those of its origin, 30 s to 3600 s,
/// with 300 s as the default.
#[test]
fn intervals_in_a_table() {
    for (interval, good) in [
        ("0s", false),
        ("99ms", false),
        ("100ms", true),
        ("30d", true),
        ("2592001s", false),
        ("1m30s", true),
    ] {
        let text = format!("{MINIMAL}interval = \"{interval}\"\n");
        assert_eq!(parse(&text).is_ok(), good, "{interval}");
    }
    let mail = format!("{MINIMAL}preset = \"mail\"\n");
    assert_eq!(
        settings(&parse(&mail).unwrap()).interval,
        Duration::from_secs(300)
    );
    for (interval, good) in [
        ("29s", false),
        ("30s", true),
        ("3600s", true),
        ("3601s", false),
    ] {
        let text = format!("{mail}interval = \"{interval}\"\n");
        assert_eq!(parse(&text).is_ok(), good, "{interval}");
    }
    let below = problems(&format!("{mail}interval = \"29s\"\n"));
    assert!(below[0].contains("monitor[1].interval = 29s"), "{below:?}");
    assert!(below[0].contains("allowed: 30s to 1h"), "{below:?}");
}

/// ROB-7: wrong types and values of every kind of key.
#[test]
fn wrong_values_say_what_is_wrong() {
    for (line, says) in [
        (
            "interval = 30",
            "monitor[1].interval = 30: is a number without a unit",
        ),
        ("interval = \"30\"", "has no unit"),
        ("interval = true", "is true or false"),
        ("interval = 2026-01-01", "is of no use here"),
        ("timeout = \"2h\"", "is too long; allowed: 10ms to 1h"),
        ("interval = \"99999999999999999999d\"", "is too large"),
        (
            "expect_status = [200, \"9xx\"]",
            "\"9xx\" is no HTTP status",
        ),
        ("expect_status = []", "is empty"),
        ("expect_body = \"\"", "is empty"),
        (
            "method = \"POST\"",
            "is no method for a check; allowed: GET, HEAD",
        ),
        (
            "body_limit_kb = 0",
            "is out of range; allowed: a whole number, 1 to 65536",
        ),
        ("body_limit_kb = -1", "is out of range"),
        (
            "backoff_multiplier = nan",
            "is out of range; allowed: a number, 1.01 to 100",
        ),
        (
            "tcp = \"db:5432\"",
            "monitor[1].tcp: `url` is given as well",
        ),
        ("name = \"\"", "is empty"),
        ("headers = [1]", "is a list; allowed: a table"),
        (
            "degraded_over = \"30s\"",
            "is not below the time that a check may take",
        ),
        ("backoff_base_interval = \"2h\"", "monitor[1].backoff"),
    ] {
        let found = problem_of(line);
        assert!(found.contains(says), "{line}: {found}");
    }
    let list = problems("monitor = 3");
    assert!(list[0].contains("allowed: [[monitor]]"), "{list:?}");
    let none = problems("[[monitor]]\n");
    assert!(none[0].contains("monitor[1].id: is missing"), "{none:?}");
    assert!(
        none[1].contains("monitor[1].url: is missing, and so is `tcp`"),
        "{none:?}"
    );
}

/// ROB-7: what might be a secret is in no message.
#[test]
fn secrets_are_not_repeated() {
    for line in [
        "headers = { Authorization = \"Bearer s3cret\", X = 5 }",
        "pasword = \"s3cret\"",
    ] {
        assert!(!problem_of(line).contains("s3cret"), "{line}");
    }
    let text = format!("{MINIMAL}headers = {{ Authorization = \"Bearer s3cret\\u0000\" }}\n");
    let found = problems(&text);
    assert!(
        found[0].contains("\"Authorization\"") && !found[0].contains("s3cret"),
        "{found:?}"
    );
    let text = "[[monitor]]\nid = \"a\"\nurl = \"http://me:s3cret@127.0.0.1/\"\n";
    assert!(problems(text)[0].contains("user name or password"));
}

/// ROB-1: what is no text, no TOML or no monitor at all.
#[test]
fn files_that_are_none() {
    let empty = problems("");
    assert!(
        empty[0].starts_with("/etc/monitord.toml: no monitor is defined"),
        "{empty:?}"
    );
    assert!(
        empty[0].contains("[[monitor]]\nid = \"example\""),
        "shows a minimal file"
    );
    assert!(parse("monitor = []").is_ok(), "none, and that is meant");
    let read = |bytes: &[u8]| {
        let none = |_: &str| None;
        let path = Path::new("m.toml");
        Config::parse(path, bytes, &Overrides::default(), none)
            .unwrap_err()
            .to_string()
    };
    let latin = read(b"# caf\xe9\n");
    assert!(
        latin.starts_with("m.toml:1:6: is not UTF-8: byte 0xe9 at offset 5"),
        "{latin}"
    );
    let syntax = read(b"[server\nlisten = 1\n[[monitor]]\nid = \"a\"\nid = \"b\"\n");
    assert!(syntax.contains("m.toml:1:8: is not TOML: "), "{syntax}");
    assert!(
        syntax.contains("m.toml:5:1: is not TOML: duplicate key"),
        "{syntax}"
    );
}

/// ROB-2: flag, then environment, then file, then preset; and each value knows who set it.
#[test]
fn precedence_and_its_record() {
    let file = format!(
        "[server]\nlisten = \"127.0.0.1:1\"\n[limits]\nmax_concurrent_probes = 7\n[defaults]\n\
         interval = \"10s\"\nbackoff_max_interval = \"5m\"\n{MINIMAL}"
    );
    let overrides = Overrides {
        listen: Some("127.0.0.1:2".parse().unwrap()),
        database: Some("x.db".into()),
    };
    let environment = [
        ("MAX_CONCURRENT_PROBES", "9"),
        ("PROBE_COLLECTION_INTERVAL", "20"),
        ("BACKOFF_MULTIPLIER", "3"),
        ("CIRCUIT_BREAKER_FAILURE_THRESHOLD", "2"),
        ("CIRCUIT_BREAKER_RECOVERY_TIMEOUT", "30"),
        ("BACKOFF_BASE_INTERVAL", ""),
    ];
    let config = parse_with(&file, &overrides, &environment).unwrap();
    assert_eq!(config.listen.port(), 2);
    assert_eq!(
        config.store.path,
        Path::new("x.db"),
        "as the flag says, to the letter"
    );
    assert_eq!(config.max_concurrent_probes.get(), 9);
    let layers: HashMap<_, _> = config
        .settings
        .iter()
        .map(|s| (s.key.as_str(), (s.value.as_str(), s.layer)))
        .collect();
    assert_eq!(layers["server.listen"], ("127.0.0.1:2", Layer::Flag));
    assert_eq!(
        layers["limits.max_concurrent_probes"],
        ("9", Layer::Environment)
    );
    assert_eq!(layers["defaults.interval"], ("20s", Layer::Environment));
    assert_eq!(layers["defaults.backoff_max_interval"], ("5m", Layer::File));
    assert_eq!(
        layers["defaults.backoff_base_interval"].1,
        Layer::Preset,
        "empty is not set"
    );
    let settings = settings(&config);
    assert_eq!(settings.interval, Duration::from_secs(20));
    let waits = [3, 4, 9].map(|n| settings.backoff.nominal(n, settings.interval).as_secs());
    assert_eq!(
        waits,
        [60, 180, 300],
        "times 3 after the confirmations, 5 min at most"
    );
    let own = format!("{file}interval = \"1s\"\n");
    let config = parse_with(&own, &overrides, &environment).unwrap();
    assert_eq!(
        self::settings(&config).interval,
        Duration::from_secs(1),
        "its own key wins"
    );
}

/// ROB-2, ROB-7: each variable by its established name, in seconds where
/// it is a time; a bad value is a problem that names the variable.
#[test]
fn variables_in_a_table() {
    let good = ["20", "60", "300", "3600", "2.0", "5", "5", "60"];
    let pairs: Vec<_> = VARIABLES
        .map(|(name, _)| name)
        .into_iter()
        .zip(good)
        .collect();
    let config = parse_with(MINIMAL, &Overrides::default(), &pairs).unwrap();
    let set = config
        .settings
        .iter()
        .filter(|s| s.layer == Layer::Environment)
        .count();
    assert_eq!(set, VARIABLES.len());
    let settings = settings(&config);
    let waits = [3, 4, 5, 6].map(|n| settings.backoff.nominal(n, settings.interval).as_secs());
    assert_eq!(
        waits,
        [600, 1200, 2400, 3600],
        "from 300 s, doubled, 3600 s at most"
    );
    for (name, _) in VARIABLES {
        for bad in ["abc", "-1", "1e99", "NaN", "60s", " "] {
            let report = parse_with(MINIMAL, &Overrides::default(), &[(name, bad)]).unwrap_err();
            let text = report.problems[0].to_string();
            assert!(
                text.starts_with(&format!("environment: {name} = ")),
                "{text}"
            );
            assert!(text.contains("; allowed: "), "{text}");
        }
    }
}

/// The scheduler and the store count whole milliseconds; a fraction of one is no reason to fail
/// after the start.
#[test]
fn seconds_are_read_to_the_millisecond() {
    for (text, ms) in [("0.1234567", 123), ("0.9996", 1000), ("2.5", 2500)] {
        let given = [
            ("PROBE_COLLECTION_INTERVAL", text),
            ("BACKOFF_BASE_INTERVAL", text),
        ];
        let config = parse_with(MINIMAL, &Overrides::default(), &given).unwrap();
        assert_eq!(
            settings(&config).interval,
            Duration::from_millis(ms),
            "{text}"
        );
    }
}

/// What contradicts something else is told with the line of its own key, not of its monitor.
#[test]
fn a_contradiction_has_the_place_of_its_key() {
    for (lines, says) in [
        (
            "preset = \"mail\"\ninterval = \"5s\"",
            ":5:12: monitor[1].interval = 5s: is out of range for preset `mail`",
        ),
        (
            "timeout = \"1s\"\ndegraded_over = \"2s\"",
            ":5:17: monitor[1].degraded_over = 2s: is not below",
        ),
        (
            "interval = \"5s\"\nheaders = { \"a b\" = \"secret\" }",
            ":5:11: monitor[1].headers: \"a b\" is no valid header name",
        ),
        (
            "method = \"HEAD\"\nexpect_body = \"x\"",
            ":5:15: monitor[1].expect_body: expect_body needs method GET",
        ),
    ] {
        let text = problem_of(lines);
        assert!(
            text.starts_with(&format!("/etc/monitord.toml{says}")),
            "{text}"
        );
        assert!(!text.contains("secret"), "{text}");
    }
    let of_defaults = problems(&format!(
        "{MINIMAL}[defaults]\npreset = \"mail\"\ninterval = \"5s\"\n"
    ));
    assert!(
        of_defaults[0].starts_with("/etc/monitord.toml:1:1: monitor[1].interval = 5s: "),
        "a monitor that says nothing itself: {of_defaults:?}"
    );
}

/// A monitor means the same in the file and in JSON, and reads back what it writes.
#[test]
fn json_and_toml_are_one_language() {
    let json = json!({
        "id": "shop", "name": "The shop", "url": "https://shop.example/", "method": "GET",
        "expect_status": ["200-299", "404"], "expect_body": "ok", "headers": { "X-A": "b" },
        "body_limit_kb": 64, "degraded_over": "800ms", "interval": "30s", "timeout": "10s",
        "preset": "monitor", "backoff_base_interval": "5m", "backoff_max_interval": "1h",
        "backoff_multiplier": 2.5, "backoff_max_failures": 4,
        "circuit_breaker_failure_threshold": 3, "circuit_breaker_recovery_timeout": "45s",
    });
    let toml = r#"
[[monitor]]
id = "shop"
name = "The shop"
url = "https://shop.example/"
method = "GET"
expect_status = ["2xx", 404]
expect_body = "ok"
headers = { X-A = "b" }
body_limit_kb = 64
degraded_over = "800ms"
interval = "30s"
timeout = "10s"
preset = "monitor"
backoff_base_interval = "300s"
backoff_max_interval = "60m"
backoff_multiplier = 2.5
backoff_max_failures = 4
circuit_breaker_failure_threshold = 3
circuit_breaker_recovery_timeout = "45s"
"#;
    let spec = MonitorSpec::from_json(&json).unwrap();
    assert_eq!(spec.to_json(), json);
    assert_eq!(parse(toml).unwrap().monitors, std::slice::from_ref(&spec));
    let definition = spec.definition(&Defaults::default(), Source::Api).unwrap();
    assert_eq!(definition.monitor.name, "The shop");
    let stored = serde_json::from_str(&definition.monitor.spec).unwrap();
    assert_eq!(MonitorSpec::from_json(&stored), Ok(spec));
}

/// Keys for HTTP on a port are refused, one by one.
#[test]
fn keys_of_the_other_kind_are_refused() {
    let json = json!({ "id": "a", "tcp": "db:1", "method": "GET", "degraded_over": "1s" });
    let problems = MonitorSpec::from_json(&json).unwrap_err();
    let text: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        text,
        [
            "request: method: is for `url`, and this monitor has `tcp`",
            "request: degraded_over: is for `url`, and this monitor has `tcp`",
        ]
    );
    for not_a_monitor in [json!(null), json!([]), json!(3), json!("x"), json!({})] {
        assert!(
            MonitorSpec::from_json(&not_a_monitor).is_err(),
            "{not_a_monitor}"
        );
    }
}

/// Every preset gives a policy, and every policy key overrides it.
#[test]
fn presets_in_a_table() {
    for (preset, interval_s, breaker) in [
        ("hardened", 60, true),
        ("gate2", 60, false),
        ("monitor", 300, false),
        ("socket", 300, false),
        ("mail", 300, true),
    ] {
        let text = format!("{MINIMAL}preset = \"{preset}\"\n");
        let settings = settings(&parse(&text).unwrap());
        assert_eq!(settings.interval.as_secs(), interval_s, "{preset}");
        assert_eq!(settings.breaker.is_some(), breaker, "{preset}");
        assert_eq!(
            settings.backoff,
            monitor_backoff::Policy::preset(preset).unwrap()
        );
        let off = format!("{text}circuit_breaker_failure_threshold = 0\n");
        assert!(
            self::settings(&parse(&off).unwrap()).breaker.is_none(),
            "{preset}"
        );
        let on = format!("{text}circuit_breaker_failure_threshold = 4\n");
        assert!(
            self::settings(&parse(&on).unwrap()).breaker.is_some(),
            "{preset}"
        );
    }
}

#[test]
fn durations_read_what_they_write() {
    for ms in [
        1, 999, 1000, 1500, 60_000, 90_000, 3_600_000, 86_400_000, 90_061_001,
    ] {
        let duration = Duration::from_millis(ms);
        assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
    }
    for bad in [
        "",
        "s",
        "1",
        "1 s",
        "1x",
        "-1s",
        "1.5s",
        "1s2",
        "m1",
        "1µs",
        "99999999999999999d",
    ] {
        assert!(parse_duration(bad).is_err(), "{bad}");
    }
}

//! What is refused, and how that is told.

use super::*;

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

/// What belongs to waiting is refused where nothing waits, by the file or by the preset.
#[test]
fn nobody_waits_for_a_permit_where_checks_are_skipped() {
    let by_file = "without_permit = \"skip\"\nmax_wait = \"5s\"";
    let by_preset = "max_wait = \"5s\"\n[defaults]\npreset = \"gate2\"";
    for (keys, line, by) in [
        (by_file, 6, "`without_permit` is \"skip\""),
        (by_preset, 5, "preset `gate2` skips it"),
    ] {
        let found = problems(&format!("{MINIMAL}[limits]\n{keys}\n"));
        let expected = format!(
            "/etc/monitord.toml:{line}:1: limits.max_wait: has no meaning where no check waits, \
             and {by}; allowed: with without_permit = \"queue\" or \"shed\""
        );
        assert_eq!(found, [expected]);
    }
    let all = "without_permit = \"drop\"\nmax_waiting = 0\nmax_wait = \"2h\"";
    let found = problems(&format!("{MINIMAL}[limits]\n{all}\n"));
    let keys = [
        "without_permit = \"drop\"",
        "max_waiting = 0",
        "max_wait = ",
    ];
    assert_eq!(found.len(), keys.len(), "{found:#?}");
    for (found, key) in found.iter().zip(keys) {
        assert!(
            found.contains(key) && found.contains("; allowed: "),
            "{found}"
        );
    }
}

/// A breaker's window and what belongs to it are told by the names that they have here.
#[test]
fn a_window_that_does_not_fit_is_refused() {
    for (keys, expected) in [
        (
            "circuit_breaker_failure_rate = 0.5",
            "`circuit_breaker_failure_rate` needs `circuit_breaker_window`",
        ),
        (
            "circuit_breaker_minimum_calls = 5",
            "`circuit_breaker_minimum_calls` needs `circuit_breaker_window`",
        ),
        (
            "circuit_breaker_window = 10\ncircuit_breaker_minimum_calls = 11",
            "more than the 10 checks of `circuit_breaker_window`",
        ),
        ("circuit_breaker_window = 0", "is out of range"),
        ("circuit_breaker_window = \"2d\"", "is out of range"),
        ("circuit_breaker_window = true", "is true or false"),
        ("circuit_breaker_failure_rate = 1.5", "is out of range"),
        ("circuit_breaker_failure_rate = nan", "is out of range"),
        ("circuit_breaker_mode = \"open\"", "is neither"),
        ("backoff_by_category = \"yes\"", "allowed: true, false"),
        ("connection = \"keep\"", "allowed: fresh, reuse"),
    ] {
        let problem = problem_of(keys);
        assert!(problem.contains(expected), "{keys}: {problem}");
    }
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

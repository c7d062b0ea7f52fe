//! What each key takes and means.

use super::*;

use monitor_breaker::Trip;

/// ROB-1: a minimal file is enough; everything else has its default.
#[test]
fn a_minimal_file_is_enough() {
    let config = parse(MINIMAL).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(
        config.store.database.path().unwrap(),
        Path::new("/etc/monitord.db"),
        "next to the file"
    );
    assert_eq!(config.max_concurrent_probes.get(), 20);
    let settings = settings(&config);
    assert_eq!(
        (settings.interval, settings.effective_timeout()),
        (Duration::from_secs(60), Duration::from_secs(30))
    );
    assert_eq!(settings.backoff, monitor_backoff::Policy::hardened());
    assert!(settings.breaker.is_some());
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
        "circuit_breaker_window": "10m", "circuit_breaker_failure_rate": 0.5,
        "circuit_breaker_minimum_calls": 6, "circuit_breaker_success_threshold": 2,
        "circuit_breaker_mode": "shadow", "backoff_while_closed": true,
        "backoff_by_category": true, "connection": "reuse",
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
circuit_breaker_window = "600s"
circuit_breaker_failure_rate = 0.5
circuit_breaker_minimum_calls = 6
circuit_breaker_success_threshold = 2
circuit_breaker_mode = "shadow"
backoff_while_closed = true
backoff_by_category = true
connection = "reuse"
"#;
    let spec = MonitorSpec::from_json(&json).unwrap();
    assert_eq!(spec.to_json(), json);
    assert_eq!(parse(toml).unwrap().monitors, std::slice::from_ref(&spec));
    let definition = spec.definition(&Defaults::default(), Source::Api).unwrap();
    assert_eq!(definition.monitor.name, "The shop");
    let stored = serde_json::from_str(&definition.monitor.spec).unwrap();
    assert_eq!(MonitorSpec::from_json(&stored), Ok(spec));
}

/// ROB-13: a breaker may open by a rate among the last checks, or those of the last while.
#[test]
fn breaker_windows_in_a_table() {
    for (keys, trip) in [
        ("", Trip::Consecutive(5)),
        (
            "circuit_breaker_failure_threshold = 3",
            Trip::Consecutive(3),
        ),
        ("circuit_breaker_window = 20", Trip::Count(20)),
        (
            "circuit_breaker_window = \"10m\"\ncircuit_breaker_failure_rate = 0.25\n\
             circuit_breaker_minimum_calls = 8",
            Trip::Time(Duration::from_secs(600)),
        ),
        (
            "preset = \"gate2\"\ncircuit_breaker_window = 20",
            Trip::Count(20),
        ),
    ] {
        let settings = settings(&parse(&format!("{MINIMAL}{keys}\n")).unwrap());
        assert_eq!(settings.breaker.unwrap().trip(), trip, "{keys}");
    }
}

/// ROB-50: with `backoff_while_closed` waits grow after failures; without it checks go on at their
/// interval, and the breaker alone slows them down.
#[test]
fn backoff_while_closed_in_a_table() {
    for (keys, waits_s) in [
        ("preset = \"mail\"", [300, 600, 1200, 2400]),
        (
            "preset = \"mail\"\nbackoff_while_closed = false",
            [300, 300, 300, 300],
        ),
    ] {
        let settings = settings(&parse(&format!("{MINIMAL}{keys}\n")).unwrap());
        let interval = settings.interval;
        let waits = [0, 1, 2, 3].map(|n| settings.backoff.nominal(n, interval).as_secs());
        assert_eq!(waits, waits_s, "{keys}");
        assert!(settings.breaker.is_some());
    }
}

/// ROB-56: waits follow the category in `mail`, and elsewhere if they are told to.
#[test]
fn waits_by_category_in_a_table() {
    for (keys, is_on) in [
        ("", false),
        ("preset = \"mail\"", true),
        ("backoff_by_category = true", true),
        ("preset = \"mail\"\nbackoff_by_category = false", false),
    ] {
        let settings = settings(&parse(&format!("{MINIMAL}{keys}\n")).unwrap());
        assert_eq!(settings.by_category.is_some(), is_on, "{keys}");
    }
}

/// ROB-72: how many connections a probe may keep is a limit of the process, 5 by itself; ROB-70:
/// whether it keeps any is the monitor's choice.
#[test]
fn kept_connections_in_a_table() {
    let connections = |text: &str| {
        let config = parse(text).unwrap();
        let definition = config.monitors[0].definition(&config.defaults, Source::File);
        let pool = definition.unwrap().pool;
        (pool.is_some(), config.defaults.max_connections_per_probe())
    };
    assert_eq!(connections(MINIMAL), (false, 5));
    let reuse = format!("{MINIMAL}connection = \"reuse\"\n");
    assert_eq!(connections(&reuse), (true, 5));
    let fresh = format!("{MINIMAL}connection = \"fresh\"\n");
    assert_eq!(connections(&fresh), (false, 5));
    let limit = format!("[limits]\nmax_connections_per_probe = 2\n{reuse}");
    assert_eq!(connections(&limit), (true, 2));
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

/// ROB-71, PRB-4: the preset of `[defaults]` says how checks share the process; an explicit key
/// overrides each part of it, and a monitor's own preset is for the monitor alone.
#[test]
fn presets_of_the_process_in_a_table() {
    let queue = Saturation::Queue { bound: 1024 };
    let patience = Some(Duration::from_secs(30));
    for (preset, concurrent, without_permit, max_wait) in [
        ("hardened", 20, queue, None),
        ("gate2", 3, Saturation::Skip, None),
        ("monitor", 10_000, Saturation::Skip, None),
        ("socket", 5, queue, patience),
        ("mail", 20, queue, None),
    ] {
        let limits = |keys: &str| {
            let text = format!("[limits]\n{keys}\n[defaults]\npreset = \"{preset}\"\n{MINIMAL}");
            let config = parse(&text).unwrap();
            let permits = config.max_concurrent_probes.get();
            (permits, config.without_permit, config.max_wait)
        };
        assert_eq!(
            limits(""),
            (concurrent, without_permit, max_wait),
            "{preset}"
        );
        let all = "max_concurrent_probes = 7\nwithout_permit = \"shed\"\n\
                   max_waiting = 9\nmax_wait = \"2s\"";
        let shed = Saturation::Shed { bound: 9 };
        let wait = Some(Duration::from_secs(2));
        assert_eq!(limits(all), (7, shed, wait), "{preset}");
        let skip = (concurrent, Saturation::Skip, None);
        assert_eq!(limits("without_permit = \"skip\""), skip, "{preset}");

        let own = parse(&format!("{MINIMAL}preset = \"{preset}\"\n")).unwrap();
        assert_eq!(own.max_concurrent_probes.get(), 20, "{preset}");
        assert_eq!(
            (own.without_permit, own.max_wait),
            (queue, None),
            "{preset}"
        );
    }
}

/// How long a check may take follows the preset, too: by itself only `hardened` goes below its
/// guard for a short interval.
#[test]
fn presets_of_timeouts_in_a_table() {
    for (preset, timeout_s) in [
        ("hardened", 5),
        ("gate2", 30),
        ("monitor", 30),
        ("socket", 30),
    ] {
        let text = format!("{MINIMAL}preset = \"{preset}\"\ninterval = \"5s\"\n");
        let timeout = |text: &str| {
            settings(&parse(text).unwrap())
                .effective_timeout()
                .as_secs()
        };
        assert_eq!(timeout(&text), timeout_s, "{preset}");
        assert_eq!(timeout(&format!("{text}timeout = \"2s\"\n")), 2, "{preset}");
        let defaults = format!("[defaults]\ntimeout = \"3s\"\n{text}");
        assert_eq!(timeout(&defaults), 3, "{preset}");
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

/// ROB-73, ROB-74: the limits of the process: 512 MiB looked at every 60 s, unless the file or,
/// above it, the environment says otherwise; what is out of range is refused.
#[test]
fn limits_of_the_process_in_a_table() {
    let of = |file: &str, environment: &[(&str, &str)]| {
        let text = format!("[limits]\n{file}\n{MINIMAL}");
        let config = parse_with(&text, &Overrides::default(), environment)?;
        Ok::<_, Report>((
            config.memory_limit_mb,
            config.resource_check_interval.as_secs(),
        ))
    };
    assert_eq!(of("", &[]).unwrap(), (512, 60));
    let file = "memory_limit_mb = 100\nresource_check_interval = \"10s\"";
    assert_eq!(of(file, &[]).unwrap(), (100, 10));
    let environment = [("MEMORY_LIMIT_MB", "64"), ("RESOURCE_CHECK_INTERVAL", "30")];
    assert_eq!(of(file, &environment).unwrap(), (64, 30));
    for (line, says) in [
        (
            "memory_limit_mb = 0",
            "limits.memory_limit_mb = 0: is out of range; allowed: a whole number, 1 to 1073741824",
        ),
        (
            "resource_check_interval = \"999ms\"",
            "limits.resource_check_interval = \"999ms\": is too short; allowed: 1s to 1h",
        ),
        (
            "resource_check_interval = \"2h\"",
            "limits.resource_check_interval = \"2h\": is too long",
        ),
        (
            "memory_limit = 1",
            "limits.memory_limit: unknown key, did you mean `memory_limit_mb`?",
        ),
    ] {
        let report = of(line, &[]).unwrap_err();
        let found = report.problems[0].to_string();
        assert!(found.contains(says), "{found}");
    }
}

/// ROB-81: how much a monitor matters: as much as most, unless it says so.
#[test]
fn priorities_in_a_table() {
    use monitor_scheduler::Class;
    let of =
        |line: &str| parse(&format!("{MINIMAL}{line}\n")).map(|config| settings(&config).class);
    assert_eq!(of("").unwrap(), Class::Normal);
    for class in Class::ALL {
        let line = format!("priority = \"{}\"", class.as_str());
        assert_eq!(of(&line).unwrap(), class);
        let json = json!({ "id": "a", "tcp": "h:1", "priority": class.as_str() });
        assert_eq!(MonitorSpec::from_json(&json).unwrap().to_json(), json);
    }
    let problem = problem_of("priority = \"high\"");
    assert!(
        problem.ends_with(
            "monitor[1].priority = \"high\": is no priority; allowed: optional, normal, critical"
        ),
        "{problem}"
    );
}

/// ROB-33: when somebody works on a target: read, kept, given to the core, and refused by name.
#[test]
fn maintenance_in_a_table() {
    let of = |line: &str| parse(&format!("{MINIMAL}{line}\n"));
    let monday = Duration::from_secs(4 * 86_400); // the first one of unix time
    let at = |hours: u64| monday + Duration::from_secs(hours * 3600);
    let config = of("maintenance = [\"mon 02:00-04:00\", \"daily 03:00-05:00\"]").unwrap();
    let maintenance = settings(&config).maintenance;
    assert_eq!(maintenance.until(at(1)), None);
    assert_eq!(maintenance.until(at(2)), Some(at(4)));
    assert_eq!(maintenance.until(at(3)), Some(at(5)));
    assert_eq!(settings(&of("").unwrap()).maintenance.until(at(3)), None);
    let windows = ["sat,sun 00:00-24:00", "2027-01-02T22:00Z/2027-01-03T02:00Z"];
    let json = json!({ "id": "a", "tcp": "h:1", "maintenance": windows });
    assert_eq!(MonitorSpec::from_json(&json).unwrap().to_json(), json);
    for (line, says) in [
        (
            "maintenance = \"sun 02:00-04:00\"",
            "monitor[1].maintenance = \"sun 02:00-04:00\": is text; allowed: a list of up to 32",
        ),
        ("maintenance = [7]", "allowed: a list of up to 32"),
        (
            "maintenance = [\"sunday\"]",
            "holds \"sunday\", which is no time of maintenance; allowed: ",
        ),
    ] {
        let problem = problem_of(line);
        assert!(problem.contains(says), "{problem}");
    }
    let many = format!("maintenance = [{}]", "\"sun 02:00-04:00\",".repeat(33));
    assert!(problem_of(&many).contains("holds too many"));
}

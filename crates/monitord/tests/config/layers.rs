//! What wins: flag, environment, file, preset.

use super::*;

/// ROB-2: flag, then environment, then file, then preset; and each value knows who set it.
#[test]
fn precedence_and_its_record() {
    let file = format!(
        "[server]\nlisten = \"127.0.0.1:1\"\n[limits]\nmax_concurrent_probes = 7\n\
         without_permit = \"shed\"\n[defaults]\n\
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
        config.store.database.path().unwrap(),
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
    assert_eq!(layers["limits.without_permit"], ("shed", Layer::File));
    assert_eq!(layers["limits.max_waiting"], ("1024", Layer::Preset));
    assert_eq!(layers["limits.max_wait"], ("none", Layer::Preset));
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
    let good = [
        "20", "5", "60", "300", "3600", "2.0", "5", "5", "60", "512", "60",
    ];
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

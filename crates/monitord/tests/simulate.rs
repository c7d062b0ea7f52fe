//! The simulator: what it promises of any seed, and which faults of the prober it finds.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod process;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::num::NonZeroUsize;
use std::process::Output;
use std::time::Duration;

use monitor_scheduler::Saturation;
use monitord::simulate::{Plan, Plant, Property, Report, run, svg};
use process::{stderr, stdout};
use serde_json::Value;

const HOUR: Duration = Duration::from_secs(3600);

fn simulated(plan: &Plan) -> Report {
    run(plan, |_| {})
}

fn told(report: &Report) -> String {
    let violations = report.violations.iter().map(ToString::to_string);
    violations.collect::<Vec<_>>().join("\n")
}

/// Where a fault of the prober shows, or would.
#[derive(Clone, Copy)]
enum Where {
    /// Anywhere.
    Small,
    /// Where many share breakers and pools, and there is always somebody in the wrong moment.
    Large,
    /// Where there are too few permits.
    Tight,
}

impl Where {
    fn plan(self) -> Plan {
        let mut plan = match self {
            Self::Small => Plan::new(60, 6 * HOUR, 1),
            Self::Large => Plan::new(1000, 2 * HOUR, 1),
            Self::Tight => Plan::new(1500, 3 * HOUR / 2, 1),
        };
        if matches!(self, Self::Tight) {
            plan.max_concurrent = NonZeroUsize::new(2).unwrap();
            plan.saturation = Saturation::Shed { bound: 20 };
        }
        // A new process would put right what the last one did wrong, and by another clock nobody
        // can say what was due.
        plan.trouble.restarts = false;
        plan.trouble.clock_steps = false;
        plan
    }
}

/// A fault of the prober, and by which promise it is found: before any other.
fn found_by(plant: Plant, property: Property, place: Where) {
    let mut plan = place.plan();
    plan.plant = Some(plant);
    let report = simulated(&plan);
    let found = report.violations.first().map(|it| it.property);
    assert_eq!(found, Some(property), "{plant:?}:\n{}", told(&report));
}

/// Without those faults nothing is found.
#[test]
fn what_is_sound_is_found_to_be() {
    for place in [Where::Small, Where::Large, Where::Tight] {
        let report = simulated(&place.plan());
        assert_eq!(report.violations_total, 0, "{}", told(&report));
    }
}

#[test]
fn a_key_that_is_not_armed_again_is_found() {
    found_by(Plant::LoseTimer, Property::L1, Where::Small);
}

#[test]
fn a_missed_due_time_that_nobody_is_told_of_is_found() {
    found_by(Plant::LoseRecord, Property::Record, Where::Small);
}

#[test]
fn a_due_time_that_is_told_twice_is_found() {
    found_by(Plant::TellTwice, Property::Record, Where::Small);
}

#[test]
fn a_key_that_is_free_too_early_is_found() {
    found_by(Plant::FreeEarly, Property::S1, Where::Small);
}

#[test]
fn a_change_that_does_not_fence_is_found() {
    found_by(Plant::SkipFence, Property::S2, Where::Small);
}

#[test]
fn more_runs_than_permits_are_found() {
    found_by(Plant::ExtraPermits, Property::S4, Where::Tight);
}

#[test]
fn a_trial_too_many_is_found() {
    found_by(Plant::ExtraTrial, Property::S5, Where::Large);
}

#[test]
fn an_operation_that_is_not_given_back_is_found() {
    found_by(Plant::KeepOperation, Property::L3, Where::Small);
}

#[test]
fn an_end_that_calls_nothing_off_is_found() {
    found_by(Plant::NeverEnd, Property::L4, Where::Small);
}

#[test]
fn a_breaker_that_stays_open_is_found() {
    found_by(Plant::StayOpen, Property::L6, Where::Small);
}

#[test]
fn a_backoff_that_hurries_is_found() {
    found_by(Plant::HurryBackoff, Property::L8, Where::Small);
}

/// S4, L2: waiting beside what is free.
#[test]
fn a_permit_that_nobody_gets_is_found() {
    found_by(Plant::FewerPermits, Property::L2, Where::Tight);
}

/// L7: what everybody who is passed over is owed.
#[test]
fn a_queue_that_does_not_age_is_found() {
    found_by(Plant::PassOver, Property::L7, Where::Tight);
}

/// STB-23, S3: two holders of one connection.
#[test]
fn a_connection_with_two_holders_is_found() {
    found_by(Plant::TwoHolders, Property::S3, Where::Large);
}

/// STB-25, S4: more connections than there may be.
#[test]
fn a_connection_too_many_is_found() {
    found_by(Plant::ExtraConnections, Property::S4, Where::Large);
}

/// STB-55, L3: a connection that nobody has and nobody gets.
#[test]
fn a_connection_that_is_not_given_back_is_found() {
    found_by(Plant::KeepConnection, Property::L3, Where::Large);
}

#[test]
fn a_monitor_that_a_restart_forgets_is_found() {
    found_by(Plant::ForgetMonitor, Property::L1, Where::Small);
}

#[test]
fn due_times_that_a_restart_forgets_are_found() {
    found_by(Plant::LoseAbsence, Property::Record, Where::Small);
}

#[test]
fn a_due_time_that_a_restart_repeats_is_found() {
    found_by(Plant::RepeatDue, Property::Record, Where::Large);
}

#[test]
fn a_restart_that_starts_everything_at_once_is_found() {
    found_by(Plant::StartAtOnce, Property::Spread, Where::Large);
}

/// S2, OPS-31: results of a process that does not know how far the rows are.
#[test]
fn epochs_that_a_restart_forgets_are_found() {
    found_by(Plant::ForgetEpochs, Property::S2, Where::Small);
}

/// The wall clock is set by hours, and the machine sleeps: as long as the process lives it does all
/// that it would have done otherwise, to the last due time.
#[test]
fn a_clock_that_is_set_changes_nothing() {
    let mut plan = Plan::new(30, 24 * HOUR, 11);
    plan.trouble.restarts = false;
    let stepped = simulated(&plan);
    plan.trouble.clock_steps = false;
    let steady = simulated(&plan);
    assert!(stepped.faults.clock_steps > 0 && stepped.faults.suspends > 0);
    assert_eq!(stepped.digest, steady.digest);
    plan.trouble.restarts = true;
    let restarted = simulated(&plan);
    plan.trouble.clock_steps = true;
    assert_ne!(
        simulated(&plan).digest,
        restarted.digest,
        "but a process starts by it"
    );
}

/// Each of the modes of saturation, with far too few permits, so that there is always somebody who
/// waits or is passed over.
#[test]
fn all_is_kept_where_there_are_too_few_permits() {
    let modes = [
        Saturation::Skip,
        Saturation::Queue { bound: 100 },
        Saturation::Shed { bound: 20 },
    ];
    for (seed, saturation) in (100..).zip(modes) {
        let mut plan = Plan::new(200, 3 * HOUR, seed);
        plan.max_concurrent = NonZeroUsize::new(2).unwrap();
        plan.saturation = saturation;
        let report = simulated(&plan);
        assert!(report.missed.iter().sum::<u64>() > 0);
        assert_eq!(
            report.violations_total,
            0,
            "{saturation:?}\n{}",
            told(&report)
        );
    }
}

/// PRB-1, PRB-5, OPS-1, ROB-14, ROB-17, ROB-51, ROB-84: with a new seed each time, nothing that is
/// promised is broken; the seed is told if it is.
#[test]
fn all_is_kept_whatever_the_seed() {
    for _ in 0..2 {
        let seed = RandomState::new().build_hasher().finish() >> 32;
        let report = simulated(&Plan::new(200, 6 * HOUR, seed));
        assert_eq!(
            report.violations_total,
            0,
            "monitord simulate --targets 200 --hours 6 --without-permit shed --seed {seed}\n{}",
            told(&report)
        );
        assert!(report.checks > 50_000 && report.faults.stalls > 0);
        assert!(report.faults.restarts > 0);
        let connections = report.connections;
        assert!(connections.after_wait > 0 && connections.acquired > connections.after_wait);
        let svg = svg(&report, "A < B");
        assert!(svg.contains("A &lt; B") && svg.matches("<polyline").count() == 5);
    }
}

/// A seed brings the same run again, to the last due time; another one does not.
#[test]
fn a_seed_replays_exactly() {
    let digest = |seed| simulated(&Plan::new(100, HOUR, seed)).digest;
    assert_eq!(digest(5), digest(5));
    assert_ne!(digest(5), digest(6));
}

fn simulate(args: &[&str]) -> Output {
    let mut all = vec!["simulate", "--hours", "0.5"];
    if !args.contains(&"--targets") {
        all.extend(["--targets", "50"]);
    }
    all.extend(args);
    process::run(&all)
}

/// The report for people, with everything that it counts, and the picture.
#[test]
fn the_command_tells_what_came_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let plot = folder.path().join("plot.svg");
    let output = simulate(&["--seed", "3", "--plot", plot.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stderr(&output), "", "no bar where there is no terminal");
    let text = stdout(&output);
    for part in [
        "simulated 30m of 50 targets, at most 20 checks at once, seed 3\n",
        "  start lag    p50 ",
        "  at once      ",
        "  outcomes     1 ",
        "  missed       ",
        "  connections  ",
        "checks per CPU second",
        "kept  all that is promised\n",
    ] {
        assert!(text.contains(part), "lacks {part:?}:\n{text}");
    }
    let svg = std::fs::read_to_string(plot).unwrap();
    assert!(
        svg.starts_with("<svg ") && svg.ends_with("</svg>\n"),
        "{svg}"
    );
    assert!(svg.contains("seed 3"), "{svg}");
}

/// On a good day nothing goes wrong but what befalls the targets, and nothing is late.
#[test]
fn the_command_shows_a_good_day() {
    let output = simulate(&["--calm", "--json", "--seed", "8", "--targets", "400"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let faults = json["faults"].as_object().unwrap();
    for (fault, count) in faults {
        let befalls_targets = fault.ends_with("outages");
        assert!(befalls_targets || *count == 0, "{fault}: {count}");
    }
    assert_eq!(
        json["faults"]["outages"].as_u64().map(|it| it > 0),
        Some(true)
    );
    assert_eq!(json["lag_ms"]["max"], 0, "{json}");
}

/// The same seed brings the same numbers, in JSON; without one there is a new one, which is told.
#[test]
fn the_command_replays_a_seed() {
    let json = |args: &[&str]| -> Value {
        let output = simulate(&[&["--json"], args].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        serde_json::from_str(&stdout(&output)).unwrap()
    };
    let first = json(&[]);
    let again = json(&["--seed", &first["seed"].to_string()]);
    assert_eq!(first["digest"], again["digest"]);
    assert_eq!(first["checks"], again["checks"]);
    assert_ne!(first["digest"], json(&[])["digest"]);
    let missed: u64 = first["missed"]
        .as_object()
        .unwrap()
        .values()
        .filter_map(Value::as_u64)
        .sum();
    let outcomes = first["outcomes"]
        .as_object()
        .unwrap()
        .values()
        .filter_map(Value::as_u64);
    assert!(missed < outcomes.sum(), "{first}");
    assert!(
        first["lag_ms"]["p99"].is_u64() && first["violations_total"] == 0,
        "{first}"
    );
}

/// A configuration is simulated as it is: its monitors, its limits; none of it is contacted.
#[test]
fn the_command_takes_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let text = format!(
        "[limits]\nmax_concurrent_probes = 7\n[defaults]\ninterval = \"10s\"\n\
         backoff_by_category = true\n\
         [[monitor]]\nid = \"a\"\nurl = {url:?}\n\
         [[monitor]]\nid = \"b\"\nurl = {url:?}\npreset = \"mail\"\ninterval = \"2m\"\n"
    );
    let path = process::config(folder.path(), &text);
    let output = process::run(&["simulate", "--config", &path, "--seed", "1", "--json"]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}",
        stderr(&output),
        stdout(&output)
    );
    let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(
        (&json["targets"], &json["max_concurrent"]),
        (&2.into(), &7.into())
    );
    // One every 10 s and one every 2 min, for an hour, give or take what goes wrong.
    let checks = json["checks"].as_u64().unwrap();
    assert!((200..600).contains(&checks), "{json}");
    assert!(listener.accept().is_err(), "nobody is contacted");

    // As the daemon with it: a preset that lets nobody wait, unless a flag says otherwise.
    let skips = "[defaults]\npreset = \"gate2\"\ninterval = \"1s\"\n";
    let path = process::config(
        folder.path(),
        &format!("{skips}{}", &text[text.find("[[").unwrap()..]),
    );
    let run = |flags: &[&str]| {
        let args = [
            "simulate",
            "--config",
            &path,
            "--targets",
            "200",
            "--json",
            "--seed",
            "1",
        ];
        let output = process::run(&[&args, flags].concat());
        serde_json::from_str::<Value>(&stdout(&output)).unwrap()
    };
    let (skipped, queued) = (run(&[]), run(&["--without-permit", "queue"]));
    assert_eq!(skipped["max_concurrent"], 3);
    let wait = |json: &Value| json["lag_ms"]["p50"].as_u64().unwrap();
    assert!(
        wait(&skipped) == 0 && wait(&queued) > 0,
        "{skipped}\n{queued}"
    );

    let bad = process::config(folder.path(), "[[monitor]]\nid = \"a\"\nurl = 5\n");
    let output = process::run(&["simulate", "--config", &bad]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("monitor[1].url = 5"), "{output:?}");
}

#[test]
fn the_command_refuses_what_makes_no_sense() {
    for args in [
        &["--targets", "0"][..],
        &["--hours", "0"],
        &["--hours", "nan"],
        &["--hours", "1e9"],
        &["--concurrent", "0"],
        &["--seed", "x"],
        &["--without-permit", "pray"],
    ] {
        let output = process::run(&[&["simulate"], args].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains(args[0]), "{output:?}");
    }
    let output = simulate(&["--plot", "/no/such/folder/plot.svg"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("cannot write /no/such/folder/plot.svg"),
        "{output:?}"
    );
}

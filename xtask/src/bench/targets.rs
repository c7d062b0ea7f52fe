//! What the figures should be, as data, and whether they are.

use serde_json::{Value, json};

use super::rows::Row;

/// Something that should cost, or count, so much at most.
#[derive(Debug)]
struct Target {
    group: &'static str,
    workload: &'static str,
    subject: &'static str,
    metric: Metric,
    at_most: f64,
    bound: Bound,
    /// Judged only where its workload was measured: it takes minutes, and is measured by name.
    is_long: bool,
}

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Metric {
    /// Processor time for one operation: it means something on a busy machine too.
    Cpu,
    /// Allocations for one operation.
    Allocs,
    /// Something that was counted besides.
    Extra(&'static str),
}

/// What it is compared with.
#[derive(Debug, Clone, Copy)]
enum Bound {
    /// Nothing: it is a number.
    Absolute,
    /// That of the best of these subjects, in the same workload.
    Best(&'static [&'static str]),
    /// Its own in another workload.
    Itself(&'static str),
}

const POOL: &str = "monitor-pool";
const DEADPOOL: Bound = Bound::Best(&["deadpool managed"]);
const ONE: &str = "uncontended, 1 thread, size 16";
const FEW: &str = "2 tasks, size 16";
const MANY: &str = "64 tasks, size 8";
const CROWD: &str = "1000 tasks, size 4";
const LOOP: &str = "one loops get, hold 2 ms, release, size 1: holds until the waiter is served";

const BREAKER: &str = "monitor-breaker";
const COARSE: &str = "monitor-breaker, coarse clock";
const INSTANT: &str = "monitor-breaker, Instant";
const CLOSED_1: &str = "closed, success, consecutive failures, 1T";
const CLOSED_2: &str = "closed, success, consecutive failures, 2T";
const WINDOW_1: &str = "closed, success, window of 1 s, 1T";
const WINDOW_2: &str = "closed, success, window of 1 s, 2T";
const OPEN_1: &str = "open, rejected, consecutive failures, 1T";
const OPENS: &str = "failures to open after 10 000 successes, window of 100 calls, 50 %";
const RECLOSER: Bound = Bound::Best(&["recloser, ring of 100"]);
const BREAKERS: Bound = Bound::Best(&[
    "recloser, ring of 100",
    "failsafe",
    "circuitbreaker-rs",
    "tower-resilience",
]);

const BACKOFF: &str = "monitor-backoff";
const FULL: &str = "full jitter, at the cap";

const OPERATION: &str = "monitor-operation";
const SEED: Bound = Bound::Best(&["mutex, map, random id, timeout task"]);
const CHILD: Bound = Bound::Best(&["tokio-util CancellationToken child"]);
const FEW_OPEN: &str = "begin, commit, end; 1000 others open, 1T";
const FEW_OPEN_2: &str = "begin, commit, end; 1000 others open, 2T";
const MANY_OPEN: &str = "begin, commit, end; 1000000 others open, 1T";
const STOP: &str = "stop a key of 1000 who listen, each; 1000000 others open";

const WHEEL: &str = "monitor-scheduler, its wheel";
const WHOLE: &str = "monitor-scheduler, all of it";
const STORE: &str = "monitor-store, SQLite";
const COMMITS: &str = "results of 1000 monitors, each waits for its own";
const MONTH: &str = "30 days of 1000 monitors at 10 s";
const TASK: Bound = Bound::Best(&["task and tokio sleep"]);
const MILLION: &str = "1000000 keys of 10 s";
const WATCHED: &str = "1000000 keys of 10 s, for 90 s";
const INSERT: &str = "insert 1000000 keys";
const STATUS: &str = "100000 keys of 10 s, status() in a loop";

const JOBS_OFF: &str = "monitor-jobs, history off";
const JOBS_KEPT: &str = "monitor-jobs, history kept";
const JOBS_PG: &str = "monitor-jobs, PostgreSQL";
const JOBS_LITE: &str = "monitor-jobs, SQLite";
const DRAIN: &str = "drain of no-op jobs";
const FIFTY: &str = "complete a parent, release 50 children";
const MANY_CHILDREN: &str = "complete a parent, release 50000 children";
const THOUSAND: Bound = Bound::Itself("complete a parent, release 1000 children");
const CROWD_16: Bound = Bound::Itself("claim and complete, 16 workers");
const CROWD_512: &str = "claim and complete, 512 workers";
const GRAPHILE: Bound = Bound::Best(&["graphile-worker 0.17, batched"]);
const APALIS: Bound = Bound::Best(&["apalis-postgres 1.0"]);

const TARGETS: [Target; 57] = [
    cpu("pool", ONE, POOL, 0.25, DEADPOOL),
    cpu(
        "pool",
        ONE,
        POOL,
        1.5,
        Bound::Best(&["floor: two locks with pop and push"]),
    ),
    cpu("pool", FEW, POOL, 0.60, DEADPOOL),
    cpu("pool", MANY, POOL, 0.65, DEADPOOL),
    count("pool", MANY, POOL, Metric::Extra("fairness"), 1.05),
    cpu("pool", CROWD, POOL, 0.70, DEADPOOL),
    Target {
        group: "pool",
        workload: CROWD,
        subject: POOL,
        metric: Metric::Extra("wait_p99_us"),
        at_most: 1.0,
        bound: DEADPOOL,
        is_long: false,
    },
    count("pool", CROWD, POOL, Metric::Extra("fairness"), 1.05),
    count("pool", ONE, POOL, Metric::Allocs, 0.0),
    count("pool", MANY, POOL, Metric::Allocs, 0.0),
    count("pool", CROWD, POOL, Metric::Allocs, 0.0),
    count("pool", LOOP, POOL, Metric::Extra("holds"), 3.0),
    cpu("breaker", CLOSED_1, COARSE, 0.1, RECLOSER),
    cpu("breaker", CLOSED_2, COARSE, 1.2, Bound::Itself(CLOSED_1)),
    cpu("breaker", WINDOW_1, COARSE, 0.65, RECLOSER),
    cpu(
        "breaker",
        WINDOW_1,
        INSTANT,
        0.45,
        Bound::Best(&["failsafe"]),
    ),
    count("breaker", OPENS, BREAKER, Metric::Extra("failures"), 50.0),
    cpu("breaker", OPEN_1, COARSE, 0.1, BREAKERS),
    cpu(
        "breaker",
        OPEN_1,
        INSTANT,
        1.2,
        Bound::Best(&["floor: one Instant::now"]),
    ),
    count("breaker", CLOSED_1, COARSE, Metric::Allocs, 0.0),
    count("breaker", WINDOW_2, COARSE, Metric::Allocs, 0.0),
    cpu("backoff", FULL, BACKOFF, 0.2, Bound::Best(&["backon"])),
    count("backoff", FULL, BACKOFF, Metric::Allocs, 0.0),
    cpu("operation", FEW_OPEN, OPERATION, 0.08, SEED),
    cpu("operation", MANY_OPEN, OPERATION, 0.08, SEED),
    cpu("operation", FEW_OPEN, OPERATION, 0.55, CHILD),
    cpu("operation", FEW_OPEN_2, OPERATION, 0.55, CHILD),
    cpu("operation", MANY_OPEN, OPERATION, 0.55, CHILD),
    cpu(
        "operation",
        MANY_OPEN,
        OPERATION,
        1.2,
        Bound::Itself(FEW_OPEN),
    ),
    count("operation", MANY_OPEN, OPERATION, Metric::Allocs, 0.0),
    cpu(
        "operation",
        STOP,
        OPERATION,
        1.0,
        Bound::Best(&["CancellationToken parent"]),
    ),
    cpu("scheduler", MILLION, WHEEL, 0.2, TASK),
    cpu("scheduler", MILLION, WHOLE, 0.6, TASK),
    count("scheduler", MILLION, WHOLE, Metric::Extra("lost"), 0.0),
    count("scheduler", MILLION, WHOLE, Metric::Extra("untold"), 0.0),
    count(
        "scheduler",
        STATUS,
        "monitor-scheduler, somebody looks",
        Metric::Extra("page_max_us"),
        1000.0,
    ),
    cpu("scheduler", INSERT, WHEEL, 0.1, TASK),
    cpu(
        "scheduler",
        INSERT,
        "monitor-scheduler, schedule",
        0.1,
        TASK,
    ),
    Target {
        group: "scheduler",
        workload: INSERT,
        subject: "monitor-scheduler, schedule",
        metric: Metric::Extra("bytes_per_key"),
        at_most: 0.25,
        bound: TASK,
        is_long: false,
    },
    long(count(
        "scheduler",
        WATCHED,
        WHEEL,
        Metric::Extra("late_p99_us"),
        2000.0,
    )),
    long(count(
        "scheduler",
        WATCHED,
        WHEEL,
        Metric::Extra("late_max_us"),
        10_000.0,
    )),
    long(count(
        "scheduler",
        WATCHED,
        WHOLE,
        Metric::Extra("late_p99_us"),
        2000.0,
    )),
    long(count(
        "scheduler",
        WATCHED,
        WHOLE,
        Metric::Extra("late_max_us"),
        10_000.0,
    )),
    long(count(
        "scheduler",
        WATCHED,
        WHOLE,
        Metric::Extra("lost"),
        0.0,
    )),
    // 20 000 a second.
    count(
        "store",
        COMMITS,
        STORE,
        Metric::Extra("us_per_result"),
        50.0,
    ),
    long(count(
        "store",
        MONTH,
        STORE,
        Metric::Extra("megabytes"),
        300.0,
    )),
    // 1.2 times, 0.7 times and five times as fast.
    wall(DRAIN, JOBS_OFF, 0.83, GRAPHILE),
    wall(DRAIN, JOBS_KEPT, 1.43, GRAPHILE),
    wall(DRAIN, JOBS_OFF, 0.2, APALIS),
    wall(FIFTY, JOBS_PG, 5e6, Bound::Absolute),
    wall(FIFTY, JOBS_LITE, 5e6, Bound::Absolute),
    wall(MANY_CHILDREN, JOBS_PG, 1.5e9, Bound::Absolute),
    wall(MANY_CHILDREN, JOBS_LITE, 1.5e9, Bound::Absolute),
    // Linear: fifty times as many, and a fifth for what one run says.
    wall(MANY_CHILDREN, JOBS_PG, 60.0, THOUSAND),
    wall(MANY_CHILDREN, JOBS_LITE, 60.0, THOUSAND),
    // 0.8 times as fast.
    wall(CROWD_512, JOBS_PG, 1.25, CROWD_16),
    wall(CROWD_512, JOBS_LITE, 1.25, CROWD_16),
];

const fn long(target: Target) -> Target {
    Target {
        is_long: true,
        ..target
    }
}

/// Of jobs: most of the time is the server's, so the clock on the wall counts.
const fn wall(workload: &'static str, subject: &'static str, at_most: f64, bound: Bound) -> Target {
    Target {
        group: "jobs",
        workload,
        subject,
        metric: Metric::Extra("ns_each"),
        at_most,
        bound,
        is_long: true,
    }
}

const fn cpu(
    group: &'static str,
    workload: &'static str,
    subject: &'static str,
    at_most: f64,
    bound: Bound,
) -> Target {
    Target {
        group,
        workload,
        subject,
        metric: Metric::Cpu,
        at_most,
        bound,
        is_long: false,
    }
}

const fn count(
    group: &'static str,
    workload: &'static str,
    subject: &'static str,
    metric: Metric,
    at_most: f64,
) -> Target {
    Target {
        group,
        workload,
        subject,
        metric,
        at_most,
        bound: Bound::Absolute,
        is_long: false,
    }
}

/// A target with what was measured.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) group: &'static str,
    pub(super) workload: &'static str,
    /// Who should do what: `monitor-pool: CPU at most 0.25 x deadpool managed`.
    pub(super) target: String,
    at_most: f64,
    /// What was measured: the median of the rounds, if there are such. None where a row is
    /// missing, or a number was infinite.
    pub(super) measured: Option<f64>,
    /// The least and the most of the rounds.
    pub(super) spread: Option<(f64, f64)>,
    /// The same ratio by the clock on the wall.
    pub(super) wall: Option<f64>,
}

impl Verdict {
    pub(super) fn is_met(&self) -> bool {
        // Floating point: two digits are more than the machine has.
        self.measured
            .is_some_and(|measured| measured <= self.at_most + 0.0005)
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "target": self.target,
            "group": self.group,
            "workload": self.workload,
            "at_most": self.at_most,
            "measured": self.measured,
            "least": self.spread.map(|(least, _)| least),
            "most": self.spread.map(|(_, most)| most),
            "met": self.is_met(),
        })
    }
}

/// Compares the rows with all targets of the groups that were measured.
pub(super) fn judge(rows: &[Row]) -> Vec<Verdict> {
    let measured = |target: &&Target| {
        rows.iter().any(|row| {
            row.group == target.group && (!target.is_long || row.workload == target.workload)
        })
    };
    TARGETS
        .iter()
        .filter(measured)
        .map(|target| target.judge(rows))
        .collect()
}

impl Target {
    fn judge(&self, rows: &[Row]) -> Verdict {
        let find = |workload: &str, subject: &str| {
            rows.iter().find(|row| {
                row.group == self.group && row.workload == workload && row.subject == subject
            })
        };
        let subject = find(self.workload, self.subject);
        let value = |row: &Row| self.metric.of(row);
        let mut verdict = Verdict {
            group: self.group,
            workload: self.workload,
            target: self.words(),
            at_most: self.at_most,
            measured: subject.and_then(value),
            spread: None,
            wall: None,
        };
        let other = match self.bound {
            Bound::Absolute => return verdict,
            Bound::Itself(workload) => find(workload, self.subject),
            Bound::Best(subjects) => subjects
                .iter()
                .filter_map(|subject| find(self.workload, subject))
                .filter(|row| value(row).is_some())
                .min_by(|a, b| {
                    value(a)
                        .partial_cmp(&value(b))
                        .unwrap_or(std::cmp::Ordering::Equal)
                }),
        };
        let (Some(subject), Some(other)) = (subject, other) else {
            verdict.measured = None;
            return verdict;
        };
        verdict.measured = ratio(value(subject), value(other));
        if self.metric == Metric::Cpu {
            verdict.wall = ratio(subject.ns, other.ns);
            // Rounds of one workload are paired; those of two workloads have nothing in common.
            if matches!(self.bound, Bound::Best(_)) {
                let paired = paired(subject, other);
                verdict.measured = median(&paired);
                verdict.spread = paired.first().copied().zip(paired.last().copied());
            }
        }
        verdict
    }

    fn words(&self) -> String {
        let what = match self.metric {
            Metric::Cpu => "CPU",
            Metric::Allocs => "allocations",
            Metric::Extra("wait_p99_us") => "wait p99",
            Metric::Extra("late_p99_us") => "us late, p99,",
            Metric::Extra("late_max_us") => "us late, the latest,",
            Metric::Extra("lost") => "due times lost",
            Metric::Extra("untold") => "due times missed and not told",
            Metric::Extra("page_max_us") => "us of CPU for 1024 keys under the lock",
            Metric::Extra("us_per_result") => "us of wall time for a result",
            Metric::Extra("megabytes") => "MB on disk",
            Metric::Extra("ns_each") => "ns of wall time for one",
            Metric::Extra("bytes_per_key") => "bytes for each key",
            Metric::Extra(name) => name,
        };
        let Self {
            subject, at_most, ..
        } = self;
        match self.bound {
            Bound::Absolute => format!("{subject}: {what} at most {at_most}"),
            Bound::Itself(workload) => {
                format!("{subject}: {what} at most {at_most} x itself in `{workload}`")
            }
            Bound::Best([one]) => format!("{subject}: {what} at most {at_most} x {one}"),
            Bound::Best(_) => format!("{subject}: {what} at most {at_most} x the best peer"),
        }
    }
}

impl Metric {
    fn of(self, row: &Row) -> Option<f64> {
        match self {
            Self::Cpu => row.cpu_ns,
            Self::Allocs => row.allocs,
            Self::Extra(name) => row.extra(name),
        }
    }
}

fn ratio(of: Option<f64>, to: Option<f64>) -> Option<f64> {
    Some(of? / to?).filter(|ratio| ratio.is_finite())
}

/// The ratios of the rounds, sorted.
fn paired(of: &Row, to: &Row) -> Vec<f64> {
    let name = "samples_cpu_ns";
    let (of, to) = (of.samples(name), to.samples(name));
    let mut ratios: Vec<f64> = of
        .into_iter()
        .zip(to)
        .filter_map(|(of, to)| ratio(Some(of), Some(to)))
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios
}

fn median(sorted: &[f64]) -> Option<f64> {
    sorted.get(sorted.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::super::rows::parse;
    use super::*;

    fn row(workload: &str, subject: &str, samples: &str) -> String {
        format!(
            r#"{{"group":"pool","workload":"{workload}","subject":"{subject}","ns":1,"cpu_ns":1,"allocs":0,"extra":{{"fairness":1.04,"samples_cpu_ns":{samples}}}}}"#
        ) + "\n"
    }

    fn judged(printed: &str, words: &str) -> Verdict {
        let verdicts = judge(&parse(printed).unwrap());
        let mut found = verdicts
            .into_iter()
            .filter(|verdict| format!("{}: {}", verdict.workload, verdict.target) == words);
        found.next().unwrap()
    }

    #[test]
    fn rounds_are_paired_and_the_median_counts() {
        let printed = row(FEW, POOL, "[5.0, 60.0, 7.0]")
            + &row(FEW, "deadpool managed", "[10.0, 100.0, 10.0]");
        let words = format!("{FEW}: monitor-pool: CPU at most 0.6 x deadpool managed");
        let verdict = judged(&printed, &words);
        assert_eq!(verdict.measured, Some(0.6));
        assert_eq!(verdict.spread, Some((0.5, 0.7)));
        assert!(verdict.is_met());
    }

    #[test]
    fn what_is_not_there_is_missed() {
        let printed = row(FEW, POOL, "[5.0]");
        let words = format!("{FEW}: monitor-pool: CPU at most 0.6 x deadpool managed");
        assert!(!judged(&printed, &words).is_met());
        let words = format!("{LOOP}: monitor-pool: holds at most 3");
        assert!(!judged(&printed, &words).is_met());
    }

    #[test]
    fn a_number_stands_for_itself_and_an_infinite_one_misses() {
        let words = format!("{MANY}: monitor-pool: fairness at most 1.05");
        let printed = row(MANY, POOL, "[1.0]");
        assert!(judged(&printed, &words).is_met());
        assert!(!judged(&printed.replace("1.04", "null"), &words).is_met());
        assert!(!judged(&printed.replace("1.04", "1.06"), &words).is_met());
    }

    #[test]
    fn only_groups_that_were_measured_are_judged() {
        let verdicts = judge(&parse(&row(ONE, POOL, "[]")).unwrap());
        assert!(verdicts.iter().all(|verdict| verdict.group == "pool"));
        assert!(judge(&[]).is_empty());
    }

    #[test]
    fn what_takes_minutes_is_judged_only_if_it_was_measured() {
        let late = |workload: &str| {
            row(workload, WHEEL, "[]")
                .replace("\"pool\"", "\"scheduler\"")
                .replace("fairness\":1.04", "late_p99_us\":96.0")
        };
        let is_watched = |verdict: &Verdict| verdict.workload == WATCHED;
        let short = judge(&parse(&late(MILLION)).unwrap());
        assert!(!short.is_empty() && !short.iter().any(is_watched));
        let words = format!("{WATCHED}: {WHEEL}: us late, p99, at most 2000");
        assert!(judged(&late(WATCHED), &words).is_met());
    }

    /// JOB-12, JOB-47: what a queue must reach is judged in the run in which its peers ran.
    #[test]
    fn jobs_are_judged_beside_their_peers() {
        let drained = |subject: &str, ns_each: &str| {
            row(DRAIN, subject, "[]")
                .replace("\"pool\"", "\"jobs\"")
                .replace("fairness\":1.04", &format!("ns_each\":{ns_each}"))
        };
        let peer = drained("graphile-worker 0.17, batched", "50000.0");
        let words = format!(
            "{DRAIN}: {JOBS_OFF}: ns of wall time for one at most 0.83 x graphile-worker 0.17, batched"
        );
        assert!(judged(&(drained(JOBS_OFF, "40000.0") + &peer), &words).is_met());
        assert!(!judged(&(drained(JOBS_OFF, "45000.0") + &peer), &words).is_met());
        assert!(
            !judged(&drained(JOBS_OFF, "1.0"), &words).is_met(),
            "no peer ran"
        );
    }

    #[test]
    fn the_best_peer_is_the_one_to_beat() {
        let peer = |subject: &str, cpu: &str| {
            row(OPEN_1, subject, &format!("[{cpu}]"))
                .replace("\"pool\"", "\"breaker\"")
                .replace("\"cpu_ns\":1", &format!("\"cpu_ns\":{cpu}"))
        };
        let printed = peer(COARSE, "2.0")
            + &peer("failsafe", "40.0")
            + &peer("recloser, ring of 100", "20.0");
        let words = format!("{OPEN_1}: {COARSE}: CPU at most 0.1 x the best peer");
        assert_eq!(judged(&printed, &words).measured, Some(0.1));
    }
}

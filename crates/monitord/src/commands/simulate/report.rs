//! What came of a simulation, told to people and to programs.

use std::fmt::Write as _;
use std::time::Duration;

use monitor_scheduler::MissedReason;
use serde_json::{Map, Value, json};

use super::Simulated;
use crate::config::format_duration;
use crate::terminal::{Colour, Paint, digits, millis};

/// No line is longer, so that none breaks in the middle of a word.
const WIDTH: usize = 100;
/// Where values begin.
const INDENT: usize = 15;

impl Simulated {
    /// How many checks a second of one processor brings.
    #[expect(clippy::cast_precision_loss, reason = "counts below 2^53")]
    fn checks_per_cpu_second(&self) -> f64 {
        self.report.checks as f64 / self.cpu.as_secs_f64().max(1e-9)
    }

    /// The reasons for which due times came to nothing, and how many.
    fn missed(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = MissedReason::ALL.into_iter().zip(self.report.missed);
        let told = counts.map(|(reason, count)| (reason.as_str(), count));
        told.chain([("not_running", self.report.not_running)])
    }

    /// How many due times came to nothing, and which share of all that is.
    #[expect(clippy::cast_precision_loss, reason = "counts below 2^53")]
    fn missed_in_all(&self) -> String {
        let missed: u64 = self.missed().map(|(_, count)| count).sum();
        let due = (self.report.checks + missed).max(1);
        let percent = 100.0 * missed as f64 / due as f64;
        format!("{} of {}, {percent:.2} %", digits(missed), digits(due))
    }
}

/// What it was, in a line.
pub(super) fn title(simulated: &Simulated) -> String {
    let plan = &simulated.plan;
    format!(
        "{} of {} targets, at most {} checks at once, seed {}",
        format_duration(plan.duration),
        digits(u64::from(plan.targets)),
        digits(plan.max_concurrent.get() as u64),
        plan.seed
    )
}

/// For people.
pub(super) fn text(simulated: &Simulated, paint: Paint) -> String {
    let report = &simulated.report;
    let ms = |ms| millis(Duration::from_millis(ms));
    let mut text = format!("simulated {}\n", title(simulated));
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {}  {value}", paint.dim(&format!("{name:<11}")));
    };
    line("checks", digits(report.checks));
    line(
        "start lag",
        format!(
            "p50 {}, p99 {}, max {}",
            ms(report.lag.quantile(0.5)),
            ms(report.lag.quantile(0.99)),
            ms(report.lag.max())
        ),
    );
    line(
        "at once",
        format!("{} at most", digits(report.peak_concurrency)),
    );
    for (name, counts) in counts(simulated) {
        let mut told = list(counts);
        if name == "missed" && told[0] != NONE {
            told[0].insert_str(0, &format!("{}: ", simulated.missed_in_all()));
        }
        line(name, wrap(&told));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate, and a float saturates"
    )]
    let speed = digits(simulated.checks_per_cpu_second() as u64);
    line(
        "speed",
        format!(
            "{speed} checks per CPU second, {} in all",
            millis(simulated.cpu)
        ),
    );
    if report.violations_total == 0 {
        let verdict = paint.bold(Colour::Green, "kept");
        let _ = writeln!(text, "{verdict}  all that is promised");
        return text;
    }
    let verdict = paint.bold(Colour::Red, "broken");
    let count = digits(report.violations_total);
    let _ = writeln!(
        text,
        "{verdict}  {count} times, with seed {}:",
        simulated.plan.seed
    );
    for violation in &report.violations {
        let _ = writeln!(text, "  {violation}");
    }
    text
}

/// What ended how, what was missed, and what went wrong.
fn counts(simulated: &Simulated) -> [(&'static str, Vec<(&'static str, u64)>); 4] {
    let report = &simulated.report;
    let (outcomes, connections) = (&report.outcomes, &report.connections);
    let faults = &report.faults;
    let outcomes = vec![
        ("up", outcomes.up),
        ("down", outcomes.down),
        ("unknown", outcomes.unknown),
        ("suppressed", outcomes.suppressed),
        ("cancelled", outcomes.cancelled),
        ("broken", outcomes.broken),
    ];
    let connections = vec![
        ("from pools", connections.acquired),
        ("after a wait", connections.after_wait),
        ("revoked offers", connections.revoked),
        ("timed out", connections.timed_out),
    ];
    let faults = vec![
        ("outages", faults.outages),
        ("group outages", faults.group_outages),
        ("stalls", faults.stalls),
        ("suspends", faults.suspends),
        ("clock steps", faults.clock_steps),
        ("triggers", faults.triggers),
        ("pauses", faults.pauses),
        ("edits", faults.edits),
        ("deletes", faults.deletes),
        ("slow-downs", faults.paces),
        ("restarts", faults.restarts),
    ];
    [
        ("outcomes", outcomes),
        ("missed", simulated.missed().collect()),
        ("connections", connections),
        ("faults", faults),
    ]
}

/// For programs.
pub(super) fn json(simulated: &Simulated) -> Value {
    let (plan, report) = (&simulated.plan, &simulated.report);
    let missed: Map<_, _> = simulated
        .missed()
        .map(|(reason, count)| (reason.to_owned(), json!(count)))
        .collect();
    let violations: Vec<_> = report.violations.iter().map(ToString::to_string).collect();
    let (outcomes, faults) = (&report.outcomes, &report.faults);
    let connections = &report.connections;
    json!({
        "targets": plan.targets,
        "hours": plan.duration.as_secs_f64() / 3600.0,
        "seed": plan.seed,
        "max_concurrent": plan.max_concurrent,
        "checks": report.checks,
        "lag_ms": {
            "p50": report.lag.quantile(0.5),
            "p99": report.lag.quantile(0.99),
            "max": report.lag.max(),
        },
        "peak_concurrency": report.peak_concurrency,
        "missed": missed,
        "outcomes": {
            "up": outcomes.up,
            "down": outcomes.down,
            "unknown": outcomes.unknown,
            "suppressed": outcomes.suppressed,
            "cancelled": outcomes.cancelled,
            "broken": outcomes.broken,
        },
        "connections": {
            "acquired": connections.acquired,
            "after_wait": connections.after_wait,
            "revoked": connections.revoked,
            "timed_out": connections.timed_out,
        },
        "faults": {
            "outages": faults.outages,
            "group_outages": faults.group_outages,
            "stalls": faults.stalls,
            "suspends": faults.suspends,
            "clock_steps": faults.clock_steps,
            "triggers": faults.triggers,
            "pauses": faults.pauses,
            "edits": faults.edits,
            "deletes": faults.deletes,
            "slow_downs": faults.paces,
            "restarts": faults.restarts,
        },
        "cpu_seconds": simulated.cpu.as_secs_f64(),
        "checks_per_cpu_second": simulated.checks_per_cpu_second().round(),
        "digest": format!("{:016x}", report.digest),
        "violations_total": report.violations_total,
        "violations": violations,
    })
}

const NONE: &str = "none";

/// Those that there are, in words: never nothing.
fn list(counts: impl IntoIterator<Item = (&'static str, u64)>) -> Vec<String> {
    let there = counts.into_iter().filter(|(_, count)| *count > 0);
    let told = there.map(|(name, count)| match count {
        1 => format!("1 {}", name.strip_suffix('s').unwrap_or(name)),
        _ => format!("{} {name}", digits(count)),
    });
    let mut told: Vec<_> = told.collect();
    if told.is_empty() {
        told.push(NONE.to_owned());
    }
    told
}

/// One after the other, with a comma between, in as many lines as that takes.
fn wrap(parts: &[String]) -> String {
    let mut text = String::new();
    let mut column = INDENT;
    for part in parts {
        if !text.is_empty() {
            text.push(',');
            if column + part.len() + 2 > WIDTH {
                text.push('\n');
                text.extend(std::iter::repeat_n(' ', INDENT));
                column = INDENT;
            } else {
                text.push(' ');
            }
        }
        text.push_str(part);
        column += part.len() + 2;
    }
    text
}

//! The figures as text for a terminal.

use super::rows::Row;
use super::targets::Verdict;

/// As many holds as are counted: whoever is not served by then is not waited for.
const STARVED: f64 = 50.0;

/// The rows of one workload.
pub(super) struct Workload<'a> {
    pub(super) group: &'a str,
    pub(super) name: &'a str,
    pub(super) rows: Vec<&'a Row>,
}

/// The rows by workload, in their order.
pub(super) fn workloads(rows: &[Row]) -> Vec<Workload<'_>> {
    let mut workloads: Vec<Workload<'_>> = Vec::new();
    for row in rows {
        match workloads
            .iter_mut()
            .find(|workload| workload.group == row.group && workload.name == row.workload)
        {
            Some(workload) => workload.rows.push(row),
            None => workloads.push(Workload {
                group: &row.group,
                name: &row.workload,
                rows: vec![row],
            }),
        }
    }
    workloads
}

impl Workload<'_> {
    /// How many times the processor time of our first row this one takes.
    pub(super) fn times_ours(&self, row: &Row) -> Option<f64> {
        let ours = self.rows.iter().find(|row| row.is_ours())?;
        Some(row.cpu_ns? / ours.cpu_ns?).filter(|times| times.is_finite())
    }

    /// How many processors others kept busy meanwhile.
    pub(super) fn foreign(&self) -> Option<f64> {
        self.rows.iter().find_map(|row| row.extra("foreign_cpus"))
    }
}

/// What a row counted besides, to be read by people.
pub(super) fn remarks(row: &Row) -> String {
    let mut remarks = Vec::new();
    if let Some(hung) = row.extra("hung_tasks").filter(|hung| *hung > 0.0) {
        remarks.push(format!("HANGS: {hung:.0} tasks never finish"));
    } else if let Some(fairness) = row.extra("fairness") {
        let digits = if fairness < 100.0 { 2 } else { 0 };
        remarks.push(format!("most/least served {fairness:.digits$}"));
    } else if row.extra.contains_key("fairness") {
        remarks.push("some tasks are never served".to_owned());
    }
    let hangs = row.extra("hung_tasks").is_some_and(|hung| hung > 0.0);
    let wait = |name: &str| row.extra(name).filter(|_| !hangs);
    if let (Some(p50), Some(p99), Some(max)) = (
        wait("wait_p50_us"),
        wait("wait_p99_us"),
        wait("wait_max_us"),
    ) {
        let [p50, p99, max] = [p50, p99, max].map(micros);
        remarks.push(format!("wait p50 {p50}, p99 {p99}, max {max}"));
    }
    match row.extra("holds") {
        Some(holds) if holds >= STARVED => {
            remarks.push(format!("starved for all {holds:.0} holds"))
        }
        Some(holds) => remarks.push(format!("{holds:.0} holds")),
        None => {}
    }
    remarks.extend(timers(row));
    remarks.extend(results(row));
    if let Some(failures) = row.extra("failures") {
        remarks.push(format!("{failures:.0} failures"));
    }
    remarks.join("; ")
}

/// What is said of timers.
fn timers(row: &Row) -> Vec<String> {
    let count = |name: &str, words: &str| {
        let count = row.extra(name)?;
        Some(format!("{count:.0} {words}"))
    };
    let late = [
        ("late_p50_us", "late p50"),
        ("late_p99_us", "p99"),
        ("late_max_us", "max"),
    ];
    let late: Vec<String> = late
        .into_iter()
        .filter_map(|(name, words)| Some(format!("{words} {}", micros(row.extra(name)?))))
        .collect();
    let page = row.extra("page_p50_us").zip(row.extra("page_max_us"));
    let pages = |(p50, max)| {
        format!(
            "1024 keys looked at in {}, at most {}",
            micros(p50),
            micros(max)
        )
    };
    [
        Some(late.join(", ")).filter(|late| !late.is_empty()),
        count("lost", "lost"),
        count("missed", "missed"),
        page.map(pages),
        count("bytes_per_key", "bytes for each key"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What is said of results that are stored.
fn results(row: &Row) -> Vec<String> {
    let count = |name: &str, words: &str| {
        let count = row.extra(name)?;
        Some(format!("{count:.0} {words}"))
    };
    [
        count("results_per_s", "results/s"),
        count("results_per_flush", "for each flush"),
        count("bytes_per_result_after_a_day", "bytes for each after a day"),
        count("megabytes", "MB"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// To about three digits.
fn micros(micros: f64) -> String {
    match micros {
        ms if ms >= 9_950.0 => format!("{:.0} ms", ms / 1000.0),
        ms if ms >= 1000.0 => format!("{:.1} ms", ms / 1000.0),
        us if us >= 9.95 => format!("{us:.0} us"),
        us => format!("{us:.2} us"),
    }
}

/// All rows, each with its ratio to our first of its workload.
pub(super) fn plain(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.subject.len()).max().unwrap_or(0);
    let mut text = String::new();
    for workload in workloads(rows) {
        let foreign = workload.foreign().map_or_else(String::new, |foreign| {
            format!(" (others kept {foreign:.2} CPUs busy)")
        });
        text.push_str(&format!(
            "\n{}: {}{foreign}\n",
            workload.group, workload.name
        ));
        if workload.rows.iter().any(|row| row.ns.is_some()) {
            text.push_str(&format!(
                "  {:width$}  {:>9}  {:>9}  {:>19}  {:>6}  x ours\n",
                "", "ns", "cpu ns", "least .. most", "allocs"
            ));
        }
        for row in &workload.rows {
            let number =
                |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.2}"));
            let (ns, cpu_ns, allocs) = (number(row.ns), number(row.cpu_ns), number(row.allocs));
            let spread = row.min_ns.zip(row.max_ns);
            let spread = spread.map_or_else(String::new, |(least, most)| {
                format!("{least:.2} .. {most:.2}")
            });
            let times = number(workload.times_ours(row));
            let remarks = remarks(row);
            let line = if row.ns.is_some() {
                format!(
                    "  {:width$}  {ns:>9}  {cpu_ns:>9}  {spread:>19}  {allocs:>6}  {times:>6}  {remarks}",
                    row.subject
                )
            } else {
                format!("  {:width$}  {remarks}", row.subject)
            };
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    text
}

/// The targets, met or missed.
pub(super) fn verdicts(verdicts: &[Verdict]) -> String {
    let mut text = String::from("\ntargets\n");
    for verdict in verdicts {
        let met = if verdict.is_met() { "met   " } else { "MISSED" };
        text.push_str(&format!(
            "  {met}  {:<14}  {}: {}\n",
            measured(verdict),
            verdict.workload,
            verdict.target
        ));
    }
    let met = verdicts.iter().filter(|verdict| verdict.is_met()).count();
    text.push_str(&format!("  {met} of {} met\n", verdicts.len()));
    text
}

/// What was measured, with the spread of its rounds.
pub(super) fn measured(verdict: &Verdict) -> String {
    match (verdict.measured, verdict.spread) {
        (None, _) => "not measured".to_owned(),
        (Some(measured), None) => format!("{measured:.2}"),
        (Some(measured), Some((least, most))) => format!("{measured:.2} ({least:.2}..{most:.2})"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::parse;
    use super::*;

    const PRINTED: &str = r#"
{"group":"g","workload":"w","subject":"monitor-x","ns":1.0,"cpu_ns":1.0,"min_ns":0.9,"max_ns":1.2,"allocs":0.0,"extra":{"foreign_cpus":0.5}}
{"group":"g","workload":"w","subject":"peer","ns":4.0,"cpu_ns":3.9,"min_ns":3.0,"max_ns":5.0,"allocs":1.0,"extra":{"hung_tasks":0,"fairness":1.02,"wait_p50_us":2.0,"wait_p99_us":1500,"wait_max_us":20000}}
{"group":"g","workload":"w","subject":"stuck","ns":4.0,"cpu_ns":3.9,"min_ns":3.0,"max_ns":5.0,"allocs":1.0,"extra":{"hung_tasks":7,"fairness":null}}
{"group":"g","workload":"v","subject":"monitor-x","extra":{"holds":2}}
"#;

    #[test]
    fn the_table_compares_with_ours() {
        let table = plain(&parse(PRINTED).unwrap());
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines[1], "g: w (others kept 0.50 CPUs busy)");
        assert!(lines[3].ends_with("1.00"), "{table}");
        assert!(
            lines[4]
                .ends_with("3.90  most/least served 1.02; wait p50 2.00 us, p99 1.5 ms, max 20 ms"),
            "{table}"
        );
        assert!(lines[5].ends_with("HANGS: 7 tasks never finish"), "{table}");
        assert_eq!(lines[7], "g: v");
        assert!(lines[8].ends_with("2 holds"), "{table}");
    }
}

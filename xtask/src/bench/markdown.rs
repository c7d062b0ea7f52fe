//! The figures as generated parts of a document.
//!
//! A part begins with `<!-- bench NAME -->` and ends with `<!-- end -->`, each alone in its line.
//! Its name is a group, or `machine`. Parts that were not measured stay as they are.

use anyhow::{Context, Result};

use super::rows::Row;
use super::tables::{Workload, measured, remarks, workloads};
use super::targets::Verdict;

const END: &str = "<!-- end -->";

/// A part of the document: its name and what is to be in it.
type Block = (String, String);

/// The parts for what was measured.
pub(super) fn blocks(machine: &str, rows: &[Row], verdicts: &[Verdict]) -> Vec<Block> {
    let workloads = workloads(rows);
    let mut blocks = vec![("machine".to_owned(), machine.to_owned())];
    for workload in &workloads {
        if blocks.iter().all(|(name, _)| name != workload.group) {
            let group = workload.group;
            let text = noise(group, &workloads) + &targets(group, verdicts);
            blocks.push((group.to_owned(), text));
        }
        if let Some((_, text)) = blocks.last_mut() {
            text.push_str(&table(workload));
        }
    }
    blocks
}

/// Puts each block into its place.
pub(super) fn replace(text: &str, blocks: &[Block]) -> Result<String> {
    let mut text = text.to_owned();
    for (name, block) in blocks {
        let begin = format!("<!-- bench {name} -->\n");
        let Some(start) = text.find(&begin).map(|at| at + begin.len()) else {
            continue;
        };
        let length = text[start..]
            .find(END)
            .with_context(|| format!("`{}` has no `{END}` after it", begin.trim_end()))?;
        text.replace_range(start..start + length, &format!("\n{}\n\n", block.trim()));
    }
    Ok(text)
}

fn noise(group: &str, workloads: &[Workload<'_>]) -> String {
    let mut foreign: Vec<f64> = workloads
        .iter()
        .filter(|workload| workload.group == group)
        .filter_map(Workload::foreign)
        .collect();
    foreign.sort_by(f64::total_cmp);
    let (Some(most), Some(median)) = (foreign.last(), foreign.get(foreign.len() / 2)) else {
        return String::new();
    };
    format!(
        "While this was measured, other processes kept {median:.2} CPUs busy in the median of the \
         workloads, {most:.2} at most.\n\n"
    )
}

fn targets(group: &str, verdicts: &[Verdict]) -> String {
    let mut lines = String::new();
    for verdict in verdicts.iter().filter(|verdict| verdict.group == group) {
        let met = if verdict.is_met() {
            "met"
        } else {
            "**missed**"
        };
        let wall = verdict
            .wall
            .map_or_else(String::new, |wall| format!("{wall:.2}"));
        lines.push_str(&format!(
            "| {} | {} | {} | {wall} | {met} |\n",
            verdict.workload,
            verdict.target,
            measured(verdict)
        ));
    }
    if lines.is_empty() {
        return lines;
    }
    format!(
        "| workload | target | measured (least..most of the rounds) | by wall time | |\n\
         |---|---|---|---|---|\n{lines}\n"
    )
}

fn table(workload: &Workload<'_>) -> String {
    let mut text = format!("\n**{}**\n\n", workload.name);
    if workload.rows.iter().all(|row| row.ns.is_none()) {
        text.push_str("| | |\n|---|---|\n");
        for row in &workload.rows {
            text.push_str(&format!("| {} | {} |\n", row.subject, remarks(row)));
        }
        return text;
    }
    let remarked = workload.rows.iter().any(|row| !remarks(row).is_empty());
    let (head, rule) = if remarked {
        (" | |", "---|")
    } else {
        (" |", "")
    };
    text.push_str(&format!(
        "| | CPU ns | wall ns | least..most | allocations | CPU x ours{head}\n\
         |---|---|---|---|---|---|{rule}\n"
    ));
    for row in &workload.rows {
        let number = |value: Option<f64>| value.map_or_else(String::new, digits);
        let spread = row.min_ns.zip(row.max_ns);
        let spread = spread.map_or_else(String::new, |(least, most)| {
            format!("{}..{}", digits(least), digits(most))
        });
        let allocs = row.allocs.map(|allocs| format!("{allocs:.1}"));
        let allocs = allocs.unwrap_or_default();
        let times = workload.times_ours(row);
        let times = times.map_or_else(String::new, |times| format!("{times:.2}"));
        let remarks = if remarked {
            format!(" {} |", remarks(row))
        } else {
            String::new()
        };
        text.push_str(&format!(
            "| {} | {} | {} | {spread} | {allocs} | {times} |{remarks}\n",
            row.subject,
            number(row.cpu_ns),
            number(row.ns),
        ));
    }
    text
}

/// To about three digits.
fn digits(value: f64) -> String {
    match value {
        value if value >= 99.5 => format!("{value:.0}"),
        value if value >= 9.95 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::parse;
    use super::*;

    #[test]
    fn only_what_was_measured_is_replaced() {
        let printed = r#"{"group":"a","workload":"w","subject":"monitor-x","ns":1.0,"cpu_ns":1.0,"min_ns":0.9,"max_ns":123.4,"allocs":0.0}"#;
        let blocks = blocks("two processors", &parse(printed).unwrap(), &[]);
        let text = "# t\n<!-- bench machine -->\nold\n<!-- end -->\nkept\n<!-- bench a -->\n\
                    <!-- end -->\n<!-- bench b -->\nolder\n<!-- end -->\n";
        let replaced = replace(text, &blocks).unwrap();
        assert!(
            replaced.starts_with(
                "# t\n<!-- bench machine -->\n\ntwo processors\n\n<!-- end -->\nkept\n"
            ),
            "{replaced}"
        );
        assert!(
            replaced.contains("| monitor-x | 1.00 | 1.00 | 0.90..123 | 0.0 | 1.00 |\n\n<!-- end"),
            "{replaced}"
        );
        assert!(
            replaced.ends_with("<!-- bench b -->\nolder\n<!-- end -->\n"),
            "{replaced}"
        );
        assert_eq!(replace(&replaced, &blocks).unwrap(), replaced);
    }

    #[test]
    fn a_part_without_end_is_an_error() {
        let blocks = [("a".to_owned(), String::new())];
        assert!(replace("<!-- bench a -->\n", &blocks).is_err());
    }
}

//! The rows of figures, as `crates/monitor-bench` prints them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::targets::Verdict;

/// One measured cell. Times are nanoseconds for one operation; a row of facts has none.
#[derive(Debug, Deserialize)]
pub(super) struct Row {
    pub(super) group: String,
    pub(super) workload: String,
    pub(super) subject: String,
    /// The medians.
    pub(super) ns: Option<f64>,
    pub(super) cpu_ns: Option<f64>,
    pub(super) min_ns: Option<f64>,
    pub(super) max_ns: Option<f64>,
    pub(super) allocs: Option<f64>,
    #[serde(default)]
    pub(super) extra: Map<String, Value>,
    /// The row as it was printed.
    #[serde(skip)]
    printed: Option<Box<RawValue>>,
}

impl Row {
    /// What else was counted.
    pub(super) fn extra(&self, name: &str) -> Option<f64> {
        self.extra.get(name)?.as_f64()
    }

    /// The single measurements, one for each round.
    pub(super) fn samples(&self, name: &str) -> Vec<f64> {
        let samples = self.extra.get(name).and_then(Value::as_array);
        samples
            .into_iter()
            .flatten()
            .filter_map(Value::as_f64)
            .collect()
    }

    /// Whether one of our crates is measured.
    pub(super) fn is_ours(&self) -> bool {
        self.subject.starts_with("monitor-")
    }
}

/// The rows that were printed, one in each line.
pub(super) fn parse(printed: &str) -> Result<Vec<Row>> {
    let lines = printed.lines().filter(|line| !line.trim().is_empty());
    lines.map(row).collect()
}

fn row(line: &str) -> Result<Row> {
    let raw: Box<RawValue> =
        serde_json::from_str(line).with_context(|| format!("not a row of figures: {line}"))?;
    let row: Row =
        serde_json::from_str(raw.get()).with_context(|| format!("not a row of figures: {line}"))?;
    Ok(Row {
        printed: Some(raw),
        ..row
    })
}

/// The rows in a file that [`write()`] has written.
pub(super) fn read(path: &Path) -> Result<Vec<Row>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let objects: Vec<Box<RawValue>> =
        serde_json::from_str(&text).with_context(|| format!("{}: no rows", path.display()))?;
    let rows = objects.iter().map(|object| object.get());
    rows.filter(|object| !is_target(object)).map(row).collect()
}

/// Writes the rows as an array, in the order and the words in which they were printed, and the
/// verdicts after them.
pub(super) fn write(path: &Path, rows: &[Row], verdicts: &[Verdict]) -> Result<()> {
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Line<'a> {
        Row(&'a RawValue),
        Target(Value),
    }
    let printed = rows.iter().filter_map(|row| row.printed.as_deref());
    let lines: Vec<_> = printed
        .map(Line::Row)
        .chain(verdicts.iter().map(|verdict| Line::Target(verdict.json())))
        .collect();
    let text = serde_json::to_string_pretty(&lines)?;
    fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}

fn is_target(object: &str) -> bool {
    serde_json::from_str::<Map<String, Value>>(object)
        .is_ok_and(|object| object.contains_key("target"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = r#"
{"group":"g","workload":"w","subject":"monitor-x","ns":1.0,"cpu_ns":1.0,"min_ns":0.9,"max_ns":1.2,"allocs":0.0,"extra":{"samples_ns":[1.0,2.0]}}
{"group":"g","workload":"v","subject":"monitor-x","extra":{"holds":3.0}}
"#;

    #[test]
    fn rows_survive_a_file() {
        let rows = parse(PRINTED).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.json");
        write(&path, &rows, &super::super::targets::judge(&rows)).unwrap();
        let again = read(&path).unwrap();
        assert_eq!(again.len(), 2);
        assert_eq!(again[0].samples("samples_ns"), [1.0, 2.0]);
        assert_eq!(again[1].extra("holds"), Some(3.0));
        assert_eq!(again[1].ns, None);
    }

    #[test]
    fn a_line_that_is_no_row_is_quoted() {
        let error = parse("panicked").unwrap_err();
        assert!(error.to_string().contains("not a row of figures: panicked"));
    }
}

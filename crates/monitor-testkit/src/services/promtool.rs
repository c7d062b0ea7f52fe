//! Prometheus's own judgement of a page of metrics.

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};

use super::tool::Tool;

/// Passes `metrics`, in the Prometheus text format, to `promtool check metrics`.
///
/// # Errors
///
/// promtool is not installed; or it does not accept the text, also for a matter of style such as
/// a metric without help. The error quotes it.
pub fn check_metrics(metrics: &str) -> Result<()> {
    let promtool = Tool::Promtool.find()?;
    let mut child = Command::new(&promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", promtool.display()))?;
    let mut stdin = child
        .stdin
        .take()
        .context("promtool has no standard input")?;
    let text = metrics.to_owned();
    // It may write before it has read all, so both at once. A broken pipe shows in its status.
    let writer = thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().context("promtool did not end")?;
    let _ = writer.join();
    if output.status.success() {
        return Ok(());
    }
    bail!(
        "promtool does not accept the metrics ({}):\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_metrics_pass_and_bad_ones_are_quoted() {
        check_metrics("# HELP checks_total Checks.\n# TYPE checks_total counter\nchecks_total 1\n")
            .unwrap();
        let style = check_metrics("# TYPE checks counter\nchecks 1\n")
            .unwrap_err()
            .to_string();
        assert!(style.contains("no help text"), "{style}");
        let broken = check_metrics("checks_total{ 1\n").unwrap_err().to_string();
        assert!(broken.contains("does not accept"), "{broken}");
    }
}

//! From OpenMetrics to the older Prometheus text format.

use std::fmt::Write as _;

/// Rewrites the heads of metrics; samples are the same in both formats.
///
/// In the older format the head of a counter bears the name of its samples, there are neither infos
/// nor units, and nothing marks the end.
pub(super) fn classic(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let mut help = None;
    for line in openmetrics.lines() {
        let Some(comment) = line.strip_prefix("# ") else {
            text.push_str(line);
            text.push('\n');
            continue;
        };
        if let Some(rest) = comment.strip_prefix("HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = comment
            .strip_prefix("TYPE ")
            .and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            // Writing to a string cannot fail.
            if let Some((_, help)) = help.take() {
                let _ = writeln!(text, "# HELP {name}{suffix} {help}");
            }
            let _ = writeln!(text, "# TYPE {name}{suffix} {kind}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ROB-34: both formats say the same.
    #[test]
    fn heads_are_rewritten_and_samples_are_not() {
        let openmetrics = "# HELP a_checks Checks.\n# TYPE a_checks counter\n\
            a_checks_total{kind=\"x # y\"} 1\n\
            # HELP a_lag_seconds Lag.\n# TYPE a_lag_seconds histogram\n# UNIT a_lag_seconds seconds\n\
            a_lag_seconds_sum 0.5\n\
            # HELP a_build Build.\n# TYPE a_build info\na_build_info{version=\"1\"} 1\n# EOF\n";
        let expected = "# HELP a_checks_total Checks.\n# TYPE a_checks_total counter\n\
            a_checks_total{kind=\"x # y\"} 1\n\
            # HELP a_lag_seconds Lag.\n# TYPE a_lag_seconds histogram\n\
            a_lag_seconds_sum 0.5\n\
            # HELP a_build_info Build.\n# TYPE a_build_info gauge\na_build_info{version=\"1\"} 1\n";
        assert_eq!(classic(openmetrics), expected);
    }
}

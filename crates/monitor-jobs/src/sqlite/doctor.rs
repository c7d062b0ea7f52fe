//! Looking for what should not be: whatever a constraint cannot say is asked here.

use super::command::Tx;
use super::failure::Failure;
use crate::Finding;

/// Rows named in a finding; how many there are is counted in any case.
const SHOWN: usize = 5;

/// A promise, and the rows that break it: a query of one column that says which.
struct Check {
    name: &'static str,
    broken: bool,
    right: &'static str,
    query: &'static str,
}

const CHECKS: &[Check] = &[
    Check {
        name: "integrity",
        broken: true,
        right: "restore a backup, or write the file anew with VACUUM INTO",
        query: "SELECT integrity_check FROM pragma_integrity_check
                WHERE integrity_check <> 'ok'",
    },
    Check {
        name: "foreign_key",
        broken: true,
        right: "every reference has its row",
        query: "SELECT \"table\" || ' row ' || coalesce(rowid, '?') || ' refers to no ' || parent
                FROM pragma_foreign_key_check WHERE \"table\" LIKE 'job%'",
    },
    Check {
        name: "pending",
        broken: true,
        right: "a job counts exactly its open and its holding edges",
        query: "SELECT 'job ' || id FROM job WHERE
                  pending <> (SELECT count(*) FROM job_edge WHERE child = id AND state = 0)
                  OR state < 5 AND holds <>
                     (SELECT count(*) FROM job_edge WHERE child = id AND state = 2)",
    },
    Check {
        name: "blocked_on_ended",
        broken: true,
        right: "the end of a job is carried along each of its edges, or a job_release says that \
                it will be",
        query: "SELECT 'job ' || child || ' waits for job ' || parent
                FROM job_edge JOIN job ON job.id = parent
                WHERE job_edge.state = 0 AND job.state >= 5 AND NOT EXISTS (
                  SELECT 1 FROM job_release WHERE job_release.parent = job_edge.parent
                    AND after < child)",
    },
    Check {
        name: "held_by_failed",
        broken: true,
        right: "a worker that was given up holds nothing",
        query: "SELECT 'job ' || job.id || ' of worker ' || worker FROM job
                JOIN job_worker ON job_worker.id = worker WHERE failed_ms IS NOT NULL",
    },
    Check {
        name: "unique_key",
        broken: true,
        right: "the keys are those of the jobs that have not ended",
        query: "SELECT 'job ' || id FROM job WHERE unique_key IS NOT NULL AND (state < 5) <>
                  EXISTS (SELECT 1 FROM job_unique WHERE key = unique_key AND job_unique.job = id)",
    },
    Check {
        name: "urgency",
        broken: true,
        right: "a job is at least as urgent as whatever waits for it and inherits",
        query: "SELECT 'job ' || parent.id || ' before job ' || child.id
                FROM job_edge JOIN job AS parent ON parent.id = job_edge.parent
                JOIN job AS child ON child.id = job_edge.child
                WHERE job_edge.state = 0 AND parent.state < 5 AND child.state < 5
                  AND child.inherits = 1 AND
                  (parent.effective < child.effective OR parent.sort_key > child.sort_key)",
    },
    Check {
        name: "open_execution",
        broken: true,
        right: "an attempt is open only while its job runs under its epoch",
        query: "SELECT 'job ' || job || ' epoch ' || job_execution.epoch
                FROM job_execution JOIN job ON job.id = job
                WHERE outcome IS NULL AND (state <> 4 OR job.epoch <> job_execution.epoch)",
    },
    Check {
        name: "epoch",
        broken: true,
        right: "no job bears an epoch that was not given out yet",
        query: "SELECT 'job ' || id FROM job WHERE epoch > (SELECT last FROM job_epoch)",
    },
    Check {
        name: "release_left",
        broken: false,
        right: "releases in slices are waiting to be gone on with",
        query: "SELECT 'job ' || parent FROM job_release",
    },
    Check {
        name: "held",
        broken: false,
        right: "people decide: retry the parent, or retry or cancel the held job",
        query: "SELECT 'job ' || id FROM job WHERE state = 1",
    },
    Check {
        name: "dead",
        broken: false,
        right: "look at the last error, then retry or prune",
        query: "SELECT 'job ' || id FROM job WHERE state = 6",
    },
];

pub(crate) fn doctor(tx: Tx<'_>) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    for check in CHECKS {
        let rows = tx.all(check.query, [], |row| row.get::<_, String>(0))?;
        if !rows.is_empty() {
            findings.push(finding(check, &rows));
        }
    }
    Ok(findings)
}

fn finding(check: &Check, rows: &[String]) -> Finding {
    let shown = rows.iter().take(SHOWN).map(String::as_str);
    let shown = shown.collect::<Vec<_>>().join(", ");
    let more = match rows.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Finding {
        check: check.name,
        broken: check.broken,
        what: format!("{shown}{more}: {}", check.right),
    }
}

//! The daemon's own doctor: defects of the store and of the jobs, and whether jobs became slower.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use monitor_jobs::{Baseline, JobFilter, JobState, Jobs};
use monitor_store::SqliteStore;
use serde::{Deserialize, Serialize};

use super::{DOCTOR, Kept, QUEUE};

/// What is noted of more findings is their number.
const NOTED: usize = 100;
/// By how much something must be slower to be worth a word.
const TOLERANCE: f64 = 0.1;
/// Fewer samples are no baseline.
const ENOUGH: u64 = 10;

/// What was found: the result of the job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Examined {
    /// How many defects there are.
    pub(super) defects: usize,
    /// The first of them.
    pub(super) findings: Vec<String>,
    /// How long the operations of jobs took since the examination before, in seconds: what later
    /// ones are compared with.
    pub(super) seconds: BTreeMap<String, Baseline>,
    /// Operations that are slower than in the oldest result that is kept, and by what share.
    pub(super) slower: BTreeMap<String, f64>,
}

impl fmt::Display for Examined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.defects {
            0 => f.write_str("nothing is wrong"),
            1 => f.write_str("1 defect"),
            count => write!(f, "{count} defects"),
        }
    }
}

pub(super) struct Examiner {
    kept: Kept,
    jobs: Jobs,
    /// What had been measured at the examination before.
    measured: Mutex<BTreeMap<String, Baseline>>,
}

impl Examiner {
    pub(super) fn new(kept: Kept, jobs: Jobs) -> Self {
        Self {
            kept,
            jobs,
            measured: Mutex::default(),
        }
    }

    /// Looks, logs what it finds, and returns it.
    pub(super) async fn examine(&self) -> Result<Examined, String> {
        let mut findings = self.of_store().await?;
        let of_jobs = self.jobs.backend().doctor().await;
        let of_jobs = of_jobs.map_err(|error| error.to_string())?.into_iter();
        let broken = of_jobs.filter(|finding| finding.broken);
        findings.extend(broken.map(|finding| format!("{}: {}", finding.check, finding.what)));
        for finding in findings.iter().take(NOTED) {
            tracing::warn!(finding, "defect");
        }
        let seconds = self.seconds();
        let earlier = self.earlier().await?;
        let slower = slower(&earlier, &seconds);
        for (operation, by) in &slower {
            let percent = (by * 100.0).round();
            tracing::info!(operation, percent, "jobs became slower");
        }
        let defects = findings.len();
        findings.truncate(NOTED);
        Ok(Examined {
            defects,
            findings,
            seconds,
            slower,
        })
    }

    /// A file is read by a connection of its own: the store's must not be kept busy by it.
    async fn of_store(&self) -> Result<Vec<String>, String> {
        let defects = match self.kept.sqlite.clone() {
            Some(store) => {
                let look = move || SqliteStore::examine(store.path());
                let look = tokio::task::spawn_blocking(look).await;
                look.map_err(|error| error.to_string())?
            }
            None => self.kept.store.doctor().await,
        };
        let defects = defects.map_err(|error| error.to_string())?;
        Ok(defects.iter().map(ToString::to_string).collect())
    }

    /// How long operations took since the last time.
    fn seconds(&self) -> BTreeMap<String, Baseline> {
        let stats = self.jobs.stats();
        let now = BTreeMap::from([
            ("claim".to_owned(), stats.claim_seconds.samples),
            ("settle".to_owned(), stats.cascade_seconds.samples),
        ]);
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *measured, now.clone());
        let since = |(name, all): (String, Baseline)| {
            let before = before.get(&name).copied().unwrap_or_default();
            (name, all.since(&before))
        };
        now.into_iter().map(since).collect()
    }

    /// What earlier examinations measured, the oldest first.
    async fn earlier(&self) -> Result<Vec<Examined>, String> {
        let filter = JobFilter {
            queue: Some(QUEUE.to_owned()),
            kind: Some(DOCTOR.to_owned()),
            state: Some(JobState::Completed),
            ..JobFilter::default()
        };
        let jobs = self.jobs.backend().list(&filter).await;
        let jobs = jobs.map_err(|error| error.to_string())?.into_iter();
        // A result of an older program may be another.
        let read = |result: String| serde_json::from_str(&result).ok();
        Ok(jobs.filter_map(|job| read(job.result?)).collect())
    }
}

/// What takes longer than in the first of `earlier` with samples enough, beyond chance.
fn slower(earlier: &[Examined], now: &BTreeMap<String, Baseline>) -> BTreeMap<String, f64> {
    let compared = now.iter().filter_map(|(operation, now)| {
        let mut before = earlier.iter().filter_map(|one| one.seconds.get(operation));
        let baseline = before.find(|baseline| baseline.count() >= ENOUGH)?;
        let by = baseline.regression(now, TOLERANCE)?;
        Some((operation.clone(), by))
    });
    compared.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examined(samples: u32, seconds: f64) -> Examined {
        let mut baseline = Baseline::new();
        // A spread of a tenth to either side.
        (0..samples).for_each(|n| baseline.add(seconds * [0.9, 1.0, 1.1][n as usize % 3]));
        Examined {
            seconds: BTreeMap::from([("claim".to_owned(), baseline)]),
            ..Examined::default()
        }
    }

    /// JOB-45: compared with the oldest result that has samples enough, and only beyond a tenth.
    #[test]
    fn a_slow_down_is_told_against_the_oldest_result() {
        let earlier = [
            examined(3, 0.001),
            examined(300, 0.010),
            examined(300, 0.020),
        ];
        let told = |seconds| slower(&earlier, &examined(300, seconds).seconds);
        let by = told(0.015)["claim"];
        assert!((by - 0.5).abs() < 0.001, "{by}");
        assert!(told(0.0105).is_empty() && told(0.005).is_empty());
        assert!(slower(&[], &examined(300, 1.0).seconds).is_empty());
        assert!(slower(&earlier, &examined(5, 1.0).seconds).is_empty());
        let stored = serde_json::to_string(&earlier[1]).unwrap();
        let read: Examined = serde_json::from_str(&stored).unwrap();
        assert_eq!(read.seconds["claim"].count(), 300);
    }
}

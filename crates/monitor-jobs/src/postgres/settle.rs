//! Ends of attempts: one call for many, in the order that locks need.

use std::collections::HashSet;
use std::time::Duration;

use monitor_pool::managers::postgres::tokio_postgres::types::ToSql;

use super::failure::Failure;
use super::rows::get;
use super::{PgJobs, PgManager};
use crate::kernel::attempts::End;
use crate::kernel::limits;
use crate::kernel::ordering::whole_ms;
use crate::{Outcome, Settle, Settled, WorkerId};

pub(super) const SETTLE: &str = "SELECT * FROM jobs_settle($1, $2, $3, $4, $5, $6, $7)";

/// Ends as arrays, ascending by job, no job twice.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// Where each stands in the call.
    places: Vec<usize>,
    jobs: Vec<i64>,
    epochs: Vec<i64>,
    ends: Vec<i16>,
    /// Negative: never.
    waits: Vec<i64>,
    texts: Vec<Option<String>>,
}

impl Ends {
    /// Those of `ends` at `places`; which are left for another call since their job is in this one.
    pub(super) fn of(ends: &[Settle], places: Vec<usize>) -> (Self, Vec<usize>) {
        let mut seen = HashSet::with_capacity(places.len());
        let (mut now, later): (Vec<usize>, Vec<usize>) = places
            .into_iter()
            .partition(|place| ends.get(*place).is_some_and(|end| seen.insert(end.job)));
        now.sort_by_key(|place| ends.get(*place).map(|end| end.job));
        let mut rows = Self::default();
        for place in now {
            if let Some(end) = ends.get(place) {
                rows.push(place, end);
            }
        }
        (rows, later)
    }

    fn push(&mut self, place: usize, end: &Settle) {
        let (wait, text): (Option<Duration>, Option<String>) = match &end.outcome {
            Outcome::Complete { result } => (
                None,
                result.as_ref().map(|result| result.as_str().to_owned()),
            ),
            Outcome::Fail { error, retry_in } => (*retry_in, Some(limits::text(error))),
            Outcome::Snooze(wait) => (Some(*wait), None),
            Outcome::Cancelled | Outcome::Release => (None, None),
        };
        self.places.push(place);
        self.jobs.push(end.job.0);
        self.epochs.push(end.epoch.0);
        self.ends.push(End::of(&end.outcome).code());
        self.waits
            .push(wait.map_or(-1, |wait| whole_ms(wait).min(LONGEST_MS)));
        self.texts.push(text);
    }

    /// The parameters of [`SETTLE`].
    pub(super) fn parameters<'p>(
        &'p self,
        worker: &'p WorkerId,
        forget: &'p bool,
    ) -> [&'p (dyn ToSql + Sync); 7] {
        [
            &worker.0,
            &self.jobs,
            &self.epochs,
            &self.ends,
            &self.waits,
            &self.texts,
            forget,
        ]
    }
}

/// Far beyond any year; sums with the time stay within 64 bits.
const LONGEST_MS: i64 = 1 << 53;

pub(super) fn settled(code: i16) -> Settled {
    match code {
        0 => Settled::Done,
        1 => Settled::Already,
        _ => Settled::Stale,
    }
}

impl<M: PgManager> PgJobs<M> {
    pub(super) async fn end(
        &self,
        worker: WorkerId,
        ends: &[Settle],
    ) -> Result<Vec<Settled>, Failure> {
        let mut answers = vec![Settled::Stale; ends.len()];
        let mut left: Vec<usize> = (0..ends.len()).collect();
        while !left.is_empty() {
            let (rows, later) = Ends::of(ends, left);
            left = later;
            let forget = self.shared.forget_completed;
            let row = self
                .write_one(SETTLE, &rows.parameters(&worker, &forget))
                .await?;
            let codes = get::<Vec<i16>>(&row, "answers")?;
            for (place, code) in rows.places.iter().zip(codes) {
                if let Some(answer) = answers.get_mut(*place) {
                    *answer = settled(code);
                }
            }
            if get(&row, "unfinished")? {
                self.finish().await;
            } else if get(&row, "woken")? {
                self.shared.wake.all();
            }
        }
        Ok(answers)
    }
}

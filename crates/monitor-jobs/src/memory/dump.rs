//! The whole world as rows, and back.

use serde::{Deserialize, Serialize};

use super::journal::Restored;
use super::rows::{EdgeRow, ExecutionRow, Job, Worker};
use super::world::World;

/// A row of a full snapshot. The last one counts the others.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Row {
    /// Changes so far, when the last of them was made, and the last numbers given out: jobs,
    /// workers, epochs.
    Head(u64, i64, [i64; 3]),
    Job(Box<Job>),
    Edge(EdgeRow),
    Worker(Worker),
    Execution(ExecutionRow),
    Paused(String),
    Tick(String, i64),
    Fair(String, String, i64),
    End(usize),
}

impl World {
    /// All rows, after so many changes, the last of which was made then.
    pub(super) fn dump(&self, version: u64, at: i64) -> Vec<Row> {
        let last = [self.last_job, self.last_worker, self.last_epoch];
        let mut rows = vec![Row::Head(version, at, last)];
        rows.extend(
            self.jobs
                .values()
                .map(|job| Row::Job(Box::new(job.clone()))),
        );
        rows.extend(self.edges.values().map(|edge| Row::Edge(*edge)));
        rows.extend(self.workers.values().cloned().map(Row::Worker));
        rows.extend(self.executions.values().cloned().map(Row::Execution));
        rows.extend(self.paused.iter().cloned().map(Row::Paused));
        let ticks = self.ticks.iter();
        rows.extend(ticks.map(|(schedule, tick)| Row::Tick(schedule.clone(), *tick)));
        let fair = self.fair.iter();
        rows.extend(fair.map(|((q, tenant), tag)| Row::Fair(q.clone(), tenant.clone(), *tag)));
        rows.push(Row::End(rows.len()));
        rows
    }

    /// The world of these rows, its number of changes and when the last was made, if they are all
    /// there.
    pub(super) fn load(rows: Vec<Row>) -> Option<Restored> {
        let mut world = Self::default();
        let (mut head, mut whole) = (None, false);
        for (place, row) in rows.into_iter().enumerate() {
            match row {
                Row::Head(version, at, [job, worker, epoch]) => {
                    head = Some((version, at));
                    (world.last_job, world.last_worker, world.last_epoch) = (job, worker, epoch);
                }
                Row::Job(job) => drop(world.jobs.insert(job.id, *job)),
                Row::Edge(row) => {
                    let (child, parent) = (row.child, row.edge.parent);
                    world.edges.insert((child, parent), row);
                    world.children.insert((parent, child));
                }
                Row::Worker(row) => drop(world.workers.insert(row.id, row)),
                Row::Execution(row) => {
                    world.executions.insert((row.job, row.epoch), row);
                }
                Row::Paused(queue) => drop(world.paused.insert(queue)),
                Row::Tick(schedule, tick) => {
                    world.ticks.insert(schedule, tick);
                }
                Row::Fair(queue, tenant, tag) => {
                    world.fair.insert((queue, tenant), tag);
                }
                Row::End(rows) => whole = rows == place,
            }
        }
        let (version, at) = head.filter(|_| whole)?;
        Some(Restored { version, at, world })
    }
}

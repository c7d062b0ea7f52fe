//! Putting jobs in: the database says what is known, [`plan`](super::plan) decides, the database
//! writes. Two round trips, three with parents.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::PoisonError;

use monitor_pool::managers::postgres::tokio_postgres::Row;

use super::failure::Failure;
use super::plan::{Fair, Known, Plan, plan, wanted};
use super::rows::{get, priority};
use super::session::Session;
use super::{PgJobs, PgManager, TRIES};
use crate::kernel::edges::{EdgeState, Verdict, judge};
use crate::kernel::limits;
use crate::{
    EnqueueError, Enqueued, JobId, JobState, NewJob, On, Ordering, Parent, StoreErrorKind, Unmet,
};

const PREPARE: &str = "SELECT * FROM jobs_prepare($1, $2, $3, $4)";
/// Waits for nobody for long: it runs beside a transaction of ours that others may wait for.
const QUEUES: &str = "SELECT jobs_queues($1) FROM set_config('lock_timeout', '100ms', true)";
const MINT: &str = "SELECT jobs_mint($1) AS ids";
const FAIR: &str = "SELECT * FROM jobs_fair($1, $2, $3)";
const KEEP_FAIR: &str = "SELECT jobs_keep_fair($1, $2, $3)";
const TICK: &str = "SELECT jobs_tick($1, $2) AS taken";
const INSERT: &str = "SELECT jobs_insert($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, \
     $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31)";

/// Names of queues that are remembered; more are asked for again.
const MANY_NAMES: usize = 1000;

/// Why nothing is put in: refused, or the database failed.
#[derive(Debug)]
pub(super) enum Stop {
    Refused(EnqueueError),
    Failed(Failure),
}

impl From<EnqueueError> for Stop {
    fn from(error: EnqueueError) -> Self {
        Self::Refused(error)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Stop {
    pub(super) fn doing(self, action: &'static str) -> EnqueueError {
        match self {
            Self::Refused(error) => error,
            Self::Failed(failure) => EnqueueError::Store(failure.doing(action)),
        }
    }

    fn is_conflict(&self) -> bool {
        matches!(self, Self::Failed(failure) if failure.kind() == StoreErrorKind::Conflict)
    }
}

/// What was put in, and what is to be done when it is committed.
#[derive(Debug, Default)]
pub(super) struct PutIn {
    pub(super) answers: Vec<Enqueued>,
    /// Queues in which something may be ready.
    pub(super) queues: BTreeSet<String>,
    /// Whether the urgency of older jobs is to be judged anew.
    pub(super) unfinished: bool,
    /// Round trips.
    pub(super) calls: u64,
}

impl<M: PgManager> PgJobs<M> {
    /// `tick`: only if that tick of that schedule was not taken; `None` then.
    pub(super) async fn put_in(
        &self,
        jobs: &[NewJob],
        tick: Option<(&str, i64)>,
    ) -> Result<Option<Vec<Enqueued>>, Stop> {
        limits::jobs(jobs)?;
        if jobs.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let mut tries = 0;
        let put_in = loop {
            let mut session = self.session().await.map_err(Stop::Failed)?;
            tries += 1;
            match transaction(&mut session, jobs, tick).await {
                Err(stop) if stop.is_conflict() && tries < TRIES => {}
                end => break end?,
            }
        };
        let Some(put_in) = put_in else {
            return Ok(None);
        };
        self.count(put_in.calls);
        self.shared.wake.queues(put_in.queues);
        if put_in.unfinished {
            self.finish().await;
        }
        Ok(Some(put_in.answers))
    }
}

impl<M: PgManager> PgJobs<M> {
    /// Queues that are new are written down by themselves, before a transaction that may stay open:
    /// in there, whoever else meets the name would wait for its end. Without a connection to spare,
    /// or when it fails, the transaction does it.
    pub(super) async fn name_queues(&self, jobs: &[NewJob]) {
        let named = || {
            self.shared
                .named
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        let mut queues: BTreeSet<&str> = jobs.iter().map(|job| job.queue.as_str()).collect();
        queues.retain(|queue| !named().contains(*queue));
        let status = self.shared.pool.status();
        if queues.is_empty() || status.leased >= status.max_size {
            return;
        }
        let queues: Vec<&str> = queues.into_iter().collect();
        if self.write_one(QUEUES, &[&queues]).await.is_ok() {
            let mut named = named();
            if named.len() > MANY_NAMES {
                named.clear();
            }
            named.extend(queues.into_iter().map(str::to_owned));
        }
    }
}

async fn transaction(
    session: &mut Session,
    jobs: &[NewJob],
    tick: Option<(&str, i64)>,
) -> Result<Option<PutIn>, Stop> {
    begin(session).await?;
    let end = match take(session, tick).await {
        Ok(true) => enqueue(session, jobs).await.map(Some),
        Ok(false) => Ok(None),
        Err(failure) => Err(Stop::Failed(failure)),
    };
    let end = match end {
        Ok(Some(put_in)) => return commit(session, put_in).await.map(Some),
        end => end,
    };
    // If this fails the connection is closed, which has the same effect.
    let _ = session.connection.batch_execute("ROLLBACK").await;
    end
}

async fn begin(session: &Session) -> Result<(), Failure> {
    let begun = session.connection.batch_execute("BEGIN");
    begun.await.map_err(Failure::read)
}

async fn commit(session: &Session, mut put_in: PutIn) -> Result<PutIn, Stop> {
    let committed = session.connection.batch_execute("COMMIT");
    committed.await.map_err(Failure::write)?;
    put_in.calls += 2;
    Ok(put_in)
}

async fn take(session: &mut Session, tick: Option<(&str, i64)>) -> Result<bool, Failure> {
    let Some((schedule, tick_ms)) = tick else {
        return Ok(true);
    };
    let row = one(session.query(TICK, &[&schedule, &tick_ms]).await)?;
    get(&row, "taken")
}

/// Puts jobs in, in the transaction of the session.
pub(super) async fn enqueue(session: &mut Session, jobs: &[NewJob]) -> Result<PutIn, Stop> {
    let mut calls = 2;
    let queues: BTreeSet<&str> = jobs.iter().map(|job| job.queue.as_str()).collect();
    let queues: Vec<&str> = queues.into_iter().collect();
    let mut fair = Fair::default();
    if jobs.iter().any(is_fair) {
        fair = read_fair(session, jobs, &queues).await?;
        calls += 2;
    }
    let keys: BTreeSet<&str> = jobs
        .iter()
        .filter_map(|job| job.unique_key.as_deref())
        .collect();
    let with_keys = jobs.iter().filter(|job| job.unique_key.is_some()).count();
    let twice = with_keys - keys.len();
    let keys: Option<Vec<&str>> = (!keys.is_empty()).then(|| keys.into_iter().collect());
    let parents = parents(jobs);
    let mint = match parents {
        // Ids are minted when nothing can be refused any more, so that refusals leave no gaps.
        Some(_) => None,
        None => Some(i32::try_from(jobs.len() - twice).unwrap_or(i32::MAX)),
    };
    let row = one(session
        .query(PREPARE, &[&queues, &keys, &parents, &mint])
        .await)?;
    let holders = holders(&row, keys.as_deref().unwrap_or_default())?;
    let known = known(&row)?;
    let wanted = wanted(jobs, &holders, &known)?;
    let ids: Option<Vec<i64>> = match mint {
        Some(_) => get(&row, "ids")?,
        None => {
            calls += 1;
            let count = i32::try_from(wanted.new.len()).unwrap_or(i32::MAX);
            get(&one(session.query(MINT, &[&count]).await)?, "ids")?
        }
    };
    let ids = ids.unwrap_or_default();
    let now_ms: i64 = get(&row, "now_ms")?;
    let numbers: Vec<i32> = get(&row, "queue_ids")?;
    let queues: HashMap<&str, i32> = queues.into_iter().zip(numbers).collect();
    let plan = plan(jobs, &wanted, &ids, now_ms, known, &mut fair);
    if !plan.jobs.is_empty() {
        insert(session, &plan, &queues, now_ms).await?;
    }
    if jobs.iter().any(is_fair) {
        keep_fair(session, &fair).await?;
    }
    let ready = plan.jobs.iter().filter(|job| job.state == JobState::Ready);
    Ok(PutIn {
        queues: ready.map(|job| job.job.queue.clone()).collect(),
        unfinished: !plan.urgent.is_empty(),
        answers: wanted.answers(&ids),
        calls,
    })
}

fn is_fair(job: &NewJob) -> bool {
    matches!(job.ordering, Ordering::Fair { .. })
}

/// All that are named; none when no job has any, so that not even keys lead to one.
fn parents(jobs: &[NewJob]) -> Option<Vec<i64>> {
    let mut edges = jobs.iter().flat_map(|job| &job.parents).peekable();
    edges.peek()?;
    let named: BTreeSet<i64> = edges
        .filter_map(|edge| match edge.parent {
            Parent::Job(JobId(id)) => Some(id),
            Parent::Earlier(_) => None,
        })
        .collect();
    Some(named.into_iter().collect())
}

fn holders<'k>(row: &Row, keys: &[&'k str]) -> Result<HashMap<&'k str, JobId>, Failure> {
    let held: Option<Vec<Option<i64>>> = get(row, "holders")?;
    let held = keys.iter().zip(held.unwrap_or_default());
    Ok(held
        .filter_map(|(key, holder)| Some((*key, JobId(holder?))))
        .collect())
}

fn known(row: &Row) -> Result<HashMap<JobId, Known>, Failure> {
    let Some(ids) = get::<Option<Vec<i64>>>(row, "known")? else {
        return Ok(HashMap::new());
    };
    let states: Vec<i16> = get(row, "states")?;
    let bases: Vec<i16> = get(row, "bases")?;
    let effectives: Vec<i16> = get(row, "effectives")?;
    let keys: Vec<i64> = get(row, "sort_keys")?;
    let columns = ids
        .into_iter()
        .zip(states)
        .zip(bases)
        .zip(effectives)
        .zip(keys);
    columns
        .map(|((((id, state), base), effective), key)| {
            let known = Known {
                state: super::view::state(state)?,
                base: priority("base", base)?,
                effective: priority("effective", effective)?,
                key,
            };
            Ok((JobId(id), known))
        })
        .collect()
}

async fn read_fair(session: &mut Session, jobs: &[NewJob], all: &[&str]) -> Result<Fair, Failure> {
    let pairs: BTreeSet<(&str, &str)> = jobs
        .iter()
        .filter(|job| is_fair(job))
        .map(|job| {
            (
                job.queue.as_str(),
                job.tenant.as_deref().unwrap_or_default(),
            )
        })
        .collect();
    let (queues, tenants): (Vec<&str>, Vec<&str>) = pairs.into_iter().unzip();
    let row = one(session.query(FAIR, &[&all, &queues, &tenants]).await)?;
    let least: Vec<Option<i64>> = get(&row, "least_ready")?;
    let highest: Vec<Option<i64>> = get(&row, "highest")?;
    let own: Vec<Option<i64>> = get(&row, "own")?;
    let mut fair = Fair::default();
    for (((queue, tenant), (least, highest)), own) in queues
        .into_iter()
        .zip(tenants)
        .zip(least.into_iter().zip(highest))
        .zip(own)
    {
        let owned = || queue.to_owned();
        fair.least_ready.extend(least.map(|key| (owned(), key)));
        fair.highest.extend(highest.map(|finish| (owned(), finish)));
        fair.finish
            .extend(own.map(|finish| ((owned(), tenant.to_owned()), finish)));
    }
    Ok(fair)
}

async fn keep_fair(session: &mut Session, fair: &Fair) -> Result<(), Failure> {
    let sorted: BTreeMap<_, _> = fair.finish.iter().collect();
    let queues: Vec<&str> = sorted.keys().map(|(queue, _)| queue.as_str()).collect();
    let tenants: Vec<&str> = sorted.keys().map(|(_, tenant)| tenant.as_str()).collect();
    let finishes: Vec<i64> = sorted.values().map(|finish| **finish).collect();
    one(session
        .query(KEEP_FAIR, &[&queues, &tenants, &finishes])
        .await)
    .map(|_| ())
}

async fn insert(
    session: &mut Session,
    plan: &Plan<'_>,
    queues: &HashMap<&str, i32>,
    now_ms: i64,
) -> Result<(), Failure> {
    macro_rules! column {
        ($type:ty, $value:expr) => {
            plan.jobs.iter().map($value).collect::<Vec<$type>>()
        };
    }
    let edges = Edges::of(plan);
    let (parents, degrees): (Vec<i64>, Vec<i32>) = plan
        .degrees
        .iter()
        .map(|(parent, degree)| (parent.0, *degree))
        .unzip();
    let urgent: Vec<i64> = plan.urgent.iter().map(|id| id.0).collect();
    let some = |values: Vec<i64>| (!values.is_empty()).then_some(values);
    let rows = session
        .query(
            INSERT,
            &[
                &now_ms,
                &column!(i64, |row| row.id.0),
                &column!(i32, |row| queues
                    .get(row.job.queue.as_str())
                    .copied()
                    .unwrap_or(0)),
                &column!(i16, |row| row.state.code()),
                &column!(i64, |row| row.key),
                &column!(i64, |row| row.place.anchor_ms),
                &column!(i64, |row| row.place.step_ms),
                &column!(i64, |row| row.run_at_ms),
                &column!(i16, |row| i16::from(row.job.priority.get())),
                &column!(i16, |row| i16::from(row.base.get())),
                &column!(i16, |row| i16::from(row.effective.get())),
                &column!(i16, |row| counted(row.job.max_attempts)),
                &column!(i16, |row| counted(row.job.max_crashes)),
                &column!(i32, |row| i32::try_from(row.pending).unwrap_or(i32::MAX)),
                &column!(i32, |row| i32::try_from(row.holds).unwrap_or(i32::MAX)),
                &column!(i32, |row| i32::try_from(row.outdeg).unwrap_or(i32::MAX)),
                &column!(bool, |row| row.job.inherit_priority),
                &column!(Option<i64>, |row| {
                    row.job.timeout.map(crate::kernel::ordering::whole_ms)
                }),
                &column!(&str, |row| row.job.kind.as_str()),
                &column!(&str, |row| row.job.payload.as_str()),
                &column!(Option<&str>, |row| row.job.tenant.as_deref()),
                &column!(Option<&str>, |row| row.job.unique_key.as_deref()),
                &column!(Option<String>, |row| literal(
                    row.edges.iter().map(|(edge, _)| edge.parent.0)
                )),
                &column!(Option<String>, |row| literal(
                    row.edges.iter().map(|(edge, _)| rule(edge.on, edge.unmet))
                )),
                &some(edges.parents),
                &edges.children,
                &edges.states,
                &edges.verdicts,
                &some(parents),
                &degrees,
                &some(urgent),
            ],
        )
        .await;
    one(rows).map(|_| ())
}

/// The edges that have a row.
#[derive(Default)]
struct Edges {
    parents: Vec<i64>,
    children: Vec<i64>,
    states: Vec<i16>,
    verdicts: Vec<i16>,
}

impl Edges {
    fn of(plan: &Plan<'_>) -> Self {
        let mut edges = Self::default();
        for job in &plan.jobs {
            let rows = job
                .edges
                .iter()
                .filter(|(_, state)| *state != EdgeState::Met);
            for (edge, state) in rows {
                edges.parents.push(edge.parent.0);
                edges.children.push(job.id.0);
                edges.states.push(state.code());
                edges.verdicts.push(verdicts(edge.on, edge.unmet));
            }
        }
        edges
    }
}

/// What each end of a parent means, two bits each from the lowest: completed, dead, cancelled.
fn verdicts(on: On, unmet: Unmet) -> i16 {
    let ends = [JobState::Completed, JobState::Dead, JobState::Cancelled];
    ends.into_iter()
        .zip([0, 2, 4])
        .fold(0, |all, (end, shift)| {
            let verdict = match judge(on, unmet, end) {
                Verdict::Met => 0,
                Verdict::Hold => 1,
                Verdict::End(JobState::Cancelled) => 2,
                Verdict::End(_) => 3,
            };
            all | verdict << shift
        })
}

/// All of a rule: two bits of `unmet`, two of `on`, and the verdicts.
pub(super) fn rule(on: On, unmet: Unmet) -> i16 {
    verdicts(on, unmet) << 4 | (on as i16) << 2 | unmet as i16
}

/// An array of numbers as PostgreSQL reads it.
fn literal(numbers: impl Iterator<Item = impl ToString>) -> Option<String> {
    let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
    (!numbers.is_empty()).then(|| format!("{{{}}}", numbers.join(",")))
}

fn counted(count: u16) -> i16 {
    i16::try_from(count).unwrap_or(i16::MAX)
}

fn one(
    rows: Result<Vec<Row>, monitor_pool::managers::postgres::tokio_postgres::Error>,
) -> Result<Row, Failure> {
    // Before the commit: what is cut off here is rolled back.
    let rows = rows.map_err(Failure::read)?;
    rows.into_iter().next().ok_or(Failure::Unreadable {
        column: "any",
        value: "no row".to_owned(),
    })
}

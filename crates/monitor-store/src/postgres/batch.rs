//! Many records in one transaction.

use std::collections::HashMap;

use monitor_model::{
    Applied, Bucket, Commit, Incident, LastDue, MonitorId, Record, Refusal, Status, Trigger,
};
use monitor_pool::managers::postgres::tokio_postgres::types::Type;

use super::columns::Columns;
use super::failure::Failure;
use super::roll::merge;
use super::row::{Fields, epoch_number};
use super::session::{Database, End, Parameter, Transaction};
use crate::rollup::{Horizons, is_late};

/// What was written by a commit of which the connection failed before the answer came: it stands
/// or it does not, and the row of the due time says which.
#[derive(Debug, Clone)]
pub(super) struct Doubt {
    record: Record,
    answer: Applied,
}

#[cfg(test)]
impl Doubt {
    pub(super) fn for_test(record: &Record) -> Self {
        use monitor_model::Lifecycle;

        let status = Status::new(record.monitor.clone(), Lifecycle::Active, record.epoch);
        let answer = Applied {
            sequence: 1,
            previous: None,
            status,
            incident: None,
        };
        let record = record.clone();
        Self { record, answer }
    }
}

/// The last doubt of each monitor.
pub(super) type Doubts = HashMap<MonitorId, Doubt>;

/// A living monitor as a batch finds it.
struct Living {
    number: i64,
    status: Status,
    last_due: Option<LastDue>,
    /// What is due before is counted in buckets.
    mark: i64,
    incident: Option<Incident>,
    /// The sequence of the line that the due time has already, and whether it is a record's own.
    line: Option<(u64, bool)>,
}

/// A record that is written, unless its fence says no.
struct Candidate<'r> {
    /// Its place in the batch.
    place: usize,
    record: &'r Record,
    living: Living,
}

/// Commits records of different monitors: the answers in their order, or why nothing was written.
///
/// A failure may leave doubts; the same records brought again settle them.
pub(super) async fn commit(
    database: &Database,
    horizons: &Horizons,
    doubts: &mut Doubts,
    records: &[&Record],
) -> Result<Vec<Commit>, Failure> {
    let transaction = database.begin().await?;
    let mut found = find(&transaction, records).await?;
    let mut answers: Vec<Option<Commit>> = vec![None; records.len()];
    let mut candidates = Vec::new();
    for (place, &record) in records.iter().enumerate() {
        let refused = |refusal| Some(Commit::Refused(refusal));
        let doubt = doubts
            .get(&record.monitor)
            .filter(|doubt| doubt.record == *record);
        match found.remove(&record.monitor) {
            None => answers[place] = refused(Refusal::Gone),
            Some(living) => match (living.line, doubt) {
                (Some((sequence, true)), Some(doubt)) => {
                    let answer = doubt.answer.clone();
                    answers[place] = Some(Commit::Applied(Applied { sequence, ..answer }));
                }
                _ => candidates.push(Candidate {
                    place,
                    record,
                    living,
                }),
            },
        }
    }
    let written = write(transaction, horizons, &candidates).await;
    let written = written.map_err(|stopped| stopped.remember(&candidates, doubts))?;
    for (candidate, answer) in candidates.iter().zip(written) {
        answers[candidate.place] = Some(answer);
    }
    for record in records {
        doubts.remove(&record.monitor);
    }
    let gone = || Commit::Refused(Refusal::Gone);
    Ok(answers
        .into_iter()
        .map(|answer| answer.unwrap_or_else(gone))
        .collect())
}

/// A batch that was not written, as far as is known.
struct Stopped {
    failure: Failure,
    /// What it would have come to, if it was all the same.
    answers: Option<Vec<Commit>>,
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        let answers = None;
        Self { failure, answers }
    }
}

impl Stopped {
    fn remember(self, candidates: &[Candidate<'_>], doubts: &mut Doubts) -> Failure {
        for (candidate, answer) in candidates.iter().zip(self.answers.into_iter().flatten()) {
            if let Commit::Applied(answer) = answer {
                let record = candidate.record.clone();
                doubts.insert(record.monitor.clone(), Doubt { record, answer });
            }
        }
        self.failure
    }
}

const LINES: &str = "
    SELECT monitor.id, status.*, line.sequence,
        line.epoch = wanted.epoch AND line.started_unix_ms = wanted.started
            AND line.outcome = wanted.outcome
            AND line.operation IS NOT DISTINCT FROM wanted.operation AS is_own
    FROM unnest($1::text[], $2::int8[], $3::int8[], $4::int8[], $5::bytea[], $6::text[])
        AS wanted (id, due_unix_ms, started, epoch, operation, outcome)
    JOIN monitor ON monitor.id = wanted.id AND NOT monitor.ended
    JOIN status ON status.monitor = monitor.number
    LEFT JOIN history AS line ON line.monitor = monitor.number
        AND line.due_unix_ms = wanted.due_unix_ms
    FOR UPDATE OF status";

const OPEN_INCIDENTS: &str = "
    SELECT monitor.id AS monitor_id, incident.* FROM incident
    JOIN monitor ON monitor.number = incident.monitor AND NOT monitor.ended
    WHERE incident.closed_unix_ms IS NULL AND monitor.id = ANY ($1)";

/// The monitors of the records, with the line that the due time of each has already.
///
/// Their states are locked, as a change of a monitor locks them: what is written follows from what is
/// read here, so that no change may come in between. Their open incidents are asked for behind, and
/// are those of the same instant.
async fn find(
    transaction: &Transaction,
    records: &[&Record],
) -> Result<HashMap<MonitorId, Living>, Failure> {
    let ids: Vec<_> = records
        .iter()
        .map(|record| record.monitor.as_str())
        .collect();
    let dues: Vec<_> = records.iter().map(|record| record.due_unix_ms).collect();
    let started: Vec<_> = records
        .iter()
        .map(|record| record.started_unix_ms)
        .collect();
    let epochs = records.iter().map(|record| epoch_number(record.epoch));
    let epochs: Vec<_> = epochs.collect::<Result<_, _>>()?;
    let operations: Vec<_> = records
        .iter()
        .map(|record| record.operation.map(|id| id.get().to_be_bytes().to_vec()))
        .collect();
    let outcomes: Vec<_> = records
        .iter()
        .map(|record| record.outcome().as_str())
        .collect();
    let wanted: [Parameter<'_>; 6] = [
        (&ids, Type::TEXT_ARRAY),
        (&dues, Type::INT8_ARRAY),
        (&started, Type::INT8_ARRAY),
        (&epochs, Type::INT8_ARRAY),
        (&operations, Type::BYTEA_ARRAY),
        (&outcomes, Type::TEXT_ARRAY),
    ];
    let (lines, incidents) = tokio::try_join!(
        transaction.rows(LINES, &wanted),
        transaction.rows(OPEN_INCIDENTS, &wanted[..1])
    )?;
    let mut open = HashMap::new();
    for row in &incidents {
        let fields = Fields::of(row, "incident", "id");
        let id = fields.id("monitor_id")?;
        open.insert(id.clone(), fields.incident("id", id)?);
    }
    let read = |row| {
        let fields = Fields::of(row, "status of monitor", "id");
        let id = fields.id("id")?;
        let incident = open.remove(&id);
        Ok((id.clone(), living(&fields, id, incident)?))
    };
    lines.iter().map(read).collect()
}

fn living(
    fields: &Fields<'_>,
    id: MonitorId,
    incident: Option<Incident>,
) -> Result<Living, Failure> {
    let line = match fields.get::<Option<i64>>("sequence")? {
        None => None,
        Some(sequence) => Some((sequence.unsigned_abs(), fields.get("is_own")?)),
    };
    Ok(Living {
        number: fields.get("monitor")?,
        status: fields.status(id)?,
        last_due: fields.last_due()?,
        mark: fields.get("mark_unix_ms")?,
        incident,
        line,
    })
}

/// Writes what is entitled to be written.
async fn write(
    transaction: Transaction,
    horizons: &Horizons,
    candidates: &[Candidate<'_>],
) -> Result<Vec<Commit>, Stopped> {
    let fresh: Vec<_> = candidates
        .iter()
        .filter(|it| it.living.line.is_none())
        .collect();
    let passed = update_status(&transaction, &fresh).await?;
    let (entitled, fenced): (Vec<_>, Vec<_>) = fresh
        .into_iter()
        .partition(|candidate| passed.contains(&candidate.living.number));
    let reasons = reasons(&transaction, &fenced).await?;
    let mut applied: HashMap<i64, Applied> = HashMap::new();
    let answers = |applied: &mut HashMap<i64, Applied>| -> Vec<Commit> {
        let answer = |candidate: &Candidate<'_>| {
            let number = candidate.living.number;
            if candidate.living.line.is_some() {
                return Commit::Refused(refused_line(candidate));
            }
            match applied.remove(&number) {
                Some(applied) => Commit::Applied(applied),
                None => Commit::Refused(reasons.get(&number).copied().unwrap_or(Refusal::Stale)),
            }
        };
        candidates.iter().map(answer).collect()
    };
    if entitled.is_empty() {
        transaction.roll_back().await;
        return Ok(answers(&mut applied));
    }
    let sequences = insert_history(&transaction, &entitled).await?;
    count_late(&transaction, horizons, &entitled).await?;
    for candidate in &entitled {
        let Living {
            number,
            status,
            incident,
            ..
        } = &candidate.living;
        let Some(&sequence) = sequences.get(number) else {
            return Err(Failure::Unreadable {
                row: format!("history of monitor \"{}\"", status.monitor),
                column: "sequence",
                problem: "an inserted line was not returned".into(),
            }
            .into());
        };
        let changed = Incident::after(
            incident.as_ref(),
            status.lifecycle,
            candidate.record,
            sequence,
        );
        let answer = Applied {
            sequence,
            previous: status.outcome,
            status: status.after(candidate.record),
            incident: changed.map(Box::new),
        };
        applied.insert(*number, answer);
    }
    let changed: Vec<_> = entitled
        .iter()
        .filter_map(|candidate| {
            let number = candidate.living.number;
            Some((number, applied.get(&number)?.incident.as_deref()?))
        })
        .collect();
    put_incidents(&transaction, &changed).await?;
    notify(&transaction, &changed).await?;
    match transaction.commit().await {
        Ok(()) => Ok(answers(&mut applied)),
        Err(End::Failed(failure)) => Err(failure.into()),
        Err(End::Unknown(failure)) => Err(Stopped {
            failure,
            answers: Some(answers(&mut applied)),
        }),
    }
}

/// Why a record was refused whose due time has a line: the fence comes first, as in every store.
fn refused_line(candidate: &Candidate<'_>) -> Refusal {
    let (record, status) = (candidate.record, &candidate.living.status);
    let standing = (status.epoch, status.lifecycle);
    Refusal::of((record.epoch, record.trigger), standing).unwrap_or(Refusal::Duplicate)
}

/// INV-STORE-1: the fence is part of the statement that writes. Returns the numbers of the monitors
/// for which it held; the others were changed by somebody before [`find`] locked them.
async fn update_status(
    transaction: &Transaction,
    candidates: &[&Candidate<'_>],
) -> Result<Vec<i64>, Failure> {
    if candidates.is_empty() {
        return Ok(Vec::new());
    }
    let reach = |last: &LastDue| (last.end_unix_ms(), last.due_unix_ms);
    let rows: Vec<_> = candidates
        .iter()
        .map(|candidate| {
            let this = LastDue::of(candidate.record);
            let last = match candidate.living.last_due {
                Some(last) if reach(&last) > reach(&this) => last,
                _ => this,
            };
            let after = candidate.living.status.after(candidate.record);
            let epoch = epoch_number(candidate.record.epoch)?;
            Ok((candidate.living.number, epoch, after, last))
        })
        .collect::<Result<_, Failure>>()?;
    let by_hand = candidates
        .iter()
        .filter(|it| it.record.trigger == Trigger::Manual);
    let by_hand: Vec<_> = by_hand.map(|it| it.living.number).collect();
    let columns = Columns::status(&rows);
    let mut parameters = columns.parameters();
    parameters.push((&by_hand, Type::INT8_ARRAY));
    let statement = format!(
        "UPDATE status SET {assignments} FROM {rows}
         WHERE status.monitor = after.monitor AND status.epoch = after.epoch
             AND (status.lifecycle = 'active' OR status.monitor = ANY (${by_hand}))
         RETURNING status.monitor",
        assignments = columns.assignments("after"),
        rows = columns.rows("after"),
        by_hand = parameters.len(),
    );
    let changed = transaction.rows(&statement, &parameters).await?;
    changed.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Why the fence held, as of now: somebody may have changed the monitor since it was found.
async fn reasons(
    transaction: &Transaction,
    fenced: &[&Candidate<'_>],
) -> Result<HashMap<i64, Refusal>, Failure> {
    if fenced.is_empty() {
        return Ok(HashMap::new());
    }
    let numbers: Vec<_> = fenced
        .iter()
        .map(|candidate| candidate.living.number)
        .collect();
    let rows = transaction
        .rows(
            "SELECT monitor, epoch, lifecycle FROM status WHERE monitor = ANY ($1)",
            &[(&numbers, Type::INT8_ARRAY)],
        )
        .await?;
    let mut now = HashMap::new();
    for row in &rows {
        let fields = Fields::of(row, "status", "monitor");
        let number: i64 = fields.get("monitor")?;
        now.insert(number, (fields.epoch()?, fields.lifecycle()?));
    }
    let reason = |candidate: &&Candidate<'_>| {
        let number = candidate.living.number;
        let reason = match now.get(&number) {
            None => Refusal::Gone,
            Some(&standing) => {
                let record = candidate.record;
                Refusal::of((record.epoch, record.trigger), standing).unwrap_or(Refusal::Stale)
            }
        };
        (number, reason)
    };
    Ok(fenced.iter().map(reason).collect())
}

/// INV-STORE-2: the unique key of due times decides; a second line fails the whole batch, and the
/// next attempt finds the first.
async fn insert_history<'r>(
    transaction: &Transaction,
    entitled: &[&Candidate<'r>],
) -> Result<HashMap<i64, u64>, Failure> {
    let line = |candidate: &&Candidate<'r>| {
        let (record, outcome) = (candidate.record, candidate.record.outcome());
        let turned = outcome.sets_status() && candidate.living.status.outcome != Some(outcome);
        (candidate.living.number, record, turned)
    };
    let lines: Vec<_> = entitled.iter().map(line).collect();
    let columns = Columns::history(&lines);
    let statement = format!(
        "INSERT INTO history ({names}) SELECT * FROM {rows} RETURNING monitor, sequence",
        names = columns.names(),
        rows = columns.rows("line"),
    );
    let rows = transaction.rows(&statement, &columns.parameters()).await?;
    let read = |row| {
        let fields = Fields::of(row, "history", "sequence");
        Ok((fields.get("monitor")?, fields.number("sequence")?))
    };
    rows.iter().map(read).collect()
}

/// Counts records that come too late to be rolled up with their neighbours.
async fn count_late(
    transaction: &Transaction,
    horizons: &Horizons,
    entitled: &[&Candidate<'_>],
) -> Result<(), Failure> {
    let mut buckets = Vec::new();
    for candidate in entitled {
        let due_unix_ms = candidate.record.due_unix_ms;
        if is_late(due_unix_ms, candidate.living.mark) {
            for (resolution, _) in horizons.feeds(due_unix_ms) {
                let bucket = Bucket::of(candidate.record, resolution);
                buckets.push((candidate.living.number, resolution, bucket));
            }
        }
    }
    if buckets.is_empty() {
        return Ok(());
    }
    let columns = Columns::buckets(&buckets);
    let new = format!("SELECT * FROM {}", columns.rows("late"));
    transaction
        .change(&merge(&new), &columns.parameters())
        .await?;
    Ok(())
}

/// Adds incidents, or replaces what can change of them.
pub(super) async fn put_incidents(
    transaction: &Transaction,
    incidents: &[(i64, &Incident)],
) -> Result<(), Failure> {
    if incidents.is_empty() {
        return Ok(());
    }
    let columns = Columns::incidents(incidents);
    let statement = format!(
        "INSERT INTO incident ({names}) SELECT * FROM {rows}
         ON CONFLICT (id) DO UPDATE SET paused = excluded.paused,
             closed_unix_ms = excluded.closed_unix_ms, closed_by = excluded.closed_by",
        names = columns.names(),
        rows = columns.rows("one"),
    );
    transaction
        .change(&statement, &columns.parameters())
        .await?;
    Ok(())
}

/// Puts a notice for each incident into the outbox, in this order.
pub(super) async fn notify(
    transaction: &Transaction,
    incidents: &[(i64, &Incident)],
) -> Result<(), Failure> {
    if incidents.is_empty() {
        return Ok(());
    }
    let columns = Columns::notices(incidents);
    let statement = format!(
        "INSERT INTO outbox ({names}) SELECT * FROM {rows}",
        names = columns.names(),
        rows = columns.rows("one"),
    );
    transaction
        .change(&statement, &columns.parameters())
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests;

//! What `monitord jobs` says to people.

use std::time::Duration;

use monitor_jobs::{
    Execution, Finding, JobState, JobView, QueueView, Reason, WorkerState, WorkerView,
};

use super::table::{Cell, Table};
use crate::terminal::{Colour, Paint, printable};

/// How much of an error stands in a list, in characters.
const SHOWN: usize = 60;
/// Under the first line of a value.
const BELOW: &str = "\n                ";

/// A list of jobs.
pub(super) fn jobs(jobs: &[JobView], now_unix_ms: i64, limit: u32, paint: Paint) -> String {
    let Some(last) = jobs.last() else {
        return "no job\n".to_owned();
    };
    let mut table = Table::new(&[
        "id",
        "queue",
        "kind",
        "state",
        "priority",
        "attempt",
        "age",
        "last error",
    ]);
    for job in jobs {
        table.row([
            job.id.to_string().into(),
            job.queue.as_str().into(),
            job.kind.as_str().into(),
            state(job.state),
            urgency(job).into(),
            format!("{}/{}", job.attempt, job.max_attempts).into(),
            since(job.enqueued_unix_ms, now_unix_ms).into(),
            first_line(job.last_error.as_deref().unwrap_or("")).into(),
        ]);
    }
    let mut text = table.text(paint);
    if usize::try_from(limit).is_ok_and(|limit| jobs.len() >= limit) {
        text.push_str(&format!("more with --after {}\n", last.id));
    }
    text
}

/// One job with all there is to say.
pub(super) fn job(
    job: &JobView,
    executions: &[Execution],
    reason: Option<&Reason>,
    now_unix_ms: i64,
    paint: Paint,
) -> String {
    let mut text = format!(
        "job {}  {} in {}  {}\n",
        job.id,
        job.kind,
        job.queue,
        state(job.state).text(paint)
    );
    let mut line = |name: &str, value: String| {
        let value: Vec<_> = value.lines().map(printable).collect();
        let value = value.join(BELOW);
        text.push_str(&format!(
            "  {}  {value}\n",
            paint.dim(&format!("{name:12}"))
        ));
    };
    line("put in", ago(job.enqueued_unix_ms, now_unix_ms));
    if job.run_at_unix_ms > now_unix_ms {
        let wait = Duration::from_millis(job.run_at_unix_ms.abs_diff(now_unix_ms));
        line("due", format!("in {}", rough(wait)));
    }
    if let Some(ended) = job.ended_unix_ms {
        line("ended", ago(ended, now_unix_ms));
    }
    line("priority", format!("{}{}", urgency(job), because(reason)));
    line(
        "attempts",
        format!(
            "{} of {}, {} workers lost",
            job.attempt, job.max_attempts, job.crashes
        ),
    );
    if job.cancel_requested {
        line(
            "cancel",
            "asked for; its worker hears of it by its next beat".to_owned(),
        );
    }
    for edge in &job.parents {
        line(
            "waits for",
            format!("job {} ({:?})", edge.parent, edge.on).to_lowercase(),
        );
    }
    if let Some((percent, said)) = &job.progress {
        line("progress", format!("{percent} % {said}"));
    }
    if let Some(error) = &job.last_error {
        line("last error", error.clone());
    }
    if let Some(result) = &job.result {
        line("result", result.clone());
    }
    line("payload", job.payload.clone());
    if !executions.is_empty() {
        text.push_str(&attempts(executions, now_unix_ms, paint));
    }
    text
}

fn attempts(executions: &[Execution], now_unix_ms: i64, paint: Paint) -> String {
    let mut table = Table::new(&["attempt", "worker", "began", "took", "outcome", "error"]);
    for one in executions {
        let end = one.ended_unix_ms.unwrap_or(now_unix_ms);
        let took = Duration::from_millis(u64::try_from(end - one.started_unix_ms).unwrap_or(0));
        table.row([
            one.attempt.to_string().into(),
            format!("{} ({})", one.worker_name, one.worker).into(),
            ago(one.started_unix_ms, now_unix_ms).into(),
            rough(took).into(),
            one.outcome.unwrap_or("running").into(),
            first_line(one.error.as_deref().unwrap_or("")).into(),
        ]);
    }
    table.text(paint)
}

/// The queues.
pub(super) fn queues(queues: &[QueueView], paint: Paint) -> String {
    if queues.is_empty() {
        return "no queue holds a job\n".to_owned();
    }
    let heading: Vec<&str> = ["queue", ""]
        .into_iter()
        .chain(JobState::ALL.map(JobState::as_str))
        .chain(["high/medium/low", "oldest ready"])
        .collect();
    let mut table = Table::new(&heading);
    for queue in queues {
        let paused = if queue.paused { "paused" } else { "" };
        let [high, medium, low] = queue.ready_by_band;
        let oldest = queue.oldest_ready.map_or_else(String::new, rough);
        let cells = [
            queue.name.as_str().into(),
            Cell::painted(paused, |paint, text| paint.colour(Colour::Yellow, text)),
        ];
        let counts = queue.counts.iter().map(|count| count.to_string().into());
        let rest = [format!("{high}/{medium}/{low}").into(), oldest.into()];
        table.row(cells.into_iter().chain(counts).chain(rest));
    }
    table.text(paint)
}

/// The workers.
pub(super) fn workers(workers: &[WorkerView], now_unix_ms: i64, paint: Paint) -> String {
    if workers.is_empty() {
        return "no worker is registered\n".to_owned();
    }
    let mut table = Table::new(&[
        "id", "name", "state", "holds", "heard of", "lease", "queues",
    ]);
    for worker in workers {
        table.row([
            worker.id.to_string().into(),
            worker.name.as_str().into(),
            standing(worker.state),
            format!("{}/{}", worker.held, worker.capacity).into(),
            ago(worker.seen_unix_ms, now_unix_ms).into(),
            rough(worker.lease).into(),
            worker.queues.join(", ").into(),
        ]);
    }
    table.text(paint)
}

/// What a doctor found.
pub(super) fn findings(findings: &[Finding], paint: Paint) -> String {
    if findings.is_empty() {
        return format!("{} nothing is wrong\n", paint.colour(Colour::Green, "ok"));
    }
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| !finding.broken);
    let lines = sorted.into_iter().map(|finding| {
        let (colour, word) = if finding.broken {
            (Colour::Red, "broken")
        } else {
            (Colour::Yellow, "note  ")
        };
        format!(
            "{} {}: {}\n",
            paint.colour(colour, word),
            finding.check,
            printable(&finding.what)
        )
    });
    lines.collect()
}

fn because(reason: Option<&Reason>) -> String {
    match reason.and_then(|reason| reason.from.map(|from| (reason, from))) {
        Some((reason, (job, priority))) if reason.from_parent => {
            format!(": as urgent as job {job} ({priority}), which it waits for")
        }
        Some((_, (job, priority))) => format!(": job {job} ({priority}) waits for it"),
        None => String::new(),
    }
}

fn urgency(job: &JobView) -> String {
    let band = job.effective_priority.band().as_str();
    if job.effective_priority == job.priority {
        format!("{} {band}", job.priority)
    } else {
        format!("{} {band} (own {})", job.effective_priority, job.priority)
    }
}

fn state(state: JobState) -> Cell {
    let paint: fn(Paint, &str) -> String = match state {
        JobState::Completed => |paint, text| paint.colour(Colour::Green, text),
        JobState::Running => |paint, text| paint.colour(Colour::Blue, text),
        JobState::Held => |paint, text| paint.colour(Colour::Yellow, text),
        JobState::Dead => |paint, text| paint.colour(Colour::Red, text),
        JobState::Cancelled => |paint, text| paint.colour(Colour::Grey, text),
        _ => |_, text| text.to_owned(),
    };
    Cell::painted(state.as_str(), paint)
}

fn standing(state: WorkerState) -> Cell {
    let paint: fn(Paint, &str) -> String = match state {
        WorkerState::Busy => |paint, text| paint.colour(Colour::Blue, text),
        WorkerState::Degraded | WorkerState::Draining => {
            |paint, text| paint.colour(Colour::Yellow, text)
        }
        WorkerState::Failing | WorkerState::Failed => |paint, text| paint.colour(Colour::Red, text),
        _ => |_, text| text.to_owned(),
    };
    Cell::painted(state.as_str(), paint)
}

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() > SHOWN {
        line.chars().take(SHOWN - 1).chain(['…']).collect()
    } else {
        line.to_owned()
    }
}

fn ago(then_unix_ms: i64, now_unix_ms: i64) -> String {
    format!("{} ago", since(then_unix_ms, now_unix_ms))
}

fn since(then_unix_ms: i64, now_unix_ms: i64) -> String {
    let millis = now_unix_ms.saturating_sub(then_unix_ms);
    rough(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
}

/// A time in its two largest units.
fn rough(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_two_units() {
        for (seconds, text) in [
            (0, "0 ms"),
            (59, "59 s"),
            (60, "1 min 0 s"),
            (7384, "2 h 3 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(rough(Duration::from_secs(seconds)), text);
        }
        assert_eq!(since(5, 3), "0 ms");
    }

    #[test]
    fn an_error_is_cut_to_its_first_line() {
        assert_eq!(first_line("one\ntwo"), "one");
        assert_eq!(first_line(&"x".repeat(100)).chars().count(), SHOWN);
    }
}

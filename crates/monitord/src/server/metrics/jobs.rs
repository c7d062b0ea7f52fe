//! The daemon's own jobs, by the names that the guide to jobs gives their metrics.
//!
//! Labels are of closed sets: kinds of jobs and queues of this daemon, outcomes, reasons.

use std::fmt;

use monitor_jobs::{BUCKETS, Histogram, JobState, Stats};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::jobs::Reading;

/// One reading of the jobs.
#[derive(Debug)]
pub(super) struct OwnJobs(pub(super) Reading);

impl Collector for OwnJobs {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Reading { stats, .. } = &self.0;
        registrations(&mut encoder, stats)?;
        conflicts(&mut encoder, stats)?;
        let help = "Ends of attempts that were accepted, by how they ended";
        let name = "jobs_settled";
        let mut settled = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (outcome, count) in &stats.settled {
            settled
                .encode_family(&[("outcome", *outcome)])?
                .encode_counter::<NoLabelSet, _, f64>(count, None)?;
        }
        totals(&mut encoder, stats)?;
        let help = "How long claims took in the database";
        histogram(&mut encoder, ("jobs_claim", help), &stats.claim_seconds)?;
        let help = "How long ends took, with the release of what waited for them";
        histogram(&mut encoder, ("jobs_cascade", help), &stats.cascade_seconds)?;
        self.standing(&mut encoder)
    }
}

impl OwnJobs {
    fn standing(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let second = Some(&Unit::Seconds);
        let help = "When a job of that kind last ended well";
        let name = "jobs_last_completed_timestamp";
        let mut completed = encoder.encode_descriptor(name, help, second, MetricType::Gauge)?;
        for (kind, unix_ms) in &self.0.completed {
            #[expect(clippy::cast_precision_loss, reason = "exact for 285 000 years")]
            let seconds = *unix_ms as f64 / 1000.0;
            completed
                .encode_family(&[("kind", *kind)])?
                .encode_gauge(&seconds)?;
        }
        let help = "By what share an operation became slower, as the last look for defects found";
        let name = "jobs_regression_ratio";
        let mut slower = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (operation, by) in &self.0.slower {
            slower
                .encode_family(&[("operation", operation.as_str())])?
                .encode_gauge(by)?;
        }
        let Some(queue) = &self.0.queue else {
            return Ok(());
        };
        let help = "Jobs in each state";
        let mut jobs = encoder.encode_descriptor("jobs", help, None, MetricType::Gauge)?;
        for (state, count) in JobState::ALL.into_iter().zip(queue.counts) {
            jobs.encode_family(&[("queue", queue.name.as_str()), ("state", state.as_str())])?
                .encode_gauge(&count)?;
        }
        let help = "How long the first of those that wait for a worker has waited";
        let name = "jobs_oldest_ready";
        let mut oldest = encoder.encode_descriptor(name, help, second, MetricType::Gauge)?;
        oldest
            .encode_family(&[("queue", queue.name.as_str())])?
            .encode_gauge(&queue.oldest_ready.unwrap_or_default().as_secs_f64())
    }
}

fn registrations(encoder: &mut DescriptorEncoder<'_>, stats: &Stats) -> fmt::Result {
    let help = "Registrations of workers, and why some did not stand";
    let name = "jobs_registrations";
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    metric
        .encode_family(&[("result", "ok")])?
        .encode_counter::<NoLabelSet, _, f64>(&stats.registered, None)?;
    for (reason, count) in &stats.not_registered {
        metric
            .encode_family(&[("result", "failed"), ("reason", *reason)])?
            .encode_counter::<NoLabelSet, _, f64>(count, None)?;
    }
    Ok(())
}

fn conflicts(encoder: &mut DescriptorEncoder<'_>, stats: &Stats) -> fmt::Result {
    let help = "Claims that were repeated, by whether that helped";
    let name = "claim_conflicts";
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for ((kind, recovered), count) in &stats.conflicts {
        let recovered = if *recovered { "true" } else { "false" };
        metric
            .encode_family(&[("kind", *kind), ("recovered", recovered)])?
            .encode_counter::<NoLabelSet, _, f64>(count, None)?;
    }
    Ok(())
}

fn totals(encoder: &mut DescriptorEncoder<'_>, stats: &Stats) -> fmt::Result {
    for (name, help, count) in [
        ("jobs_claimed", "Jobs claimed", stats.claimed),
        (
            "jobs_fenced",
            "Ends that came too late: the job was another's",
            stats.stale,
        ),
        (
            "jobs_rescued",
            "Jobs taken from workers that were given up",
            stats.rescued,
        ),
        (
            "jobs_released_later",
            "Dependencies released in later slices",
            stats.released_later,
        ),
        (
            "jobs_registrations_lost",
            "Registrations that ended while they were used",
            stats.registrations_lost,
        ),
    ] {
        encoder
            .encode_descriptor(name, help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, f64>(&count, None)?;
    }
    Ok(())
}

fn histogram(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    durations: &Histogram,
) -> fmt::Result {
    let bounds = BUCKETS.into_iter().chain([f64::INFINITY]);
    let buckets: Vec<_> = bounds.zip(durations.buckets).collect();
    encoder
        .encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?
        .encode_histogram::<NoLabelSet>(
            durations.sum.as_secs_f64(),
            durations.count,
            &buckets,
            None,
        )
}

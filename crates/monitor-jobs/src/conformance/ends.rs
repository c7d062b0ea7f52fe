//! How attempts end, and what that leaves.

use std::time::Duration;

use super::{Bench, Rig, START_MS, complete, fail, job, settle, worker};
use crate::{JobState, Outcome, Payload, Priority, Settled};

const WAIT: Duration = Duration::from_secs(2);

/// Whatever it says: complete, fail, snooze, cancel, hand back, progress.
pub async fn job_34_a_stale_holder_changes_nothing(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let id = bench.put(job("work")).await;
    let zombie = bench.claim(1).await;
    let pulses = bench.backend.pulses().await.unwrap();
    assert!(bench.backend.rescue(&pulses[0], 9).await.unwrap().retired);
    let heir = bench.backend.register(&worker("bench")).await.unwrap();
    let taken = bench.claim_as(heir, 1).await.jobs;
    assert!(taken[0].epoch > zombie[0].epoch, "F2");
    let before = bench.view(id).await;
    let outcomes = [
        complete(),
        fail(None),
        fail(Some(WAIT)),
        Outcome::Snooze(WAIT),
        Outcome::Cancelled,
        Outcome::Release,
    ];
    for worker in [bench.worker, heir] {
        for outcome in &outcomes {
            let end = [settle(&zombie[0], outcome.clone())];
            let answer = bench.backend.settle(worker, &end).await.unwrap();
            assert_eq!(answer, [Settled::Stale], "F3: {outcome:?}");
        }
    }
    let said = bench
        .backend
        .progress(id, zombie[0].epoch, 50, "zombie")
        .await;
    assert!(!said.unwrap(), "F3: progress");
    assert_eq!(bench.view(id).await, before, "F3");
    let end = [settle(&taken[0], complete())];
    assert_eq!(
        bench.backend.settle(heir, &end).await.unwrap(),
        [Settled::Done]
    );
    let executions = bench.backend.executions(id).await.unwrap();
    let outcomes: Vec<_> = executions.iter().map(|row| row.outcome).collect();
    assert_eq!(outcomes, [Some("lost"), Some("completed")], "F1");
}

/// Every outcome twice, then another one; also within one call.
pub async fn job_36_a_repeated_end_is_recognised(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let outcomes = [
        Outcome::Complete {
            result: Some(Payload::parse("{\"rows\": 3}").unwrap()),
        },
        fail(None),
        fail(Some(WAIT)),
        Outcome::Snooze(WAIT),
        Outcome::Cancelled,
        Outcome::Release,
    ];
    for outcome in outcomes {
        let id = bench.put(job("work").priority(Priority::MAX)).await;
        let held = bench.claim(1).await.remove(0);
        assert_eq!(held.id, id);
        let twice = [
            settle(&held, outcome.clone()),
            settle(&held, outcome.clone()),
        ];
        let answers = bench.backend.settle(bench.worker, &twice).await.unwrap();
        assert_eq!(
            answers,
            [Settled::Done, Settled::Already],
            "F5: {outcome:?}"
        );
        let after = bench.view(id).await;
        assert_eq!(bench.end(&held, outcome.clone()).await, Settled::Already);
        let other = match outcome {
            Outcome::Complete { .. } => Outcome::Cancelled,
            _ => complete(),
        };
        assert_eq!(
            bench.end(&held, other).await,
            Settled::Stale,
            "F5: {outcome:?}"
        );
        assert_eq!(bench.view(id).await, after, "F5");
        bench.backend.cancel(id).await.unwrap();
    }
}

/// Three attempts, their waits by the clock of the database, dead; one more by hand.
pub async fn job_37_retry_and_dead_letter(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let id = bench.put(job("work")).await;
    let mut now = START_MS;
    for attempt in 1..=3_u16 {
        let held = bench.claim(1).await.remove(0);
        assert_eq!((held.attempt, held.max_attempts), (attempt, 3));
        assert_eq!(bench.end(&held, fail(Some(WAIT))).await, Settled::Done);
        let view = bench.view(id).await;
        assert_eq!(view.last_error.as_deref(), Some("it went wrong"));
        if attempt < 3 {
            assert_eq!(
                (view.state, view.run_at_unix_ms),
                (JobState::Scheduled, now + 2_000)
            );
            assert!(bench.claim(1).await.is_empty(), "R2: not before its time");
            now += 2_000;
            bench.base.set_clock(now).await;
        } else {
            assert_eq!(
                (view.state, view.ended_unix_ms),
                (JobState::Dead, Some(now))
            );
        }
    }
    assert!(bench.claim(1).await.is_empty());
    assert_eq!(bench.backend.retry(id).await.unwrap(), Some(true));
    assert_eq!(bench.backend.retry(id).await.unwrap(), Some(false));
    let view = bench.view(id).await;
    assert_eq!(
        (view.state, view.max_attempts, view.ended_unix_ms),
        (JobState::Ready, 4, None)
    );
    bench.run(id, complete()).await;
    let executions = bench.backend.executions(id).await.unwrap();
    let history: Vec<_> = executions
        .iter()
        .map(|row| (row.attempt, row.outcome.unwrap()))
        .collect();
    assert_eq!(
        history,
        [
            (1, "failed"),
            (2, "failed"),
            (3, "failed"),
            (4, "completed")
        ]
    );
    assert_eq!(
        bench.backend.retry(id).await.unwrap(),
        Some(false),
        "it has completed"
    );
    assert_eq!(bench.backend.retry(crate::JobId(-5)).await.unwrap(), None);
}

/// In front of younger ones of its priority, however often.
pub async fn job_21_what_is_handed_back_keeps_its_place(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let ids = bench.put_all(&[job("a"), job("b")]).await;
    for _ in 0..5 {
        let held = bench.claim(1).await.remove(0);
        assert_eq!((held.id, held.attempt), (ids[0], 1));
        assert_eq!(bench.end(&held, Outcome::Release).await, Settled::Done);
    }
    let held = bench.claim(1).await.remove(0);
    assert_eq!(bench.end(&held, Outcome::Snooze(WAIT)).await, Settled::Done);
    assert_eq!(bench.view(ids[0]).await.attempt, 0);
    assert_eq!(bench.claim_ids(9).await, [ids[1]]);
    bench.base.set_clock(START_MS + 2_000).await;
    let late = bench.put(job("late")).await;
    assert_eq!(bench.claim_ids(9).await, [ids[0], late]);
    bench.backend.deregister(bench.worker).await.unwrap();
    assert_eq!(
        bench.states(&ids).await,
        [JobState::Ready; 2],
        "by its worker's farewell too"
    );
}

/// Failed, snoozed, released, lost, cancelled, completed.
pub async fn job_16_one_execution_for_each_attempt(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let id = bench.put(job("work")).await;
    for outcome in [
        fail(Some(Duration::ZERO)),
        Outcome::Snooze(Duration::ZERO),
        Outcome::Release,
    ] {
        bench.run(id, outcome).await;
    }
    bench.claim(1).await;
    let open = bench.backend.executions(id).await.unwrap();
    assert_eq!(
        open.iter()
            .filter(|row| row.ended_unix_ms.is_none())
            .count(),
        1
    );
    assert_eq!(open[3].worker_name, "bench");
    let pulses = bench.backend.pulses().await.unwrap();
    bench.backend.rescue(&pulses[0], 9).await.unwrap();
    let rows = bench.backend.executions(id).await.unwrap();
    let outcomes: Vec<_> = rows
        .iter()
        .map(|row| row.outcome.unwrap_or("open"))
        .collect();
    assert_eq!(outcomes, ["failed", "snoozed", "released", "lost"]);
    let attempts: Vec<_> = rows.iter().map(|row| row.attempt).collect();
    assert_eq!(attempts, [1, 2, 2, 2], "what was put back does not count");
    assert!(rows.windows(2).all(|pair| pair[0].epoch < pair[1].epoch));
    assert_eq!(rows[0].error.as_deref(), Some("it went wrong"));

    let quiet = crate::ClaimRequest {
        worker: bench.backend.register(&worker("quiet")).await.unwrap(),
        limit: 1,
        history: false,
    };
    let held = bench.backend.claim(&quiet).await.unwrap().jobs.remove(0);
    let ended = bench
        .backend
        .settle(quiet.worker, &[settle(&held, complete())])
        .await;
    assert_eq!(ended.unwrap(), [Settled::Done]);
    assert_eq!(
        bench.state(id).await,
        JobState::Completed,
        "without history the job stays"
    );
    assert_eq!(bench.backend.executions(id).await.unwrap(), rows);
}

/// Completed, dead, cancelled.
pub async fn job_33_an_ended_job_stays_ended(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    for outcome in [complete(), fail(None), Outcome::Cancelled] {
        let id = bench.put(job("work")).await;
        bench.run(id, outcome).await;
        let ended = bench.view(id).await;
        assert_eq!(bench.backend.cancel(id).await.unwrap(), Some(false));
        assert_eq!(
            bench.backend.reprioritise(id, Priority::MAX).await.unwrap(),
            Some(false)
        );
        bench.base.set_clock(START_MS + 1_000_000).await;
        assert!(bench.claim(9).await.is_empty(), "S6");
        assert_eq!(bench.view(id).await, ended);
    }
}

/// Ready, scheduled, running, and again.
pub async fn cancelling(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let ready = bench.put(job("ready")).await;
    assert_eq!(bench.backend.cancel(ready).await.unwrap(), Some(true));
    assert_eq!(bench.backend.cancel(ready).await.unwrap(), Some(false));
    assert_eq!(bench.backend.cancel(crate::JobId(-5)).await.unwrap(), None);
    assert!(bench.claim(1).await.is_empty());
    let ends = [
        (complete(), JobState::Completed),
        (Outcome::Cancelled, JobState::Cancelled),
        (fail(Some(WAIT)), JobState::Cancelled),
        (Outcome::Release, JobState::Cancelled),
        (Outcome::Snooze(WAIT), JobState::Cancelled),
        (fail(None), JobState::Dead),
    ];
    for (outcome, state) in ends {
        let id = bench.put(job("running")).await;
        let held = bench.claim(1).await.remove(0);
        assert_eq!(bench.backend.cancel(id).await.unwrap(), Some(true));
        assert_eq!(bench.backend.cancel(id).await.unwrap(), Some(true));
        assert_eq!(bench.state(id).await, JobState::Running);
        assert_eq!(bench.end(&held, outcome.clone()).await, Settled::Done);
        assert_eq!(bench.state(id).await, state, "{outcome:?}");
    }
    let lost = bench.put(job("lost")).await;
    bench.claim(1).await;
    bench.backend.cancel(lost).await.unwrap();
    bench.backend.deregister(bench.worker).await.unwrap();
    assert_eq!(bench.state(lost).await, JobState::Cancelled);
}

/// A megabyte, spaces, characters of every kind, numbers as they were written.
pub async fn job_17_payloads_come_back_to_the_letter(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let texts = [
        "{ \"b\" : 1.50, \"a\":[1e400,\"\\u0000 \\ud83d\\ude00 ä😀\"] }".to_owned(),
        format!("\"{}\"", "x".repeat((1 << 20) - 2)),
        "null".to_owned(),
    ];
    for text in texts {
        let payload = Payload::parse(text.clone()).unwrap();
        let id = bench.put(crate::NewJob::new("work", payload.clone())).await;
        let held = bench.claim(1).await.remove(0);
        assert!(held.payload == payload, "{} bytes", text.len());
        let result = Some(payload);
        bench.end(&held, Outcome::Complete { result }).await;
        let view = bench.view(id).await;
        assert!(view.payload == text && view.result.as_deref() == Some(&text));
    }
    assert!(Payload::parse("x".repeat((1 << 20) + 1)).is_err());
    assert!(Payload::parse("{").is_err());
    let id = bench.put(job("work")).await;
    let held = bench.claim(1).await.remove(0);
    let said = bench
        .backend
        .progress(id, held.epoch, 200, "half\0way")
        .await;
    assert!(said.unwrap());
    assert_eq!(
        bench.view(id).await.progress,
        Some((100, "half\u{fffd}way".to_owned()))
    );
    let error = format!("zero \0 and long {}", "ä".repeat(5000));
    let retry_in = None;
    bench.end(&held, Outcome::Fail { error, retry_in }).await;
    let kept = bench.view(id).await.last_error.unwrap();
    assert!(
        kept.starts_with("zero \u{fffd} and") && kept.len() <= 4096 + 2,
        "{}",
        kept.len()
    );
}

/// Ended jobs by age, but no parent of one that has not ended; failed workers.
pub async fn r7_pruning_keeps_what_is_needed(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let age = Duration::from_secs(3600);
    let parent = bench.put(job("parent")).await;
    let other = bench.put(job("other")).await;
    let child = bench.put(job("child").after(parent).after(other)).await;
    bench.run(parent, complete()).await;
    let alone = bench.put(job("alone").priority(Priority::MAX)).await;
    bench.run(alone, complete()).await;
    assert_eq!(bench.backend.prune(age, 99).await.unwrap(), 0, "too young");
    bench.base.set_clock(START_MS + 3_600_000).await;
    let young = bench.put(job("young")).await;
    bench.backend.cancel(young).await.unwrap();
    assert_eq!(bench.backend.prune(age, 99).await.unwrap(), 1);
    assert!(bench.backend.job(alone).await.unwrap().is_none());
    assert!(bench.backend.executions(alone).await.unwrap().is_empty());
    assert_eq!(
        bench.view(child).await.parents.len(),
        2,
        "its parent is needed"
    );
    bench.run(other, complete()).await;
    bench.run(child, complete()).await;
    bench.base.set_clock(START_MS + 9_000_000).await;
    assert_eq!(bench.backend.prune(age, 2).await.unwrap(), 2, "in slices");
    assert_eq!(bench.backend.prune(age, 99).await.unwrap(), 2);
    let pulses = bench.backend.pulses().await.unwrap();
    bench.backend.rescue(&pulses[0], 1).await.unwrap();
    bench.base.set_clock(START_MS + 18_000_000).await;
    assert_eq!(bench.backend.prune(age, 99).await.unwrap(), 1);
    assert!(bench.backend.workers().await.unwrap().is_empty());
}

//! Failures in the middle of a statement, and damage that is found.

use monitor_jobs::{Backend, JobState, Priority, Settled};

use crate::place::{Place, after_first, claim, completed, register, request, states, work};

/// JOB-22, JOB-36: an error while dependents are released is an error of the completion, which is
/// not done then. The origin reported success, and the child never ran.
#[tokio::test]
async fn an_error_in_the_release_takes_the_completion_back() {
    let place = Place::new();
    let jobs = place.open();
    let worker = jobs.register(&register()).await.unwrap();
    jobs.enqueue(&[work(), after_first(), after_first()])
        .await
        .unwrap();
    let parent = claim(&jobs, worker, 1).await;
    place.fail(Some("UPDATE OF state ON job WHEN old.id = 3"));
    let error = jobs.settle(worker, &completed(&parent)).await.unwrap_err();
    assert!(error.to_string().contains("broken"), "{error}");
    let before = [JobState::Running, JobState::Blocked, JobState::Blocked];
    assert_eq!(states(&jobs).await, before);
    place.fail(None);
    let settled = jobs.settle(worker, &completed(&parent)).await.unwrap();
    assert_eq!(settled, [Settled::Done]);
    assert_eq!(states(&jobs).await[1..], [JobState::Ready; 2]);
}

/// JOB-25: an error while dependencies are written puts nothing in. In the origin the child ran
/// before its parent.
#[tokio::test]
async fn an_error_in_the_dependencies_puts_nothing_in() {
    let place = Place::new();
    let jobs = place.open();
    jobs.enqueue(&[work()]).await.unwrap();
    place.fail(Some("INSERT ON job_edge WHEN new.child = 4"));
    let graph = [work(), after_first(), after_first()];
    jobs.enqueue(&graph).await.unwrap_err();
    assert_eq!(states(&jobs).await, [JobState::Ready]);
    place.fail(None);
    jobs.enqueue(&graph).await.unwrap();
    let after = [
        JobState::Ready,
        JobState::Ready,
        JobState::Blocked,
        JobState::Blocked,
    ];
    assert_eq!(states(&jobs).await, after);
}

/// JOB-3, JOB-6, JOB-11: an error in the middle of a claim leaves every job where it was, also one
/// with priority 0. The origin lost them.
#[tokio::test]
async fn an_error_in_a_claim_loses_no_job() {
    let place = Place::new();
    let jobs = place.open();
    let worker = jobs.register(&register()).await.unwrap();
    let low = || work().priority(Priority::MIN);
    jobs.enqueue(&[low(), low(), low()]).await.unwrap();
    place.fail(Some("INSERT ON job_execution WHEN new.job = 2"));
    let request = request(worker, 3);
    jobs.claim(&request).await.unwrap_err();
    assert_eq!(states(&jobs).await, [JobState::Ready; 3]);
    place.fail(None);
    let claimed = jobs.claim(&request).await.unwrap().jobs;
    let attempts: Vec<_> = claimed.iter().map(|job| (job.id.0, job.attempt)).collect();
    assert_eq!(attempts, [(1, 1), (2, 1), (3, 1)]);
}

/// Damage that no constraint can forbid is found and named.
#[tokio::test]
async fn the_doctor_names_what_is_wrong() {
    let damages = [
        ("pending", "UPDATE job SET pending = 2 WHERE id = 2"),
        (
            "blocked_on_ended",
            "UPDATE job SET state = 5, ended_ms = 1 WHERE id = 1",
        ),
        ("unique_key", "DELETE FROM job_unique"),
        ("urgency", "UPDATE job SET effective = 5 WHERE id = 2"),
        (
            "foreign_key",
            "PRAGMA foreign_keys = OFF; INSERT INTO job_note (job) VALUES (99)",
        ),
        ("epoch", "UPDATE job SET epoch = 1000 WHERE id = 3"),
    ];
    for (check, damage) in damages {
        let place = Place::new();
        let jobs = place.open();
        let graph = [work(), after_first(), work().unique_key("k")];
        jobs.enqueue(&graph).await.unwrap();
        assert_eq!(jobs.doctor().await.unwrap(), []);
        place.sql().execute_batch(damage).unwrap();
        let found = jobs.doctor().await.unwrap();
        let found: Vec<_> = found.iter().map(|f| (f.check, f.broken)).collect();
        assert_eq!(found, [(check, true)], "{damage}");
    }
}

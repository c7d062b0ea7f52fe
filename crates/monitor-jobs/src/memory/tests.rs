//! JOB-54: snapshots and the journal, torn at every byte.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::Duration;

use super::journal::{Restored, log_of, restore};
use super::world::World;
use super::{Memory, OnConflict, SnapshotError};
use crate::{
    Backend, ClaimRequest, Jobs, NewJob, Outcome, Parent, Payload, Priority, Register, Settle,
    StoreErrorKind, When,
};

fn job(kind: &str) -> NewJob {
    NewJob::new(kind, Payload::default())
}

/// A recorded queue whose clock goes on by a second with every change.
fn recorded(folder: &Path) -> Memory {
    let clock = AtomicI64::new(0);
    Memory::recorded(folder, false, move || clock.fetch_add(1_000, SeqCst)).unwrap()
}

fn world(memory: &Memory) -> World {
    memory.lock().world.clone()
}

/// A bit of everything; returns the world after each change.
async fn life(memory: &Memory) -> Vec<World> {
    let mut worlds = vec![world(memory)];
    let mut seen = || worlds.push(world(memory));
    let register = Register {
        name: "w".to_owned(),
        queues: vec!["default".to_owned()],
        capacity: 9,
        lease: Duration::from_secs(9),
    };
    let worker = memory.register(&register).await.unwrap();
    seen();
    let later = job("later").when(When::In(Duration::from_secs(5)));
    let graph = [
        job("a"),
        job("b").after(Parent::Earlier(0)).unique_key("k"),
        later,
    ];
    memory.enqueue(&graph).await.unwrap();
    seen();
    let request = ClaimRequest {
        worker,
        limit: 5,
        history: true,
    };
    let held = memory.claim(&request).await.unwrap().jobs.remove(0);
    seen();
    memory
        .progress(held.id, held.epoch, 40, "so far")
        .await
        .unwrap();
    seen();
    let result = Some(Payload::parse("[1.50]").unwrap());
    let end = Settle {
        job: held.id,
        epoch: held.epoch,
        outcome: Outcome::Complete { result },
    };
    memory.settle(worker, &[end]).await.unwrap();
    seen();
    memory.tick("nightly", 7, &job("tick")).await.unwrap();
    seen();
    memory
        .reprioritise(crate::JobId(2), Priority::MAX)
        .await
        .unwrap();
    seen();
    memory.set_paused("other", true).await.unwrap();
    seen();
    memory.cancel(crate::JobId(3)).await.unwrap();
    seen();
    memory.retry(crate::JobId(3)).await.unwrap();
    seen();
    let pulse = memory.pulses().await.unwrap()[0];
    memory.rescue(&pulse, 9).await.unwrap();
    seen();
    memory.prune(Duration::ZERO, 9).await.unwrap();
    seen();
    worlds
}

/// JOB-54: whatever byte the crash tears the log at, what is restored is the model after the last
/// whole change.
#[tokio::test]
async fn a_crash_at_every_byte_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let worlds = life(&recorded(folder.path())).await;
    let log = log_of(folder.path(), 0);
    let bytes = fs::read(&log).unwrap();
    let ends: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at] == b'\n').collect();
    assert_eq!(ends.len(), worlds.len() - 1);
    for cut in (0..=bytes.len()).rev() {
        let file = fs::OpenOptions::new().write(true).open(&log).unwrap();
        file.set_len(cut as u64).unwrap();
        let whole = ends.iter().filter(|end| **end < cut).count();
        let Restored { version, world, .. } = restore(folder.path(), None).unwrap();
        assert_eq!(version, whole as u64, "at byte {cut}");
        assert!(world == worlds[whole], "at byte {cut}");
    }
}

/// JOB-54: full and incremental, and the state at any point in time, also before the last full one.
#[tokio::test]
async fn any_point_in_time_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let memory = recorded(folder.path());
    let worlds = life(&memory).await;
    assert_eq!(memory.snapshot().unwrap(), 12);
    memory.enqueue(&[job("after")]).await.unwrap();
    let last = world(&memory);
    for changes in 1..worlds.len() {
        let at = (changes as i64 - 1) * 1_000;
        // Between two changes there may be questions, which move the clock on.
        let then = restore(folder.path(), Some(at)).unwrap().world;
        assert!(worlds.contains(&then), "at {at}");
    }
    let reopened = recorded(folder.path());
    assert!(world(&reopened) == last, "opened again");
    let elsewhere = Memory::new();
    elsewhere
        .restore(folder.path(), Some(0), OnConflict::Refuse)
        .unwrap();
    assert!(world(&elsewhere) == worlds[1]);
}

/// JOB-54: on schedule a full one comes after every change, and none when nothing has changed.
#[tokio::test(start_paused = true)]
async fn snapshots_are_written_on_schedule() {
    let folder = tempfile::tempdir().unwrap();
    let memory = recorded(folder.path());
    let every = Duration::from_secs(60);
    let written = || {
        let names = fs::read_dir(folder.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("full-")).count()
    };
    let keeping = memory.snapshot_every(every);
    for changes in 1..4 {
        memory.enqueue(&[job("work")]).await.unwrap();
        while written() == changes {
            tokio::time::sleep(every).await;
        }
        tokio::time::sleep(every * 10).await;
        assert_eq!(
            written(),
            changes + 1,
            "one at the start, one for each change"
        );
    }
    drop(keeping);
    memory.enqueue(&[job("work")]).await.unwrap();
    tokio::time::sleep(every * 10).await;
    assert_eq!(written(), 4);
    assert!(restore(folder.path(), None).unwrap().world == world(&memory));
}

/// JOB-54: a queue that is not empty is replaced only if that is what was asked for.
#[tokio::test]
async fn conflicts_are_resolved_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let worlds = life(&recorded(folder.path())).await;
    let stored = worlds.last().unwrap();
    let busy = Memory::new();
    busy.enqueue(&[job("mine")]).await.unwrap();
    let mine = world(&busy);
    let refused = busy.restore(folder.path(), None, OnConflict::Refuse);
    assert!(matches!(refused, Err(SnapshotError::Conflict { jobs: 1 })));
    assert!(world(&busy) == mine, "nothing was changed");
    busy.restore(folder.path(), None, OnConflict::KeepNewer)
        .unwrap();
    assert!(world(&busy) == *stored, "twelve changes are newer than one");
    for _ in 0..5 {
        busy.enqueue(&[job("more")]).await.unwrap();
    }
    let mine = world(&busy);
    busy.restore(folder.path(), None, OnConflict::KeepNewer)
        .unwrap();
    assert!(world(&busy) == mine);
    busy.restore(folder.path(), None, OnConflict::Replace)
        .unwrap();
    assert!(world(&busy) == *stored);
}

/// JOB-54: damage that no crash explains is named; a missing folder holds nothing.
#[tokio::test]
async fn damage_is_named() {
    let folder = tempfile::tempdir().unwrap();
    life(&recorded(folder.path())).await;
    let log = log_of(folder.path(), 0);
    let mut bytes = fs::read(&log).unwrap();
    bytes[20] ^= 1;
    fs::write(&log, &bytes).unwrap();
    let damaged = Memory::recorded(folder.path(), true, || 0);
    assert!(
        matches!(damaged, Err(SnapshotError::Damaged { line: 1, .. })),
        "{damaged:?}"
    );
    let nowhere = restore(&folder.path().join("nowhere"), None);
    assert!(matches!(nowhere, Err(SnapshotError::Nothing { .. })));
}

/// JOB-54, JOB-36: a transaction is in the log whole; after a write that failed the change was not
/// made.
#[tokio::test]
async fn a_change_is_in_the_log_before_it_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let memory = recorded(folder.path());
    let jobs = Jobs::shared(Arc::new(memory.clone()));
    let register = Register {
        name: "w".to_owned(),
        queues: vec!["default".to_owned()],
        capacity: 1,
        lease: Duration::from_secs(3_600),
    };
    let registered = jobs.register(register).await.unwrap();
    memory.enqueue(&[job("work")]).await.unwrap();
    let claimed = registered.claim(1, Duration::ZERO).await.unwrap().remove(0);
    let mut transaction = memory.begin().unwrap();
    jobs.enqueue_in(&mut transaction, &[job("effect")])
        .await
        .unwrap();
    let permit = claimed.complete_in(&mut transaction, None).await.unwrap();
    transaction.commit(permit).unwrap();
    assert!(restore(folder.path(), None).unwrap().world == world(&memory));

    let before = world(&memory);
    let broken = fs::File::open(log_of(folder.path(), 0)).unwrap();
    memory.lock().journal.as_mut().unwrap().break_with(broken);
    let refused = memory.cancel(crate::JobId(2)).await.unwrap_err();
    assert!(matches!(
        refused.kind,
        StoreErrorKind::Fatal | StoreErrorKind::Denied
    ));
    assert!(world(&memory) == before);
}

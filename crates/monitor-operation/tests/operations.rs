//! The registry of operations from outside, and the bugs of others that it rules out.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use monitor_operation::{
    BeginError, Cause, CommitError, Epoch, Operation, OperationId, Operations, ParseIdError,
    RegisterError,
};
use tokio::time::{Instant, sleep, timeout};

fn registry() -> Operations<&'static str> {
    let operations = Operations::with_seed(1);
    operations.register("a", Epoch::default()).unwrap();
    operations.register("b", Epoch::default()).unwrap();
    operations
}

fn fenced(cause: Cause) -> Result<(), CommitError> {
    Err(CommitError::Fenced {
        epoch: Epoch::default(),
        cause,
    })
}

/// OPS-1, OPS-30, OPS-31: stop, start, then the old result: refused, though the key is worked on
/// again, and an operation of the new epoch commits.
#[test]
fn an_old_result_is_refused_after_stop_and_start() {
    let operations = registry();
    let old = operations.begin(&"a").unwrap();
    drop(operations.fence(&"a", Cause::Stopped));
    let new = operations.begin(&"a").unwrap();
    assert_eq!(old.commit(|| ()), fenced(Cause::Stopped));
    assert_eq!(new.commit(|| ()), Ok(()));
    assert!(!old.is_current() && new.is_current());
    assert!(new.epoch() > old.epoch());
}

/// OPS-11, OPS-22: a fence ends all operations of its key and of no other, and again is no harm;
/// a deadline ends one operation of several.
#[test]
fn a_fence_is_for_its_key_and_a_deadline_for_its_operation() {
    let operations = registry();
    let of_a: Vec<_> = (0..3).map(|_| operations.begin(&"a").unwrap()).collect();
    let of_b = operations.begin(&"b").unwrap();
    of_a[0].cancel(Cause::Deadline);
    assert_eq!(of_a[0].cancellation().cause(), Some(Cause::Deadline));
    assert!(!of_a[1].cancellation().is_cancelled());
    let fence = operations.fence(&"a", Cause::Paused).unwrap();
    assert_eq!(
        (fence.open(), fence.epoch(), fence.is_settled()),
        (3, Epoch::new(1), true)
    );
    assert!(
        of_a.iter()
            .all(|op| op.cancellation().cause() == Some(Cause::Paused))
    );
    assert!(!of_b.cancellation().is_cancelled());
    assert_eq!(of_b.commit(|| 7), Ok(7));
    assert_eq!(operations.fence(&"a", Cause::Paused).unwrap().open(), 0);
    assert!(operations.fence(&"c", Cause::Paused).is_none());
}

/// OPS-21: an operation that ran out of time may still commit that it did; one that was paused
/// may not.
#[test]
fn a_deadline_does_not_take_the_right_to_commit() {
    let operations = registry();
    let operation = operations.begin(&"a").unwrap();
    operation.cancel(Cause::Deadline);
    operation.cancel(Cause::Shutdown);
    assert_eq!(
        operation.cancellation().cause(),
        Some(Cause::Deadline),
        "the first one stands"
    );
    assert_eq!(operation.commit(|| "down"), Ok("down"));
}

/// OPS-20, OPS-21, OPS-23: the timer of an operation that has ended hits nobody, least of all the
/// operation that came after it.
#[tokio::test(start_paused = true)]
async fn a_stale_timer_hits_nobody() {
    let operations = registry();
    let first = operations.begin(&"a").unwrap();
    let canceller = first.canceller();
    let timer = tokio::spawn(async move {
        sleep(Duration::from_secs(30)).await;
        canceller.cancel(Cause::Deadline);
    });
    drop(first);
    let second = operations.begin(&"a").unwrap();
    timer.await.unwrap();
    assert!(!second.cancellation().is_cancelled());
}

/// OPS-13: an operation commits once; dropping it, committed or not, leaves nothing behind.
#[test]
fn an_operation_commits_once_and_leaves_nothing() {
    let operations = registry();
    let operation = operations.begin(&"a").unwrap();
    assert_eq!(operation.commit(|| 1), Ok(1));
    assert_eq!(operation.commit(|| 2), Err(CommitError::AlreadyCommitted));
    assert_eq!(operations.open(), 1);
    drop(operation);
    drop(operations.begin(&"a").unwrap());
    assert_eq!(operations.open(), 0);
}

/// OPS-13: an operation that finishes commits and ends; fenced or committed before, it only ends. A
/// change that panics leaves no commit under way.
#[test]
fn finishing_commits_and_ends() {
    let operations = registry();
    let begin = || operations.begin(&"a").unwrap();
    assert_eq!(begin().finish(|| operations.open()), Ok(1));
    let committed = begin();
    committed.commit(|| ()).unwrap();
    assert_eq!(committed.finish(|| ()), Err(CommitError::AlreadyCommitted));
    let panics = begin();
    let finish = || panics.finish(|| panic!("in the change")).unwrap();
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(finish)).unwrap_err();
    assert_eq!(operations.open(), 0);
    let late = begin();
    let heard = late.cancellation();
    let fence = operations.fence(&"a", Cause::Paused).unwrap();
    assert!(fence.is_settled());
    assert_eq!(late.finish(|| ()), fenced(Cause::Paused));
    assert_eq!((operations.open(), heard.cause()), (0, Some(Cause::Paused)));
}

/// A section that is given up lets the operation try again; one that is dropped does not, for the
/// store may have done its part.
#[test]
fn a_section_that_was_given_up_can_be_opened_again() {
    let operations = registry();
    let operation = operations.begin(&"a").unwrap();
    operation.begin_commit().unwrap().abandon();
    drop(operation.begin_commit().unwrap());
    assert_eq!(
        operation.begin_commit().map(drop),
        Err(CommitError::AlreadyCommitted)
    );
}

/// OPS-15: a section that was leaked ends with its operation, whether a fence came before or comes
/// after: no fence hangs, and no count of the key runs over.
#[test]
fn a_leaked_section_ends_with_its_operation() {
    let operations = registry();
    let leaks = || {
        let operation = operations.begin(&"a").unwrap();
        let _leaked = std::mem::ManuallyDrop::new(operation.begin_commit().unwrap());
        operation
    };
    let operation = leaks();
    let before = operations.fence(&"a", Cause::Paused).unwrap();
    assert!(!before.is_settled());
    drop(operation);
    assert!(before.is_settled());

    let other = operations.begin(&"a").unwrap();
    drop(leaks());
    let after = operations.fence(&"a", Cause::Paused).unwrap();
    assert_eq!((after.is_settled(), after.open()), (true, 1));
    drop(other);
    assert_eq!(operations.open(), 0);
}

/// OPS-15: a change that panics leaves no commit under way: a fence settles.
#[tokio::test(start_paused = true)]
async fn a_change_that_panics_does_not_hang_the_fence() {
    let operations = registry();
    let operation = operations.begin(&"a").unwrap();
    let commit = || operation.commit(|| panic!("in the change")).unwrap();
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(commit)).unwrap_err();
    operations
        .fence(&"a", Cause::Deleted)
        .unwrap()
        .settled()
        .await;
}

/// OPS-32: a fence returns at once and settles when the commits under way have ended, of all older
/// epochs; new ones do not hold it up.
#[tokio::test(start_paused = true)]
async fn a_fence_settles_when_older_commits_have_ended() {
    let operations = registry();
    let old = operations.begin(&"a").unwrap();
    let committing = old.begin_commit().unwrap();
    drop(operations.fence(&"a", Cause::Edited));
    let new = operations.begin(&"a").unwrap();
    let fence = operations.fence(&"a", Cause::Paused).unwrap();
    let newest = operations.begin(&"a").unwrap();
    let _newer = newest.begin_commit().unwrap();
    assert!(!fence.is_settled());
    assert!(new.begin_commit().is_err());
    let settled = tokio::spawn(async move {
        fence.settled().await;
        Instant::now()
    });
    sleep(Duration::from_secs(1)).await;
    let ended = Instant::now();
    drop(committing);
    assert_eq!(settled.await.unwrap(), ended);
}

/// OPS-6: whoever awaits the cancellation is woken, with its cause; so is one who comes late.
#[tokio::test(start_paused = true)]
async fn cancellation_wakes_whoever_awaits_it() {
    let operations = registry();
    let operation = operations.begin(&"a").unwrap();
    let waits = {
        let cancellation = operation.cancellation();
        tokio::spawn(async move { cancellation.cancelled().await })
    };
    let other = operations.begin(&"a").unwrap();
    let never = other.cancellation();
    assert!(
        timeout(Duration::from_secs(1), never.cancelled())
            .await
            .is_err()
    );
    operation.cancel(Cause::Deadline);
    assert_eq!(waits.await.unwrap(), Cause::Deadline);
    drop(operations.fence(&"a", Cause::Edited));
    assert_eq!(never.cancelled().await, Cause::Edited);
    assert_eq!(operation.cancellation().cancelled().await, Cause::Edited);
}

/// OPS-6, OPS-32: the same on real threads: nobody is left waiting, and after a fence has settled
/// nobody commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fences_and_commits_on_real_threads() {
    let operations = Operations::with_seed(3);
    operations.register(0_u8, Epoch::default()).unwrap();
    let committed = Arc::new(AtomicUsize::new(0));
    for round in 0..500 {
        let work: Vec<_> = (0..4)
            .map(|_| {
                let operation = operations.begin(&0).unwrap();
                let committed = Arc::clone(&committed);
                tokio::spawn(async move {
                    if let Ok(_section) = operation.begin_commit() {
                        tokio::task::yield_now().await;
                        committed.fetch_add(1, Ordering::SeqCst);
                    }
                    operation.cancellation().cancelled().await
                })
            })
            .collect();
        if round % 2 == 0 {
            tokio::task::yield_now().await;
        }
        operations.fence(&0, Cause::Paused).unwrap().settled().await;
        let now = committed.load(Ordering::SeqCst);
        for task in work {
            assert_eq!(task.await.unwrap(), Cause::Paused);
        }
        assert_eq!(
            committed.load(Ordering::SeqCst),
            now,
            "a late commit in round {round}"
        );
    }
    assert_eq!(operations.open(), 0);
}

/// OPS-17, OPS-31: a key that was deleted and is there again never uses an epoch twice, and nothing
/// of its former life commits.
#[test]
fn a_deleted_key_never_reuses_an_epoch() {
    let operations = registry();
    let old = operations.begin(&"a").unwrap();
    let fence = operations.forget(&"a").unwrap();
    assert_eq!(
        (fence.epoch(), fence.cause()),
        (Epoch::new(1), Cause::Deleted)
    );
    assert_eq!(operations.begin(&"a").unwrap_err(), BeginError::UnknownKey);
    assert!(operations.epoch(&"a").is_none() && operations.forget(&"a").is_none());
    assert_eq!(old.commit(|| ()), fenced(Cause::Deleted));
    assert_eq!(
        operations.register("a", Epoch::default()),
        Ok(Epoch::new(1))
    );
    assert_eq!(old.commit(|| ()), fenced(Cause::Deleted));
    assert_eq!(operations.begin(&"a").unwrap().epoch(), Epoch::new(1));
}

/// OPS-9: an epoch from the store is taken, a lower one never lowers, a higher one fences; one that
/// leaves no room to count is refused.
#[test]
fn registering_never_lowers_an_epoch() {
    let operations = Operations::new();
    assert_eq!(operations.begin(&"a").unwrap_err(), BeginError::UnknownKey);
    assert_eq!(operations.register("a", Epoch::new(5)), Ok(Epoch::new(5)));
    let operation = operations.begin(&"a").unwrap();
    assert_eq!(operations.register("a", Epoch::new(3)), Ok(Epoch::new(5)));
    assert!(operation.is_current());
    assert_eq!(operations.register("a", Epoch::new(9)), Ok(Epoch::new(9)));
    assert_eq!(operation.cancellation().cause(), Some(Cause::Superseded));
    let epoch = Epoch::MAX_REGISTERED.next();
    assert_eq!(
        operations.register("b", epoch),
        Err(RegisterError::EpochTooLarge { epoch })
    );
    assert_eq!(
        operations.register("b", Epoch::MAX_REGISTERED),
        Ok(Epoch::MAX_REGISTERED)
    );
    assert_eq!(
        operations.fence(&"b", Cause::Edited).unwrap().epoch(),
        epoch
    );
}

/// OPS-7, OPS-8: ids that collide or are blank are asked for again, five times in all; then nothing
/// is begun.
#[test]
fn colliding_and_blank_ids_are_asked_for_again() {
    let operations = |ids: &'static [u128]| {
        let next = AtomicUsize::new(0);
        let operations = Operations::with_generator(move || {
            let next = next.fetch_add(1, Ordering::SeqCst);
            *ids.get(next).unwrap_or(&1)
        });
        operations.register("a", Epoch::default()).unwrap();
        operations
    };
    let four = operations(&[1, 1, 0, 1, 0, 2]);
    let first = four.begin(&"a").unwrap();
    let second = four.begin(&"a").unwrap();
    assert_eq!((first.id().get(), second.id().get()), (1, 2));
    let five = operations(&[1, 1, 0, 1, 0, 1, 3]);
    let _first = five.begin(&"a").unwrap();
    let refused = five.begin(&"a").unwrap_err();
    assert_eq!(refused, BeginError::NoUniqueId { attempts: 5 });
    assert_eq!(
        refused.to_string(),
        "failed to generate a unique operation id in 5 attempts"
    );
    assert_eq!(five.open(), 1);
    assert_eq!(five.begin(&"a").unwrap().id().get(), 3);
}

/// OPS-5: a million ids, all different, half of them from another registry.
#[test]
fn ids_are_unique() {
    let mut seen = HashSet::new();
    for operations in [Operations::new(), Operations::new()] {
        operations.register((), Epoch::default()).unwrap();
        for _ in 0..500_000 {
            assert!(seen.insert(operations.begin(&()).unwrap().id()));
        }
        assert_eq!(operations.open(), 0, "and none is kept");
    }
}

/// OPS-37: an id is 32 lower-case hexadecimal digits and nothing else, and is never empty.
#[test]
fn ids_are_parsed_strictly() {
    let id = OperationId::new(0xfe).unwrap();
    let text = id.to_string();
    assert_eq!(text, "000000000000000000000000000000fe");
    assert_eq!(text.parse(), Ok(id));
    assert_eq!(OperationId::new(0), None);
    let parse = str::parse::<OperationId>;
    assert_eq!(parse(""), Err(ParseIdError::Length { length: 0 }));
    assert_eq!(parse(&"0".repeat(32)), Err(ParseIdError::Zero));
    assert_eq!(
        parse(&text.to_uppercase()),
        Err(ParseIdError::Digit { position: 30 })
    );
    assert_eq!(
        parse(&format!("+{}", &text[1..])),
        Err(ParseIdError::Digit { position: 0 })
    );
    assert_eq!(
        parse(&"é".repeat(16)),
        Err(ParseIdError::Digit { position: 0 })
    );
    assert_eq!(
        parse(&"f".repeat(1 << 20)),
        Err(ParseIdError::Length { length: 1 << 20 })
    );
}

/// OPS-14: what is looked up is a copy that changes nothing, and is gone when the operation is.
#[test]
fn a_record_is_a_copy() {
    let operations = Operations::with_limit(9);
    operations.register("a", Epoch::default()).unwrap();
    let operation = operations.begin(&"a").unwrap();
    let mut record = operations.get(operation.id()).unwrap();
    assert_eq!(
        (record.key, record.epoch, record.cancelled),
        ("a", Epoch::new(0), None)
    );
    record.cancelled = Some(Cause::Deleted);
    assert_ne!(operations.get(operation.id()), Some(record));
    operation.cancel(Cause::Deadline);
    assert_eq!(
        operations.get(operation.id()).unwrap().cancelled,
        Some(Cause::Deadline)
    );
    let id = operation.id();
    drop(operation);
    assert!(operations.get(id).is_none());
}

/// OPS-48: a bounded number of operations is open, and one that ends makes room.
#[test]
fn the_number_of_open_operations_is_bounded() {
    let operations = Operations::with_limit(2);
    operations.register("a", Epoch::default()).unwrap();
    let first = operations.begin(&"a").unwrap();
    let _second = operations.begin(&"a").unwrap();
    assert_eq!(
        operations.begin(&"a").unwrap_err(),
        BeginError::TooManyOpen { limit: 2 }
    );
    drop(first);
    assert!(operations.begin(&"a").is_ok());
}

/// OPS-48: without a limit of its own, a registry bounds the operations of each key: a million
/// begins without an end are refused at some point, and cost it nothing.
#[test]
fn the_number_of_open_operations_of_one_key_is_bounded() {
    let operations = registry();
    let limit = Operations::<&str>::DEFAULT_LIMIT;
    let open: Vec<_> = (0..limit)
        .map(|_| operations.begin(&"a").unwrap())
        .collect();
    let refused = operations.begin(&"a").unwrap_err();
    assert_eq!(refused, BeginError::TooManyOpen { limit });
    assert!(operations.begin(&"b").is_ok());
    let fence = operations.fence(&"a", Cause::Edited).unwrap();
    assert_eq!(fence.open(), limit);
    assert!(operations.begin(&"a").is_ok(), "the next epoch has room");
    drop(open);
    assert_eq!(operations.open(), 0);
}

/// OPS-31: a key at hand goes on through fences, and through a deletion and a new life.
#[test]
fn a_key_at_hand_stays_the_same_key() {
    let operations = registry();
    assert!(operations.key(&"c").is_none());
    let key = operations.key(&"a").unwrap();
    let old = key.begin().unwrap();
    drop(operations.fence(&"a", Cause::Paused));
    assert_eq!((key.epoch(), key.open()), (Some(Epoch::new(1)), 1));
    let fence = operations.forget(&"a").unwrap();
    assert_eq!(key.begin().unwrap_err(), BeginError::UnknownKey);
    assert!(key.fence(Cause::Paused).is_none() && key.epoch().is_none());
    let epoch = operations.register("a", Epoch::default()).unwrap();
    assert_eq!(epoch, fence.epoch());
    assert_eq!(key.begin().unwrap().commit(|| 1), Ok(1));
    assert_eq!(old.commit(|| ()), fenced(Cause::Paused));
}

/// OPS-6: a cancellation that outlives its operation keeps what it knew; later fences of the key
/// are about others.
#[test]
fn a_cancellation_may_outlive_its_operation() {
    let operations = registry();
    let fenced = operations.begin(&"a").unwrap();
    let of_fenced = fenced.cancellation();
    drop(operations.fence(&"a", Cause::Edited));
    drop(fenced);
    let ended = operations.begin(&"a").unwrap();
    let of_ended = ended.cancellation();
    drop(ended);
    drop(operations.fence(&"a", Cause::Deleted));
    assert_eq!(of_fenced.cause(), Some(Cause::Edited));
    assert_eq!(of_ended.cause(), None);
}

/// OPS-29: a million operations leave nothing behind.
#[test]
fn completed_operations_are_not_kept() {
    let operations = registry();
    for round in 0..1_000_000 {
        let operation = operations.begin(&"a").unwrap();
        if round % 3 == 0 {
            drop(operations.fence(&"a", Cause::Edited));
        } else {
            operation.commit(|| ()).unwrap();
        }
    }
    assert_eq!(
        (operations.open(), operations.epoch(&"a")),
        (0, Some(Epoch::new(333_334)))
    );
}

/// OPS-39: two registries share nothing; clones of one share everything.
#[test]
fn registries_do_not_share_state() {
    let (one, two) = (registry(), registry());
    let same = one.clone();
    let operation = one.begin(&"a").unwrap();
    drop(two.fence(&"a", Cause::Deleted));
    assert!(operation.is_current());
    assert_eq!((same.open(), two.open()), (1, 0));
    assert_eq!(same.fence_all(Cause::Shutdown).len(), 2);
    assert_eq!(operation.commit(|| ()), fenced(Cause::Shutdown));
}

/// Keys are structured: one that contains another's separator is another key all the same.
#[test]
fn structured_keys_do_not_collide() {
    let operations = Operations::new();
    operations.register(("a|b", "c"), Epoch::default()).unwrap();
    operations.register(("a", "b|c"), Epoch::default()).unwrap();
    let operation = operations.begin(&("a|b", "c")).unwrap();
    drop(operations.fence(&("a", "b|c"), Cause::Deleted));
    assert!(operation.is_current());
}

/// OPS-12: what is current now is a hint; the commit decides.
#[test]
fn being_current_is_a_hint() {
    let operations = registry();
    let operation = operations.begin(&"a").unwrap();
    let hint = operation.is_current();
    drop(operations.fence(&"a", Cause::Paused));
    assert!(hint && operation.commit(|| ()).is_err());
}

/// OPS-4: a function that does the work is given the token at most; it cannot commit, and it
/// cannot make an operation.
#[test]
fn work_needs_no_more_than_the_token() {
    fn work(cancellation: &monitor_operation::Cancellation) -> &'static str {
        if cancellation.is_cancelled() {
            "cut short"
        } else {
            "done"
        }
    }
    let operations = registry();
    let operation: Operation<_> = operations.begin(&"a").unwrap();
    let finding = work(&operation.cancellation());
    let row = AtomicU64::new(0);
    assert_eq!(
        operation.commit(|| row.fetch_add(1, Ordering::SeqCst)),
        Ok(0)
    );
    assert_eq!((finding, row.into_inner()), ("done", 1));
}

//! Each guard of a statement that claims, ends, rescues or releases, and the test that breaks when
//! it is taken out. Each was taken out once, and the test seen to fail.
//!
//! | statement | guard | test |
//! |---|---|---|
//! | `claim::take` | `job.state = 3` | `a_job_that_is_not_ready_is_not_taken` |
//! | | `failed_ms IS NULL`, `draining = 0`, `health < 2` | `who_may_not_claim_takes_nothing` |
//! | `worker::claimant` | `failed_ms IS NULL` | `a_worker_given_up_is_nobody` |
//! | `claim::candidates` | `state = 2 AND run_at_ms <= now` | `what_is_not_due_is_not_ready` |
//! | `claim::candidates` | `state = 3` | `a_job_that_is_not_ready_is_no_candidate` |
//! | `settle::leave` | `epoch` | `inv_jobs_1_an_older_right_of_the_same_worker_ends_nothing` |
//! | | `worker` | `another_worker_ends_nothing` |
//! | `settle::repeated` | `epoch` | `inv_jobs_1_an_older_right_of_the_same_worker_ends_nothing` |
//! | | `state <> 4` | `another_worker_ends_nothing` |
//! | `settle::progress` | `epoch`, `state = 4` | `whoever_lost_a_job_says_nothing_of_it` |
//! | `settle::holder` | `epoch` | `whoever_lost_a_job_says_nothing_of_it` |
//! | `worker::beat`, `drain`, `set_health` | `failed_ms IS NULL` | `a_worker_given_up_is_nobody` |
//! | `worker::deregister`, `rescue` | `failed_ms IS NULL` | `a_worker_given_up_is_nobody` |
//! | `worker::rescue` | beats | `a_beat_in_the_last_moment_saves` |
//! | `worker::retire` | no job left | `a_worker_that_holds_something_is_not_retired` |
//! | `edges::take` | `state = 0` | `inv_jobs_4_an_edge_is_taken_once` |
//! | `edges::resolve` | parent's `state >= 5` | `a_job_that_has_not_ended_releases_nothing` |
//! | | `state = 0` | `edges_of_an_earlier_end_hide_no_new_ones` |
//! | `edges::change` | `state >= 5` stays | `an_ended_child_stays_ended` |
//! | `edges::end_waiting` | not running, not ended | `only_what_waits_is_ended_by_others` |
//! | `edges::free_key` | `job` | `a_key_is_given_back_by_its_bearer` |
//! | `operate::cancel` | `state = 4` | `only_what_runs_is_asked_to_end` |

use rusqlite::Connection;

use super::command::{STATEMENTS, Tx};
use super::{claim, edges, enqueue, migrate, operate, settle, worker};
use crate::kernel::edges::Verdict;
use crate::{
    Beat, ClaimError, ClaimRequest, ClaimedJob, Epoch, JobId, JobState, NewJob, Outcome, Parent,
    Payload, Register, Settle, Settled, When, WorkerId, WorkerPulse, WorkerState,
};

/// One database in memory, whose functions are called directly.
struct Db {
    sql: Connection,
    now: i64,
}

impl Db {
    fn new() -> Self {
        let mut sql = Connection::open_in_memory().unwrap();
        sql.pragma_update(None, "foreign_keys", true).unwrap();
        migrate::run(&mut sql).unwrap();
        let now = 1_000_000;
        Self { sql, now }
    }

    fn tx(&self) -> Tx<'_> {
        let Self { sql, now } = self;
        Tx { sql, now: *now }
    }

    fn register(&self) -> WorkerId {
        let register = Register {
            name: "w".to_owned(),
            queues: vec!["default".to_owned()],
            capacity: 1000,
            lease: std::time::Duration::from_secs(60),
        };
        worker::register(self.tx(), &register).unwrap()
    }

    fn put_in(&self, jobs: &[NewJob]) -> Vec<JobId> {
        match enqueue::enqueue(self.tx(), jobs) {
            Ok(put_in) => put_in.into_iter().map(crate::Enqueued::id).collect(),
            Err(_) => panic!("refused"),
        }
    }

    fn claim(&self, worker: WorkerId, limit: u32) -> Vec<ClaimedJob> {
        let request = ClaimRequest {
            worker,
            limit,
            history: true,
        };
        claim::claim(self.tx(), &request).unwrap().unwrap().jobs
    }

    fn settle(&self, worker: WorkerId, claimed: &ClaimedJob, outcome: Outcome) -> Settled {
        let (job, epoch) = (claimed.id, claimed.epoch);
        let end = Settle {
            job,
            epoch,
            outcome,
        };
        settle::settle(self.tx(), worker, &[end]).unwrap()[0]
    }

    fn state(&self, job: JobId) -> JobState {
        let sql = "SELECT state FROM job WHERE id = ?1";
        let read = |row: &rusqlite::Row<'_>| super::row::state(row, 0);
        self.tx().one(sql, [job.0], read).unwrap().unwrap()
    }

    fn rescue(&self, worker: WorkerId, beats: u64) -> crate::Rescued {
        let lease = std::time::Duration::from_secs(60);
        let pulse = WorkerPulse {
            worker,
            beats,
            lease,
        };
        worker::rescue(self.tx(), &pulse, 1000).unwrap()
    }
}

fn new() -> NewJob {
    NewJob::new("work", Payload::default())
}

fn after(place: usize) -> NewJob {
    new().after(Parent::Earlier(place))
}

const DONE: Outcome = Outcome::Complete { result: None };

fn failed() -> Outcome {
    let error = "no".to_owned();
    let retry_in = Some(std::time::Duration::ZERO);
    Outcome::Fail { error, retry_in }
}

/// JOB-33: not one that runs, waits or has ended, even if somebody names it.
#[test]
fn a_job_that_is_not_ready_is_not_taken() {
    let db = Db::new();
    let worker = db.register();
    let jobs = db.put_in(&[new(), after(0)]);
    let first = db.claim(worker, 1).remove(0);
    for job in jobs {
        let taken = claim::take(db.tx(), job, worker, Epoch(7)).unwrap();
        assert_eq!(taken, None);
    }
    assert_eq!(db.settle(worker, &first, DONE), Settled::Done);
    let ended = claim::take(db.tx(), first.id, worker, Epoch(7)).unwrap();
    assert_eq!(ended, None);
}

/// JOB-33: what has ended, or waits, stands in nobody's way.
#[test]
fn a_job_that_is_not_ready_is_no_candidate() {
    let db = Db::new();
    let worker = db.register();
    let jobs = db.put_in(&[new(), after(0), new()]);
    let first = db.claim(worker, 1).remove(0);
    assert_eq!(first.id, jobs[0]);
    assert_eq!(db.claim(worker, 1)[0].id, jobs[2], "the second waits");
}

/// JOB-1, JOB-40: the claim is driven by the worker's own row.
#[test]
fn who_may_not_claim_takes_nothing() {
    let db = Db::new();
    let job = db.put_in(&[new()])[0];
    let take = |worker| claim::take(db.tx(), job, worker, Epoch(7)).unwrap();
    assert_eq!(take(WorkerId(77)), None, "never registered");
    let draining = db.register();
    assert!(worker::drain(db.tx(), draining).unwrap());
    assert_eq!(take(draining), None);
    let failing = db.register();
    assert!(worker::set_health(db.tx(), failing, WorkerState::Failing).unwrap());
    assert_eq!(take(failing), None);
    let given_up = db.register();
    assert!(db.rescue(given_up, 0).retired);
    assert_eq!(take(given_up), None);
    assert!(take(db.register()).is_some());
}

/// JOB-37: by the clock of the database.
#[test]
fn what_is_not_due_is_not_ready() {
    let mut db = Db::new();
    let worker = db.register();
    db.put_in(&[new().when(When::At(db.now + 5))]);
    assert_eq!(db.claim(worker, 1), []);
    db.now += 5;
    assert_eq!(db.claim(worker, 1).len(), 1);
}

/// JOB-37, JOB-48: of a crowd that is due at one instant a claim writes down some thousands, unless
/// it asks for more, and the next ones the others.
#[test]
fn a_crowd_that_is_due_at_once_is_no_burden_for_one_claim() {
    let mut db = Db::new();
    let worker = db.register();
    db.put_in(&vec![new().when(When::At(db.now + 5)); 6_000]);
    db.now += 5;
    for (claimed, left) in [(1, 1_000), (999, 0)] {
        assert_eq!(db.claim(worker, claimed).len(), claimed as usize);
        let sql = "SELECT count(*) FROM job WHERE state = 2";
        let scheduled = db.sql.query_row(sql, [], |row| row.get::<_, i64>(0));
        assert_eq!(scheduled, Ok(left));
    }
}

/// JOB-34, F3: the same worker, but a claim of before.
#[test]
fn inv_jobs_1_an_older_right_of_the_same_worker_ends_nothing() {
    let db = Db::new();
    let worker = db.register();
    db.put_in(&[new()]);
    let older = db.claim(worker, 1).remove(0);
    assert_eq!(db.settle(worker, &older, failed()), Settled::Done);
    let newer = db.claim(worker, 1).remove(0);
    assert!(newer.epoch > older.epoch);
    assert_eq!(db.settle(worker, &older, DONE), Settled::Stale);
    assert_eq!(db.settle(worker, &newer, DONE), Settled::Done);
    assert_eq!(db.settle(worker, &older, DONE), Settled::Stale);
    assert_eq!(db.settle(worker, &newer, DONE), Settled::Already);
}

/// JOB-34: a right without its holder is none; nor is it the repeat of an earlier attempt's end.
#[test]
fn another_worker_ends_nothing() {
    let db = Db::new();
    let (holder, other) = (db.register(), db.register());
    db.put_in(&[new()]);
    let first = db.claim(holder, 1).remove(0);
    assert_eq!(db.settle(holder, &first, failed()), Settled::Done);
    let claimed = db.claim(holder, 1).remove(0);
    for outcome in [DONE, failed()] {
        assert_eq!(db.settle(other, &claimed, outcome), Settled::Stale);
    }
    assert_eq!(db.state(claimed.id), JobState::Running);
}

/// F3: progress, and the fence of a transaction, ask for the right too.
#[test]
fn whoever_lost_a_job_says_nothing_of_it() {
    let db = Db::new();
    let worker = db.register();
    db.put_in(&[new()]);
    let says = |claimed: &ClaimedJob| {
        let (job, epoch) = (claimed.id, claimed.epoch);
        let said = settle::progress(db.tx(), job, epoch, 50, "half").unwrap();
        let fenced = settle::holder(db.tx(), job, epoch).unwrap().is_some();
        assert_eq!(said, fenced);
        said
    };
    let older = db.claim(worker, 1).remove(0);
    assert!(says(&older));
    assert_eq!(db.settle(worker, &older, failed()), Settled::Done);
    assert!(!says(&older), "nobody holds it");
    let newer = db.claim(worker, 1).remove(0);
    assert!(!says(&older), "held under another epoch");
    assert!(says(&newer));
    assert_eq!(db.settle(worker, &newer, DONE), Settled::Done);
    assert!(!says(&newer), "it has ended");
}

/// JOB-41, W3: a retired worker beats, drains, claims and leaves no more.
#[test]
fn a_worker_given_up_is_nobody() {
    let db = Db::new();
    let worker = db.register();
    db.put_in(&[new()]);
    assert_eq!(
        worker::beat(db.tx(), worker).unwrap(),
        Some(Beat::default())
    );
    assert!(db.rescue(worker, 1).retired);
    assert_eq!(worker::beat(db.tx(), worker).unwrap(), None);
    assert!(!worker::drain(db.tx(), worker).unwrap());
    assert!(!worker::set_health(db.tx(), worker, WorkerState::Degraded).unwrap());
    assert!(!worker::deregister(db.tx(), worker).unwrap());
    let again = db.rescue(worker, 2);
    assert!(again.retired && !again.alive);
    let request = ClaimRequest {
        worker,
        limit: 1,
        history: true,
    };
    let refused = claim::claim(db.tx(), &request).unwrap();
    assert!(matches!(refused, Err(ClaimError::UnknownWorker(_))));
}

/// W5: between the observer's look and its hand.
#[test]
fn a_beat_in_the_last_moment_saves() {
    let db = Db::new();
    let worker = db.register();
    db.put_in(&[new()]);
    let claimed = db.claim(worker, 1).remove(0);
    worker::beat(db.tx(), worker).unwrap().unwrap();
    let rescued = db.rescue(worker, 0);
    assert!(rescued.alive && !rescued.retired);
    assert_eq!(db.settle(worker, &claimed, DONE), Settled::Done);
}

/// W2: a rescue in slices leaves the worker until the last one.
#[test]
fn a_worker_that_holds_something_is_not_retired() {
    let db = Db::new();
    let worker = db.register();
    db.put_in(&[new(), new()]);
    assert_eq!(db.claim(worker, 2).len(), 2);
    let lease = std::time::Duration::from_secs(60);
    let pulse = WorkerPulse {
        worker,
        beats: 0,
        lease,
    };
    for (retired, held) in [(false, 1), (true, 0)] {
        let rescued = worker::rescue(db.tx(), &pulse, 1).unwrap();
        assert_eq!((rescued.requeued, rescued.retired), (1, retired));
        let left = settle::held_by(db.tx(), worker, 10).unwrap();
        assert_eq!(left.len(), held);
    }
}

/// JOB-22, JOB-23, D1, D4: a fan-in child counts each parent once, whoever carries it and how
/// often.
#[test]
fn inv_jobs_4_an_edge_is_taken_once() {
    let db = Db::new();
    let worker = db.register();
    let join = new().after(Parent::Earlier(0)).after(Parent::Earlier(1));
    let jobs = db.put_in(&[new(), new(), join]);
    let first = db.claim(worker, 1).remove(0);
    assert_eq!(db.settle(worker, &first, DONE), Settled::Done);
    // As by a second promoter, a repeated message, a release that went on after a crash.
    assert_eq!(edges::carry(db.tx(), &jobs[..1], 1000).unwrap(), 0);
    let edge = crate::Edge::success(jobs[0]);
    assert!(!edges::take(db.tx(), jobs[2], &edge, Verdict::Met).unwrap());
    assert_eq!(db.state(jobs[2]), JobState::Blocked);
    let second = db.claim(worker, 1).remove(0);
    assert_eq!(db.settle(worker, &second, DONE), Settled::Done);
    assert_eq!(db.state(jobs[2]), JobState::Ready);
}

/// JOB-22, JOB-26, D3: a parent that ends again, with more edges resolved at its first end than a
/// transaction resolves, still releases the child that was put in between.
#[test]
fn edges_of_an_earlier_end_hide_no_new_ones() {
    let db = Db::new();
    let worker = db.register();
    let finished = || new().edge(crate::Edge::finished(Parent::Earlier(0)));
    let graph: Vec<_> = [new()]
        .into_iter()
        .chain((0..1100).map(|_| finished()))
        .collect();
    let parent = db.put_in(&graph)[0];
    let first = db.claim(worker, 1).remove(0);
    let buried = Outcome::Fail {
        error: "no".to_owned(),
        retry_in: None,
    };
    assert_eq!(db.settle(worker, &first, buried), Settled::Done);
    assert_eq!(edges::carry_on(db.tx(), 1000).unwrap(), 100);
    let others = db.claim(worker, 1000);
    assert_eq!(others.len(), 1000);
    assert_eq!(operate::retry(db.tx(), parent).unwrap(), Some(true));
    let child = db.put_in(&[new().after(parent)])[0];
    for claimed in others {
        assert_eq!(db.settle(worker, &claimed, DONE), Settled::Done);
    }
    let again = db.claim(worker, 1000);
    let again = again.iter().find(|claimed| claimed.id == parent).unwrap();
    assert_eq!(db.settle(worker, again, DONE), Settled::Done);
    assert_eq!(db.state(child), JobState::Ready);
}

/// JOB-27, D6: whoever writes it, with whatever program.
#[test]
fn inv_jobs_7_no_cycle_can_be_written_down() {
    let db = Db::new();
    let jobs = db.put_in(&[new(), after(0)]);
    for (parent, child) in [(jobs[1], jobs[0]), (jobs[0], jobs[0])] {
        let edge = "INSERT INTO job_edge VALUES (?1, ?2, 0, 0, 0)";
        let refused = db.sql.execute(edge, [parent.0, child.0]).unwrap_err();
        assert!(refused.to_string().contains("parent < child"), "{refused}");
    }
}

/// JOB-25, S7: no child runs before its parents, whatever is asked for in their name.
#[test]
fn a_job_that_has_not_ended_releases_nothing() {
    let db = Db::new();
    let jobs = db.put_in(&[new(), after(0)]);
    assert_eq!(edges::carry(db.tx(), &jobs[..1], 1000).unwrap(), 0);
    assert_eq!(db.state(jobs[1]), JobState::Blocked);
}

/// JOB-33: a cancelled child whose parent completes afterwards.
#[test]
fn an_ended_child_stays_ended() {
    let db = Db::new();
    let worker = db.register();
    let jobs = db.put_in(&[new(), after(0)]);
    assert_eq!(operate::cancel(db.tx(), jobs[1]).unwrap(), Some(true));
    let parent = db.claim(worker, 1).remove(0);
    assert_eq!(db.settle(worker, &parent, DONE), Settled::Done);
    assert_eq!(db.state(jobs[1]), JobState::Cancelled);
}

/// JOB-33: neither what runs nor what has ended.
#[test]
fn only_what_waits_is_ended_by_others() {
    let db = Db::new();
    let worker = db.register();
    let job = db.put_in(&[new()])[0];
    let end = || edges::end_waiting(db.tx(), job, JobState::Cancelled);
    let claimed = db.claim(worker, 1).remove(0);
    assert!(!end().unwrap(), "it runs");
    assert_eq!(db.settle(worker, &claimed, DONE), Settled::Done);
    assert!(!end().unwrap(), "it has ended");
    assert_eq!(db.state(job), JobState::Completed);
}

/// JOB-17: the end of one job does not free the key that another bears by now.
#[test]
fn a_key_is_given_back_by_its_bearer() {
    let db = Db::new();
    let first = db.put_in(&[new().unique_key("k")])[0];
    assert_eq!(operate::cancel(db.tx(), first).unwrap(), Some(true));
    let second = db.put_in(&[new().unique_key("k")])[0];
    edges::free_key(db.tx(), first).unwrap();
    assert_ne!(first, second);
    assert_eq!(db.put_in(&[new().unique_key("k")]), [second]);
}

/// A job that nobody holds is cancelled, not asked.
#[test]
fn only_what_runs_is_asked_to_end() {
    let db = Db::new();
    let job = db.put_in(&[new()])[0];
    assert_eq!(operate::cancel(db.tx(), job).unwrap(), Some(true));
    assert_eq!(db.state(job), JobState::Cancelled);
    assert_eq!(operate::cancel(db.tx(), job).unwrap(), Some(false));
    assert_eq!(operate::cancel(db.tx(), JobId(99)).unwrap(), None);
}

/// JOB-48: a claim runs as many statements among ten jobs as among thousands, and each completion
/// of a parent as many for each child, however many wait elsewhere.
#[test]
fn the_length_of_a_queue_costs_no_statements() {
    let count = |waiting: usize| {
        let db = Db::new();
        let worker = db.register();
        let graph: Vec<_> = [new()]
            .into_iter()
            .chain((0..50).map(|_| after(0)))
            .collect();
        db.put_in(&graph);
        db.put_in(&vec![new(); waiting]);
        let before = STATEMENTS.get();
        let parent = db.claim(worker, 1).remove(0);
        let claim = STATEMENTS.get() - before;
        assert_eq!(db.settle(worker, &parent, DONE), Settled::Done);
        (claim, STATEMENTS.get() - before - claim)
    };
    assert_eq!(count(10), count(5_000));
}

//! The roster under its lock: whoever must stop is told outside of it.

use std::time::Duration;

use crate::kernel::lease::Lease;
use crate::kernel::roster::{Admitted, Audit, Key, Roster};
use crate::sync::{Mutex, lock};

/// What a holder can be told.
pub(crate) trait Holder: Clone {
    /// The registration is no more.
    fn fence(&self);
}

/// What the tasks of one registration share.
#[derive(Debug)]
pub(crate) struct Desk<S>(Mutex<Inner<S>>);

#[derive(Debug)]
struct Inner<S> {
    roster: Roster<S>,
    lease: Lease,
    /// The answer to a claim may have been lost: the database's book is to be asked.
    audit_due: bool,
    draining: bool,
}

impl<S: Holder> Desk<S> {
    pub(crate) fn new(capacity: usize, lease: Lease) -> Self {
        Self(Mutex::new(Inner {
            roster: Roster::new(capacity),
            lease,
            audit_due: false,
            draining: false,
        }))
    }

    pub(crate) fn reserve(&self, limit: usize) -> usize {
        lock(&self.0).roster.reserve(limit)
    }

    /// Takes what a claim brought, or tells its holders that they hold nothing.
    pub(crate) fn admit(&self, slots: usize, jobs: &[(Key, S)]) -> Admitted {
        let admitted = lock(&self.0).roster.admit(slots, jobs.iter().cloned());
        if admitted == Admitted::Poisoned {
            jobs.iter().for_each(|(_, holder)| holder.fence());
        }
        admitted
    }

    pub(crate) fn poison(&self) {
        let holders = lock(&self.0).roster.poison();
        holders.iter().for_each(Holder::fence);
    }

    pub(crate) fn end(&self, key: Key) -> bool {
        lock(&self.0).roster.end(key)
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        lock(&self.0).roster.is_poisoned()
    }

    pub(crate) fn free(&self) -> usize {
        lock(&self.0).roster.free()
    }

    pub(crate) fn held(&self) -> usize {
        lock(&self.0).roster.len()
    }

    pub(crate) fn holder(&self, key: Key) -> Option<S> {
        lock(&self.0).roster.holder(key)
    }

    pub(crate) fn holders(&self) -> Vec<S> {
        lock(&self.0).roster.holders()
    }

    pub(crate) fn answered(&self, sent: Duration, drain: bool) {
        let mut inner = lock(&self.0);
        inner.lease.answered(sent);
        inner.draining |= drain;
    }

    pub(crate) fn is_draining(&self) -> bool {
        lock(&self.0).draining
    }

    pub(crate) fn lease_left(&self, now: Duration) -> Duration {
        lock(&self.0).lease.left(now)
    }

    pub(crate) fn ask_for_audit(&self) {
        lock(&self.0).audit_due = true;
    }

    /// Begins an audit that is due and possible.
    pub(crate) fn begin_audit(&self) -> Option<Audit> {
        let inner = lock(&self.0);
        inner.audit_due.then(|| inner.roster.audit()).flatten()
    }

    /// Jobs that the book has and nobody holds; none, and the audit stays due, when claims came
    /// between.
    pub(crate) fn end_audit(&self, audit: Audit, book: &[Key]) -> Vec<Key> {
        let mut inner = lock(&self.0);
        let orphans = inner.roster.orphans(audit, book);
        inner.audit_due = orphans.is_none();
        orphans.unwrap_or_default()
    }
}

#[cfg(all(test, monitor_loom))]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use loom::sync::Arc;
    use loom::thread;

    use super::*;
    use crate::{Epoch, JobId};

    #[derive(Clone, Debug, Default)]
    struct Told(std::sync::Arc<AtomicBool>);

    impl Holder for Told {
        fn fence(&self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    fn desk(capacity: usize) -> Arc<Desk<Told>> {
        let lease = Lease::new(Duration::from_secs(9), Duration::ZERO);
        Arc::new(Desk::new(capacity, lease))
    }

    /// W3, INV-JOBS-6: the registration ends while the answer of a claim comes in. Whoever holds
    /// something afterwards has been told.
    ///
    /// Broken by: in `Roster::poison` no `self.poisoned = true`; or in `admit` here by asking
    /// `is_poisoned` under a lock of its own before `roster.admit` and not heeding its answer.
    #[test]
    fn loom_inv_jobs_6_no_holder_is_left_untold() {
        loom::model(|| {
            let desk = desk(1);
            let told = Told::default();
            let claim = {
                let (desk, told) = (desk.clone(), told.clone());
                thread::spawn(move || {
                    let slots = desk.reserve(1);
                    desk.admit(slots, &[((JobId(1), Epoch(1)), told)])
                })
            };
            desk.poison();
            let admitted = claim.join().unwrap();
            assert!(told.0.load(Ordering::SeqCst), "{admitted:?}, and not told");
            assert_eq!(desk.held(), 0, "INV-JOBS-6");
        });
    }

    /// C4, INV-JOBS-5: two claims and an acknowledged end at the same time share two slots.
    ///
    /// Broken by: in `Desk::reserve` asking `free` under a lock of its own and then reserving what
    /// it said with a `Roster::reserve` that trusts its argument.
    #[test]
    fn loom_inv_jobs_5_slots_are_never_given_twice() {
        loom::model(|| {
            let desk = desk(2);
            let slots = desk.reserve(1);
            desk.admit(slots, &[((JobId(1), Epoch(1)), Told::default())]);
            let claim = |job: i64| {
                let desk = desk.clone();
                thread::spawn(move || {
                    let slots = desk.reserve(2);
                    let jobs: Vec<_> = (0..slots)
                        .map(|n| ((JobId(job + n as i64), Epoch(job)), Told::default()))
                        .collect();
                    desk.admit(slots, &jobs);
                    assert!(desk.held() <= 2, "INV-JOBS-5: {} of 2", desk.held());
                })
            };
            let (one, two) = (claim(10), claim(20));
            desk.end((JobId(1), Epoch(1)));
            one.join().unwrap();
            two.join().unwrap();
            assert_eq!(desk.held() + desk.free(), 2, "INV-JOBS-5");
        });
    }

    /// F6: an audit beside a claim that is on its way takes none of its jobs for lost.
    ///
    /// Broken by: in `Roster::orphans` leaving out the comparison of `claims`.
    #[test]
    fn loom_an_audit_takes_no_job_of_a_claim_on_its_way() {
        loom::model(|| {
            let desk = desk(2);
            desk.ask_for_audit();
            let book = Arc::new(loom::sync::Mutex::new(Vec::new()));
            let claim = {
                let (desk, book) = (desk.clone(), book.clone());
                thread::spawn(move || {
                    let slots = desk.reserve(1);
                    book.lock().unwrap().push((JobId(1), Epoch(1)));
                    desk.admit(slots, &[((JobId(1), Epoch(1)), Told::default())]);
                })
            };
            if let Some(audit) = desk.begin_audit() {
                let read = book.lock().unwrap().clone();
                assert_eq!(desk.end_audit(audit, &read), []);
            }
            claim.join().unwrap();
        });
    }
}

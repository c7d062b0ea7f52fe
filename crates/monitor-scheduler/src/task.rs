//! The task of one run: whatever becomes of it, the kernel hears of its end exactly once.

use std::{hash::Hash, sync::Arc};

use crate::{
    Claim, Run,
    kernel::{End, RunId},
    shared::{Handler, Shared},
};

/// The claim of a run to its key.
pub(crate) fn claim<K>(shared: &Arc<Shared<K>>, run: RunId) -> Claim
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
{
    Claim(Arc::new(Held {
        shared: Arc::clone(shared),
        run,
    }))
}

/// What tells the kernel of the end of a run's handler.
pub(crate) fn report<K>(shared: &Arc<Shared<K>>, run: RunId) -> Report<K>
where
    K: Clone + Eq + Hash,
{
    Report {
        shared: Arc::clone(shared),
        run,
        end: End::Dropped,
    }
}

/// What a run's task does. The report is made before the task is, so that it tells of the end of
/// a task that was never polled as well.
pub(crate) async fn work<K>(mut report: Report<K>, handler: Handler<K>, given: Run<K>)
where
    K: Clone + Eq + Hash,
{
    let completion = handler(given).await;
    report.end = End::Returned(completion);
}

/// Tells the kernel that a handler has ended, when dropped.
pub(crate) struct Report<K: Clone + Eq + Hash> {
    shared: Arc<Shared<K>>,
    run: RunId,
    end: End,
}

impl<K: Clone + Eq + Hash> Drop for Report<K> {
    fn drop(&mut self) {
        let end = match std::mem::replace(&mut self.end, End::Dropped) {
            End::Dropped if std::thread::panicking() => End::Panicked,
            end => end,
        };
        self.shared
            .end(|core, now| core.handler_ended(self.run, end, now));
    }
}

/// Tells the kernel that a key is no longer claimed, when dropped.
struct Held<K: Clone + Eq + Hash> {
    shared: Arc<Shared<K>>,
    run: RunId,
}

impl<K: Clone + Eq + Hash> Drop for Held<K> {
    fn drop(&mut self) {
        self.shared.end(|core, now| core.claim_ended(self.run, now));
    }
}

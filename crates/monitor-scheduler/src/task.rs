//! The task of one run: whatever becomes of it, the kernel hears of its end exactly once.

use std::{hash::Hash, sync::Arc};

use monitor_operation::Key;
use tokio::{runtime::Handle, task::AbortHandle};

use crate::{
    Claim, Completion, Run,
    kernel::{End, RunId},
    shared::Shared,
};

/// What runs a handler of whatever type.
pub(crate) trait Launch<K>: Send + Sync {
    /// The key for which it runs.
    fn key(&self) -> &Key<K>;

    /// Spawns the task of one run.
    fn launch(self: Arc<Self>, run: Run<K>, report: Report<K>, on: &Handle) -> AbortHandle
    where
        K: Clone + Eq + Hash;
}

/// A handler of this type.
pub(crate) struct Calls<K, H> {
    pub(crate) key: Key<K>,
    pub(crate) handler: H,
}

impl<K, H, F> Launch<K> for Calls<K, H>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    H: Fn(Run<K>) -> F + Send + Sync + 'static,
    F: Future<Output: Into<Completion>> + Send + 'static,
{
    fn key(&self) -> &Key<K> {
        &self.key
    }

    fn launch(self: Arc<Self>, run: Run<K>, report: Report<K>, on: &Handle) -> AbortHandle {
        on.spawn(work(report, self, run)).abort_handle()
    }
}

/// What a run's task does. The report is made before the task is, so that it tells of the end of
/// a task that was never polled as well; and it is dropped last.
async fn work<K, H, F>(mut report: Report<K>, calls: Arc<Calls<K, H>>, run: Run<K>)
where
    K: Clone + Eq + Hash,
    H: Fn(Run<K>) -> F,
    F: Future<Output: Into<Completion>>,
{
    let completion = (calls.handler)(run).await.into();
    report.end = End::Returned(completion);
}

/// The report of a run, and the claim to its key.
pub(crate) fn hold<K>(shared: &Arc<Shared<K>>, run: RunId) -> (Report<K>, Claim)
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
{
    let held = Arc::new(Held {
        shared: Some(Arc::clone(shared)),
        run,
    });
    let report = Report {
        held: Some(Arc::clone(&held)),
        end: End::Dropped,
    };
    (report, Claim(held))
}

/// Tells the kernel that a handler has ended, when dropped.
pub(crate) struct Report<K: Clone + Eq + Hash> {
    held: Option<Arc<Held<K>>>,
    end: End,
}

/// Tells the kernel that a key is no longer claimed, when dropped.
struct Held<K: Clone + Eq + Hash> {
    shared: Option<Arc<Shared<K>>>,
    run: RunId,
}

impl<K: Clone + Eq + Hash> Drop for Report<K> {
    fn drop(&mut self) {
        let end = match std::mem::replace(&mut self.end, End::Dropped) {
            End::Dropped if std::thread::panicking() => End::Panicked,
            end => end,
        };
        let Some(held) = self.held.take() else { return };
        let run = held.run;
        if Arc::strong_count(&held) > 1 {
            if let Some(shared) = &held.shared {
                shared.end(|core, now| core.handler_ended(run, end, now));
            }
            return;
        }
        // Nobody else has the claim, so nobody can clone it: both end in one step.
        if let Some(shared) = Arc::into_inner(held).and_then(|mut held| held.shared.take()) {
            shared.end(|core, now| core.ended(run, end, now));
        }
    }
}

impl<K: Clone + Eq + Hash> Drop for Held<K> {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.end(|core, now| core.claim_ended(self.run, now));
        }
    }
}

//! One run: whatever becomes of it, the kernel hears of its end exactly once.

use std::{
    future::poll_fn,
    hash::Hash,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use monitor_operation::{Epoch, Key};
use tokio::{runtime::Handle, task::AbortHandle};

use crate::{
    Claim, Completion, Run,
    kernel::{Core, End, Keyed, RunId, Tick},
    shared::{Handler, Shared},
};

/// A handler that is done within this is prompt.
const PROMPT: Duration = Duration::from_micros(100);

/// What runs a handler of whatever type.
pub(crate) trait Launch<K>: Send + Sync {
    /// The key for which it runs.
    fn at_hand(&self) -> &Key<K>;

    /// Whether it was done at once when it last ran.
    fn is_prompt(&self) -> bool;

    /// Notes how long it took until it was done for the first time that it was polled, or that it
    /// was not done then.
    fn note(&self, took: Option<Duration>);

    /// Spawns the task of one run.
    fn launch(self: Arc<Self>, run: Run<K>, report: Report<K>, on: &Handle) -> AbortHandle
    where
        K: Clone + Eq + Hash;

    /// Calls the handler and polls what it returns, once, here.
    fn attempt(&self, run: Run<K>) -> Attempt;
}

impl<K: Eq + Hash> Keyed for Handler<K> {
    type Key = K;

    fn key(&self) -> &K {
        self.at_hand().get()
    }

    fn epoch(&self) -> Epoch {
        self.at_hand().last_epoch()
    }

    fn warm(&self) {
        self.at_hand().warm();
    }
}

/// What came of polling a run once.
pub(crate) enum Attempt {
    Done(End),
    GoesOn(Work),
}

/// The rest of a run.
pub(crate) type Work = Pin<Box<dyn Future<Output = Completion> + Send>>;

/// A handler of this type.
pub(crate) struct Calls<K, H> {
    key: Key<K>,
    is_prompt: AtomicBool,
    handler: H,
}

impl<K, H> Calls<K, H> {
    pub(crate) fn new(key: Key<K>, handler: H) -> Self {
        Self {
            key,
            // It has to show that it is.
            is_prompt: AtomicBool::new(false),
            handler,
        }
    }
}

impl<K, H, F> Launch<K> for Calls<K, H>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    H: Fn(Run<K>) -> F + Send + Sync + 'static,
    F: Future<Output: Into<Completion>> + Send + 'static,
{
    fn at_hand(&self) -> &Key<K> {
        &self.key
    }

    fn is_prompt(&self) -> bool {
        self.is_prompt.load(Ordering::Relaxed)
    }

    fn note(&self, took: Option<Duration>) {
        let is_prompt = took.is_some_and(|took| took < PROMPT);
        if is_prompt != self.is_prompt() {
            self.is_prompt.store(is_prompt, Ordering::Relaxed);
        }
    }

    fn launch(self: Arc<Self>, run: Run<K>, report: Report<K>, on: &Handle) -> AbortHandle {
        on.spawn(work(report, self, run)).abort_handle()
    }

    fn attempt(&self, run: Run<K>) -> Attempt {
        let work = (self.handler)(run);
        let mut work: Pin<Box<_>> = Box::pin(async move { work.await.into() });
        // Nobody is woken: who is not done is polled again, as a task.
        let mut context = Context::from_waker(Waker::noop());
        match work.as_mut().poll(&mut context) {
            Poll::Ready(completion) => Attempt::Done(End::Returned(completion)),
            Poll::Pending => Attempt::GoesOn(work),
        }
    }
}

/// What a run's task does. The report is made before the task is, so that it tells of the end of
/// a task that was never polled as well; and it is dropped last.
async fn work<K, H, F>(mut report: Report<K>, calls: Arc<Calls<K, H>>, run: Run<K>)
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    H: Fn(Run<K>) -> F + Send + Sync + 'static,
    F: Future<Output: Into<Completion>> + Send + 'static,
{
    let began = report.now();
    let mut is_first = true;
    let completion = {
        let mut work = pin!((calls.handler)(run));
        poll_fn(|context| {
            let polled = work.as_mut().poll(context);
            if std::mem::take(&mut is_first) {
                let is_done = polled.is_ready();
                calls.note(is_done.then(|| report.now().saturating_sub(began)));
            }
            polled
        })
        .await
    };
    report.end = End::Returned(completion.into());
}

/// A run that was polled before. Its report comes last here too: a task that was never polled
/// drops this in order.
pub(crate) struct Rest<K: Clone + Eq + Hash> {
    pub(crate) work: Work,
    pub(crate) report: Report<K>,
}

impl<K: Clone + Eq + Hash> Rest<K> {
    /// What its task does.
    pub(crate) async fn run(self) {
        let Self { work, mut report } = self;
        report.end = End::Returned(work.await);
    }
}

/// Tells the kernel that a handler has ended, when dropped.
pub(crate) struct Report<K: Clone + Eq + Hash> {
    held: Option<Arc<Held<K>>>,
    pub(crate) end: End,
}

/// Tells the kernel that a key is no longer claimed, when dropped.
struct Held<K: Clone + Eq + Hash> {
    shared: Arc<Shared<K>>,
    /// None when there is nothing to tell, or it has been told.
    run: Option<RunId>,
}

/// A report as the kernel takes it.
struct Told<K: Clone + Eq + Hash> {
    run: RunId,
    end: End,
    held: Arc<Held<K>>,
    /// Nobody else has the claim, so nobody can clone it: it ends with the handler, in one step.
    is_last: bool,
}

impl<K: Clone + Eq + Hash> Told<K> {
    fn tell(&mut self, core: &mut Core<Handler<K>>, at: Tick) {
        let end = std::mem::replace(&mut self.end, End::Dropped);
        if self.is_last {
            core.ended(self.run, end, at);
        } else {
            core.handler_ended(self.run, end, at);
        }
    }
}

impl<K: Clone + Eq + Hash> Report<K> {
    /// The time by the clock of the scheduler.
    fn now(&self) -> Duration {
        let held = self.held.as_ref();
        held.map_or(Duration::ZERO, |held| held.shared.now())
    }

    /// Takes what there is to tell; then it is not told when this is dropped.
    fn open(&mut self) -> Option<Told<K>> {
        let mut held = self.held.take()?;
        let run = held.run?;
        let is_last = match Arc::get_mut(&mut held) {
            Some(held) => held.run.take().is_some(),
            None => false,
        };
        Some(Told {
            run,
            end: std::mem::replace(&mut self.end, End::Dropped),
            held,
            is_last,
        })
    }
}

impl<K: Clone + Eq + Hash> Drop for Report<K> {
    fn drop(&mut self) {
        if matches!(self.end, End::Dropped) && std::thread::panicking() {
            self.end = End::Panicked;
        }
        if let Some(mut told) = self.open() {
            let shared = Arc::clone(&told.held.shared);
            shared.end(|core, now| told.tell(core, now));
        }
    }
}

impl<K: Clone + Eq + Hash> Drop for Held<K> {
    fn drop(&mut self) {
        if let Some(run) = self.run {
            self.shared.end(|core, now| core.claim_ended(run, now));
        }
    }
}

/// The reports of many runs, told in one step, and what is left of them for runs to come.
pub(crate) struct Reports<K: Clone + Eq + Hash> {
    shared: Arc<Shared<K>>,
    told: Vec<(Told<K>, Tick)>,
    spare: Vec<Arc<Held<K>>>,
}

impl<K: Clone + Eq + Hash + Send + Sync + 'static> Reports<K> {
    pub(crate) fn new(shared: &Arc<Shared<K>>) -> Self {
        Self {
            shared: Arc::clone(shared),
            told: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// The report of a run, and the claim to its key.
    pub(crate) fn hold(&mut self, run: RunId) -> (Report<K>, Claim) {
        let held = self.held(run);
        let report = Report {
            held: Some(Arc::clone(&held)),
            end: End::Dropped,
        };
        (report, Claim(held))
    }

    fn held(&mut self, run: RunId) -> Arc<Held<K>> {
        let run = Some(run);
        // One that is spare nobody else has.
        if let Some(mut spare) = self.spare.pop()
            && let Some(held) = Arc::get_mut(&mut spare)
        {
            held.run = run;
            return spare;
        }
        let shared = Arc::clone(&self.shared);
        Arc::new(Held { shared, run })
    }

    /// A handler has ended then.
    pub(crate) fn add(&mut self, mut report: Report<K>, at: Tick) {
        self.told.extend(report.open().map(|told| (told, at)));
    }

    /// Tells of all that have ended.
    pub(crate) fn tell(&mut self) {
        /// As many as run in one turn.
        const SPARE: usize = 512;
        let told = &mut self.told;
        self.shared
            .drive(|core, _| told.iter_mut().for_each(|(told, at)| told.tell(core, *at)));
        for (told, _) in self.told.drain(..) {
            // Claims that have ended meanwhile are told here, under no lock.
            if told.is_last && self.spare.len() < SPARE {
                self.spare.push(told.held);
            }
        }
        self.shared.ended();
    }
}

//! The tasks of one registration: one beats, one carries the ends of attempts to the database.

use std::sync::Arc;
use std::time::Duration;

use monitor_backoff::Policy;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

use crate::desk::{Desk, Holder};
use crate::kernel::lease::Lease;
use crate::kernel::roster::Key;
use crate::signal::{Signal, Stop};
use crate::stats::Counters;
use crate::{
    Backend, Beat, Outcome, Register, Settle, SettleError, Settled, StoreError, StoreErrorKind,
    WorkerId,
};

/// Ends of attempts in one transaction.
const BATCH: usize = 512;

impl Holder for Signal {
    fn fence(&self) {
        self.fire(Stop::Fenced);
    }
}

/// What the tasks and the handles of one registration share.
pub(crate) struct Session {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) worker: WorkerId,
    pub(crate) register: Register,
    pub(crate) desk: Desk<Signal>,
    pub(crate) counters: Counters,
    /// A slot became free, the registration ended, or it drains.
    pub(crate) changed: Notify,
    origin: Instant,
}

/// The end of an attempt on its way to the database.
pub(crate) struct End {
    pub(crate) settle: Settle,
    /// Nobody asks when a handle was dropped without a word.
    pub(crate) reply: Option<oneshot::Sender<Result<Settled, SettleError>>>,
}

/// What keeps a session going: the settling task ends when the last one is gone.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) session: Arc<Session>,
    pub(crate) ends: mpsc::UnboundedSender<End>,
    /// How long a claim waits for a hint at most before it asks again.
    pub(crate) poll: Duration,
}

/// How often a claim that waits asks, even if nobody hints at anything.
const POLL: Duration = Duration::from_secs(1);

impl Session {
    /// Starts the tasks of a registration that was asked for at `sent`.
    pub(crate) fn start(
        backend: Arc<dyn Backend>,
        worker: WorkerId,
        register: Register,
        counters: Counters,
        sent: Instant,
    ) -> (Handle, tokio::task::JoinHandle<()>) {
        let lease = Lease::new(register.lease, Duration::ZERO);
        let session = Arc::new(Self {
            backend,
            worker,
            desk: Desk::new(register.capacity as usize, lease),
            register,
            counters,
            changed: Notify::new(),
            origin: sent,
        });
        let (ends, queue) = mpsc::unbounded_channel();
        let keeper = tokio::spawn(Arc::clone(&session).keep());
        let settler = tokio::spawn(Arc::clone(&session).settle_all(queue, keeper));
        let poll = POLL;
        (
            Handle {
                session,
                ends,
                poll,
            },
            settler,
        )
    }

    pub(crate) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    pub(crate) fn lease_left(&self) -> Duration {
        self.desk.lease_left(self.now())
    }

    /// Beats until the registration ends.
    async fn keep(self: Arc<Self>) {
        let every = Lease::beat_every(self.register.lease);
        loop {
            sleep(every).await;
            let sent = self.now();
            match timeout(every, self.backend.beat(self.worker)).await {
                Ok(Ok(Some(beat))) => self.beaten(sent, &beat),
                Ok(Ok(None)) => {
                    self.lose();
                    return;
                }
                Ok(Err(error)) => debug!(worker = %self.worker, %error, "a beat failed"),
                Err(_) => debug!(worker = %self.worker, "a beat was not answered in time"),
            }
            if self.lease_left().is_zero() {
                warn!(worker = %self.worker, "no beat was answered for a lease: its work stops");
                let holders = self.desk.holders();
                holders
                    .iter()
                    .for_each(|holder| holder.fire(Stop::LeaseExpired));
            }
            // Beats wait for no lock that stands in the way of a hand-back.
            if timeout(every, self.audit()).await.is_err() {
                self.desk.ask_for_audit();
            }
        }
    }

    fn beaten(&self, sent: Duration, beat: &Beat) {
        self.desk.answered(sent, beat.drain);
        for key in &beat.cancel {
            if let Some(holder) = self.desk.holder(*key) {
                holder.fire(Stop::Requested);
            }
        }
        if beat.drain {
            self.changed.notify_waiters();
        }
    }

    /// INV-JOBS-6: the registration is no more, so nothing that was claimed by it is held.
    pub(crate) fn lose(&self) {
        if !self.desk.is_poisoned() {
            warn!(worker = %self.worker, "the registration is no more: its work stops");
            self.counters.registration_lost();
        }
        self.desk.poison();
        self.changed.notify_waiters();
    }

    /// Hands back what the database believes to be held here and nobody holds.
    pub(crate) async fn audit(&self) {
        let Some(audit) = self.desk.begin_audit() else {
            return;
        };
        let Ok(book) = self.backend.held(self.worker).await else {
            return;
        };
        let orphans = self.desk.end_audit(audit, &book);
        if orphans.is_empty() {
            return;
        }
        self.counters.orphans(orphans.len());
        let ends: Vec<Settle> = orphans.into_iter().map(release).collect();
        if self.backend.settle(self.worker, &ends).await.is_err() {
            self.desk.ask_for_audit();
        }
    }

    /// Carries ends to the database in batches until nobody can send one any more, then
    /// deregisters.
    async fn settle_all(
        self: Arc<Self>,
        mut queue: mpsc::UnboundedReceiver<End>,
        keeper: tokio::task::JoinHandle<()>,
    ) {
        let mut batch = Vec::new();
        while queue.recv_many(&mut batch, BATCH).await > 0 {
            gather(&mut queue, &mut batch).await;
            self.flush(&mut batch).await;
            self.changed.notify_waiters();
        }
        keeper.abort();
        if !self.desk.is_poisoned() {
            // Whoever does not get through is rescued by others after its lease.
            let farewell = self.backend.deregister(self.worker);
            let _ = timeout(self.register.lease, farewell).await;
        }
    }

    async fn flush(&self, batch: &mut Vec<End>) {
        let ends: Vec<Settle> = batch.iter().map(|end| end.settle.clone()).collect();
        let begun = Instant::now();
        let answer = self.settle_until_answered(&ends).await;
        self.counters.cascade(begun.elapsed());
        match answer {
            Ok(answers) => {
                for (end, settled) in batch.drain(..).zip(answers) {
                    self.counters.settled(&end.settle.outcome, settled);
                    self.acknowledge(end, Ok(settled));
                }
            }
            Err(error) => {
                self.desk.ask_for_audit();
                for end in batch.drain(..) {
                    let error = self.refusal(&end, &error);
                    self.acknowledge(end, Err(error));
                }
            }
        }
    }

    fn refusal(&self, end: &End, error: &Arc<StoreError>) -> SettleError {
        if self.desk.is_poisoned() {
            return SettleError::Fenced(end.settle.job);
        }
        SettleError::Store(Arc::clone(error))
    }

    /// INV-JOBS-5: the slot is free now, and not before.
    fn acknowledge(&self, end: End, answer: Result<Settled, SettleError>) {
        self.desk.end((end.settle.job, end.settle.epoch));
        if let Some(reply) = end.reply {
            // Whoever asked may have gone.
            let _ = reply.send(answer);
        }
    }

    /// Whoever answers nothing for the rest of the lease is not waited for: the end may be said.
    async fn settle_once(&self, ends: &[Settle]) -> Result<Vec<Settled>, StoreError> {
        let patience = self
            .lease_left()
            .max(Lease::beat_every(self.register.lease));
        let answer = timeout(patience, self.backend.settle(self.worker, ends)).await;
        answer.unwrap_or_else(|elapsed| {
            Err(StoreError {
                action: "settle jobs",
                kind: StoreErrorKind::Ambiguous,
                source: elapsed.into(),
            })
        })
    }

    /// Repeats what is worth repeating, as long as the lease lasts: an end may be said twice.
    async fn settle_until_answered(
        &self,
        ends: &[Settle],
    ) -> Result<Vec<Settled>, Arc<StoreError>> {
        let policy = Policy::jobs_claim();
        let mut failures = 0;
        loop {
            let error = match self.settle_once(ends).await {
                Ok(answers) => return Ok(answers),
                Err(error) => error,
            };
            failures += 1;
            if !error.kind.is_worth_repeating()
                || self.lease_left().is_zero()
                || self.desk.is_poisoned()
            {
                return Err(Arc::new(error));
            }
            debug!(worker = %self.worker, %error, failures, "ends are sent again");
            sleep(policy.nominal(failures, Duration::ZERO)).await;
        }
    }
}

/// Takes in what others are about to send: whoever is ready to run gets its turn, as long as that
/// brings something. No time is waited for.
async fn gather(queue: &mut mpsc::UnboundedReceiver<End>, batch: &mut Vec<End>) {
    loop {
        let before = batch.len();
        tokio::task::yield_now().await;
        while batch.len() < BATCH {
            match queue.try_recv() {
                Ok(end) => batch.push(end),
                Err(_) => break,
            }
        }
        if batch.len() == before || batch.len() == BATCH {
            return;
        }
    }
}

/// The end that hands a job back untouched.
pub(crate) fn release((job, epoch): Key) -> Settle {
    Settle {
        job,
        epoch,
        outcome: Outcome::Release,
    }
}

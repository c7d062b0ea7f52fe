//! One attempt: the handler in a task of its own, and how it is said to have ended.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use monitor_fault::Category;
use rand::rngs::SmallRng;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{sleep, timeout};

use crate::claimed::Claimed;
use crate::context::Context;
use crate::kernel::ordering::from_ms;
use crate::kernel::retrying::{Failed, RetryPolicy};
use crate::signal::Stop;
use crate::sync::lock;
use crate::{Failure, Outcome, Payload, SettleError};

type Done = Result<Option<Payload>, Failure>;

/// A handler of one kind.
pub(crate) type Handler =
    Arc<dyn Fn(Context) -> Pin<Box<dyn Future<Output = Done> + Send>> + Send + Sync>;

/// What a kind is run with.
#[derive(Clone)]
pub(crate) struct Kind {
    pub(crate) handler: Handler,
    pub(crate) retry: RetryPolicy,
    pub(crate) timeout: Option<Duration>,
}

/// What came of an attempt, for the worker's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It did what it should, or failed by what it had to do with.
    Fair,
    /// It failed by the worker.
    Own,
    /// It says nothing: it was stopped.
    Nothing,
}

/// How a handler ended.
enum Ended {
    Returned(Done),
    Panicked(String),
    /// It went on after it was told to stop, and was dropped.
    Dropped,
}

impl Kind {
    /// Runs the job to its end and says so.
    pub(crate) async fn run(self, claimed: Claimed, grace: Duration, mut rng: SmallRng) -> Verdict {
        self.retry.attempted();
        let limit = match (claimed.job().timeout, self.timeout) {
            (Some(job), Some(kind)) => Some(job.min(kind)),
            (job, kind) => job.or(kind),
        };
        let signal = claimed.signal().clone();
        let (context, right) = Context::new(claimed);
        // A task of its own: its panic is its own, and so is a thread that it blocks.
        let mut task = Guarded(tokio::spawn((self.handler)(context)));
        let ended = tokio::select! {
            biased;
            ended = &mut task.0 => returned(ended),
            stop = signal.wait() => task.stop(grace_for(stop, grace)).await,
            () = limited(limit) => {
                signal.fire(Stop::TimedOut);
                task.stop(grace).await
            }
        };
        let claimed = lock(&right).take();
        let Some(claimed) = claimed else {
            // It completed in a transaction of its own.
            return Verdict::Fair;
        };
        let (outcome, verdict) = self.outcome(&claimed, ended, &mut rng).await;
        let (job, name) = (claimed.job().id, outcome.as_ref().map(name_of));
        let said = match outcome {
            Some(outcome) => claimed.end(outcome).await,
            None => Ok(()),
        };
        match said {
            Ok(()) => tracing::debug!(%job, outcome = name, "an attempt ended"),
            Err(SettleError::Store(error)) => {
                tracing::warn!(%job, %error, "the end of an attempt was not accepted");
            }
            Err(error) => tracing::info!(%job, %error, "the end of an attempt came too late"),
        }
        verdict
    }

    /// What to say; `None`: nothing, the job is another's.
    async fn outcome(
        &self,
        claimed: &Claimed,
        ended: Ended,
        rng: &mut SmallRng,
    ) -> (Option<Outcome>, Verdict) {
        let stop = claimed.stop();
        let failure = match (ended, stop) {
            (Ended::Returned(Ok(result)), _) => {
                return (Some(Outcome::Complete { result }), Verdict::Fair);
            }
            (_, Some(Stop::Fenced | Stop::LeaseExpired)) => return (None, Verdict::Nothing),
            (_, Some(Stop::Requested)) => return (Some(Outcome::Cancelled), Verdict::Nothing),
            (_, Some(Stop::Shutdown)) => return (Some(Outcome::Release), Verdict::Nothing),
            (_, Some(Stop::TimedOut)) | (Ended::Dropped, None) => {
                Failure::own("the attempt took too long".to_owned(), Category::Timeout)
            }
            (Ended::Panicked(message), None) => Failure::own(message, Category::Internal),
            (Ended::Returned(Err(failure)), None) => failure,
        };
        let failed = Failed {
            category: failure.category,
            permanent: failure.permanent,
            asked: failure.retry_after,
            age: self.age(claimed).await,
        };
        let now = monitor_backoff::process_time();
        let retry_in = self.retry.wait(claimed.job().attempt, &failed, now, rng);
        let error = failure.message;
        let verdict = if failure.own {
            Verdict::Own
        } else {
            Verdict::Fair
        };
        (Some(Outcome::Fail { error, retry_in }), verdict)
    }

    /// Only asked for where it matters: it costs a question to the database.
    async fn age(&self, claimed: &Claimed) -> Option<Duration> {
        self.retry.longest_life()?;
        let now = claimed.database_now().await?;
        let age = now.saturating_sub(claimed.job().enqueued_unix_ms);
        Some(from_ms(age))
    }
}

/// A task that ends with whoever waits for it.
struct Guarded(JoinHandle<Done>);

impl Guarded {
    /// It has been told to stop: waits for it, then drops it.
    async fn stop(&mut self, grace: Duration) -> Ended {
        if let Ok(ended) = timeout(grace, &mut self.0).await {
            return returned(ended);
        }
        self.0.abort();
        match (&mut self.0).await {
            Ok(done) => Ended::Returned(done),
            Err(error) if error.is_panic() => returned(Err(error)),
            Err(_) => Ended::Dropped,
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn returned(ended: Result<Done, JoinError>) -> Ended {
    match ended {
        Ok(done) => Ended::Returned(done),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => Ended::Panicked(format!("the handler panicked: {}", text_of(&*panic))),
            Err(_) => Ended::Dropped,
        },
    }
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let string = panic.downcast_ref::<String>().map(String::as_str);
    text.or(string).unwrap_or("without a text")
}

/// Whoever lost the job gets no time to go on with it.
fn grace_for(stop: Stop, grace: Duration) -> Duration {
    match stop {
        Stop::Fenced | Stop::LeaseExpired => Duration::ZERO,
        _ => grace,
    }
}

async fn limited(limit: Option<Duration>) {
    match limit {
        Some(limit) => sleep(limit).await,
        None => std::future::pending().await,
    }
}

fn name_of(outcome: &Outcome) -> &'static str {
    crate::kernel::attempts::End::of(outcome).as_str()
}

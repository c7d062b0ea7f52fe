//! A probe that is a function.

use std::future::Future;

use async_trait::async_trait;
use monitor_fault::{Fault, Layer};

use crate::{Observation, Probe, ProbeContext};

/// Makes a probe of a function that looks once, at what people know as `target`.
///
/// It says what it saw: an [`Observation`], or a `Result` whose error is the fault. Its kind is
/// `function`. For whoever wants to tell how far a check has come, or a pool that is shared, there
/// is the trait: see [`ProbeContext`].
///
/// # Cancel safety
///
/// As for [`Probe::check`]: the future is dropped when its operation is called off or its time is
/// up.
///
/// ```
/// use monitor_model::{Observation, Probe, probe_fn};
///
/// let probe = probe_fn("the moon", || async { Observation::up().with_note("full") });
/// assert_eq!((probe.kind(), probe.target().as_str()), ("function", "the moon"));
/// ```
pub fn probe_fn<F, Fut>(target: impl Into<String>, look: F) -> impl Probe
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output: Into<Observation>> + Send + 'static,
{
    Look {
        target: target.into(),
        look,
    }
}

struct Look<F> {
    target: String,
    look: F,
}

#[async_trait]
impl<F, Fut> Probe for Look<F>
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output: Into<Observation>> + Send + 'static,
{
    fn kind(&self) -> &'static str {
        "function"
    }

    fn target(&self) -> String {
        self.target.clone()
    }

    async fn check(&self, _: &ProbeContext) -> Observation {
        (self.look)().await.into()
    }
}

/// What was seen by work that comes off or fails: up, or the fault that the error is, by its type
/// and not by its text. Where an error says nothing of its layer, it is that of the answer.
impl<E: std::error::Error + 'static> From<Result<(), E>> for Observation {
    fn from(result: Result<(), E>) -> Self {
        match result {
            Ok(()) => Self::up(),
            Err(error) => Self::fault(Fault::classify(&error, Layer::Response)),
        }
    }
}

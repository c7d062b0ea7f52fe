//! Work that lasts as long as the daemon: looked after, and begun anew should it panic.

use std::any::Any;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use monitor_core::Core;
use monitor_core::supervisor::{BoxError, TaskHandle, TaskSpec};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// `None` when it has ended by itself, or is about to be.
type Work = Mutex<Option<JoinHandle<()>>>;

/// Work without an end of its own, and who looks after it. Dropped, it tells the work to end.
pub(super) struct Lasting {
    work: Arc<Work>,
    look: TaskHandle,
    stop: watch::Sender<()>,
}

/// Tells lasting work to end.
#[derive(Clone)]
pub(super) struct Stop(watch::Receiver<()>);

impl Stop {
    /// With nobody there to go on for.
    #[cfg(test)]
    pub(super) fn at_once() -> Self {
        Self(watch::channel(()).1)
    }

    /// Waits until it is told.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn told(&mut self) {
        // Nothing is ever sent: an error is a sender that is gone, and that is the word.
        let _ = self.0.changed().await;
    }
}

impl Lasting {
    /// Begins the work, and a periodic task of that name which looks whether it goes on. A panic of
    /// the work is one of the next look, counted and shown like any other; the work is begun anew
    /// with that look, hence no more often than once a second.
    pub(super) fn start<W>(
        core: &Core,
        name: &str,
        begin: impl Fn(Stop) -> W + Send + Sync + 'static,
    ) -> Result<Self, BoxError>
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let (stop, told) = watch::channel(());
        let begin = move || tokio::spawn(begin(Stop(told.clone())));
        let work = Arc::new(Mutex::new(Some(begin())));
        let looked_after = Arc::clone(&work);
        let spec = TaskSpec::builder(name).interval(LOOK_EVERY).build()?;
        let look = core.supervise(spec, move |_| {
            if let Some(panic) = revive(&looked_after, &begin) {
                resume_unwind(panic);
            }
            async {}
        })?;
        Ok(Self { work, look, stop })
    }

    /// Tells the work to end, and waits for that up to `limit`. False: it was cut off.
    pub(super) async fn end(self, limit: Duration) -> bool {
        self.look.stop();
        drop(self.stop);
        let work = lock(&self.work).take();
        let Some(mut work) = work else {
            return true;
        };
        let has_ended = tokio::time::timeout(limit, &mut work).await.is_ok();
        work.abort();
        has_ended
    }
}

/// Begins anew what has panicked, and returns why it did.
fn revive(work: &Work, begin: impl Fn() -> JoinHandle<()>) -> Option<Box<dyn Any + Send>> {
    let mut work = lock(work);
    let ended = work.as_mut()?.now_or_never()?;
    *work = None;
    let panic = ended.err()?.try_into_panic().ok()?;
    *work = Some(begin());
    Some(panic)
}

fn lock(work: &Work) -> std::sync::MutexGuard<'_, Option<JoinHandle<()>>> {
    work.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Events on their way out: numbered, in order, never from under a lock.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use monitor_model::{Event, EventKind};
use tokio::sync::{broadcast, mpsc, oneshot};

/// Takes every event, in order. Unlike a subscriber, a sink never misses one.
pub trait Sink: Send + Sync + 'static {
    /// Called for each event by one task, outside any lock. Must not block. A panic costs the sink
    /// this event and nobody anything else.
    fn event(&self, event: &Event);

    /// Called for each event of a named pool, on the thread where it happened, outside any lock:
    /// for metrics, which count what is too much to be told. Must not block. Does nothing unless
    /// it is overridden.
    #[cfg(feature = "pool")]
    fn pool(&self, pool: &str, event: &monitor_pool::Event<'_>) {
        let _ = (pool, event);
    }
}

/// How many events a slow subscriber may lie behind before it misses some.
const SUBSCRIBER_BACKLOG: usize = 4096;

#[derive(Debug)]
enum Message {
    Event(EventKind),
    Flush(oneshot::Sender<()>),
}

/// The way from the runs to sinks and subscribers: one queue, one task, hence one order.
#[derive(Clone)]
pub(crate) struct Hub {
    queue: mpsc::UnboundedSender<Message>,
    subscribers: broadcast::Sender<Arc<Event>>,
    #[cfg_attr(
        not(feature = "pool"),
        expect(dead_code, reason = "pools tell sinks directly")
    )]
    sinks: Arc<[Arc<dyn Sink>]>,
}

impl Hub {
    /// Starts the task that numbers events and hands them on. It ends with the last `Hub`.
    pub(crate) fn start(sinks: Vec<Arc<dyn Sink>>) -> Self {
        let (queue, messages) = mpsc::unbounded_channel();
        let (subscribers, _) = broadcast::channel(SUBSCRIBER_BACKLOG);
        let sinks: Arc<[_]> = sinks.into();
        tokio::spawn(hand_on(messages, Arc::clone(&sinks), subscribers.clone()));
        Self {
            queue,
            subscribers,
            sinks,
        }
    }

    /// Tells the sinks of an event of a pool. Its own caller catches panics.
    #[cfg(feature = "pool")]
    pub(crate) fn pool(&self, pool: &str, event: &monitor_pool::Event<'_>) {
        for sink in &*self.sinks {
            sink.pool(pool, event);
        }
    }

    pub(crate) fn publish(&self, kind: EventKind) {
        // The task outlives every sender unless its runtime is gone, and then nobody listens.
        let _ = self.queue.send(Message::Event(kind));
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.subscribers.subscribe()
    }

    /// Waits until everything published before has been handed on, for `limit` at most.
    pub(crate) async fn flush(&self, limit: Duration) {
        let (done, wait) = oneshot::channel();
        if self.queue.send(Message::Flush(done)).is_ok() {
            let _ = tokio::time::timeout(limit, wait).await;
        }
    }
}

async fn hand_on(
    mut messages: mpsc::UnboundedReceiver<Message>,
    sinks: Arc<[Arc<dyn Sink>]>,
    subscribers: broadcast::Sender<Arc<Event>>,
) {
    let mut sequence = 0;
    while let Some(message) = messages.recv().await {
        match message {
            Message::Event(kind) => {
                sequence += 1;
                let event = Arc::new(Event { sequence, kind });
                for sink in &*sinks {
                    // Somebody else's code: a panic in it must not end the events.
                    let told = catch_unwind(AssertUnwindSafe(|| sink.event(&event)));
                    if told.is_err() {
                        tracing::error!(sequence, "a sink of events panicked");
                    }
                }
                // Fails only when nobody subscribes.
                let _ = subscribers.send(event);
            }
            Message::Flush(done) => {
                let _ = done.send(());
            }
        }
    }
}

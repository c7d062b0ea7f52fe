//! Wake-ups: a hint that something may be ready. Never relied upon, never in a user's transaction.
//!
//! Within the process over a channel. Between processes by `NOTIFY`, from a connection of its own
//! and at most once in [`QUIET`], since each commit that notifies locks the whole database.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use monitor_pool::{Object, Pool};
use tokio::sync::{Notify, broadcast};

use super::PgManager;
use super::session::Sessions;

const LISTEN: &str = "LISTEN monitor_jobs";
const NOTIFY: &str = "SELECT pg_notify('monitor_jobs', $1)";
/// The least time between two notifications of one process.
const QUIET: Duration = Duration::from_millis(20);
/// How long to wait before listening again.
const AGAIN: Duration = Duration::from_secs(1);
/// Names beyond that length are told as "all": the server takes 8000 bytes.
const LONGEST: usize = 7000;

/// Queues in which something may be ready; none named: all.
type Queues = Arc<BTreeSet<String>>;

#[derive(Debug)]
pub(super) struct Wake {
    told: broadcast::Sender<Queues>,
    /// What other processes are still to be told.
    untold: Mutex<Option<BTreeSet<String>>>,
    changed: Notify,
    closed: Notify,
}

impl Default for Wake {
    fn default() -> Self {
        Self {
            told: broadcast::Sender::new(64),
            untold: Mutex::new(None),
            changed: Notify::new(),
            closed: Notify::new(),
        }
    }
}

impl Wake {
    /// Something may be ready in any queue.
    pub(super) fn all(&self) {
        self.tell(BTreeSet::new());
    }

    /// Something may be ready in these queues; in none: nothing to tell.
    pub(super) fn queues(&self, queues: BTreeSet<String>) {
        if !queues.is_empty() {
            self.tell(queues);
        }
    }

    fn tell(&self, queues: BTreeSet<String>) {
        {
            let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
            match untold.as_mut() {
                Some(all) if all.is_empty() => {}
                Some(some) if !queues.is_empty() => some.extend(queues.iter().cloned()),
                _ => *untold = Some(queues.clone()),
            }
        }
        self.hear(queues);
        self.changed.notify_one();
    }

    /// Wakes whoever waits here. Nobody may: that is no error.
    fn hear(&self, queues: BTreeSet<String>) {
        let _ = self.told.send(Arc::new(queues));
    }

    /// Waits for one of these queues. Counts from its first poll.
    pub(super) async fn wait(&self, queues: &[String], timeout: Duration) {
        let mut told = self.told.subscribe();
        let concerned = async {
            loop {
                match told.recv().await {
                    Ok(some) if !some.is_empty() => {
                        if queues.iter().any(|queue| some.contains(queue)) {
                            return;
                        }
                    }
                    // All; or so many that some were missed.
                    _ => return,
                }
            }
        };
        let _ = tokio::time::timeout(timeout, concerned).await;
    }

    pub(super) fn close(&self) {
        self.closed.notify_one();
        self.all();
    }

    fn take_untold(&self) -> Option<String> {
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        let names: Vec<String> = untold.take()?.into_iter().collect();
        let names = names.join(" ");
        Some(if names.len() > LONGEST {
            String::new()
        } else {
            names
        })
    }
}

/// Hears what other processes put in and tells them, for as long as the jobs are in use.
pub(super) async fn listen<M: PgManager>(pool: Pool<Sessions<M>>, wake: Weak<Wake>) {
    while wake.strong_count() > 0 && !pool.is_closed() {
        match pool.acquire().await {
            Ok(session) => {
                if converse(session, &wake).await {
                    return;
                }
            }
            Err(error) => tracing::debug!(%error, "no connection to listen with"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// True: closed, listen no more.
async fn converse<M: PgManager>(mut session: Object<Sessions<M>>, wake: &Weak<Wake>) -> bool {
    // It listens from now on: nobody else shall get it.
    session.begin();
    let mut heard = session.connection.notifications();
    if let Err(error) = session.connection.batch_execute(LISTEN).await {
        tracing::debug!(%error, "cannot listen");
        return false;
    }
    let Some(us) = wake.upgrade() else {
        return true;
    };
    // Whatever was told while nobody listened.
    us.hear(BTreeSet::new());
    loop {
        tokio::select! {
            () = us.closed.notified() => return true,
            notification = heard.recv() => match notification {
                None => return false,
                Some(notification) => {
                    let names = notification.payload().split_whitespace();
                    us.hear(names.map(str::to_owned).collect());
                }
            },
            () = us.changed.notified() => {
                if let Some(names) = us.take_untold()
                    && let Err(error) = session.query(NOTIFY, &[&names]).await
                {
                    tracing::debug!(%error, "cannot notify");
                    return false;
                }
                tokio::time::sleep(QUIET).await;
            }
        }
    }
}

//! What the tests against real servers share.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "test helpers; not every test file uses all of them"
)]

use std::future::Future;
use std::task::Poll;
use std::time::Duration;

use monitor_pool::managers::postgres::PostgresManager;
use monitor_pool::managers::postgres::tokio_postgres::{self, Client, NoTls};
use monitor_testkit::services::Postgres;

pub(crate) mod chaos;

/// How long something may take that should happen soon: only a hang is caught by it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn manager(url: &str) -> PostgresManager {
    PostgresManager::new(url.parse().unwrap()).unwrap()
}

/// Waits for `future`, but not for ever.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("this took longer than {PATIENCE:?}"),
    }
}

/// Polls `future` once; says whether it is still pending.
pub(crate) async fn poll_once<F: Future + Unpin>(future: &mut F) -> bool {
    let mut future = std::pin::Pin::new(future);
    std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}

/// The server process of a session.
pub(crate) async fn server_process(session: &Client) -> i32 {
    let row = session.query_one("SELECT pg_backend_pid()", &[]).await;
    row.unwrap().get(0)
}

/// A session of its own, on a direct connection, that looks at the others.
pub(crate) struct Observer {
    client: Client,
    driver: tokio::task::JoinHandle<()>,
}

/// Another session, as the server sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) process: i32,
    pub(crate) client_port: u16,
    pub(crate) state: String,
}

impl Observer {
    pub(crate) async fn start(server: &Postgres) -> Self {
        let url = format!("{}?application_name=observer", server.url());
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        let driver = tokio::spawn(async move { drop(connection.await) });
        Self { client, driver }
    }

    /// All sessions of clients but those of observers. Whatever they call themselves: a name can
    /// be changed on the way.
    pub(crate) async fn sessions(&self) -> Vec<Session> {
        let rows = self
            .client
            .query(
                "SELECT pid, client_port, coalesce(state, '') FROM pg_stat_activity \
                 WHERE backend_type = 'client backend' AND application_name <> 'observer' ORDER BY pid",
                &[],
            )
            .await
            .unwrap();
        rows.iter()
            .map(|row| Session {
                process: row.get(0),
                client_port: u16::try_from(row.get::<_, i32>(1)).unwrap(),
                state: row.get(2),
            })
            .collect()
    }

    pub(crate) async fn processes(&self) -> Vec<i32> {
        let sessions = self.sessions().await;
        sessions.iter().map(|session| session.process).collect()
    }

    /// Waits until the sessions are as `wanted`.
    pub(crate) async fn until(&self, mut wanted: impl FnMut(&[Session]) -> bool) {
        soon(async { while !wanted(&self.sessions().await) {} }).await;
    }

    /// Waits until `process` executes a statement.
    pub(crate) async fn until_active(&self, process: i32) {
        self.until(|sessions| {
            let session = sessions.iter().find(|session| session.process == process);
            session.is_some_and(|session| session.state == "active")
        })
        .await;
    }

    /// Ends a session from outside; `false` if there was no such session.
    pub(crate) async fn terminate(&self, process: i32) -> bool {
        let row = self
            .client
            .query_one("SELECT pg_terminate_backend($1)", &[&process])
            .await;
        row.unwrap().get(0)
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

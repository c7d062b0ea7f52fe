//! PostgreSQL sessions by `tokio_postgres`.
//!
//! ```no_run
//! use monitor_pool::Pool;
//! use monitor_pool::managers::postgres::PostgresManager;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = "postgres://monitor:secret@127.0.0.1/postgres".parse()?;
//! let pool = Pool::builder(PostgresManager::new(config)?)
//!     .max_size(8)
//!     .build()?;
//! let session = pool.acquire().await?;
//! let row = session.query_one("SELECT 1 + 1", &[]).await?;
//! assert_eq!(row.get::<_, i32>(0), 2);
//! # Ok(())
//! # }
//! ```
//!
//! # What comes back, and what does not
//!
//! The manager follows the protocol of each session: what has been asked, what has been answered,
//! and the transaction status with which the server is ready again. At release, without waiting:
//!
//! | state of the session | |
//! |---|---|
//! | idle, outside a transaction | kept |
//! | a statement has failed, outside a transaction | kept; after `batch_execute` or `simple_query` only once the server is ready again, which may be a moment after the error |
//! | a `Transaction` was dropped while no statement of it ran | kept: its `ROLLBACK` is sent before anything that the next holder sends |
//! | a query was dropped before its answer was complete | closed |
//! | a transaction is open (`BEGIN` by hand), or has failed | closed |
//! | `COPY` under way | closed |
//! | the server has hung up | closed |
//!
//! A `RowStream` dropped half-way counts as the dropped query that it is. What a session remembers
//! beyond transactions is not followed: `SET`, temporary tables, advisory locks, `LISTEN`.
//!
//! # The maximum, as the server counts
//!
//! Closing a session cancels its statement, says goodbye and waits for the server to hang up, within
//! the pool's close timeout. Only then is its place free. So the server does not see more sessions
//! than the pool's maximum, as long as it answers; when it does not, or when a connection is cut,
//! it may notice late that a session is gone, and count it for so long.

use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Config, NoTls, Notification, SimpleQueryMessage};

use crate::Manager;

mod dial;
mod driver;
mod observed;
mod protocol;

use dial::Endpoint;
pub use dial::Stream;
use driver::Driver;
use observed::{Account, Observed, Observing};
pub use tokio_postgres;

/// Connects to PostgreSQL.
///
/// Hosts are tried in their order until one takes the session. `connect_timeout` of the
/// configuration is not used: the pool's own bounds the whole attempt, DNS included.
pub struct PostgresManager<T = NoTls> {
    config: Config,
    endpoints: Vec<Endpoint>,
    tls: Option<T>,
}

impl PostgresManager {
    /// Makes a manager of sessions that are not encrypted.
    ///
    /// # Errors
    ///
    /// [`PostgresError::Config`] when `config` names no host, or contradicts itself.
    pub fn new(config: Config) -> Result<Self, PostgresError> {
        Self::with(config, None)
    }
}

impl<T> PostgresManager<T> {
    /// Makes a manager of sessions that are encrypted by `tls`, as `sslmode` says: `prefer`, the
    /// default, if the server can, and `require`, always.
    ///
    /// # Errors
    ///
    /// As for [`new`](PostgresManager::new).
    pub fn with_tls(config: Config, tls: T) -> Result<Self, PostgresError> {
        Self::with(config, Some(tls))
    }

    fn with(config: Config, tls: Option<T>) -> Result<Self, PostgresError> {
        let endpoints =
            Endpoint::all(&config).map_err(|problem| PostgresError::Config { problem })?;
        Ok(Self {
            config,
            endpoints,
            tls,
        })
    }
}

impl<T> fmt::Debug for PostgresManager<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The configuration hides the password itself.
        f.debug_struct("PostgresManager")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// A session: a [`Client`] and the task that moves its bytes.
///
/// Dropping it closes the connection at once, also without a runtime.
#[derive(Debug)]
pub struct PostgresConnection {
    client: Client,
    driver: Driver,
    endpoint: Endpoint,
}

impl PostgresConnection {
    /// Where the session's notifications arrive from now on; they end with the session. Ask for
    /// them before `LISTEN`. Without this they are dropped.
    ///
    /// The session goes on listening when it comes back to the pool: [`begin`](crate::Object::begin)
    /// first, and it will be closed instead.
    #[must_use]
    pub fn notifications(&self) -> UnboundedReceiver<Notification> {
        self.driver.notifications()
    }
}

impl Deref for PostgresConnection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for PostgresConnection {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// The configuration cannot work.
    #[error("the configuration of the PostgreSQL connection cannot work: {problem}")]
    Config {
        /// What contradicts what.
        problem: String,
    },
    /// No connection to the server.
    #[error("cannot reach PostgreSQL at {endpoint}")]
    Dial {
        /// Host and port.
        endpoint: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// The encryption could not be prepared.
    #[error("cannot prepare TLS for PostgreSQL at {endpoint}")]
    Tls {
        /// Host and port.
        endpoint: String,
        /// What the TLS library says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server, or what it said, ended the start of the session or its check.
    #[error("no session with PostgreSQL at {endpoint}")]
    Session {
        /// Host and port.
        endpoint: String,
        /// With its SQLSTATE, if the server gave one.
        source: tokio_postgres::Error,
    },
    /// The server is the other one of a pair.
    #[error(
        "PostgreSQL at {endpoint} has transaction_read_only = {read_only}, \
         which is not what `target_session_attrs` asks for"
    )]
    Role {
        /// Host and port.
        endpoint: String,
        /// What it says.
        read_only: String,
    },
}

impl<T> Manager for PostgresManager<T>
where
    T: MakeTlsConnect<Stream> + Clone + Send + Sync + 'static,
    T::TlsConnect: Send,
    T::Stream: Send + 'static,
    <T::TlsConnect as TlsConnect<Stream>>::Future: Send + 'static,
{
    type Connection = PostgresConnection;
    type Error = PostgresError;

    async fn connect(&self) -> Result<PostgresConnection, PostgresError> {
        let mut last_error = None;
        for endpoint in &self.endpoints {
            match self.open(endpoint).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last_error = Some(error),
            }
        }
        Err(last_error.unwrap_or_else(|| PostgresError::Config {
            problem: "no endpoint".into(),
        }))
    }

    /// One round trip with an empty `Sync`.
    async fn check(
        &self,
        connection: PostgresConnection,
    ) -> Result<PostgresConnection, PostgresError> {
        match connection.client.check_connection().await {
            Ok(()) => Ok(connection),
            Err(source) => Err(session_error(&connection.endpoint, source)),
        }
    }

    fn is_quiescent(&self, connection: &mut PostgresConnection) -> bool {
        connection.driver.is_quiescent()
    }

    async fn close(&self, connection: PostgresConnection) {
        let PostgresConnection {
            client,
            mut driver,
            endpoint,
        } = connection;
        if !driver.is_quiescent() && !driver.has_ended() {
            // Without this the server would go on for as long as the statement takes. If it does
            // not work, the close timeout ends the waiting.
            let cancelled = self.cancel(&client, &endpoint).await;
            tracing::debug!(%endpoint, ?cancelled, "closing a session that has not finished");
        }
        drop(client);
        // Answers that are owed, then the goodbye, then the server hangs up.
        driver.ended().await;
    }

    /// Wrong password or role (SQLSTATE class 28), no such database (3D000), no right to connect
    /// (42501), and what this side refuses, such as a method of authentication that it does not
    /// know. Everything else may go away by itself: too many connections, starting up, no route.
    fn is_permanent(&self, error: &PostgresError) -> bool {
        match error {
            PostgresError::Config { .. } | PostgresError::Tls { .. } => true,
            PostgresError::Session { source, .. } => is_refusal(source),
            _ => false,
        }
    }
}

impl<T> PostgresManager<T>
where
    T: MakeTlsConnect<Stream> + Clone,
    T::TlsConnect: Send,
    T::Stream: Send + 'static,
    <T::TlsConnect as TlsConnect<Stream>>::Future: Send + 'static,
{
    async fn open(&self, endpoint: &Endpoint) -> Result<PostgresConnection, PostgresError> {
        let connection = self.start_session(endpoint).await?;
        let wanted = match self.config.get_target_session_attrs() {
            TargetSessionAttrs::ReadWrite => "off",
            TargetSessionAttrs::ReadOnly => "on",
            _ => return Ok(connection),
        };
        let answer = connection.simple_query("SHOW transaction_read_only").await;
        let answer = answer.map_err(|source| session_error(endpoint, source))?;
        let read_only = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        if read_only == Some(wanted) {
            return Ok(connection);
        }
        Err(PostgresError::Role {
            endpoint: endpoint.to_string(),
            read_only: read_only.unwrap_or_default().to_owned(),
        })
    }

    async fn start_session(
        &self,
        endpoint: &Endpoint,
    ) -> Result<PostgresConnection, PostgresError> {
        let stream = self.dial(endpoint).await?;
        let account = Account::default();
        let stream = Observed::new(stream, account.clone());
        let failed = |source| session_error(endpoint, source);
        let (client, driver) = match self.tls(endpoint)? {
            None => {
                let session = self.config.connect_raw(stream, NoTls).await;
                let (client, connection) = session.map_err(failed)?;
                (client, Driver::spawn(connection, account))
            }
            Some(tls) => {
                let session = self.config.connect_raw(stream, Observing(tls)).await;
                let (client, connection) = session.map_err(failed)?;
                (client, Driver::spawn(connection, account))
            }
        };
        Ok(PostgresConnection {
            client,
            driver,
            endpoint: endpoint.clone(),
        })
    }

    async fn cancel(&self, client: &Client, endpoint: &Endpoint) -> Result<(), PostgresError> {
        let token = client.cancel_token();
        let stream = self.dial(endpoint).await?;
        let cancelled = match self.tls(endpoint)? {
            None => token.cancel_query_raw(stream, NoTls).await,
            Some(tls) => token.cancel_query_raw(stream, tls).await,
        };
        cancelled.map_err(|source| session_error(endpoint, source))
    }

    async fn dial(&self, endpoint: &Endpoint) -> Result<Stream, PostgresError> {
        let stream = endpoint.dial(&self.config).await;
        stream.map_err(|source| PostgresError::Dial {
            endpoint: endpoint.to_string(),
            source,
        })
    }

    fn tls(&self, endpoint: &Endpoint) -> Result<Option<T::TlsConnect>, PostgresError> {
        let connect = |tls: &T| tls.clone().make_tls_connect(&endpoint.domain);
        let tls = self.tls.as_ref().map(connect).transpose();
        tls.map_err(|source| PostgresError::Tls {
            endpoint: endpoint.to_string(),
            source: source.into(),
        })
    }
}

fn session_error(endpoint: &Endpoint, source: tokio_postgres::Error) -> PostgresError {
    PostgresError::Session {
        endpoint: endpoint.to_string(),
        source,
    }
}

/// Will the same attempt be refused again?
fn is_refusal(error: &tokio_postgres::Error) -> bool {
    if let Some(code) = error.code() {
        return code.code().starts_with("28")
            || *code == SqlState::INVALID_CATALOG_NAME
            || *code == SqlState::INSUFFICIENT_PRIVILEGE;
    }
    // Neither the server nor the network: this side has refused.
    let source = std::error::Error::source(error);
    source.is_some_and(|source| !source.is::<io::Error>())
}

//! How a PostgreSQL store is opened.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use monitor_pool::managers::postgres::tokio_postgres::Config;
use monitor_pool::managers::postgres::tokio_postgres::config::{Host, SslMode};

use super::open_error::PostgresOpenError;

const HOUR: Duration = Duration::from_secs(3600);

/// How a [`PostgresStore`](super::PostgresStore) is opened.
///
/// ```
/// use monitor_store::PostgresOptions;
/// let mut options: PostgresOptions = "postgres://monitor:secret@db.example/monitor".parse()?;
/// options.connections = 8;
/// assert_eq!(options.place(), "db.example:5432/monitor");
/// assert!(!format!("{options:?}").contains("secret"));
/// # Ok::<(), monitor_store::PostgresOpenError>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct PostgresOptions {
    pub(super) config: Config,
    place: Arc<str>,
    /// What the owner calls itself, for whoever is refused. Default: the process id.
    pub name: String,
    /// The most connections. One is kept for the right to the store, one writes; the others read
    /// and make changes. At least 3. Default 6.
    pub connections: usize,
    /// How many records may wait to be written; who comes then waits. Default 8192.
    pub queue: NonZeroUsize,
    /// The most records in one transaction. Default 1024.
    pub max_batch: NonZeroUsize,
    /// How long a command may wait for the database, outages included, before it fails. Default
    /// 5 s. A record that may have been written while the connection failed is settled by asking.
    pub patience: Duration,
    /// How long the server may work on one statement or wait for one lock. A connection that is
    /// silent for a quarter longer counts as gone. Default 10 s.
    pub statement_timeout: Duration,
    /// How long to wait for another owner to go before it is [reported](PostgresOpenError::Owned).
    /// Default 5 s: a process that was just killed has its connection closed within that.
    pub wait_for_owner: Duration,
    /// How long lines of history are kept at which the verdict did not change. Default 6 h. Time is
    /// counted from the newest record: nothing ages while nothing is recorded.
    pub retain_history: Duration,
    /// How long counts by minutes are kept. Default 48 h.
    pub retain_minutes: Duration,
    /// How long counts by hours are kept, and lines at which the verdict changed. Default 90 d.
    pub retain_hours: Duration,
    /// How long counts by days are kept. Default 2 y.
    pub retain_days: Duration,
    /// Takes the store over even if another owner is there. That one can write no more. Default
    /// false.
    pub take_over: bool,
}

impl PostgresOptions {
    /// The defaults for the database at `url`.
    ///
    /// A `search_path` in `options` of the URL selects a schema other than `public`.
    ///
    /// # Errors
    ///
    /// [`Url`](PostgresOpenError::Url) when it is no URL of a PostgreSQL database. The error does
    /// not quote it, because of the password.
    pub fn new(url: &str) -> Result<Self, PostgresOpenError> {
        let refused = |problem: &'static str| PostgresOpenError::Url { problem };
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(refused("it does not begin with postgres://"));
        }
        let config = Config::from_str(url).map_err(|_| refused("it cannot be read"))?;
        if config.get_ssl_mode() == SslMode::Require {
            return Err(refused(
                "sslmode=require cannot be met: the store does not encrypt by itself; use a tunnel",
            ));
        }
        let place = place(&config)?;
        Ok(Self {
            config,
            place: place.into(),
            name: format!("process {}", std::process::id()),
            connections: 6,
            queue: NonZeroUsize::MIN.saturating_add(8191),
            max_batch: NonZeroUsize::MIN.saturating_add(1023),
            patience: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
            wait_for_owner: Duration::from_secs(5),
            retain_history: 6 * HOUR,
            retain_minutes: 48 * HOUR,
            retain_hours: 90 * 24 * HOUR,
            retain_days: 2 * 365 * 24 * HOUR,
            take_over: false,
        })
    }

    /// Where the database is, without role and password.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn shared_place(&self) -> Arc<str> {
        Arc::clone(&self.place)
    }

    /// How long to wait for an answer before the connection counts as gone.
    pub(super) fn silence(&self) -> Duration {
        self.statement_timeout + self.statement_timeout / 4 + Duration::from_millis(250)
    }

    /// The configuration of each session: what the URL says, and the limits of this store.
    pub(super) fn session(&self) -> Config {
        let mut config = self.config.clone();
        let millis = self.statement_timeout.as_millis().max(1);
        let limits = format!(
            "-c statement_timeout={millis} -c lock_timeout={millis} \
             -c idle_in_transaction_session_timeout={millis} \
             -c default_transaction_isolation=read\\ committed"
        );
        let options = match config.get_options() {
            Some(given) => format!("{given} {limits}"),
            None => limits,
        };
        config.options(options);
        if config.get_application_name().is_none() {
            config.application_name("monitor-store");
        }
        config
    }
}

fn place(config: &Config) -> Result<String, PostgresOpenError> {
    let refused = |problem: &'static str| Err(PostgresOpenError::Url { problem });
    let Some(database) = config.get_dbname() else {
        return refused("it names no database");
    };
    let host = match config.get_hosts() {
        [] if config.get_hostaddrs().is_empty() => return refused("it names no host"),
        [] => config.get_hostaddrs()[0].to_string(),
        // The rest of a password is no host, and must not be quoted as one.
        [Host::Tcp(name), ..] if name.contains(['@', ':', '/']) => {
            return refused("an @, : or / of the password has to be written as %40, %3A or %2F");
        }
        [Host::Tcp(name), ..] => name.clone(),
        [Host::Unix(folder), ..] => folder.display().to_string(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    Ok(format!("{host}:{port}/{database}"))
}

impl FromStr for PostgresOptions {
    type Err = PostgresOpenError;

    fn from_str(url: &str) -> Result<Self, PostgresOpenError> {
        Self::new(url)
    }
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The configuration hides the password, and so does the place.
        f.debug_struct("PostgresOptions")
            .field("place", &self.place)
            .field("name", &self.name)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_error_quotes_a_password() {
        for url in [
            "postgres://u:hunter2",
            "mysql://u:hunter2@h/d",
            "postgres://u:hun@ter2@h/d",
            "postgres://u:hunter2@h:port/d",
            "postgres://u:hunter2@h/d?no_such=1",
            "postgres://u:hunter2@h",
            "postgres://u:hunter2@h/d?sslmode=require",
            "",
        ] {
            let error = PostgresOptions::new(url).expect_err(url);
            let text = format!("{error} {error:?}");
            assert!(
                !text.contains("hunter2") && !text.contains("ter2"),
                "{text}"
            );
        }
    }
}

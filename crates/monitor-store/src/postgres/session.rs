//! Sessions and transactions, each under the right of the owner.

use std::sync::Arc;
use std::time::Duration;

use monitor_model::StoreErrorKind;
use monitor_pool::managers::postgres::PostgresManager;
use monitor_pool::managers::postgres::tokio_postgres::Row;
use monitor_pool::managers::postgres::tokio_postgres::types::{ToSql, Type};
use monitor_pool::{Object, Pool};

use tokio::sync::watch;

use super::failure::Failure;

pub(super) type Sessions = Pool<PostgresManager>;
pub(super) type Session = Object<PostgresManager>;
pub(super) type Parameter<'p> = (&'p (dyn ToSql + Sync), Type);
pub(super) type Parameters<'p> = &'p [Parameter<'p>];

/// The component of this crate in the tables that crates share.
pub(super) const COMPONENT: &str = "store";

/// The database, and the right to change it.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) sessions: Sessions,
    pub(super) place: Arc<str>,
    /// The epoch of the owner. Whoever takes over has a higher one.
    pub(super) owner: i64,
    pub(super) patience: Duration,
    /// Who has taken over, as soon as that is known.
    pub(super) successor: watch::Sender<Option<String>>,
    /// How long to wait for an answer: longer than the server may take for one, so that silence says
    /// that the connection is gone.
    pub(super) silence: Duration,
}

/// A transaction of the owner. Dropped, it is rolled back, with its connection.
#[derive(Debug)]
pub(super) struct Transaction {
    session: Session,
    silence: Duration,
}

/// What became of a transaction.
#[derive(Debug)]
pub(super) enum End {
    /// It was not committed.
    Failed(Failure),
    /// The connection failed after the server was told to commit: only the database knows.
    Unknown(Failure),
}

impl Database {
    pub(super) async fn session(&self) -> Result<Session, Failure> {
        let session = self.sessions.acquire_timeout(self.patience).await;
        session.map_err(Failure::from)
    }

    /// Waits for an answer, but not for ever.
    pub(super) async fn answer<T>(
        &self,
        asked: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        answer(self.silence, asked).await
    }

    /// Begins a transaction, unless another has taken over.
    ///
    /// INV-STORE-7: the share lock is held to the end of the transaction, so that a takeover waits
    /// for it, and everything after the takeover is refused here.
    pub(super) async fn begin(&self) -> Result<Transaction, Failure> {
        let session = self.session().await?;
        let owner = "SELECT epoch, name, to_char(since, 'YYYY-MM-DD HH24:MI:SS TZ') AS since
            FROM owner WHERE component = $1 FOR SHARE";
        let component: [Parameter<'_>; 1] = [(&COMPONENT, Type::TEXT)];
        let rows = self.answer(async {
            let begun = session.batch_execute(BEGIN);
            let (_, rows) = tokio::try_join!(begun, session.query_typed(owner, &component))?;
            Ok(rows)
        });
        let row = rows.await?.into_iter().next();
        let silence = self.silence;
        let transaction = Transaction { session, silence };
        match &row {
            Some(row) if row.try_get::<_, i64>("epoch")? == self.owner => Ok(transaction),
            other => {
                let by = other
                    .as_ref()
                    .map_or_else(|| Ok("nobody".into()), describe)?;
                transaction.roll_back().await;
                self.successor.send_replace(Some(by.clone()));
                Err(Failure::TakenOver { by })
            }
        }
    }
}

/// What is acknowledged is on disk, whatever the default of the server or the role.
const BEGIN: &str = "BEGIN; SET LOCAL synchronous_commit TO on";

/// An owner, for people.
pub(super) fn describe(row: &Row) -> Result<String, Failure> {
    let (name, since): (String, String) = (row.try_get("name")?, row.try_get("since")?);
    Ok(format!("{name} (since {since})"))
}

impl Transaction {
    pub(super) async fn rows(
        &self,
        statement: &str,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, Failure> {
        let asked = self.session.query_typed(statement, parameters);
        answer(self.silence, async { Ok(asked.await?) }).await
    }

    /// The number of rows that were changed.
    pub(super) async fn change(
        &self,
        statement: &str,
        parameters: Parameters<'_>,
    ) -> Result<u64, Failure> {
        let asked = self.session.execute_typed(statement, parameters);
        answer(self.silence, async { Ok(asked.await?) }).await
    }

    pub(super) async fn commit(self) -> Result<(), End> {
        let asked = self.session.batch_execute("COMMIT");
        let ended = answer(self.silence, async { Ok(asked.await?) }).await;
        ended.map_err(|failure| match failure.kind() {
            // The server may have ended the session after it had committed.
            StoreErrorKind::Unreachable => End::Unknown(failure),
            // Any other error is its word that nothing was committed.
            _ => End::Failed(failure),
        })
    }

    /// Gives up, and the connection back. Should that fail, the connection goes, and with it the
    /// transaction.
    pub(super) async fn roll_back(self) {
        let asked = self.session.batch_execute("ROLLBACK");
        let _ = answer(self.silence, async { Ok(asked.await?) }).await;
    }
}

/// Waits for an answer, but no longer than the server may take.
pub(super) async fn answer<T>(
    silence: Duration,
    asked: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let silent = |_| {
        Err(Failure::Database {
            kind: StoreErrorKind::Unreachable,
            text: format!("no answer in {silence:?}"),
        })
    };
    tokio::time::timeout(silence, asked)
        .await
        .unwrap_or_else(silent)
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl End {
    pub(super) fn failure(self) -> Failure {
        match self {
            Self::Failed(failure) | Self::Unknown(failure) => failure,
        }
    }
}

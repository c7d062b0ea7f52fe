//! A connection and what is prepared on it.

use std::collections::HashMap;

use monitor_pool::Manager;
use monitor_pool::managers::postgres::tokio_postgres::types::ToSql;
use monitor_pool::managers::postgres::tokio_postgres::{self, Row, Statement};
use monitor_pool::managers::postgres::{PostgresConnection, PostgresError};

/// What every transaction here relies on, whatever the server's or the role's defaults are. And
/// unless somebody has set it, what ends one whose process is stopped or out of reach, since it
/// keeps jobs from everybody else: the server would notice after hours.
const SETTINGS: &str = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED, \
     READ WRITE; SET client_min_messages = warning; SET TimeZone = 'UTC'; \
     SELECT set_config('idle_in_transaction_session_timeout', '60s', false) \
     WHERE current_setting('idle_in_transaction_session_timeout') = '0'";

/// Makes sessions out of the connections of another manager.
#[derive(Debug)]
pub(super) struct Sessions<M>(pub(super) M);

/// A connection with its prepared statements, which live and die with it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) connection: PostgresConnection,
    /// By their text, which is always a constant of this crate.
    statements: HashMap<&'static str, Statement>,
}

impl<M> Manager for Sessions<M>
where
    M: Manager<Connection = PostgresConnection, Error = PostgresError>,
{
    type Connection = Session;
    type Error = PostgresError;

    async fn connect(&self) -> Result<Session, PostgresError> {
        let connection = self.0.connect().await?;
        connection
            .batch_execute(SETTINGS)
            .await
            .map_err(|source| PostgresError::Session {
                endpoint: "its start".to_owned(),
                source,
            })?;
        Ok(Session {
            connection,
            statements: HashMap::new(),
        })
    }

    async fn check(&self, session: Session) -> Result<Session, PostgresError> {
        let connection = self.0.check(session.connection).await?;
        Ok(Session {
            connection,
            statements: session.statements,
        })
    }

    fn is_quiescent(&self, session: &mut Session) -> bool {
        self.0.is_quiescent(&mut session.connection)
    }

    async fn close(&self, session: Session) {
        self.0.close(session.connection).await;
    }

    fn is_permanent(&self, error: &PostgresError) -> bool {
        self.0.is_permanent(error)
    }
}

impl Session {
    /// One statement in one round trip, after the first time.
    pub(super) async fn query(
        &mut self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        let statement = self.prepare(sql).await?;
        self.connection.query(&statement, parameters).await
    }

    pub(super) async fn prepare(
        &mut self,
        sql: &'static str,
    ) -> Result<Statement, tokio_postgres::Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.connection.prepare(sql).await?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }
}

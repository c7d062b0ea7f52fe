//! A look at a database that leaves it as it is.

use std::time::Duration;

use monitor_pool::Pool;
use monitor_pool::managers::postgres::PostgresManager;
use monitor_pool::managers::postgres::tokio_postgres::Config;

use super::PgJobs;
use super::failure::Failure;
use super::migrate::{self, SUPPORTED};
use super::session::Sessions;
use crate::{Schema, StoreError, StoreErrorKind};

const ACTION: &str = "look at the schema of the jobs";
/// How long the server may take to let the one session in.
const PATIENCE: Duration = Duration::from_secs(5);

impl PgJobs {
    /// Which schema of jobs the database has, which is left as it is. Without TLS.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    ///
    /// # Cancel safety
    /// Loses nothing.
    pub async fn schema(config: Config) -> Result<Schema, StoreError> {
        let denied = |source| StoreError {
            action: ACTION,
            kind: StoreErrorKind::Denied,
            source,
        };
        let manager = PostgresManager::new(config).map_err(|error| denied(Box::new(error)))?;
        let pool = Pool::builder(Sessions(manager))
            .name("schema")
            .max_size(1)
            .acquire_timeout(PATIENCE)
            .build()
            .map_err(|error| denied(Box::new(error)))?;
        let session = pool.acquire().await.map_err(Failure::from);
        let session = session.map_err(|failure| failure.doing(ACTION))?;
        let found = migrate::version(&session.connection).await;
        let found = found.map_err(|failure| failure.doing(ACTION))?;
        drop(session);
        pool.close(PATIENCE).await;
        let supported = SUPPORTED;
        Ok(Schema { found, supported })
    }
}

//! What is chosen when jobs in PostgreSQL are opened.

use std::time::Duration;

use crate::{StoreError, StoreErrorKind};

/// How jobs are kept in PostgreSQL.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PgOptions {
    /// Connections at most, 1 or more; 8 by default. One more is used to listen.
    pub max_connections: usize,
    /// How long a call waits for a connection, the first of all included; 10 s by default.
    pub acquire_timeout: Duration,
    /// Whether to listen for what other processes put in, and to tell them; true by default.
    /// Without it their workers find out when they ask next. Switch it off behind a pooler that
    /// gives a session to each transaction.
    pub listen: bool,
    /// Whether a job that completes leaves no row, unless jobs wait for it; false by default. Then
    /// it cannot be looked at any more, and a job that names it as a parent is refused. That it is
    /// done is remembered for the last call of its worker that completed some, and for up to 63
    /// before that: the fewer, the more workers complete jobs at the same time.
    pub forget_completed: bool,
}

impl Default for PgOptions {
    fn default() -> Self {
        Self {
            max_connections: 8,
            acquire_timeout: Duration::from_secs(10),
            listen: true,
            forget_completed: false,
        }
    }
}

impl PgOptions {
    /// How many connections the pool has, with the one that listens.
    pub(super) fn connections(&self) -> Result<usize, StoreError> {
        if self.max_connections == 0 {
            return Err(StoreError {
                action: "open jobs",
                kind: StoreErrorKind::Denied,
                source: "max_connections is 0: it must be 1 or more, since the connection that \
                    listens serves no calls"
                    .into(),
            });
        }
        let listening = usize::from(self.listen);
        Ok(self.max_connections.saturating_add(listening))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever listens serves no calls: without another connection none would ever be answered.
    #[test]
    fn some_connection_is_left_for_calls() {
        for listen in [true, false] {
            let options = |max_connections| PgOptions {
                max_connections,
                listen,
                ..PgOptions::default()
            };
            let refused = options(0).connections().unwrap_err();
            assert_eq!(refused.kind, StoreErrorKind::Denied);
            assert!(refused.to_string().contains("max_connections"), "{refused}");
            assert_eq!(options(1).connections().unwrap(), 1 + usize::from(listen));
            assert_eq!(options(usize::MAX).connections().unwrap(), usize::MAX);
        }
    }
}

//! Who may write: one store, the last one that took the right.
//!
//! Two things, and only the first is relied upon. The *epoch* in the row `owner` fences: see
//! INV-STORE-7. A session-level advisory lock says that an owner is still there, so that a second
//! store that is opened by mistake is refused instead of taking over.

use std::sync::Arc;
use std::time::Duration;

use monitor_pool::managers::postgres::tokio_postgres::types::Type;
use tokio::time::{Instant, sleep, timeout};

use super::failure::Failure;
use super::migrate;
use super::open_error::PostgresOpenError;
use super::options::PostgresOptions;
use super::session::{COMPONENT, Session, Sessions, describe};

/// How often to ask whether another owner has gone, and whether the own session is still there.
const ASK_EVERY: Duration = Duration::from_millis(100);
const LOOK_EVERY: Duration = Duration::from_secs(5);

const TRY_LOCK: &str = "SELECT pg_try_advisory_lock(
    hashtext('monitor-store owner'), hashtext(current_schema()))";

/// Takes the right to write. Returns its epoch, and the session that shows that the owner lives.
///
/// Nothing is changed, the schema included, before the lock says that nobody else is there.
pub(super) async fn take(
    sessions: &Sessions,
    options: &PostgresOptions,
) -> Result<(i64, Session), PostgresOpenError> {
    let place = options.shared_place();
    let at = |failure: Failure| PostgresOpenError::at(&place, &failure);
    let session = sessions.acquire_timeout(options.patience).await;
    let mut session = session.map_err(|error| at(error.into()))?;
    migrate::refuse_newer(&session, &place).await?;
    let until = Instant::now() + options.wait_for_owner;
    while !is_locked(&session).await.map_err(at)? && !options.take_over {
        if Instant::now() >= until {
            let owner = standing(&session).await;
            let owner = owner.unwrap_or_else(|_| "another program".into());
            return Err(PostgresOpenError::Owned { place, owner });
        }
        sleep(ASK_EVERY).await;
    }
    migrate::run(&mut session, &place).await?;
    let epoch = raise(&session, &options.name).await.map_err(at)?;
    Ok((epoch, session))
}

async fn is_locked(session: &Session) -> Result<bool, Failure> {
    Ok(session.query_one(TRY_LOCK, &[]).await?.try_get(0)?)
}

async fn standing(session: &Session) -> Result<String, Failure> {
    let owner = "SELECT name, to_char(since, 'YYYY-MM-DD HH24:MI:SS TZ') AS since
        FROM owner WHERE component = $1";
    let rows = session
        .query_typed(owner, &[(&COMPONENT, Type::TEXT)])
        .await?;
    rows.first()
        .map_or_else(|| Ok("another program".into()), describe)
}

/// INV-STORE-7: waits for every transaction of the former owner, by the lock that an update takes.
async fn raise(session: &Session, name: &str) -> Result<i64, Failure> {
    let raise = "INSERT INTO owner (component, epoch, name, since)
        VALUES ($1, 1, $2, clock_timestamp())
        ON CONFLICT (component) DO UPDATE SET
            epoch = owner.epoch + 1, name = excluded.name, since = excluded.since
        RETURNING epoch";
    let name = super::text::encode(name);
    let rows = session
        .query_typed(raise, &[(&COMPONENT, Type::TEXT), (&name, Type::TEXT)])
        .await?;
    let epoch = rows.first().map(|row| row.try_get("epoch")).transpose()?;
    epoch.ok_or_else(|| Failure::Unreadable {
        row: "owner".into(),
        column: "epoch",
        problem: "an insert returned no row".into(),
    })
}

/// Keeps showing that the owner lives, until it is aborted: by the lock, which is asked for again until
/// it is there. After a takeover the former owner may still have it for a while; and a lost session is
/// made again. Should another have the lock for good, the fence decides.
pub(super) async fn stay(sessions: Sessions, place: Arc<str>, session: Session) {
    let mut held = Some(session);
    let mut is_shown = false;
    loop {
        if let Some(session) = &held {
            let look = timeout(LOOK_EVERY, look(session, is_shown)).await;
            is_shown = matches!(look, Ok(Ok(true)));
            match look {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => tracing::debug!(%place, "another has the lock of the owner"),
                Ok(Err(_)) | Err(_) => held = None,
            }
        }
        if held.is_none() {
            held = sessions.acquire_timeout(LOOK_EVERY).await.ok();
        }
        let is_waiting = held.is_some() && !is_shown;
        sleep(if is_waiting { ASK_EVERY } else { LOOK_EVERY }).await;
    }
}

/// Whether the session has the lock; what had it has it for as long as it lives.
async fn look(session: &Session, is_shown: bool) -> Result<bool, Failure> {
    if is_shown {
        session.check_connection().await?;
        return Ok(true);
    }
    is_locked(session).await
}

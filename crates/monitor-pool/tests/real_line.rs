//! Commands over a real socket: no reply reaches the wrong caller.

#![cfg(feature = "line")]
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::pin::pin;
use std::time::Duration;

use monitor_pool::managers::line::{CallError, LineManager};
use monitor_pool::{ExecuteError, Pool};
use monitor_testkit::proxy::{Direction, Effect, Fault, Proxy};
use monitor_testkit::targets::LineServer;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

fn pool_of(max_size: usize, address: impl ToString) -> Pool<LineManager> {
    Pool::builder(LineManager::new(address.to_string()))
        .max_size(max_size)
        .build()
        .unwrap()
}

fn command(what: &str, payload: &str) -> Value {
    json!({"do": what, "payload": payload})
}

type Failure = ExecuteError<monitor_pool::managers::line::LineError, CallError>;

async fn execute(pool: &Pool<LineManager>, what: &str, payload: &str) -> Result<Value, Failure> {
    let command = command(what, payload);
    let executing = pool.execute(async |connection| connection.call(&command).await);
    tokio::time::timeout(PATIENCE, executing).await.unwrap()
}

/// STB-46, STB-47: the second command gets the one connection after the first.
#[tokio::test]
async fn commands_share_one_connection_one_after_the_other() {
    let server = LineServer::start().await.unwrap();
    let pool = pool_of(1, server.addr());
    for sequence in 1..=3 {
        let reply = execute(&pool, "echo", "hello").await.unwrap();
        assert_eq!(reply, json!({"payload": "hello", "sequence": sequence}));
    }
    assert_eq!(server.seen().connections, 1);
}

/// STB-48: many clients, a checked payload in each frame: none is mixed up, either way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_many_clients_never_mix() {
    const CLIENTS: usize = 64;
    const CONNECTIONS: usize = 8;
    let frames: usize =
        std::env::var("MONITOR_LINE_FRAMES").map_or(50, |frames| frames.parse().unwrap());
    let server = LineServer::start().await.unwrap();
    let pool = pool_of(CONNECTIONS, server.addr());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let pool = pool.clone();
            tokio::spawn(async move {
                for sequence in 0..frames {
                    // Longer than a write, so that two writers would show.
                    let payload = format!("{client}:{sequence}:").repeat(40);
                    let reply = execute(&pool, "echo", &payload).await.unwrap();
                    assert_eq!(reply["payload"], payload);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    let seen = server.seen();
    assert_eq!(seen.broken, 0, "{}", seen.last_broken);
    assert_eq!(seen.requests, (CLIENTS * frames) as u64);
    assert!(seen.most_open <= CONNECTIONS, "{}", seen.most_open);
}

/// STB-49 and redis/redis-py#2624, #2665, deadpool-rs/deadpool#97: a command that is cancelled after
/// it was written and before its reply was read takes its connection with it; the next caller never
/// sees the old reply.
#[tokio::test]
async fn a_reply_that_comes_late_reaches_nobody() {
    let server = LineServer::start().await.unwrap();
    let pool = pool_of(1, server.addr());
    {
        let late = command("late", "of the first caller");
        let mut first = pin!(pool.execute(async |connection| connection.call(&late).await));
        tokio::select! {
            _ = &mut first => panic!("nobody has answered"),
            _ = server.until(|seen| seen.requests == 1) => {}
        }
    }
    server.answer_late();
    let reply = execute(&pool, "echo", "of the second caller")
        .await
        .unwrap();
    assert_eq!(reply["payload"], "of the second caller");
    assert_eq!(server.seen().connections, 2);
}

/// STB-49: the same without `execute`: the connection itself knows that a reply is owed.
#[tokio::test]
async fn a_connection_that_owes_a_reply_refuses_calls_and_is_not_kept() {
    let server = LineServer::start().await.unwrap();
    let pool = pool_of(1, server.addr());
    let mut connection = pool.acquire().await.unwrap();
    let late = command("late", "");
    tokio::select! {
        _ = connection.call(&late) => panic!("nobody has answered"),
        _ = server.until(|seen| seen.requests == 1) => {}
    }
    let error = connection.call(&command("echo", "")).await.unwrap_err();
    assert!(matches!(error, CallError::NotClean), "{error}");
    drop(connection);
    execute(&pool, "echo", "").await.unwrap();
    assert_eq!(server.seen().connections, 2);
}

/// STB-48, STB-49: what the server does wrong is an error of the one call, and its connection is not
/// used again: half a reply, a reply too many, somebody else's, one without end.
#[tokio::test]
async fn a_server_that_breaks_the_protocol_spoils_one_call_only() {
    let server = LineServer::start().await.unwrap();
    let pool = pool_of(1, server.addr());
    let mut connections = 0;
    for (what, is_right) in [
        (
            "half",
            (|error| matches!(error, CallError::Closed { received } if *received > 0)) as Check,
        ),
        ("other", |error| {
            matches!(
                error,
                CallError::WrongId {
                    wanted: 1,
                    got: Some(2)
                }
            )
        }),
        ("endless", |error| {
            matches!(error, CallError::ReplyTooLong { .. })
        }),
    ] {
        let error = execute(&pool, what, "").await.unwrap_err();
        let ExecuteError::Operation(error) = error else {
            panic!("{error}");
        };
        assert!(is_right(&error), "{what}: {error}");
        connections += 1;
        assert_eq!(server.seen().connections, connections);
    }
    // One reply too many: the first one is the caller's, and the other one nobody's.
    let twice = execute(&pool, "twice", "first").await.unwrap();
    assert_eq!(twice["payload"], "first");
    for _ in 0..2 {
        // It may come only now. Then it has the wrong id, and the call fails.
        match execute(&pool, "echo", "second").await {
            Ok(reply) => assert_eq!(reply["payload"], "second"),
            Err(ExecuteError::Operation(CallError::WrongId { .. } | CallError::NotClean)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

type Check = fn(&CallError) -> bool;

/// STB-49: what does not fit a line is refused before a byte of it is sent; an error that the
/// server tells is no fault of the connection.
#[tokio::test]
async fn a_refused_command_leaves_the_connection_as_it_was() {
    let server = LineServer::start().await.unwrap();
    let manager = LineManager::new(server.addr().to_string()).max_line(200);
    let pool = Pool::builder(manager).max_size(1).build().unwrap();
    let mut connection = pool.acquire().await.unwrap();
    let error = connection
        .call(&command("echo", &"x".repeat(200)))
        .await
        .unwrap_err();
    assert!(
        matches!(error, CallError::RequestTooLong { max_line: 200, .. }),
        "{error}"
    );
    let error = connection.call(&command("fail", "")).await.unwrap_err();
    assert!(matches!(error, CallError::Server(_)), "{error}");
    let reply = connection.call(&command("echo", "fits")).await.unwrap();
    assert_eq!(reply["payload"], "fits");
    drop(connection);
    execute(&pool, "echo", "").await.unwrap();
    assert_eq!(server.seen().connections, 1);
}

/// STB-50: each way in which a connection breaks is an error of the call under way, and the next
/// call works.
#[tokio::test]
async fn however_a_connection_breaks_the_next_call_works() {
    let server = LineServer::start().await.unwrap();
    let effects = [Effect::Fin, Effect::Rst];
    for direction in [Direction::ToServer, Direction::ToClient] {
        for effect in effects {
            // In the middle of the first frame of the first connection.
            let proxy = Proxy::scripted(server.addr(), move |link| match link {
                0 => vec![Fault::new(direction, 5, effect)],
                _ => vec![],
            })
            .await
            .unwrap();
            let pool = pool_of(1, proxy.addr());
            let error = execute(&pool, "echo", "first").await.unwrap_err();
            assert!(
                matches!(
                    error,
                    ExecuteError::Operation(CallError::Closed { .. } | CallError::Io(_))
                ),
                "{error}"
            );
            let reply = execute(&pool, "echo", "second").await.unwrap();
            assert_eq!(reply, json!({"payload": "second", "sequence": 1}));
        }
    }
}

/// STB-30: a connection that the server has closed while it was idle is replaced by its check.
#[tokio::test]
async fn an_idle_connection_that_was_closed_is_not_handed_out() {
    let server = LineServer::start().await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let pool = Pool::builder(LineManager::new(proxy.addr().to_string()))
        .max_size(1)
        .check_if_idle_for(Some(Duration::ZERO))
        .build()
        .unwrap();
    execute(&pool, "echo", "first").await.unwrap();
    proxy.inject_all(Fault::new(Direction::ToClient, 0, Effect::Fin));
    // When the proxy has heard of the other end, this one has come too.
    server.until(|seen| seen.open.is_empty()).await;
    let reply = execute(&pool, "echo", "second").await.unwrap();
    assert_eq!(reply, json!({"payload": "second", "sequence": 1}));
}

//! Exchanges with a real PostgreSQL that really failed, seen through tokio-postgres.

mod support;

use std::time::Duration;

use monitor_fault::{Blame, Category, Fault, Layer, Reason};
use monitor_testkit::services::{Postgres, Shutdown};
use monitor_testkit::targets::{Refusing, Stuck};
use support::{row, row_of};
use tokio_postgres::{Client, Config, Error, NoTls};

fn config(postgres: &Postgres) -> Config {
    postgres.url().parse().expect("a valid URL")
}

async fn connect(config: &Config) -> Result<Client, Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn refused_with(config: &Config) -> Fault {
    let error = connect(config).await.map(drop).expect_err("refused");
    Fault::classify(&error, Layer::Connect)
}

/// ROB-54, ROB-59: a wrong password and an unknown role, by SCRAM over TCP.
#[tokio::test]
async fn wrong_credentials() {
    let postgres = Postgres::start().expect("a database");
    connect(&config(&postgres)).await.expect("the right ones");
    let expected = (
        Layer::Response,
        Reason::Unauthorized,
        Category::Authentication,
        Blame::Target,
    );
    let fault = refused_with(config(&postgres).password("wrong")).await;
    assert_eq!(row_of(&fault), expected);
    assert_eq!(
        fault.detail(),
        Some(r#"PostgreSQL 28P01: password authentication failed for user "monitor""#)
    );
    let fault = refused_with(config(&postgres).user("nobody")).await;
    assert_eq!(row_of(&fault), expected);
    assert!(!fault.is_retryable());
}

/// ROB-54: what is asked for is not there, or not allowed. The target cannot turn that into the
/// prober's fault (INV-FAULT-1), so a database that is being restored is down and not forgotten.
#[tokio::test]
async fn asked_for_the_wrong_thing() {
    let postgres = Postgres::start().expect("a database");
    let status = |reason, category| (Layer::Response, reason, category, Blame::Target);
    let fault = refused_with(config(&postgres).dbname("missing")).await;
    assert_eq!(
        row_of(&fault),
        status(Reason::Status, Category::Assertion),
        "{fault}"
    );
    assert!(!fault.is_retryable(), "a pool gives up at once");

    let client = connect(&config(&postgres)).await.expect("connected");
    let setup = "CREATE ROLE guest LOGIN PASSWORD 'guest'; CREATE TABLE secret (x int)";
    client.batch_execute(setup).await.expect("a superuser may");
    let guest = connect(config(&postgres).user("guest").password("guest")).await;
    let guest = guest.expect("connected");
    for (query, reason, category) in [
        ("SELECT * FROM missing", Reason::Status, Category::Assertion),
        ("no SQL at all", Reason::Status, Category::Assertion),
        (
            "SELECT * FROM secret",
            Reason::Forbidden,
            Category::Authentication,
        ),
    ] {
        let error = guest.batch_execute(query).await.expect_err(query);
        let expected = status(reason, category);
        assert_eq!(row(&error, Layer::Response), expected, "{query}");
    }
}

/// ROB-54: too many connections ask for fewer, and that is the target's limit, not the prober's.
#[tokio::test]
async fn too_many_connections() {
    let postgres = Postgres::start().expect("a database");
    let client = connect(&config(&postgres)).await.expect("connected");
    let setup = "CREATE ROLE guest LOGIN PASSWORD 'guest' CONNECTION LIMIT 1";
    client.batch_execute(setup).await.expect("a superuser may");
    let mut guest = config(&postgres);
    guest.user("guest").password("guest");
    let first = connect(&guest).await.expect("one is allowed");
    let fault = refused_with(&guest).await;
    let expected = (
        Layer::Response,
        Reason::RateLimited,
        Category::RateLimit,
        Blame::Target,
    );
    assert_eq!(row_of(&fault), expected, "{fault}");
    assert!(fault.is_retryable());
    drop(first);
}

/// ROB-54: the server gives up in time, runs into another transaction, or is told to end.
#[tokio::test]
async fn in_the_middle() {
    let mut postgres = Postgres::start().expect("a database");
    let client = connect(&config(&postgres)).await.expect("connected");
    let other = connect(&config(&postgres)).await.expect("connected");
    let place = |reason, category| (Layer::Response, reason, category, Blame::Target);

    let slow = "SET statement_timeout = 1; SELECT pg_sleep(60)";
    let error = client.batch_execute(slow).await.expect_err("too slow");
    assert_eq!(
        row(&error, Layer::Response),
        place(Reason::Timeout, Category::Timeout)
    );

    let table = "CREATE TABLE t (x int)";
    other.batch_execute(table).await.expect("a free name");
    let lock = "BEGIN; LOCK TABLE t";
    other.batch_execute(lock).await.expect("a free table");
    let error = client.batch_execute("BEGIN; LOCK TABLE t NOWAIT").await;
    let error = error.expect_err("it is locked");
    let fault = Fault::classify(&error, Layer::Response);
    assert_eq!(
        row_of(&fault),
        place(Reason::ServerError, Category::Assertion),
        "{fault}"
    );
    assert!(fault.is_retryable());

    // Told in the middle of a query: the server says so (57P01) and closes.
    let asleep = other.batch_execute("ROLLBACK; SELECT pg_sleep(60)");
    let watcher = connect(&config(&postgres)).await.expect("connected");
    let stop = async {
        let asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        // Asks until the other session is seen asleep.
        let mut seen = 0_i64;
        while seen == 0 {
            seen = watcher.query_one(asleep, &[]).await.expect("a row").get(0);
        }
        postgres.stop(Shutdown::Fast).expect("it stops");
    };
    let (told, ()) = tokio::join!(asleep, stop);
    let error = told.expect_err("told to end");
    assert_eq!(
        row(&error, Layer::Response),
        place(Reason::Closed, Category::Network)
    );
    // From now on the client knows that its connection is gone.
    let error = other.batch_execute("SELECT 1").await.expect_err("gone");
    assert!(error.is_closed());
    assert_eq!(
        row(&error, Layer::Response),
        place(Reason::Closed, Category::Network)
    );
    let fault = refused_with(&config(&postgres)).await;
    assert_eq!(fault.reason(), Reason::Refused, "{fault}");
}

/// ROB-54: below tokio-postgres's error is the socket's, or its own of a deadline.
#[tokio::test]
async fn connections() {
    let place = |reason, category, blame| (Layer::Connect, reason, category, blame);
    let to = |address: std::net::SocketAddr| {
        let mut config = Config::new();
        config
            .host(address.ip().to_string())
            .port(address.port())
            .user("nobody")
            .connect_timeout(Duration::from_millis(50));
        config
    };
    let refusing = Refusing::new().expect("a port");
    assert_eq!(
        row_of(&refused_with(&to(refusing.addr())).await),
        place(Reason::Refused, Category::Network, Blame::Target)
    );
    let stuck = Stuck::new().expect("a full queue");
    assert_eq!(
        row_of(&refused_with(&to(stuck.addr())).await),
        place(Reason::Timeout, Category::Timeout, Blame::Path)
    );
    let closing = support::says(b"").await;
    let fault = refused_with(&to(closing)).await;
    assert_eq!(fault.category(), Category::Network, "{fault}");
    assert_eq!(fault.blame(), Blame::Target);
}

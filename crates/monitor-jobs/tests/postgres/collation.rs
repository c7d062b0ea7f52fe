//! A database that sorts texts as people do: what the crate sorts by bytes is not mixed up.

use monitor_jobs::{Backend, Enqueued, JobState, Parent};
use monitor_pool::managers::postgres::tokio_postgres::Config;

use crate::call::new;
use crate::support::{Database, connect, open_in, quiet, server};

/// A database in which `a` stands before `B`.
async fn open() -> Database {
    let server = server();
    let mut config: Config = server.url().parse().unwrap();
    let sql = connect(&config).await;
    let create = "CREATE DATABASE english TEMPLATE template0
        LOCALE_PROVIDER icu ICU_LOCALE 'en-US'";
    sql.batch_execute(create).await.unwrap();
    config.dbname("english");
    let db = open_in(server, config, quiet()).await;
    let sorted = "SELECT count(*) FROM (SELECT 'a'::text < 'B'::text AS is) s WHERE s.is";
    assert_eq!(db.number(sorted).await, 1);
    db
}

/// JOB-3, JOB-17: each key is answered with its own job, and what nobody has is put in.
#[tokio::test]
async fn job_17_keys_are_those_of_their_jobs() {
    let db = open().await;
    let keyed = |key| new().unique_key(key);
    let first = db.put(keyed("a")).await;
    let put_in = db.jobs.enqueue(&[keyed("B"), keyed("a")]).await.unwrap();
    let Enqueued::New(second) = put_in[0] else {
        panic!("nobody had it: {put_in:?}");
    };
    assert_eq!(put_in[1], Enqueued::Existing(first));
    db.healthy().await;

    let child = new().after(Parent::Earlier(1));
    let put_in = db.jobs.enqueue(&[keyed("B"), keyed("a"), child]).await;
    let put_in = put_in.unwrap();
    let existing = [Enqueued::Existing(second), Enqueued::Existing(first)];
    assert_eq!(put_in[..2], existing);
    let child = db.jobs.job(put_in[2].id()).await.unwrap().unwrap();
    assert_eq!(child.parents[0].parent, first);
    assert_eq!(child.state, JobState::Blocked);
    assert_eq!(
        db.number("SELECT count(*) FROM job_unique WHERE job_id = 0")
            .await,
        0
    );
    db.healthy().await;
}

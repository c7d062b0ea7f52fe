//! What becomes of the records of a batch of which one cannot be written.

use monitor_model::StoreErrorKind;
use monitor_model::conformance::{id, up};

use super::*;
use crate::postgres::testing::Place;
use crate::postgres::{PostgresOptions, connect};
use crate::rollup::Horizons;

fn writer(database: Arc<Database>, queue: mpsc::Receiver<Message>, max_batch: usize) -> Writer {
    let options = PostgresOptions::new("postgres://u@localhost/d").unwrap();
    Writer {
        database,
        queue,
        max_batch,
        retention: Retention::new(&options, Horizons::NONE),
        counters: Arc::default(),
        waiting: VecDeque::new(),
        doubts: Doubts::new(),
        closing: Vec::new(),
        batches_since_slice: 0,
    }
}

/// What is remembered of records in doubt is forgotten with their monitor, so that it does not
/// grow with those that ever were.
#[test]
fn a_deleted_monitor_leaves_no_doubt() {
    let options = PostgresOptions::new("postgres://u@localhost/d").unwrap();
    let database = Database {
        sessions: connect(&options).unwrap(),
        place: "d".into(),
        owner: 1,
        patience: Duration::ZERO,
        successor: tokio::sync::watch::Sender::new(None),
        silence: Duration::ZERO,
    };
    let record = up("a", 1, 1000);
    let doubts = ["a", "b"].map(|name| (id(name), batch::Doubt::for_test(&record)));
    let (_, queue) = mpsc::channel(1);
    let mut writer = writer(Arc::new(database), queue, 1);
    writer.doubts = doubts.into();
    writer.accept(Message::Deleted(id("a")));
    assert_eq!(writer.doubts.keys().collect::<Vec<_>>(), [&id("b")]);
    assert!(writer.retention.is_pending());
}

/// From the second attempt to write lines on, and so many times, the server is away; a line with the
/// note "poison" it never takes.
fn poison_then_away(attempts: u32) -> String {
    format!(
        "CREATE SEQUENCE test_attempt;
         CREATE FUNCTION test_fail() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE
             -- A sequence is not rolled back.
             attempt int8 := nextval('test_attempt');
         BEGIN
             IF attempt > 1 AND attempt <= 1 + {attempts}::int8 THEN
                 RAISE EXCEPTION 'away' USING ERRCODE = '57P03';
             END IF;
             IF EXISTS (SELECT 1 FROM lines WHERE note = 'poison') THEN
                 RAISE EXCEPTION 'poison';
             END IF;
             RETURN NULL;
         END $$;
         CREATE TRIGGER test_fail AFTER INSERT ON history REFERENCING NEW TABLE AS lines
             FOR EACH STATEMENT EXECUTE FUNCTION test_fail()"
    )
}

/// A record for each monitor, that of "b" poisoned, as one batch that has `patience`; the server is
/// away for so many attempts. The kind of failure of each, if any, and how often it was tried.
async fn batch_of(
    monitors: &[&str],
    patience: Duration,
    away: u32,
) -> (Vec<Option<StoreErrorKind>>, i64) {
    let place = Place::with(monitors).await;
    place.without_upkeep().await;
    let fail = poison_then_away(away);
    place.sql().await.batch_execute(&fail).await.unwrap();
    let (send, queue) = mpsc::channel(monitors.len());
    let mut answers = Vec::new();
    for &name in monitors {
        let mut record = up(name, 1, 1000);
        if name == "b" {
            let poison = monitor_model::Observation::up().with_note("poison");
            let phases = monitor_model::Phases::default();
            record = Record::observed(id(name), record.epoch, 1000, poison, phases);
        }
        let (reply, answer) = oneshot::channel();
        let until = Instant::now() + patience;
        let asked = Asked {
            record,
            reply,
            until,
        };
        assert!(send.try_send(Message::Commit(Box::new(asked))).is_ok());
        answers.push(answer);
    }
    drop(send);
    let database = Arc::clone(&place.store.database);
    writer(database, queue, monitors.len()).run().await;
    let mut kinds = Vec::new();
    for answer in answers {
        kinds.push(answer.await.unwrap().err().map(|failure| failure.kind()));
    }
    let attempts = place.ask("SELECT last_value FROM test_attempt").await;
    (kinds, attempts)
}

/// OPS-19: the server goes away just when it is to be found out which record of a batch cannot be written:
/// the others are tried until their patience is over, not once.
#[tokio::test]
async fn an_outage_after_a_record_that_cannot_be_written_fails_no_other() {
    let minute = Duration::from_secs(60);
    let (kinds, attempts) = batch_of(&["a", "b", "c"], minute, 2).await;
    assert_eq!(kinds, [None, Some(StoreErrorKind::Other), None]);
    // Together; "a", and together again while the server is away; together, then each alone.
    assert_eq!(attempts, 1 + 2 + 1 + 3);
}

/// OPS-19: as above, and the server stays away: that is found out once and not for each record, so
/// that the writer is free for others.
#[tokio::test]
async fn an_outage_after_a_record_that_cannot_be_written_is_met_once() {
    let monitors = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let (kinds, attempts) = batch_of(&monitors, Duration::ZERO, u32::MAX).await;
    assert_eq!(kinds, [Some(StoreErrorKind::Unreachable); 8]);
    assert_eq!(attempts, 2);
}

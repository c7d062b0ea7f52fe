//! Incidents, the notices of them, and counts.

use std::time::Duration;

use monitor_operation::Epoch;

use super::{HOUR_MS, applied, down, id, monitor, refused, up};
use crate::{
    ClosedBy, Delivery, Incident, Lifecycle, NoticeKind, Outbox, Record, Refusal, Resolution,
    STUCK_ATTEMPTS, Settlement, Store, Unobserved,
};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3600);

async fn incidents(store: &dyn Store, name: &str) -> Vec<Incident> {
    store.incidents(&id(name), 100).await.unwrap()
}

async fn take(store: &dyn Store, lease: Duration) -> Vec<Delivery> {
    store.take_notices(100, lease).await.unwrap()
}

fn keys(deliveries: &[Delivery]) -> Vec<String> {
    let key = |delivery: &Delivery| delivery.notice.dedup_key();
    deliveries.iter().map(key).collect()
}

/// Opened by the first down, closed by the first up, and each leaves a notice.
pub(super) async fn inv_store_5_a_time_of_being_down_is_one_incident(store: &dyn Store) {
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    assert_eq!(applied(store, up("a", 1, 1000)).await.incident, None);
    let first = applied(store, down("a", 1, 2000)).await;
    let opened = *first.incident.unwrap();
    assert_eq!((opened.id, opened.opened_unix_ms), (first.sequence, 2003));
    assert_eq!(Some(&opened.fault), first.status.fault.as_ref());
    assert_eq!(applied(store, down("a", 1, 3000)).await.incident, None);
    let missed = Record::unobserved(id("a"), Epoch::new(1), 4000, 1, Unobserved::Overload);
    assert_eq!(applied(store, missed).await.incident, None);
    assert_eq!(incidents(store, "a").await, std::slice::from_ref(&opened));
    let closed = *applied(store, up("a", 1, 5000)).await.incident.unwrap();
    assert_eq!(
        (closed.id, closed.kind()),
        (opened.id, NoticeKind::Resolved)
    );
    assert_eq!(closed.closed.unwrap().unix_ms, 5000);
    assert_eq!(applied(store, up("a", 1, 6000)).await.incident, None);
    let second = *applied(store, down("a", 1, 7000)).await.incident.unwrap();
    assert!(second.id > closed.id, "ids rise");
    assert_eq!(incidents(store, "a").await, [closed, second.clone()]);
    assert_eq!(store.incidents(&id("a"), 1).await.unwrap(), [second]);
    assert!(incidents(store, "b").await.is_empty());
    assert_eq!(store.outbox().await.unwrap().waiting, 3);
}

/// Paused it stays open, deleted it is closed, refused it never was.
pub(super) async fn an_incident_outlives_a_pause_and_ends_with_its_monitor(store: &dyn Store) {
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    assert_eq!(refused(store, down("a", 7, 1000)).await, Refusal::Stale);
    assert!(incidents(store, "a").await.is_empty());
    assert_eq!(store.outbox().await.unwrap(), Outbox::default());
    let opened = *applied(store, down("a", 1, 1000)).await.incident.unwrap();
    for (lifecycle, epoch) in [(Lifecycle::Paused, 2), (Lifecycle::Active, 3)] {
        let changed = store
            .set_lifecycle(&id("a"), lifecycle, Epoch::new(epoch), None)
            .await;
        changed.unwrap();
    }
    let marked = Incident {
        paused: true,
        ..opened.clone()
    };
    assert_eq!(incidents(store, "a").await, std::slice::from_ref(&marked));
    assert_eq!(applied(store, down("a", 3, 2000)).await.incident, None);
    assert_eq!(
        store.outbox().await.unwrap().waiting,
        1,
        "a pause is no news"
    );
    store.delete(&id("a"), Epoch::new(4)).await.unwrap();
    assert!(
        incidents(store, "a").await.is_empty(),
        "gone with its monitor"
    );
    let taken = store.take_notices(1, LONG).await.unwrap();
    assert_eq!(taken[0].notice.incident, opened, "as it was then");
    let delivered = store.settle_notice(&taken[0], Settlement::Delivered).await;
    assert!(delivered.unwrap());
    let taken = take(store, LONG).await;
    let closed = taken[0].notice.incident.closed.unwrap();
    assert_eq!((closed.by, closed.unix_ms), (ClosedBy::Deletion, 2003));
    store.define(monitor("a"), Epoch::new(5)).await.unwrap();
    assert!(incidents(store, "a").await.is_empty(), "a new life");
}

/// Taken by one, in order; settled by who holds it, once; never gone unless it is settled.
pub(super) async fn inv_store_6_a_notice_is_settled_by_its_holder(store: &dyn Store) {
    assert!(take(store, LONG).await.is_empty());
    for name in ["a", "b"] {
        store.define(monitor(name), Epoch::new(1)).await.unwrap();
        applied(store, down(name, 1, 1000)).await;
    }
    applied(store, up("a", 1, 2000)).await;
    // A lease that is over at once: the next taker has it, and the first may settle no more.
    let first = take(store, Duration::ZERO).await;
    assert_eq!(
        keys(&first),
        ["1-opened", "2-opened"],
        "the recovery waits its turn"
    );
    let second = take(store, LONG).await;
    assert_eq!(keys(&second), keys(&first));
    assert_eq!((first[0].attempt, second[0].attempt), (1, 2));
    assert!(take(store, LONG).await.is_empty(), "all are held");
    for settlement in [
        Settlement::Delivered,
        Settlement::Retry(Duration::ZERO),
        Settlement::GivenUp,
    ] {
        let settled = store.settle_notice(&first[0], settlement).await.unwrap();
        assert!(!settled, "a stale sender settles nothing");
    }
    assert_eq!(store.outbox().await.unwrap().waiting, 3);
    // To be sent again, later: not held, and not to be had.
    let retry = store
        .settle_notice(&second[1], Settlement::Retry(LONG))
        .await;
    assert!(retry.unwrap());
    let late = store.settle_notice(&second[1], Settlement::Delivered).await;
    assert!(!late.unwrap(), "settled once");
    let delivered = store.settle_notice(&second[0], Settlement::Delivered).await;
    assert!(delivered.unwrap());
    let again = store.settle_notice(&second[0], Settlement::Delivered).await;
    assert!(!again.unwrap(), "settled once");
    let third = take(store, LONG).await;
    assert_eq!(keys(&third), ["1-resolved"]);
    let retry = store
        .settle_notice(&third[0], Settlement::Retry(Duration::ZERO))
        .await;
    assert!(retry.unwrap());
    let fourth = take(store, LONG).await;
    assert_eq!((keys(&fourth), fourth[0].attempt), (keys(&third), 2));
    assert!(take(store, LONG).await.is_empty());
}

/// What nobody manages to deliver is kept, counted and found, and holds up nothing behind it.
pub(super) async fn what_is_given_up_is_counted(store: &dyn Store) {
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    applied(store, down("a", 1, 1000)).await;
    applied(store, up("a", 1, 2000)).await;
    assert_eq!(store.doctor().await.unwrap(), []);
    for _ in 0..STUCK_ATTEMPTS {
        take(store, Duration::ZERO).await;
    }
    let found = store.doctor().await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].subject, "notice 1-opened");
    let taken = take(store, LONG).await;
    let settled = store.settle_notice(&taken[0], Settlement::GivenUp).await;
    assert!(settled.unwrap());
    let outbox = store.outbox().await.unwrap();
    assert_eq!((outbox.waiting, outbox.given_up), (1, 1));
    assert_eq!(keys(&take(store, LONG).await), ["1-resolved"]);
    let found = store.doctor().await.unwrap();
    assert!(found[0].detail.starts_with("given up"), "{found:?}");
}

/// Each span by its start, the last one left out, empty ones too.
pub(super) async fn counts_are_kept_by_minute_hour_and_day(store: &dyn Store) {
    store.define(monitor("a"), Epoch::new(1)).await.unwrap();
    let mut quick = up("a", 1, 1000);
    quick.took = Some(Duration::from_micros(300));
    let mut slow = up("a", 1, 59_000);
    slow.took = Some(Duration::from_micros(900));
    let missed = Record::unobserved(id("a"), Epoch::new(1), 2 * HOUR_MS, 6, Unobserved::Overload);
    for record in [quick, slow, down("a", 1, 60_000), missed] {
        applied(store, record).await;
    }
    let read = async |resolution, range| {
        let all = store.buckets(&id("a"), resolution, range).await.unwrap();
        let short = |bucket: &crate::Bucket| {
            let tally = bucket.tally;
            (bucket.start_unix_ms, tally.up, tally.down, tally.due)
        };
        all.iter().map(short).collect::<Vec<_>>()
    };
    let (all, late) = (i64::MIN..i64::MAX, 2 * HOUR_MS);
    let minutes = [(0, 2, 0, 2), (60_000, 0, 1, 1), (late, 0, 0, 6)];
    assert_eq!(read(Resolution::Minute, all.clone()).await, minutes);
    let hours = [(0, 2, 1, 3), (late, 0, 0, 6)];
    assert_eq!(read(Resolution::Hour, all.clone()).await, hours);
    assert_eq!(read(Resolution::Day, all.clone()).await, [(0, 2, 1, 9)]);
    assert_eq!(read(Resolution::Minute, 30_000..late).await, minutes[..2]);
    assert_eq!(read(Resolution::Minute, 60_000..60_000).await, []);
    assert_eq!(
        read(Resolution::Minute, late..0).await,
        [],
        "backwards is empty"
    );
    assert!(
        store
            .buckets(&id("b"), Resolution::Day, all.clone())
            .await
            .unwrap()
            .is_empty()
    );
    let first = store
        .buckets(&id("a"), Resolution::Minute, all)
        .await
        .unwrap()[0];
    let latency = first.latency;
    assert_eq!(
        (latency.count, latency.min_us, latency.max_us),
        (2, 300, 900)
    );
    assert_eq!(latency.mean_us(), Some(600));
}

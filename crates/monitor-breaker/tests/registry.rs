//! Breakers by key: apart from each other, bounded in number, and not all open at once.

use std::{
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use monitor_breaker::{Breaker, Cause, Config, Mode, Registry, RegistryBuilder, State};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn registry() -> RegistryBuilder<u32> {
    Registry::builder(Config::mail())
}

fn fail(breaker: &Breaker, now: Duration) {
    for _ in 0..5 {
        if let Ok(permit) = breaker.try_acquire(now) {
            permit.failure(now);
        }
    }
}

/// ROB-12: failing A does not open B; the same key is the same breaker, from any thread.
#[test]
fn one_breaker_per_key() {
    let registry = registry().build().expect("valid");
    let of_a: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| registry.get(&1, seconds(0))))
            .collect();
        let breakers = threads.into_iter();
        breakers
            .map(|breaker| breaker.join().expect("no panic"))
            .collect()
    });
    assert!(of_a.iter().all(|breaker| Arc::ptr_eq(breaker, &of_a[0])));
    fail(&of_a[0], seconds(0));
    assert_eq!(registry.get(&1, seconds(0)).state(seconds(0)), State::Open);
    assert_eq!(
        registry.get(&2, seconds(0)).state(seconds(0)),
        State::Closed
    );
    assert_eq!(registry.len(), 2);
    let mut states: Vec<_> = registry
        .snapshots(seconds(0))
        .into_iter()
        .map(|(key, snapshot)| (key, snapshot.state))
        .collect();
    states.sort_unstable_by_key(|(key, _)| *key);
    assert_eq!(states, [(1, State::Open), (2, State::Closed)]);
}

/// ROB-22: the listener is told the key, and may call the registry.
#[test]
fn the_listener_knows_the_key() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let registry = {
        let told = Arc::clone(&told);
        registry().listener(move |key, transition| {
            told.lock()
                .expect("listener")
                .push((*key, transition.cause));
        })
    };
    let registry = registry.build().expect("valid");
    for key in [7, 8] {
        fail(&registry.get(&key, seconds(0)), seconds(0));
    }
    let expected = [(7, Cause::FailureThreshold), (8, Cause::FailureThreshold)];
    assert_eq!(*told.lock().expect("listener"), expected);
}

/// ROB-12: a stream of new keys does not grow the registry; the least recently used go first, open
/// ones and those in somebody's hands stay.
#[test]
fn keys_are_evicted() {
    let registry = registry().max_keys(100).build().expect("valid");
    fail(&registry.get(&0, seconds(0)), seconds(0));
    let held = registry.get(&1, seconds(0));
    for key in 2..10_000_u32 {
        registry.get(&key, seconds(u64::from(key)));
        registry.get(&2, seconds(u64::from(key)));
        assert!(registry.len() <= 100);
    }
    let now = seconds(10_000);
    let keys: Vec<_> = registry
        .snapshots(now)
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    assert!([0, 1, 2, 9_999].iter().all(|key| keys.contains(key)));
    assert!(keys.iter().all(|key| *key < 3 || *key > 9_850), "{keys:?}");
    assert!(Arc::ptr_eq(&held, &registry.get(&1, now)));
    drop(held);
    // What is idle goes on demand.
    assert!(registry.evict_idle(seconds(50), now) > 0);
    assert_eq!(registry.evict_idle(seconds(50), now), 0);
    assert!(registry.len() < 60 && !registry.is_empty());
}

/// ROB-12: where every breaker is held, the registry grows rather than part two holders of a key.
#[test]
fn held_breakers_are_never_evicted() {
    let registry = registry().max_keys(2).build().expect("valid");
    let held: Vec<_> = (0..5).map(|key| registry.get(&key, seconds(0))).collect();
    assert_eq!(registry.len(), 5);
    for (breaker, key) in held.iter().zip(0..) {
        assert!(Arc::ptr_eq(breaker, &registry.get(&key, seconds(0))));
    }
    drop(held);
    registry.get(&9, seconds(1));
    assert_eq!(registry.len(), 5);
}

/// ROB-12, ROB-19: INV-BREAKER-10: when everything fails at once, at most the given share opens,
/// and always one; the others stay closed, count what was suppressed, and open when there is room.
#[test]
fn inv_breaker_10_no_more_are_open_than_may_be() {
    let registry = registry().max_open_percent(30).build().expect("valid");
    let breakers: Vec<_> = (0..10).map(|key| registry.get(&key, seconds(0))).collect();
    breakers
        .iter()
        .for_each(|breaker| fail(breaker, seconds(0)));
    let states = |now| -> Vec<_> { breakers.iter().map(|breaker| breaker.state(now)).collect() };
    let open = states(seconds(0))
        .iter()
        .filter(|state| **state == State::Open)
        .count();
    assert_eq!((open, registry.open()), (3, 3), "INV-BREAKER-10");
    assert_eq!(breakers[9].snapshot(seconds(0)).suppressed_openings, 1);
    // Half-open it holds its place; closed, dropped or reset it gives it back.
    let trial = breakers[0].try_acquire(seconds(60)).expect("a trial");
    assert_eq!(registry.open(), 3);
    trial.success(seconds(60));
    breakers[1].reset(seconds(60));
    assert_eq!(registry.open(), 1, "INV-BREAKER-10");
    fail(&breakers[9], seconds(61));
    assert_eq!(breakers[9].state(seconds(61)), State::Open);
    // By hand there is no limit.
    breakers[4..9].iter().for_each(|breaker| {
        assert!(breaker.trip(seconds(61)));
    });
    drop(breakers);
    assert_eq!(registry.open(), 2);
    drop(registry);
    let few = self::registry().max_open_percent(1).build().expect("valid");
    fail(&few.get(&0, seconds(0)), seconds(0));
    fail(&few.get(&1, seconds(0)), seconds(0));
    assert_eq!(few.open(), 1, "always one");
}

/// ROB-12, ROB-26: INV-BREAKER-10: a shadow refuses nobody, so it takes no place from those that do.
#[test]
fn inv_breaker_10_a_shadow_takes_no_place() {
    let registry = registry().max_open_percent(1).build().expect("valid");
    let [shadow, other] = [1, 2].map(|key| registry.get(&key, seconds(0)));
    shadow.set_mode(Mode::Shadow, seconds(0));
    fail(&shadow, seconds(0));
    assert_eq!(
        (shadow.state(seconds(0)), registry.open()),
        (State::Open, 0)
    );
    fail(&other, seconds(0));
    assert_eq!((other.state(seconds(0)), registry.open()), (State::Open, 1));
}

/// ROB-12: what was asked for longest ago goes first: by the last time, not by the first.
#[test]
fn the_least_recently_used_goes_first() {
    let registry = registry().max_keys(3).build().expect("valid");
    for (key, at) in [(1, 0), (2, 1), (3, 2), (1, 3), (4, 4), (2, 1), (5, 5)] {
        registry.get(&key, seconds(at));
    }
    let snapshots = registry.snapshots(seconds(5));
    let mut keys: Vec<_> = snapshots.into_iter().map(|(key, _)| key).collect();
    keys.sort_unstable();
    // 4 put out 2, which came back in place of 3, and went again for 5.
    assert_eq!(keys, [1, 4, 5]);
}

/// ROB-12: an idle breaker that is open is kept: its target would be called at once.
#[test]
fn what_is_idle_and_open_is_kept() {
    let registry = registry().build().expect("valid");
    registry.get(&1, seconds(0));
    fail(&registry.get(&2, seconds(0)), seconds(0));
    assert_eq!(registry.evict_idle(seconds(1), seconds(30)), 1);
    assert_eq!(
        registry.get(&2, seconds(30)).state(seconds(30)),
        State::Open
    );
}

/// INV-BREAKER-10: threads that open at once do not exceed the share either.
#[test]
fn inv_breaker_10_places_are_not_given_twice() {
    let registry = registry().max_open_percent(25).build().expect("valid");
    let breakers: Vec<_> = (0..16).map(|key| registry.get(&key, seconds(0))).collect();
    for round in 0..20 {
        thread::scope(|scope| {
            for half in breakers.chunks(8) {
                scope.spawn(move || {
                    half.iter()
                        .for_each(|breaker| fail(breaker, seconds(round)))
                });
            }
        });
        assert_eq!(registry.open(), 4, "INV-BREAKER-10");
        breakers.iter().for_each(|breaker| {
            breaker.reset(seconds(round));
        });
        assert_eq!(registry.open(), 0, "INV-BREAKER-10");
    }
}

#[test]
fn the_builder_refuses_what_makes_no_sense() {
    let refused = |builder: RegistryBuilder<u32>| builder.build().expect_err("refused").to_string();
    assert_eq!(
        refused(registry().max_keys(0)),
        "max_keys is 0; it must be at least 1"
    );
    for percent in [0, 101, 255] {
        let expected = format!("max_open_percent is {percent}; it must be 1 to 100");
        assert_eq!(refused(registry().max_open_percent(percent)), expected);
    }
}

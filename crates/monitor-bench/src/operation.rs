//! An operation from begin to commit, next to a table behind one lock that could do no less.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use monitor_operation::{Epoch, Operations};

use crate::plan::{Plan, Subjects};

const KEYS: u64 = 10_000;

pub(crate) fn plan(plan: &mut Plan) {
    for threads in [1, 2] {
        let workload = format!("begin, commit, drop; {KEYS} keys, {threads}T");
        plan.workload(workload, move |subjects| {
            ours(subjects, threads);
            floor(subjects, threads);
        });
    }
}

fn ours(subjects: &mut Subjects, threads: usize) {
    let operations = Operations::with_seed(1);
    for key in 0..KEYS {
        operations.register(key, Epoch::new(1)).expect("a new key");
    }
    let first = AtomicU64::new(0);
    subjects.threads(threads, "monitor-operation", || {
        let operations = operations.clone();
        let mut keys = keys(&first, threads);
        move |times| {
            for _ in 0..times {
                let operation = operations.begin(&keys()).expect("a known key");
                black_box(operation.commit(|| black_box(1))).expect("the epoch is current");
            }
        }
    });
}

/// Each key's epoch, and the keys of the open operations by id.
#[derive(Default)]
struct Table {
    epochs: HashMap<u64, u64>,
    open: HashMap<u64, u64>,
    next: u64,
}

fn floor(subjects: &mut Subjects, threads: usize) {
    let epochs = (0..KEYS).map(|key| (key, 1)).collect();
    let table = Arc::new(Mutex::new(Table {
        epochs,
        ..Table::default()
    }));
    let first = AtomicU64::new(0);
    subjects.threads(threads, "floor: hash map behind one lock", || {
        let table = Arc::clone(&table);
        let mut keys = keys(&first, threads);
        move |times| {
            for _ in 0..times {
                let key = keys();
                let (id, epoch) = {
                    let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
                    table.next += 1;
                    let (id, epoch) = (table.next, table.epochs[&key]);
                    table.open.insert(id, key);
                    (id, epoch)
                };
                let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
                table.open.remove(&id);
                assert!(table.epochs[&key] == epoch);
                black_box(1);
            }
        }
    });
}

/// The keys that one thread uses, one after the other: no two threads have one in common.
fn keys(first: &AtomicU64, threads: usize) -> impl FnMut() -> u64 + Send + use<> {
    let step = threads as u64;
    let mut key = first.fetch_add(1, Ordering::Relaxed) % step;
    move || {
        key += step;
        if key >= KEYS {
            key %= step;
        }
        key
    }
}

//! What one acquire and release costs: idle, and with many waiting. Compared with other pools by
//! `cargo xtask bench pool`.

use std::{convert::Infallible, hint::black_box, sync::Mutex, time::Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use monitor_pool::{Manager, Pool};
use tokio::runtime::{Builder, Runtime};

struct Units;

impl Manager for Units {
    type Connection = u64;
    type Error = Infallible;

    async fn connect(&self) -> Result<u64, Infallible> {
        Ok(1)
    }
}

#[expect(clippy::disallowed_methods, reason = "this measures")]
fn now() -> Instant {
    Instant::now()
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).enable_all();
    builder.build().expect("a runtime of two workers")
}

fn pool(max_size: usize) -> Pool<Units> {
    let builder = Pool::builder(Units).max_size(max_size);
    builder.build().expect("settings that fit")
}

/// What nothing can be faster than: two lockings with a pop and a push.
fn floor(criterion: &mut Criterion) {
    let stack = Mutex::new(vec![1_u64]);
    criterion.bench_function("floor", |bencher| {
        bencher.iter(|| {
            let taken = stack.lock().ok().and_then(|mut stack| stack.pop());
            if let (Some(taken), Ok(mut stack)) = (black_box(taken), stack.lock()) {
                stack.push(taken);
            }
        });
    });
}

fn uncontended(criterion: &mut Criterion) {
    let (runtime, pool) = (runtime(), pool(16));
    criterion.bench_function("uncontended", |bencher| {
        bencher.iter_custom(|rounds| {
            runtime.block_on(async {
                drop(pool.acquire().await);
                let started = now();
                for _ in 0..rounds {
                    black_box(pool.acquire().await.is_ok());
                }
                started.elapsed()
            })
        });
    });
}

async fn rounds_of(pool: Pool<Units>, rounds: u64) {
    for _ in 0..rounds {
        let object = pool.acquire().await;
        tokio::task::yield_now().await;
        drop(object);
    }
}

/// Each holder yields once; so many tasks on so many connections.
fn queued(criterion: &mut Criterion) {
    for (tasks, size) in [(2, 16), (64, 8), (1000, 4)] {
        let (runtime, pool) = (runtime(), pool(size));
        criterion.bench_function(&format!("{tasks} tasks, {size} connections"), |bencher| {
            bencher.iter_custom(|rounds| {
                let each = rounds / tasks + 1;
                let started = now();
                runtime.block_on(async {
                    let tasks: Vec<_> = (0..tasks)
                        .map(|_| tokio::spawn(rounds_of(pool.clone(), each)))
                        .collect();
                    for task in tasks {
                        assert!(task.await.is_ok());
                    }
                });
                let rounded_up = (each * tasks) as f64 / rounds as f64;
                started.elapsed().div_f64(rounded_up)
            });
        });
    }
}

criterion_group!(benches, floor, uncontended, queued);
criterion_main!(benches);

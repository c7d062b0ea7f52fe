//! The pool at work, from outside.
#![allow(clippy::unwrap_used, reason = "helpers outside of #[test] functions")]

use std::{convert::Infallible, time::Duration};

use monitor_pool::{Manager, Pool};

struct Numbers;

impl Manager for Numbers {
    type Connection = u32;
    type Error = Infallible;

    async fn connect(&self) -> Result<u32, Infallible> {
        Ok(7)
    }
}

#[tokio::test]
async fn acquire_release_and_wait() {
    let pool = Pool::builder(Numbers).max_size(1).build().unwrap();
    let first = pool.acquire().await.unwrap();
    assert_eq!(*first, 7);
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.acquire().await.map(|object| object.id()).unwrap() }
    });
    tokio::task::yield_now().await;
    let id = first.id();
    drop(first);
    assert_eq!(waiting.await.unwrap(), id);
    let seven = pool.execute(async |n| Ok::<_, ()>(*n)).await.unwrap();
    assert_eq!(seven, 7);
    let spawned = tokio::spawn({
        let pool = pool.clone();
        async move { pool.execute(async |n| Ok::<_, ()>(*n)).await.unwrap() }
    });
    spawned.await.unwrap();
    let report = pool.close(Duration::from_secs(1)).await;
    assert!(report.is_clean(), "{report:?}");
}

//! What tokio says of deadlines and tasks.

mod support;

use std::future::pending;
use std::io;
use std::time::Duration;

use monitor_fault::{Blame, Category, Fault, Layer, Reason};
use support::row;
use tokio::time::timeout;

/// ROB-54: tokio's own timeout, as it is and inside an I/O error.
#[tokio::test]
async fn elapsed() {
    let elapsed = timeout(Duration::ZERO, pending::<()>())
        .await
        .expect_err("never ready");
    let expected = (
        Layer::Response,
        Reason::Timeout,
        Category::Timeout,
        Blame::Target,
    );
    assert_eq!(row(&elapsed, Layer::Response), expected);
    let wrapped = io::Error::other(elapsed);
    assert_eq!(row(&wrapped, Layer::Response), expected);
    assert_eq!(
        Fault::classify(&wrapped, Layer::Connect).blame(),
        Blame::Path
    );
}

/// ROB-53, ROB-54: a task that panicked is the prober's failure, one that was called off is none.
#[tokio::test]
async fn tasks() {
    let panicked = tokio::spawn(async { panic!("a slip in a check") });
    let expected = (
        Layer::Process,
        Reason::Panicked,
        Category::Internal,
        Blame::Prober,
    );
    let error = panicked.await.expect_err("it panics");
    assert_eq!(row(&error, Layer::Response), expected);

    let endless = tokio::spawn(pending::<()>());
    endless.abort();
    let expected = (
        Layer::Process,
        Reason::Cancelled,
        Category::Cancelled,
        Blame::Prober,
    );
    let error = endless.await.expect_err("it is aborted");
    assert_eq!(row(&error, Layer::Response), expected);
}

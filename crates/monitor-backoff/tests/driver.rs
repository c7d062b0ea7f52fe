//! The drivers: what they wait for, what they report, and what a dropped call leaves behind.

use std::{
    cell::Cell,
    error::Error,
    fmt,
    future::{Future, pending},
    pin::pin,
    rc::Rc,
    time::Duration,
};

use monitor_backoff::{
    Class, Disposition, Policy, Retry, RetryBudget, RetryBuilder, RetryError, Stop,
};
use tokio::time::{Instant, timeout};

#[derive(Debug, PartialEq)]
enum Fetch {
    Down,
    NotFound,
    Busy(Duration),
}

impl fmt::Display for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fetch: {self:?}")
    }
}

impl Error for Fetch {}

fn classify(error: &Fetch) -> Disposition {
    match error {
        Fetch::Down => Disposition::TRANSIENT,
        Fetch::NotFound => Disposition::Permanent,
        Fetch::Busy(after) => Disposition::RetryAfter(Class::Throttled, *after),
    }
}

/// Waits of 1, 2, 4, 8, 10 s.
fn socket() -> RetryBuilder {
    Retry::builder(Policy::socket())
}

fn retry(settings: RetryBuilder) -> Retry {
    settings.build().expect("valid")
}

fn budget(tokens: u32) -> RetryBudget {
    let builder = RetryBudget::builder().ratio_per_mille(1);
    let builder = builder.min_per_second(tokens).capacity(tokens);
    builder.cost(Class::Throttled, 1).build().expect("valid")
}

/// ROB-96, ROB-98: attempts until one succeeds, with the waits of the policy between them.
#[tokio::test(start_paused = true)]
async fn a_call_is_repeated_until_it_succeeds() {
    let retry = retry(socket());
    let (begun, calls, mut told) = (Instant::now(), Cell::new(0), Vec::new());
    let result = retry
        .call(async || {
            calls.set(calls.get() + 1);
            if calls.get() < 3 {
                Err(Fetch::Down)
            } else {
                Ok(calls.get())
            }
        })
        .classify(classify)
        .on_retry(|event| told.push((event.attempt, event.after.as_secs())))
        .run()
        .await;
    assert_eq!(result, Ok(3));
    assert_eq!(told, [(1, 1), (2, 2)]);
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
    assert_eq!(retry.stats().recovered, 1);
}

/// ROB-97: the last error is kept, the reason is typed, and the source is the error itself.
#[tokio::test(start_paused = true)]
async fn the_error_says_what_and_why() {
    let retry = retry(socket());
    let error: RetryError<Fetch> = retry
        .call(async || Err::<(), _>(Fetch::NotFound))
        .classify(classify)
        .run()
        .await
        .expect_err("not found");
    assert_eq!((error.attempts, error.stop), (1, Stop::Permanent));
    let source = error.source().map(ToString::to_string);
    assert_eq!(source.as_deref(), Some("fetch: NotFound"));
}

/// ROB-96: closures that return futures are operations too, and the whole can be spawned.
#[tokio::test(start_paused = true)]
async fn a_call_can_be_spawned() {
    async fn fetch(number: u32) -> Result<u32, Fetch> {
        tokio::task::yield_now().await;
        if number == 7 {
            Err(Fetch::Down)
        } else {
            Ok(number)
        }
    }
    let retry = retry(socket().max_attempts(2));
    let spawned = tokio::spawn(async move {
        // Borrowed from the future that is spawned.
        let mut number = 6;
        let call = retry.call(|| {
            number += 1;
            fetch(number)
        });
        call.classify(classify).run().await
    });
    assert_eq!(spawned.await.expect("no panic"), Ok(8));
}

/// ROB-96: INV-BACKOFF-6: the call ends when it knows that it cannot succeed in time, not at its
/// deadline.
#[tokio::test(start_paused = true)]
async fn inv_backoff_6_a_call_does_not_sleep_into_its_deadline() {
    let retry = retry(socket().max_attempts(50).total(Duration::from_secs(10)));
    let begun = Instant::now();
    let error = retry.call(async || Err::<(), _>(Fetch::Down)).run().await;
    // At 0, 1, 3 and 7 s; the next one would be at 15 s.
    assert_eq!(begun.elapsed(), Duration::from_secs(7));
    let stop = error.expect_err("down").stop;
    assert!(matches!(stop, Stop::Deadline { .. }), "{stop:?}");
    let begun = Instant::now();
    let call = retry.call(async || Err::<(), _>(Fetch::Down));
    assert!(call.within(Duration::from_secs(2)).run().await.is_err());
    assert_eq!(begun.elapsed(), Duration::from_secs(1));
}

/// ROB-96: the target's own wait is kept to.
#[tokio::test(start_paused = true)]
async fn a_busy_target_is_left_alone() {
    let retry = retry(socket().max_attempts(2));
    let begun = Instant::now();
    let busy = async || Err::<(), _>(Fetch::Busy(Duration::from_secs(20)));
    let error = retry.call(busy).classify(classify).run().await;
    assert!(error.is_err());
    assert!((20..=22).contains(&begun.elapsed().as_secs()));
}

/// ROB-96: INV-BACKOFF-5: a call that is dropped while it waits gives its token back; while it is
/// held, others do not get it.
#[tokio::test(start_paused = true)]
async fn inv_backoff_5_a_dropped_wait_returns_its_token() {
    let budget = budget(1);
    let retry = retry(socket().budget(budget.clone()));
    let sleeping = retry.call(async || Err::<(), _>(Fetch::Down)).run();
    let mut sleeping = Box::pin(sleeping);
    let half = Duration::from_millis(500);
    assert!(
        timeout(half, sleeping.as_mut()).await.is_err(),
        "it waits for 1 s"
    );
    assert_eq!(budget.stats().balance_milli, 0, "the token is held");
    let other = retry.call(async || Err::<(), _>(Fetch::Down)).run().await;
    assert!(other.expect_err("no token").stop.is_local());
    drop(sleeping);
    assert_eq!(budget.stats().balance_milli, 1000);
    assert_eq!(budget.stats().returned, 1);
}

/// ROB-96: INV-BACKOFF-5: a retry that hangs and is dropped has spent its token, so that callers
/// with timeouts cannot retry without end.
#[tokio::test(start_paused = true)]
async fn inv_backoff_5_a_dropped_attempt_has_spent_its_token() {
    let budget = budget(1);
    let retry = retry(socket().budget(budget.clone()));
    let calls = Cell::new(0);
    let hangs = async || {
        calls.set(calls.get() + 1);
        if calls.get() == 2 {
            pending::<()>().await;
        }
        Err::<(), _>(Fetch::Down)
    };
    let call = timeout(Duration::from_millis(1100), retry.call(hangs).run());
    assert!(call.await.is_err());
    assert_eq!(calls.get(), 2);
    assert_eq!(budget.stats().returned, 0);
    assert_eq!(budget.stats().balance_milli, 0);
}

/// ROB-96: callers that share a budget cannot multiply an outage: 100 calls of 10 attempts each
/// are 1000 attempts without a budget, and 100 + 20 + 10 with one.
#[tokio::test(start_paused = true)]
async fn a_budget_bounds_the_load_of_an_outage() {
    let budget = RetryBudget::builder()
        .ratio_per_mille(200)
        .min_per_second(10)
        .build();
    let policy = Policy::exponential(Duration::from_nanos(1), Duration::from_nanos(1));
    let retry = Retry::builder(policy.build().expect("valid")).max_attempts(10);
    let retry = retry.budget(budget.expect("valid")).build().expect("valid");
    for _ in 0..100 {
        let result = retry.call(async || Err::<(), _>(Fetch::Down)).run().await;
        assert!(result.is_err());
    }
    // Each wait is a tick of the paused clock: at most 30 ms of reserve, less than a token.
    assert_eq!(retry.stats().attempts, 130);
}

/// ROB-96: the same without a runtime.
#[test]
fn a_blocking_call_is_repeated_on_its_thread() {
    let policy = Policy::exponential(Duration::from_nanos(1), Duration::from_nanos(8));
    let retry = retry(Retry::builder(policy.build().expect("valid")).max_attempts(4));
    let (mut calls, mut told) = (0, 0);
    let call = retry.call_blocking(|| {
        calls += 1;
        Err::<(), _>(if calls < 3 {
            Fetch::Down
        } else {
            Fetch::NotFound
        })
    });
    let error = call
        .classify(classify)
        .on_retry(|_| told += 1)
        .run_blocking();
    let error = error.expect_err("not found");
    assert_eq!((error.attempts, error.stop, told), (3, Stop::Permanent, 2));
    assert_eq!(error.last, Fetch::NotFound);
}

/// ROB-96: the error of an attempt is gone before its wait, which may be long.
#[tokio::test(start_paused = true)]
async fn an_error_is_not_kept_through_a_wait() {
    struct Large(Rc<Cell<u32>>);
    impl Drop for Large {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let (retry, dropped) = (retry(socket()), Rc::new(Cell::new(0)));
    let attempt = || std::future::ready(Err::<(), _>(Large(Rc::clone(&dropped))));
    let mut call = pin!(retry.call(attempt).run());
    let waiting = timeout(Duration::from_millis(500), call.as_mut()).await;
    assert!(waiting.is_err());
    assert_eq!(dropped.get(), 1);
}

/// The future of a call can move between threads when its parts can.
#[test]
fn the_future_is_send() {
    fn assert_send<F: Future + Send>(future: F) -> F {
        future
    }
    let retry = retry(socket());
    let call = retry.call(async || Ok::<_, Fetch>(1)).classify(classify);
    drop(assert_send(call.on_retry(|_| {}).run()));
}

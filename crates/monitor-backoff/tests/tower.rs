//! The layer as users of tower expect it: readiness is honoured, clones are cheap and apart, the
//! error stays the service's own.

use std::{
    cell::RefCell,
    future::{Future, Ready, poll_fn, ready},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use monitor_backoff::{
    Class, Disposition, Policy, Retry, RetryBudget, RetryBuilder, RetryEvent, Stop,
    tower::{RetryLayer, RetryRules, RetryService},
};
use tokio::time::{Instant, timeout};
use tower_layer::Layer;
use tower_service::Service;

type Answer = Result<u16, &'static str>;

/// What happened to all clones of a service together.
#[derive(Default)]
struct Seen {
    requests: Vec<String>,
    clones: u32,
    readied: u32,
}

/// Answers by a script. Panics when called without having been polled ready, as many services do.
struct Scripted {
    answers: Rc<Vec<Answer>>,
    seen: Rc<RefCell<Seen>>,
    is_ready: bool,
}

impl Scripted {
    fn new(answers: impl Into<Vec<Answer>>) -> (Self, Rc<RefCell<Seen>>) {
        let seen = Rc::<RefCell<Seen>>::default();
        let service = Scripted {
            answers: Rc::new(answers.into()),
            seen: Rc::clone(&seen),
            is_ready: false,
        };
        (service, seen)
    }
}

impl Clone for Scripted {
    fn clone(&self) -> Self {
        self.seen.borrow_mut().clones += 1;
        Scripted {
            answers: Rc::clone(&self.answers),
            seen: Rc::clone(&self.seen),
            is_ready: false,
        }
    }
}

impl Service<String> for Scripted {
    type Response = u16;
    type Error = &'static str;
    type Future = Ready<Answer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.is_ready = true;
        self.seen.borrow_mut().readied += 1;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: String) -> Self::Future {
        assert!(self.is_ready, "called before it was ready");
        self.is_ready = false;
        let mut seen = self.seen.borrow_mut();
        seen.requests.push(request);
        ready(self.answers[seen.requests.len() - 1])
    }
}

/// 503 and errors are worth a retry, 404 is not, and 429 asks for 20 s.
fn rules(result: &Answer) -> Option<Disposition> {
    match result {
        Ok(503) | Err(_) => Some(Disposition::TRANSIENT),
        Ok(429) => Some(Disposition::RetryAfter(
            Class::Throttled,
            Duration::from_secs(20),
        )),
        Ok(404) => Some(Disposition::Permanent),
        Ok(_) => None,
    }
}

/// Waits of 1, 2, 4, ... s.
fn settings() -> RetryBuilder {
    Retry::builder(Policy::socket())
}

fn layered<R: Clone>(
    settings: RetryBuilder,
    rules: R,
    service: Scripted,
) -> RetryService<Scripted, R> {
    RetryLayer::new(settings.build().expect("valid"), rules).layer(service)
}

async fn send<S: Service<String>>(service: &mut S) -> Result<S::Response, S::Error> {
    poll_fn(|cx| service.poll_ready(cx)).await?;
    service.call("hello".to_owned()).await
}

/// ROB-96: a response can be worth a retry, and the request is sent again as it was.
#[tokio::test(start_paused = true)]
async fn a_request_is_repeated_until_it_succeeds() {
    let (inner, seen) = Scripted::new([Ok(503), Err("reset"), Ok(200)]);
    let mut service = layered(settings(), rules, inner);
    let begun = Instant::now();
    assert_eq!(send(&mut service).await, Ok(200));
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
    let seen = seen.borrow();
    assert_eq!(seen.requests, ["hello"; 3]);
    assert_eq!(seen.readied, 3, "polled ready before every attempt");
    assert_eq!(
        seen.clones, 1,
        "one clone stays behind, whatever the number of attempts"
    );
}

/// ROB-96: what is given up is returned as the last attempt returned it.
#[tokio::test(start_paused = true)]
async fn response_and_error_stay_the_services_own() {
    for (answers, expected) in [
        ([Ok(404), Ok(200), Ok(200)], Ok(404)),
        ([Ok(503), Ok(503), Ok(503)], Ok(503)),
        ([Err("a"), Err("b"), Err("c")], Err("c")),
    ] {
        let (inner, _) = Scripted::new(answers);
        assert_eq!(send(&mut layered(settings(), rules, inner)).await, expected);
    }
}

/// ROB-96: the service that was polled ready takes the request, also when the next one is polled
/// ready while it runs.
#[tokio::test(start_paused = true)]
async fn readiness_is_used_by_the_request_that_waited_for_it() {
    let (inner, seen) = Scripted::new([Ok(503), Ok(200), Ok(200)]);
    let mut service = layered(settings(), rules, inner);
    poll_fn(|cx| service.poll_ready(cx)).await.expect("ready");
    let first = service.call("first".to_owned());
    poll_fn(|cx| service.poll_ready(cx)).await.expect("ready");
    let second = service.call("second".to_owned());
    assert_eq!(tokio::join!(first, second), (Ok(200), Ok(200)));
    assert_eq!(seen.borrow().requests, ["first", "second", "first"]);
}

/// ROB-96: INV-BACKOFF-5: a response that is dropped while it waits gives its token back.
#[tokio::test(start_paused = true)]
async fn inv_backoff_5_a_dropped_response_returns_its_token() {
    let budget = RetryBudget::builder()
        .ratio_per_mille(0)
        .min_per_second(2)
        .build()
        .expect("valid");
    let (inner, _) = Scripted::new([Ok(503), Ok(503)]);
    let mut service = layered(settings().budget(budget.clone()), rules, inner);
    let half = Duration::from_millis(500);
    let mut sent = Box::pin(send(&mut service));
    assert!(timeout(half, sent.as_mut()).await.is_err());
    assert_eq!(budget.stats().balance_milli, 1000);
    drop(sent);
    assert_eq!(budget.stats().balance_milli, 2000);
}

/// Keeps the requests that say so from being sent twice, counts its request's own attempts, and
/// notes why it was given up.
#[derive(Clone, Default)]
struct Notes {
    waits: Vec<u64>,
    stopped: Rc<RefCell<Vec<(&'static str, usize)>>>,
}

impl RetryRules<String, u16, &'static str> for Notes {
    fn classify(&mut self, result: &Answer) -> Option<Disposition> {
        rules(result)
    }

    fn clone_request(&mut self, request: &String) -> Option<String> {
        (request != "once").then(|| request.clone())
    }

    fn on_retry(&mut self, event: &RetryEvent<'_, Answer>) {
        self.waits.push(event.after.as_secs());
    }

    fn on_give_up(&mut self, stop: &Stop, _: &Answer) {
        let notes = (stop.as_str(), self.waits.len());
        self.stopped.borrow_mut().push(notes);
    }
}

/// ROB-96: every request has rules of its own, and hears why it was given up.
#[tokio::test(start_paused = true)]
async fn every_request_has_its_own_copy_of_the_rules() {
    let (inner, _) = Scripted::new([Ok(503); 6]);
    let notes = Notes::default();
    let mut service = layered(settings(), notes.clone(), inner);
    for _ in 0..2 {
        assert_eq!(send(&mut service).await, Ok(503));
    }
    assert_eq!(
        *notes.stopped.borrow(),
        [("exhausted", 2), ("exhausted", 2)]
    );
}

/// ROB-96: a request that cannot be copied is sent once.
#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_copied_is_sent_once() {
    let (inner, seen) = Scripted::new([Ok(503), Ok(200)]);
    let notes = Notes::default();
    let mut service = layered(settings(), notes.clone(), inner);
    poll_fn(|cx| service.poll_ready(cx)).await.expect("ready");
    assert_eq!(service.call("once".to_owned()).await, Ok(503));
    assert_eq!(seen.borrow().requests, ["once"]);
    assert_eq!(*notes.stopped.borrow(), [("permanent", 0)]);
}

/// ROB-96: layers share what their `Retry` shares.
#[tokio::test(start_paused = true)]
async fn services_of_one_layer_count_together() {
    let retry = settings().build().expect("valid");
    let layer = RetryLayer::new(retry.clone(), rules);
    for _ in 0..3 {
        let (inner, _) = Scripted::new([Err("reset"), Ok(200)]);
        assert_eq!(send(&mut layer.layer(inner)).await, Ok(200));
    }
    let stats = retry.stats();
    assert_eq!((stats.calls, stats.attempts, stats.recovered), (3, 6, 3));
}

/// The response future can move between threads when the service's can.
#[test]
fn the_response_is_send() {
    #[derive(Clone)]
    struct Echo;
    impl Service<u16> for Echo {
        type Response = u16;
        type Error = &'static str;
        type Future = Ready<Answer>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: u16) -> Self::Future {
            ready(Ok(request))
        }
    }
    fn assert_send<F: Future + Send>(_: &F) {}
    let retry = settings().build().expect("valid");
    let mut service = RetryLayer::new(retry, rules).layer(Echo);
    assert_send(&service.call(200));
}

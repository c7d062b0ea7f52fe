//! The tower layer, as users of tower expect it to behave.
#![cfg(feature = "tower")]

use std::{
    collections::VecDeque,
    future::{Ready, pending, ready},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use monitor_breaker::{
    Breaker, Builder, CallError, Caller, Clock, Config, State, TickClock, Verdict,
    tower::{BreakerLayer, BreakerService},
};
use tower_layer::Layer;
use tower_service::Service;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn poll_ready<R, S: Service<R>>(service: &mut S) -> Poll<Result<(), S::Error>> {
    service.poll_ready(&mut Context::from_waker(Waker::noop()))
}

/// A service that must be asked before each call, and answers what it is told.
#[derive(Default)]
struct Inner {
    is_ready: bool,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    is_busy: AtomicBool,
    calls: AtomicU32,
    answers: Mutex<VecDeque<Result<u16, &'static str>>>,
}

impl Clone for Inner {
    fn clone(&self) -> Self {
        Inner {
            is_ready: false,
            shared: Arc::clone(&self.shared),
        }
    }
}

impl Service<()> for Inner {
    type Response = u16;
    type Error = &'static str;
    type Future = Ready<Result<u16, &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.shared.is_busy.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        assert!(
            std::mem::take(&mut self.is_ready),
            "called before it was ready"
        );
        self.shared.calls.fetch_add(1, Ordering::Relaxed);
        let answer = self.shared.answers.lock().expect("answers").pop_front();
        ready(answer.unwrap_or(Err("down")))
    }
}

fn caller(builder: Builder) -> (Caller<TickClock>, TickClock) {
    let (breaker, clock) = (
        Breaker::new(builder.build().expect("valid")),
        TickClock::new(),
    );
    (Caller::with_clock(Arc::new(breaker), clock.clone()), clock)
}

fn mail() -> Builder {
    Config::mail().to_builder()
}

type Subject<J> = BreakerService<Inner, TickClock, J>;

/// Asks for readiness, calls, and polls the response once.
fn call<J>(service: &mut Subject<J>) -> Result<u16, CallError<&'static str>>
where
    J: monitor_breaker::Judge<Result<u16, &'static str>> + Clone,
{
    assert_eq!(poll_ready(service), Poll::Ready(Ok(())));
    match poll(pin!(service.call(()))) {
        Poll::Ready(response) => response,
        Poll::Pending => panic!("nothing waits"),
    }
}

/// ROB-23: errors trip it; while it is open calls fail at once, even if the inner service is busy,
/// and without touching it; a trial closes it.
#[test]
fn it_opens_refuses_and_closes() {
    let (caller, clock) = caller(mail());
    let mut service = BreakerLayer::new(caller).layer(Inner::default());
    let shared = Arc::clone(&inner(&service).shared);
    for _ in 0..5 {
        assert_eq!(call(&mut service), Err(CallError::Failed("down")));
    }
    shared.is_busy.store(true, Ordering::Relaxed);
    for _ in 0..10 {
        let Err(CallError::Rejected(rejected)) = call(&mut service) else {
            panic!("it is open");
        };
        assert_eq!(
            (rejected.state, rejected.retry_after),
            (State::Open, seconds(60))
        );
    }
    assert_eq!(shared.calls.load(Ordering::Relaxed), 5);
    clock.advance(seconds(60));
    assert!(poll_ready(&mut service).is_pending(), "busy");
    shared.is_busy.store(false, Ordering::Relaxed);
    shared.answers.lock().expect("answers").push_back(Ok(200));
    assert_eq!(call(&mut service), Ok(200));
}

fn inner<J>(service: &Subject<J>) -> &Inner {
    service.get_ref()
}

/// ROB-23: readiness is kept until the call, is not passed on to clones, and a call that was told
/// to be refused never reaches a service that was not asked.
#[test]
fn poll_ready_is_honoured() {
    let (caller, clock) = caller(mail());
    let breaker = Arc::clone(caller.breaker());
    let mut service = BreakerLayer::new(caller).layer(Inner::default());
    assert_eq!(poll_ready(&mut service), Poll::Ready(Ok(())));
    assert_eq!(poll_ready(&mut service), Poll::Ready(Ok(())), "still");
    // The clone panics in `Inner::call` unless it asks anew.
    let mut clone = service.clone();
    assert_eq!(call(&mut clone), Err(CallError::Failed("down")));
    // Ready, then refused: ready still.
    breaker.trip(clock.now());
    assert!(matches!(
        poll(pin!(service.call(()))),
        Poll::Ready(Err(CallError::Rejected(_)))
    ));
    breaker.reset(clock.now());
    assert_eq!(
        poll(pin!(service.call(()))),
        Poll::Ready(Err(CallError::Failed("down")))
    );
    // Ready because it would refuse, and refuses, although it would not any more.
    breaker.trip(clock.now());
    assert_eq!(poll_ready(&mut service), Poll::Ready(Ok(())));
    breaker.reset(clock.now());
    assert!(matches!(
        poll(pin!(service.call(()))),
        Poll::Ready(Err(CallError::Rejected(_)))
    ));
}

/// ROB-15: a response can be a failure: five times 503 is an `Ok`, and opens.
#[test]
fn responses_are_judged() {
    let judge = |outcome: &Result<u16, &'static str>| match outcome {
        Ok(500..) | Err(_) => Verdict::Failure,
        Ok(400..) => Verdict::Ignore,
        Ok(_) => Verdict::Success,
    };
    let (caller, clock) = caller(mail());
    let breaker = Arc::clone(caller.breaker());
    let layer = BreakerLayer::new(caller).with_judge(judge);
    let mut service = layer.layer(Inner::default());
    let answers = [503, 503, 404, 503, 503].map(Ok);
    let shared = Arc::clone(&inner(&service).shared);
    shared.answers.lock().expect("answers").extend(answers);
    for answer in answers {
        assert_eq!(call(&mut service).ok(), answer.ok());
    }
    assert_eq!(breaker.snapshot(clock.now()).consecutive_failures, 4);
    shared.answers.lock().expect("answers").push_back(Ok(500));
    assert_eq!(call(&mut service), Ok(500));
    assert_eq!(breaker.state(clock.now()), State::Open);
}

/// A service that never answers.
#[derive(Clone)]
struct Hung;

impl Service<()> for Hung {
    type Response = ();
    type Error = ();
    type Future = std::future::Pending<Result<(), ()>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        pending()
    }
}

/// ROB-17, ROB-23: a response future that is dropped counts by how long it took, polled or not.
#[test]
fn dropped_responses_count_by_their_time() {
    let (caller, clock) = caller(mail().failure_threshold(1).slow_call_threshold(seconds(3)));
    let breaker = Arc::clone(caller.breaker());
    let mut service = BreakerLayer::new(caller).layer(Hung);
    for patience in [0, 2, 3] {
        assert_eq!(breaker.state(clock.now()), State::Closed);
        assert!(poll_ready(&mut service).is_ready());
        let mut response = Box::pin(service.call(()));
        assert!(poll(response.as_mut()).is_pending());
        clock.advance(seconds(patience));
    }
    assert_eq!(breaker.state(clock.now()), State::Open);
}

//! The breakers of others, each driven as its documentation says.
//!
//! All open at five failures in a row, or at half of a window. recloser knows only its ring of
//! calls, so it stands in both comparisons. circuitbreaker-rs has a policy for windows of time too,
//! which nothing feeds: it never opens.

use std::mem;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use circuitbreaker_rs::{BreakerError, CircuitBreaker as Rs, DefaultPolicy};
use recloser::Recloser;
use tokio::runtime::{Builder, Runtime};
use tower::{Layer as _, Service, ServiceExt as _};
use tower_resilience_circuitbreaker::{
    CircuitBreakerConfigBuilder, CircuitBreakerLayer, SlidingWindowType,
};

use super::{CONSECUTIVE, Calls, Case, Failed, OPEN_FOR, RATE, SPAN, WINDOW, outcome};
use crate::plan::Subjects;

pub(super) fn consecutive(subjects: &mut Subjects, threads: usize, case: Case) {
    case.measure(subjects, threads, "recloser, ring of 100", recloser());
    case.measure(subjects, threads, "failsafe", failsafe_consecutive());
    let circuitbreaker_rs = circuitbreaker_rs(u64::from(CONSECUTIVE));
    case.measure(subjects, threads, "circuitbreaker-rs", circuitbreaker_rs);
    let tower = tower(|builder| builder.consecutive_failures(CONSECUTIVE as usize));
    case.measure(subjects, threads, "tower-resilience", tower);
}

/// Those that forget with time. recloser has no such window; its ring stands for it.
pub(super) fn time_windows(subjects: &mut Subjects, threads: usize) {
    let case = Case::Closed;
    case.measure(subjects, threads, "recloser, ring of 100", recloser());
    case.measure(subjects, threads, "failsafe", failsafe_window());
    let tower = tower(|builder| {
        builder
            .failure_rate_threshold(RATE)
            .sliding_window_type(SlidingWindowType::TimeBased)
            .sliding_window_duration(SPAN)
    });
    case.measure(subjects, threads, "tower-resilience", tower);
}

pub(super) fn count_windows(subjects: &mut Subjects, threads: usize) {
    let case = Case::Closed;
    case.measure(subjects, threads, "recloser, ring of 100", recloser());
    case.measure(subjects, threads, "tower-resilience", tower(by_count));
}

fn by_count(builder: Settings) -> Settings {
    builder
        .failure_rate_threshold(RATE)
        .sliding_window_size(WINDOW as usize)
}

pub(super) fn failures_to_open(subjects: &mut Subjects) {
    let what = "failures";
    subjects.fact("recloser", what, super::failures_to_open(recloser()));
    let rate_only = circuitbreaker_rs(u64::MAX);
    subjects.fact(
        "circuitbreaker-rs",
        what,
        super::failures_to_open(rate_only),
    );
    let counted = tower(by_count);
    subjects.fact("tower-resilience", what, super::failures_to_open(counted));
}

/// A breaker that is called through a shared reference.
#[derive(Debug)]
struct Shared<B>(Arc<B>);

impl<B> Clone for Shared<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

fn recloser() -> Shared<Recloser> {
    let recloser = Recloser::custom()
        .error_rate(RATE as f32)
        .closed_len(WINDOW as usize)
        .open_wait(OPEN_FOR)
        .build();
    Shared(Arc::new(recloser))
}

impl Calls for Shared<Recloser> {
    #[inline(always)]
    fn call(&mut self, well: bool) -> bool {
        let result = self.0.call(|| outcome(well));
        !matches!(result, Err(recloser::Error::Rejected))
    }
}

/// Its policies and instruments have long types.
#[derive(Clone)]
struct Failsafe<B>(B);

fn failsafe_consecutive() -> impl Calls {
    let open_for = failsafe::backoff::constant(OPEN_FOR);
    let policy = failsafe::failure_policy::consecutive_failures(CONSECUTIVE, open_for);
    Failsafe(failsafe::Config::new().failure_policy(policy).build())
}

fn failsafe_window() -> impl Calls {
    let open_for = failsafe::backoff::constant(OPEN_FOR);
    let policy =
        failsafe::failure_policy::success_rate_over_time_window(1.0 - RATE, 1, SPAN, open_for);
    Failsafe(failsafe::Config::new().failure_policy(policy).build())
}

impl<B: failsafe::CircuitBreaker + Clone + Send + 'static> Calls for Failsafe<B> {
    #[inline(always)]
    fn call(&mut self, well: bool) -> bool {
        let result = self.0.call(|| outcome(well));
        !matches!(result, Err(failsafe::Error::Rejected))
    }
}

fn circuitbreaker_rs(consecutive: u64) -> Shared<Rs<DefaultPolicy, Failed>> {
    let breaker = Rs::<DefaultPolicy, Failed>::builder()
        .failure_threshold(RATE)
        .consecutive_failures(consecutive)
        .cooldown(OPEN_FOR)
        .build();
    Shared(Arc::new(breaker))
}

impl Calls for Shared<Rs<DefaultPolicy, Failed>> {
    #[inline(always)]
    fn call(&mut self, well: bool) -> bool {
        let result = self.0.call(|| outcome(well));
        !matches!(result, Err(BreakerError::Open))
    }
}

/// A service that is awaited on the thread that calls it.
#[derive(Clone)]
struct Tower<S>(S);

fn tower(settle: impl FnOnce(Settings) -> Settings) -> impl Calls {
    let settings = CircuitBreakerLayer::builder().wait_duration_in_open(OPEN_FOR);
    let layer = settle(settings).build().expect("a valid configuration");
    let service = tower::service_fn(|well| async move { outcome(well) });
    Tower(layer.layer(service))
}

type Settings = CircuitBreakerConfigBuilder<tower_resilience_circuitbreaker::DefaultClassifier>;

impl<S> Calls for Tower<S>
where
    S: Service<bool, Response = u32> + Clone + Send + 'static,
    S::Error: Refusal,
{
    fn call(&mut self, well: bool) -> bool {
        let result = block_on(async { self.0.ready().await?.call(well).await });
        !result.is_err_and(|error| error.is_refusal())
    }
}

/// An error that says whether the call was let through.
trait Refusal {
    fn is_refusal(&self) -> bool;
}

impl Refusal for tower_resilience_circuitbreaker::CircuitBreakerError<Failed> {
    fn is_refusal(&self) -> bool {
        self.is_circuit_open()
    }
}

/// Waits for a future on the current thread, which sleeps meanwhile. The timers that it may set
/// (where the breaker's lock is taken it tries again after 1 ms) are those of a runtime aside.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    thread_local! {
        static WAKER: Waker = {
            // Entered for as long as the thread lives: entering anew would be part of each call.
            mem::forget(TIMERS.enter());
            Waker::from(Arc::new(Unpark(thread::current())))
        };
    }
    WAKER.with(|waker| {
        let mut context = Context::from_waker(waker);
        let mut future = pin!(future);
        loop {
            match future.as_mut().poll(&mut context) {
                Poll::Ready(output) => return output,
                Poll::Pending => thread::park(),
            }
        }
    })
}

static TIMERS: LazyLock<Runtime> = LazyLock::new(|| {
    let mut runtime = Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_time().build();
    runtime.expect("a thread can be started")
});

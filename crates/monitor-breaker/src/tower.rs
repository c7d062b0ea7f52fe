//! A [`tower`](https://docs.rs/tower) layer: feature `tower`.
//!
//! ```
//! use std::sync::Arc;
//! use monitor_breaker::{Breaker, Caller, Config, tower::BreakerLayer};
//! use tower_layer::Layer;
//!
//! let caller = Caller::new(Arc::new(Breaker::new(Config::service())));
//! let layer = BreakerLayer::new(caller);
//! # struct Inner;
//! let service = layer.layer(Inner); // or `ServiceBuilder::new().layer(layer).service(inner)`
//! # let _ = service;
//! ```

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{CallError, Caller, Clock, ErrIsFailure, InstantClock, Judge, OwnedCall, Rejected};

/// Puts one breaker before every service that it is applied to.
#[derive(Clone, Debug)]
pub struct BreakerLayer<C = InstantClock, J = ErrIsFailure> {
    caller: Caller<C>,
    judge: J,
}

/// A service whose calls go through a breaker. Clones share it.
///
/// # Readiness
/// While the breaker refuses, the service is ready at once and its calls fail at once, whether the
/// inner service is ready or not: a target that is down must not keep its callers waiting.
/// Otherwise it is ready when the inner service is. The verdict counts the call, not the waiting.
///
/// # Cancel safety
/// A response future that is dropped counts by how long it took: from the slow-call threshold on
/// as a failure, before that as nothing. So put a timeout layer outside of this one and set the
/// threshold to at most that timeout, or put it inside and have its error counted.
#[derive(Debug)]
pub struct BreakerService<S, C = InstantClock, J = ErrIsFailure> {
    inner: S,
    caller: Caller<C>,
    judge: J,
    readiness: Readiness,
}

/// What the service has said of itself since its last call.
#[derive(Debug)]
enum Readiness {
    NotAsked,
    /// The inner service is ready.
    Ready,
    /// The breaker refuses; the inner service was not asked, so it must not be called.
    Refused(Rejected),
}

pin_project! {
    /// The response of a [`BreakerService`].
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, C: Clock, J> {
        #[pin]
        state: ResponseState<F, C, J>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum ResponseState<F, C: Clock, J> {
        Rejected { rejected: Rejected },
        Called {
            #[pin]
            response: F,
            // `None` once the verdict is in.
            call: Option<OwnedCall<C>>,
            judge: J,
        },
    }
}

impl<C> BreakerLayer<C> {
    /// Returns a layer whose calls go through `caller`, and where an `Err` is a failure.
    #[must_use]
    pub fn new(caller: Caller<C>) -> BreakerLayer<C> {
        BreakerLayer {
            caller,
            judge: ErrIsFailure,
        }
    }
}

impl<C, J> BreakerLayer<C, J> {
    /// Sets who tells the verdict of a `Result` of the inner service: a response with status 503 is
    /// an `Ok`, and a failure.
    #[must_use]
    pub fn with_judge<K>(self, judge: K) -> BreakerLayer<C, K> {
        BreakerLayer {
            caller: self.caller,
            judge,
        }
    }
}

impl<S, C: Clone, J: Clone> Layer<S> for BreakerLayer<C, J> {
    type Service = BreakerService<S, C, J>;

    fn layer(&self, inner: S) -> Self::Service {
        BreakerService {
            inner,
            caller: self.caller.clone(),
            judge: self.judge.clone(),
            readiness: Readiness::NotAsked,
        }
    }
}

impl<S, C, J> BreakerService<S, C, J> {
    /// Returns the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S: Clone, C: Clone, J: Clone> Clone for BreakerService<S, C, J> {
    /// The clone has to be asked anew whether it is ready.
    fn clone(&self) -> Self {
        BreakerService {
            inner: self.inner.clone(),
            caller: self.caller.clone(),
            judge: self.judge.clone(),
            readiness: Readiness::NotAsked,
        }
    }
}

impl<S, C, J, Request> Service<Request> for BreakerService<S, C, J>
where
    S: Service<Request>,
    C: Clock + Clone,
    J: Judge<Result<S::Response, S::Error>> + Clone,
{
    type Response = S::Response;
    type Error = CallError<S::Error>;
    type Future = ResponseFuture<S::Future, C, J>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if let Readiness::Ready = self.readiness {
            return Poll::Ready(Ok(()));
        }
        if let Some(rejected) = self.caller.refusal() {
            self.readiness = Readiness::Refused(rejected);
            return Poll::Ready(Ok(()));
        }
        self.readiness = Readiness::NotAsked;
        ready!(self.inner.poll_ready(context)).map_err(CallError::Failed)?;
        self.readiness = Readiness::Ready;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if let Readiness::Refused(rejected) = self.readiness {
            self.readiness = Readiness::NotAsked;
            return ResponseFuture::rejected(rejected);
        }
        match self.caller.try_acquire_owned() {
            // The inner service stays as ready as it was.
            Err(rejected) => ResponseFuture::rejected(rejected),
            Ok(call) => {
                self.readiness = Readiness::NotAsked;
                let state = ResponseState::Called {
                    response: self.inner.call(request),
                    call: Some(call),
                    judge: self.judge.clone(),
                };
                ResponseFuture { state }
            }
        }
    }
}

impl<F, C: Clock, J> ResponseFuture<F, C, J> {
    fn rejected(rejected: Rejected) -> Self {
        let state = ResponseState::Rejected { rejected };
        ResponseFuture { state }
    }
}

impl<F, T, E, C, J> Future for ResponseFuture<F, C, J>
where
    F: Future<Output = Result<T, E>>,
    C: Clock,
    J: Judge<Result<T, E>>,
{
    type Output = Result<T, CallError<E>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Rejected { rejected } => {
                Poll::Ready(Err(CallError::Rejected(*rejected)))
            }
            StateProjection::Called {
                response,
                call,
                judge,
            } => {
                let outcome = ready!(response.poll(context));
                if let Some(call) = call.take() {
                    call.record(judge.judge(&outcome));
                }
                Poll::Ready(outcome.map_err(CallError::Failed))
            }
        }
    }
}

impl<F, C: Clock, J> fmt::Debug for ResponseFuture<F, C, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_rejected = matches!(self.state, ResponseState::Rejected { .. });
        f.debug_struct("ResponseFuture")
            .field("is_rejected", &is_rejected)
            .finish_non_exhaustive()
    }
}

//! Retries as a layer of tower.

mod future;

use std::{
    mem,
    task::{Context, Poll},
};

use tower_layer::Layer;
use tower_service::Service;

use crate::{Disposition, Retry, RetryEvent, Stop};

pub use self::future::RetryFuture;

/// What a retried service makes of its results. A copy of it serves one request, with all of its
/// attempts, so it may keep notes about them.
///
/// A closure from a result to a disposition is one, for requests that can be cloned.
pub trait RetryRules<Request, Response, Error> {
    /// Says what an attempt came to: `None` is a success.
    fn classify(&mut self, result: &Result<Response, Error>) -> Option<Disposition>;

    /// Copies a request before it is sent; `None` for one that cannot be sent twice.
    fn clone_request(&mut self, request: &Request) -> Option<Request>;

    /// Is told of every attempt that will be repeated, before its wait.
    fn on_retry(&mut self, event: &RetryEvent<'_, Result<Response, Error>>) {
        let _ = event;
    }

    /// Is told why a result that is no success is the last one.
    fn on_give_up(&mut self, stop: &Stop, result: &Result<Response, Error>) {
        let _ = (stop, result);
    }
}

impl<F, Request, Response, Error> RetryRules<Request, Response, Error> for F
where
    F: FnMut(&Result<Response, Error>) -> Option<Disposition>,
    Request: Clone,
{
    fn classify(&mut self, result: &Result<Response, Error>) -> Option<Disposition> {
        self(result)
    }

    fn clone_request(&mut self, request: &Request) -> Option<Request> {
        Some(request.clone())
    }
}

/// Wraps services in a [`RetryService`].
///
/// # Examples
/// ```
/// use std::io;
/// use monitor_backoff::{Disposition, Policy, Retry, RetryConfigError, tower::RetryLayer};
/// use tower_layer::Layer;
///
/// # fn example<S>(service: S) -> Result<(), RetryConfigError> {
/// let retry = Retry::builder(Policy::retry()).max_attempts(4).build()?;
/// let layer = RetryLayer::new(retry, |result: &Result<u16, io::Error>| match result {
///     Ok(429 | 503) | Err(_) => Some(Disposition::TRANSIENT),
///     Ok(_) => None,
/// });
/// let service = layer.layer(service);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RetryLayer<Rules> {
    retry: Retry,
    rules: Rules,
}

/// A service whose requests are retried.
///
/// Response and error are those of the inner service: a request that is given up returns what its
/// last attempt returned, and [`RetryRules::on_give_up`] says why it was the last.
///
/// Readiness is the inner service's. The very service that was polled ready takes the first
/// attempt, and each retry polls it ready again before it is sent.
///
/// # Cancel safety
/// As [`Call::run`](crate::Call::run): a response future that is dropped while it waits puts its
/// token back.
#[derive(Clone, Debug)]
pub struct RetryService<S, Rules> {
    inner: S,
    retry: Retry,
    rules: Rules,
}

impl<Rules> RetryLayer<Rules> {
    /// Returns the layer. All services it makes share the counters and the budget of `retry`.
    pub const fn new(retry: Retry, rules: Rules) -> Self {
        RetryLayer { retry, rules }
    }
}

impl<S, Rules: Clone> Layer<S> for RetryLayer<Rules> {
    type Service = RetryService<S, Rules>;

    fn layer(&self, inner: S) -> Self::Service {
        RetryService::new(inner, self.retry.clone(), self.rules.clone())
    }
}

impl<S, Rules> RetryService<S, Rules> {
    /// Returns the service around `inner`.
    pub const fn new(inner: S, retry: Retry, rules: Rules) -> Self {
        RetryService {
            inner,
            retry,
            rules,
        }
    }

    /// Returns the inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S, Rules, Request> Service<Request> for RetryService<S, Rules>
where
    S: Service<Request> + Clone,
    Rules: RetryRules<Request, S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = RetryFuture<S, Rules, Request>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // The one that was polled ready goes with the request; a fresh clone stays here.
        let fresh = self.inner.clone();
        let ready = mem::replace(&mut self.inner, fresh);
        RetryFuture::new(ready, &self.retry, self.rules.clone(), request)
    }
}

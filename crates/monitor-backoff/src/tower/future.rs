//! One request with all of its attempts.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use rand::rngs::SmallRng;
use tokio::time::{Sleep, sleep};
use tower_service::Service;

use super::RetryRules;
use crate::{Attempts, Decision, Disposition, Retry, RetryEvent, RetryToken, clock};

pin_project! {
    /// The response of a [`RetryService`](super::RetryService): one request with all of its
    /// attempts. It allocates nothing of its own.
    #[must_use = "futures do nothing unless polled"]
    pub struct RetryFuture<S, Rules, Request>
    where
        S: Service<Request>,
    {
        service: S,
        rules: Rules,
        // A copy for the next attempt, if it can be sent again.
        request: Option<Request>,
        // Until the result is known.
        attempts: Option<Attempts>,
        rng: Option<SmallRng>,
        #[pin]
        state: State<S::Future>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        // An attempt runs.
        Called { #[pin] attempt: F },
        // A retry is waited for. Its token is dropped with this state, and so goes back.
        Waiting { #[pin] sleep: Sleep, token: Option<RetryToken> },
        // The service is not ready for it yet.
        Readying { token: Option<RetryToken> },
    }
}

impl<S, Rules, Request> RetryFuture<S, Rules, Request>
where
    S: Service<Request>,
    Rules: RetryRules<Request, S::Response, S::Error>,
{
    pub(super) fn new(mut service: S, retry: &Retry, mut rules: Rules, request: Request) -> Self {
        let attempts = retry.begin(clock::tokio_now());
        let copy = rules.clone_request(&request);
        let attempt = service.call(request);
        RetryFuture {
            service,
            rules,
            request: copy,
            attempts: Some(attempts),
            rng: None,
            state: State::Called { attempt },
        }
    }
}

impl<S, Rules, Request> Future for RetryFuture<S, Rules, Request>
where
    S: Service<Request>,
    Rules: RetryRules<Request, S::Response, S::Error>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Called { attempt } => {
                    let result = ready!(attempt.poll(cx));
                    let repeatable = this.request.is_some();
                    match judge(this.attempts, this.rng, this.rules, repeatable, &result) {
                        Some(Decision::Retry { after, token }) => State::Waiting {
                            sleep: sleep(after),
                            token,
                        },
                        Some(Decision::Stop(_)) | None => return Poll::Ready(result),
                    }
                }
                StateProjection::Waiting { sleep, token } => {
                    ready!(sleep.poll(cx));
                    State::Readying {
                        token: token.take(),
                    }
                }
                StateProjection::Readying { token } => {
                    ready!(this.service.poll_ready(cx))?;
                    let Some(request) = this.request.take() else {
                        // Cannot be: without a copy there is no decision to retry.
                        return Poll::Pending;
                    };
                    *this.request = this.rules.clone_request(&request);
                    if let Some(attempts) = this.attempts {
                        attempts.resume(token.take());
                    }
                    State::Called {
                        attempt: this.service.call(request),
                    }
                }
            };
            this.state.set(next);
        }
    }
}

/// Decides what comes after a result; `None` for a success, and when polled after the end.
fn judge<Request, T, E, Rules: RetryRules<Request, T, E>>(
    attempts: &mut Option<Attempts>,
    rng: &mut Option<SmallRng>,
    rules: &mut Rules,
    repeatable: bool,
    result: &Result<T, E>,
) -> Option<Decision> {
    let disposition = match rules.classify(result) {
        // What cannot be sent again is as final as what need not be.
        Some(_) if !repeatable => Disposition::Permanent,
        Some(disposition) => disposition,
        None => {
            attempts.take()?.succeed();
            return None;
        }
    };
    let current = attempts.as_mut()?;
    let rng = rng.get_or_insert_with(|| current.rng());
    let decision = current.fail(clock::tokio_now(), disposition, rng);
    match &decision {
        Decision::Retry { after, .. } => rules.on_retry(&RetryEvent {
            error: result,
            attempt: current.begun(),
            disposition,
            after: *after,
        }),
        Decision::Stop(stop) => rules.on_give_up(stop, result),
    }
    Some(decision)
}

impl<S: Service<Request>, Rules, Request> fmt::Debug for RetryFuture<S, Rules, Request> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryFuture")
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

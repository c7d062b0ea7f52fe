//! The HTTP check: what is asked, and what counts as well.

use std::fmt;
use std::time::Duration;

use ::http::header::CONNECTION;
use ::http::{HeaderMap, HeaderValue, Request};
use async_trait::async_trait;
use monitor_fault::{Fault, Layer, Reason};
use monitor_model::{Observation, Phase, Probe, ProbeContext};
use monitor_pool::Pool;
use tokio::time::Instant;
use url::Url;

use crate::lap::Lap;

mod builder;
mod dialer;
mod exchange;
mod kept;
mod status_set;
mod watch;

pub use builder::{BuildError, HttpProbeBuilder, Method};
use dialer::Dialer;
use exchange::Exchange;
pub use kept::{HttpConnections, KeptConnection};
pub use status_set::{InvalidStatusSet, StatusSet};

/// Checks an `http` or `https` URL over HTTP/1.1.
///
/// Every check opens a connection of its own and times five phases: resolve, connect, TLS, first
/// byte, transfer. Redirects are answers like any other and are not followed.
///
/// A probe may [keep connections](HttpProbeBuilder::keep_connections) instead: then a check sees
/// what a visitor sees who has been there before, and only the first one and those after a failure
/// resolve, connect and shake hands.
///
/// A fault that is the prober's own makes the finding
/// [`Unknown`](monitor_model::Finding::Unknown), any other makes it
/// [`Down`](monitor_model::Finding::Down). Whatever bytes the target sends, the check ends with a
/// fault or with success and never panics: a head or body over its limit is a fault at once, and
/// silence is cut off by the caller's deadline.
///
/// # Cancel safety
///
/// Dropping the check's future closes its connection at once. The HTTP connection is driven
/// inside the check: no task survives it. With kept connections an attempt to connect is a task of
/// the pool's, which ends with the check as well.
///
/// # Defaults
///
/// GET, status 200 to 399, no expected text, body limit 1 MiB, head limit 64 KiB (and 100
/// header lines), system resolver, system trust, never degraded.
///
/// ```
/// use std::time::Duration;
/// use monitor_probes::HttpProbe;
///
/// let probe = HttpProbe::builder("https://example.com/health")
///     .expect_status("200-299".parse()?)
///     .expect_body("ok")
///     .degraded_over(Duration::from_millis(800))
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct HttpProbe {
    url: Url,
    dialer: Dialer,
    /// Where connections are kept, in a probe that keeps them.
    pool: Option<Pool<HttpConnections>>,
    method: Method,
    headers: HeaderMap,
    expect_status: StatusSet,
    expect_body: Option<String>,
    body_limit: usize,
    degraded_over: Option<Duration>,
}

impl HttpProbe {
    /// Begins a probe of `url`.
    pub fn builder(url: &str) -> HttpProbeBuilder {
        HttpProbeBuilder::new(url)
    }

    /// The pool that keeps the connections, in a probe that [keeps
    /// them](HttpProbeBuilder::keep_connections).
    #[must_use]
    pub const fn pool(&self) -> Option<&Pool<HttpConnections>> {
        self.pool.as_ref()
    }

    async fn run(&self, context: &ProbeContext) -> Result<String, Fault> {
        let progress = &context.progress;
        match &self.pool {
            None => {
                let mut exchange = self.dialer.open(progress).await?;
                self.ask(&mut exchange, context).await
            }
            Some(pool) => self.ask_again(pool, context).await,
        }
    }

    /// Asks over a kept connection, or over a new one that is kept.
    async fn ask_again(
        &self,
        pool: &Pool<HttpConnections>,
        context: &ProbeContext,
    ) -> Result<String, Fault> {
        let progress = &context.progress;
        loop {
            let wanting = pool.manager().want(progress);
            let connection = pool.acquire_timeout(context.timeout).await;
            drop(wanting);
            let mut connection = match connection.map_err(|error| kept::no_connection(&error)) {
                Ok(connection) => connection,
                // The end of an attempt that was another check's: this one makes its own.
                Err(fault) if fault.reason() == Reason::Cancelled => continue,
                Err(fault) => return Err(fault),
            };
            let earlier = connection.0.requests();
            connection.begin();
            match self.ask(&mut connection.0, context).await {
                Ok(note) => {
                    connection.finish();
                    return Ok(match earlier {
                        0 => note,
                        _ => format!("{note}, request {} of its connection", earlier + 1),
                    });
                }
                // Closed by the target while it was idle, as the target may: that says nothing
                // about it. The next turn has one connection less to try, and then a new one.
                Err(fault)
                    if earlier > 0
                        && connection.0.first_byte().is_none()
                        && kept::was_stale(&fault) => {}
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Sends the request and judges the answer.
    async fn ask(&self, exchange: &mut Exchange, context: &ProbeContext) -> Result<String, Fault> {
        let (progress, footprint) = (&context.progress, &context.footprint);
        progress.enter(Layer::Response);
        let mut lap = Lap::start(progress);
        let response = exchange.send(self.request()?, progress).await?;
        if let Some(first_byte) = exchange.first_byte() {
            lap.resume_at(first_byte);
        }
        // Its lines are kept until the end of the check.
        let _head = footprint.hold(exchange.received());
        let (head, body) = response.into_parts();
        if !self.expect_status.contains(head.status.as_u16()) {
            return Err(self.unexpected(&head));
        }
        let body = exchange
            .read(body, self.body_limit, self.expect_body.is_some(), footprint)
            .await?;
        lap.end(Phase::Transfer);
        if let Some(expected) = &self.expect_body {
            let text = String::from_utf8_lossy(&body.kept);
            if !text.contains(expected.as_str()) {
                return Err(
                    Fault::new(Layer::Assertion, Reason::Mismatch).with_detail(format!(
                        "the body ({}) does not contain {expected:?}",
                        Size(body.length)
                    )),
                );
            }
        }
        Ok(format!("{}, {}", head.status, Size(body.length)))
    }

    fn request(&self) -> Result<Request<exchange::NoBody>, Fault> {
        let target = &self.url[url::Position::BeforePath..url::Position::AfterQuery];
        let mut request = Request::builder().method(self.method.as_str()).uri(target);
        if let Some(headers) = request.headers_mut() {
            headers.clone_from(&self.headers);
            if self.pool.is_none() {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
        }
        request.body(exchange::NoBody::new()).map_err(|error| {
            Fault::new(Layer::Config, Reason::Invalid).with_detail(error.to_string())
        })
    }

    fn unexpected(&self, head: &::http::response::Parts) -> Fault {
        let expected = &self.expect_status;
        Fault::from_http_status(head.status.as_u16())
            .with_detail(format!("status {}, expected {expected}", head.status))
            .with_retry_after(retry_after(&head.headers))
    }
}

/// `Retry-After` in seconds, at most a day; its form with a date is not read.
fn retry_after(headers: &HeaderMap<HeaderValue>) -> Option<Duration> {
    let value = headers.get(::http::header::RETRY_AFTER)?.to_str().ok()?;
    let seconds: u64 = value.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(86_400)))
}

#[async_trait]
impl Probe for HttpProbe {
    fn kind(&self) -> &'static str {
        "http"
    }

    /// The URL with its query hidden, since queries carry tokens.
    fn target(&self) -> String {
        let shown = &self.url[..url::Position::AfterPath];
        let hidden = if self.url.query().is_some() {
            "?..."
        } else {
            ""
        };
        format!("{shown}{hidden}")
    }

    async fn check(&self, context: &ProbeContext) -> Observation {
        let began = Instant::now();
        let note = match self.run(context).await {
            Ok(note) => note,
            Err(fault) => return Observation::fault(fault),
        };
        let took = began.elapsed();
        match self.degraded_over {
            Some(limit) if took > limit => {
                let fault = Fault::new(Layer::Assertion, Reason::Slow)
                    .with_detail(format!("took {took:.1?}, expected at most {limit:?}"));
                Observation::degraded(fault).with_note(note)
            }
            _ => Observation::up().with_note(note),
        }
    }
}

impl fmt::Debug for HttpProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpProbe")
            .field("method", &self.method)
            .field("target", &self.target())
            .field("expect_status", &self.expect_status)
            .finish_non_exhaustive()
    }
}

/// A number of bytes for people.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[expect(
            clippy::cast_precision_loss,
            reason = "shown with one digit after the point"
        )]
        let bytes = self.0 as f64;
        match self.0 {
            0..1_000 => write!(f, "{} B", self.0),
            1_000..1_000_000 => write!(f, "{:.1} kB", bytes / 1e3),
            _ => write!(f, "{:.1} MB", bytes / 1e6),
        }
    }
}

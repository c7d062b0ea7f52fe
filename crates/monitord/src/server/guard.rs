//! The way of a request to its handler, and who is turned away before it gets there.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::Semaphore;

use super::app::App;
use super::problem::Problem;
use super::{api, assets, events, health, metrics, page};

/// How long a request may take, its body included. A stream takes as long as it is read.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How large the body of a request may be.
pub(super) const MAX_BODY: usize = 64 * 1024;

/// What a page of ours may load and do: nothing that is not ours.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// All routes.
pub(super) fn router(app: App) -> Router {
    let seats = Arc::new(Semaphore::new(events::MAX_READERS));
    let stream = Router::new()
        .route("/events", get(events::get))
        .with_state((app.clone(), seats));
    let api = Router::new()
        .route("/api/admin/probes", get(api::probes))
        .route("/api/admin/probes/{id}/{action}", post(api::act))
        .route("/api/admin/explain/{id}", get(api::explain))
        .route("/api/v1/monitors", get(api::list).post(api::create))
        .route(
            "/api/v1/monitors/{id}",
            get(api::show).put(api::edit).delete(api::delete),
        )
        .route("/api/v1/monitors/{id}/history", get(api::history))
        .route("/api/{*rest}", axum::routing::any(nothing_here))
        .layer(middleware::from_fn_with_state(app.clone(), guard));
    Router::new()
        .route("/", get(page::get))
        .route("/assets/{name}", get(assets::get))
        .route("/health", get(health::health))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/startupz", get(health::startupz))
        .route("/metrics", get(metrics::get))
        .merge(api)
        .layer(middleware::from_fn(hurry))
        .with_state(app)
        .merge(stream)
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(dress))
}

async fn nothing_here(request: Request) -> Problem {
    Problem::not_found(format!("there is nothing at {}", request.uri().path()))
}

async fn wrong_method(request: Request) -> Problem {
    let (method, path) = (request.method(), request.uri().path());
    let detail = format!("{path} does not take {method}; the header Allow says what it takes");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

/// Gives up on a request that takes too long.
async fn hurry(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = format!("not done after {} s", REQUEST_TIMEOUT.as_secs());
            Problem::new(StatusCode::REQUEST_TIMEOUT, detail).into_response()
        }
    }
}

/// Headers that every answer carries, and the form that every refusal has.
async fn dress(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    // A path or a query that cannot be taken apart is refused before any handler is asked.
    if response.status() == StatusCode::BAD_REQUEST && is_plain(response.headers()) {
        let detail = "the path or the query cannot be read: each parameter once, in UTF-8";
        response = Problem::new(StatusCode::BAD_REQUEST, detail).into_response();
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

fn is_plain(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE);
    media_type.is_some_and(|text| text.as_bytes().starts_with(b"text/plain"))
}

/// Lets operators through to the API and nobody else, above all no web page that an operator
/// happens to have open: such a page can send requests to this machine, but it can neither choose
/// their `Host` and `Origin` nor send JSON without being asked first.
async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let options = &app.0.options;
    let verdict = if options.allow_admin {
        admit(request.method(), request.headers(), &options.hosts)
    } else {
        let detail = "the API is open on a loopback address only; run with --listen 127.0.0.1:PORT";
        Err(Problem::new(StatusCode::FORBIDDEN, detail))
    };
    match verdict {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn admit(method: &Method, headers: &HeaderMap, hosts: &[String]) -> Result<(), Problem> {
    // One that comes twice says nothing: who reads the other one would be told otherwise.
    let text = |name| {
        let mut all = headers.get_all(name).iter();
        let only = all.next().filter(|_| all.next().is_none());
        only.and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let host = text(header::HOST).unwrap_or_default();
    if !is_ours(host, hosts) {
        let detail = format!("Host {host:?} is neither an address nor localhost");
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    if headers.contains_key(header::ORIGIN) {
        let origin = text(header::ORIGIN).unwrap_or_default();
        if origin
            .split_once("://")
            .is_none_or(|(_, authority)| authority != host)
        {
            let detail = format!("Origin {origin:?} is not {host:?}: another page sent this");
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
    }
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    let media_type = text(header::CONTENT_TYPE).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if !reads && !media_type.eq_ignore_ascii_case("application/json") {
        let detail = format!("{method} needs the header content-type: application/json");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    Ok(())
}

/// Whether `host`, with or without a port, is a name that only we can have: a name server can give
/// any other name our address.
fn is_ours(host: &str, hosts: &[String]) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inside, port)) if port.is_empty() || port.starts_with(':') => inside,
        Some(_) => return false,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || hosts.iter().any(|ours| ours.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_ours_when_no_name_server_can_claim_it() {
        let ours = ["status.lan".to_owned()];
        for host in [
            "127.0.0.1",
            "127.0.0.1:8080",
            "[::1]",
            "[::1]:80",
            "localhost",
            "LOCALHOST:1",
            "status.lan:80",
            "10.0.0.7:9",
        ] {
            assert!(is_ours(host, &ours), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "127.0.0.1.evil.example:80",
            "[::1]x",
            "localhost.evil",
            "a:b:c",
        ] {
            assert!(!is_ours(host, &ours), "{host}");
        }
    }

    fn status(method: Method, headers: &[(&'static str, &'static str)]) -> u16 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_static(value));
        }
        match admit(&method, &map, &[]) {
            Ok(()) => 200,
            Err(problem) => problem.into_response().status().as_u16(),
        }
    }

    /// Of two, a proxy in between may have believed the other.
    #[test]
    fn a_header_that_comes_twice_admits_nobody() {
        let address = HeaderValue::from_static("127.0.0.1:9101");
        let origin = HeaderValue::from_static("http://127.0.0.1:9101");
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, address.clone());
        headers.append(header::ORIGIN, origin);
        assert!(admit(&Method::GET, &headers, &[]).is_ok());
        let mut two_hosts = headers.clone();
        two_hosts.append(header::HOST, HeaderValue::from_static("evil.example"));
        assert!(admit(&Method::GET, &two_hosts, &[]).is_err());
        headers.append(
            header::ORIGIN,
            HeaderValue::from_static("http://evil.example"),
        );
        assert!(admit(&Method::GET, &headers, &[]).is_err());
    }

    #[test]
    fn who_is_admitted_in_a_table() {
        const HOST: (&str, &str) = ("host", "127.0.0.1:9101");
        const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");
        type Headers = &'static [(&'static str, &'static str)];
        let cases: &[(Method, Headers, u16)] = &[
            (Method::GET, &[HOST], 200),
            (Method::GET, &[], 403),
            (Method::GET, &[("host", "rebound.example:9101")], 403),
            (Method::POST, &[HOST, JSON], 200),
            (Method::POST, &[HOST], 415),
            (Method::DELETE, &[HOST], 415),
            (Method::PUT, &[HOST, ("content-type", "text/plain")], 415),
            (
                Method::POST,
                &[HOST, JSON, ("origin", "http://127.0.0.1:9101")],
                200,
            ),
            (
                Method::POST,
                &[HOST, JSON, ("origin", "http://127.0.0.1:80")],
                403,
            ),
            (
                Method::POST,
                &[HOST, JSON, ("origin", "https://evil.example")],
                403,
            ),
            (Method::POST, &[HOST, JSON, ("origin", "null")], 403),
            (
                Method::GET,
                &[HOST, ("origin", "https://evil.example")],
                403,
            ),
        ];
        for (method, headers, expected) in cases {
            assert_eq!(
                status(method.clone(), headers),
                *expected,
                "{method} {headers:?}"
            );
        }
    }
}

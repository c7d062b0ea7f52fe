//! `monitord explain`: asks the running daemon why a monitor is or is not being checked now.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use thiserror::Error;
use tokio::net::TcpStream;

use super::Failure;
use crate::cli::ExplainArgs;
use crate::terminal::{Colour, Paint};

/// How long the daemon may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// No answer of ours is larger.
const ANSWER_MAX: usize = 1 << 20;

/// Why there is no explanation.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExplainError {
    /// The URL is none of a daemon.
    #[error("--url {url:?} is no address of a daemon; write it as http://127.0.0.1:8080")]
    Url {
        /// The URL.
        url: String,
    },
    /// Nobody listens there.
    #[error(
        "no daemon answers at {address}: {source}; start one with `monitord run`, or name its \
         address with --url"
    )]
    NoDaemon {
        /// Where.
        address: String,
        /// Why not.
        source: std::io::Error,
    },
    /// Somebody listens, and does not answer as a daemon does.
    #[error("what answers at {address} is no daemon of ours: {what}")]
    NotOurs {
        /// Where.
        address: String,
        /// What it did.
        what: String,
    },
    /// It takes too long.
    #[error("the daemon at {address} did not answer within {} s", PATIENCE.as_secs())]
    Slow {
        /// Where.
        address: String,
    },
    /// The daemon has no such monitor, or lets nobody in.
    #[error("{detail}")]
    Refused {
        /// What it says.
        detail: String,
    },
}

/// Asks, and prints the answer.
///
/// # Errors
/// [`ExplainError`], in words.
pub fn run(args: ExplainArgs) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let answer = runtime.block_on(ask(&args.url, &args.id));
    let answer = answer.map_err(|error| match error {
        ExplainError::Url { .. } => Failure::usage(error),
        error => Failure::new(error),
    })?;
    let mut out = std::io::stdout().lock();
    let text = if args.json {
        format!("{answer}\n")
    } else {
        text(&args.id, &answer, Paint::on(out.is_terminal()))
    };
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

async fn ask(url: &str, id: &str) -> Result<Value, ExplainError> {
    let (host, port) = address(url)?;
    let address = format!("{host}:{port}");
    let answer = tokio::time::timeout(PATIENCE, get(&host, port, id)).await;
    let (status, body) = answer.map_err(|_| ExplainError::Slow {
        address: address.clone(),
    })??;
    let not_ours = |what: String| ExplainError::NotOurs {
        address: address.clone(),
        what,
    };
    let answer: Value = serde_json::from_slice(&body)
        .map_err(|_| not_ours(format!("it says {status}, and nothing in JSON")))?;
    match status {
        StatusCode::OK if answer["text"].is_array() => Ok(answer),
        status => match answer["detail"].as_str() {
            Some(detail) => Err(ExplainError::Refused {
                detail: detail.to_owned(),
            }),
            None => Err(not_ours(format!("it says {status}"))),
        },
    }
}

/// The host and the port of `http://host:port` or `host:port`, an IPv6 address in its brackets.
fn address(url: &str) -> Result<(String, u16), ExplainError> {
    let refused = || ExplainError::Url {
        url: monitor_probes::redacted(url),
    };
    let whole = match url.contains("://") {
        true => url.to_owned(),
        false => format!("http://{url}"),
    };
    let uri: Uri = whole.parse().map_err(|_| refused())?;
    let is_plain = uri.scheme_str() == Some("http") && uri.path() == "/" && uri.query().is_none();
    let (true, Some(host), Some(authority)) = (is_plain, uri.host(), uri.authority()) else {
        return Err(refused());
    };
    // A port that is no number is none to the parser, and nobody meant port 80 by it.
    let port = match authority.as_str().strip_prefix(host) {
        Some("") => 80,
        Some(rest) => {
            let port = rest.strip_prefix(':').and_then(|port| port.parse().ok());
            port.ok_or_else(refused)?
        }
        None => return Err(refused()),
    };
    Ok((host.to_owned(), port))
}

async fn get(host: &str, port: u16, id: &str) -> Result<(StatusCode, Vec<u8>), ExplainError> {
    let address = format!("{host}:{port}");
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream =
        TcpStream::connect((bare, port))
            .await
            .map_err(|source| ExplainError::NoDaemon {
                address: address.clone(),
                source,
            })?;
    let not_ours = |error: &dyn std::fmt::Display| ExplainError::NotOurs {
        address: address.clone(),
        what: error.to_string(),
    };
    let request = Request::get(format!("/api/admin/explain/{}", encoded(id)))
        .header(header::HOST, &address)
        .body(Body::empty())
        .map_err(|error| not_ours(&error))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut send, connection) = handshake.map_err(|error| not_ours(&error))?;
    // Ends with the runtime; its error is that of the request.
    tokio::spawn(connection);
    let response = send.send_request(request).await;
    let response = response.map_err(|error| not_ours(&error))?;
    let status = response.status();
    let body = axum::body::to_bytes(Body::new(response.into_body()), ANSWER_MAX).await;
    Ok((status, body.map_err(|error| not_ours(&error))?.to_vec()))
}

/// An id as a piece of a path: what it must not be is told by the daemon, and not lost on the way.
fn encoded(id: &str) -> String {
    let mut text = String::new();
    for byte in id.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => text.push(char::from(byte)),
            // A dot alone would be a step in the path.
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

fn text(id: &str, answer: &Value, paint: Paint) -> String {
    let state = answer["state"].as_str().unwrap_or("not scheduled");
    // What the scheduler calls armed is waiting for its time to everybody else.
    let state = if state == "armed" { "waiting" } else { state };
    let colour = match state {
        "waiting" | "running" => Colour::Green,
        "queued" => Colour::Yellow,
        "stuck" => Colour::Red,
        _ => Colour::Grey,
    };
    let mut text = format!("{id}  {}\n", paint.bold(colour, state));
    for line in answer["text"].as_array().into_iter().flatten() {
        text.push_str(&format!("  {}\n", line.as_str().unwrap_or_default()));
    }
    for limit in answer["limits"].as_array().into_iter().flatten() {
        if limit["reached"] == false
            && let Some(limit) = limit["text"].as_str()
        {
            text.push_str(&format!("  {}\n", paint.dim(&format!("limit: {limit}"))));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_daemons_only() {
        assert_eq!(address("http://127.0.0.1:8080").unwrap().1, 8080);
        assert_eq!(
            address("http://[::1]:81/").unwrap(),
            ("[::1]".to_owned(), 81)
        );
        assert_eq!(address("http://localhost").unwrap().1, 80);
        assert_eq!(
            address("localhost:81").unwrap(),
            ("localhost".to_owned(), 81)
        );
        for url in [
            "",
            "127.0.0.1:x",
            "https://127.0.0.1",
            "http://a/b",
            "http://a/?x",
            "é",
        ] {
            let error = address(url).unwrap_err();
            assert!(matches!(error, ExplainError::Url { .. }), "{url}");
        }
    }

    #[test]
    fn an_id_is_one_piece_of_a_path() {
        assert_eq!(encoded("shop-1_a"), "shop-1_a");
        assert_eq!(encoded("../a b"), "%2E%2E%2Fa%20b");
    }
}

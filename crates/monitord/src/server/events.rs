//! `GET /events`: the live stream, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast::error::RecvError};

use super::app::App;
use super::live::{Place, RESYNC, Reader};
use super::problem::Problem;

/// Leaves connections free for those who ask something.
pub(super) const MAX_READERS: usize = 512;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Parameters {
    /// The last event that the page knows of, until `Last-Event-ID` says it.
    after: Option<String>,
}

struct Listener {
    reader: Reader,
    is_first: bool,
    _seat: OwnedSemaphorePermit,
}

/// `event: result` for every committed record, with the record as JSON; `fenced`, `lifecycle`,
/// `defined` and `deleted` for what their names say; `update` with the changed parts of the page,
/// once a second at most; `resync` for a reader that has missed something.
pub(super) async fn get(
    State((app, seats)): State<(App, Arc<Semaphore>)>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Response {
    let Ok(seat) = seats.try_acquire_owned() else {
        let detail = format!("{MAX_READERS} readers listen already; poll / instead");
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response();
    };
    let last = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok());
    let last = last.or(parameters.after.as_deref());
    // An id that is none of ours is a place that is long gone.
    let known = last.map(|text| text.parse().unwrap_or(Place::GONE));
    let Some(reader) = app.0.parts.live.join(known) else {
        let detail = "the server is shutting down";
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response();
    };
    let listener = Listener {
        reader,
        is_first: true,
        _seat: seat,
    };
    let frames = stream::unfold(listener, |mut listener| async {
        let frame = listener.next().await?;
        Some((Ok::<_, Infallible>(frame), listener))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Some proxies collect an answer before they pass it on.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(frames)).into_response()
}

impl Listener {
    /// The next frame; `None` when the stream ends.
    async fn next(&mut self) -> Option<Bytes> {
        if std::mem::take(&mut self.is_first) {
            return Some(Bytes::from_static(b"retry: 2000\n\n"));
        }
        if let Some(frame) = self.reader.replay.pop_front() {
            return Some(frame.bytes);
        }
        loop {
            match self.reader.frames.recv().await {
                // Was in the replay, or before it.
                Ok(frame) if frame.sequence.is_some_and(|n| n <= self.reader.from) => {}
                Ok(frame) => return Some(frame.bytes),
                Err(RecvError::Lagged(_)) => return Some(RESYNC),
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::live::Live;

    /// OPS-33, OPS-34: a reader that falls too far behind is told so, holds up nobody, and goes on
    /// with what is still there.
    #[tokio::test]
    async fn a_slow_reader_is_told_to_read_anew() {
        let live = Live::default();
        let seats = Arc::new(Semaphore::new(1));
        let mut listener = Listener {
            reader: live.join(None).unwrap(),
            is_first: true,
            _seat: seats.try_acquire_owned().unwrap(),
        };
        assert_eq!(listener.next().await.unwrap(), "retry: 2000\n\n");
        for n in 0..5000 {
            live.send(Bytes::from(format!("data: {n}\n\n")));
        }
        assert_eq!(listener.next().await.unwrap(), RESYNC);
        let next = listener.next().await.unwrap();
        assert!(next.starts_with(b"data: ") && next != "data: 0\n\n");
        live.close();
        let mut rest = 1;
        while listener.next().await.is_some() {
            rest += 1;
        }
        assert!(rest < 5000, "bounded: {rest}");
    }
}

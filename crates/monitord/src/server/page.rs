//! `GET /`: the status page.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tokio::sync::Mutex;
use tokio::time::{Duration, Instant};

use super::app::App;
use super::gather;
use super::live::Place;
use crate::view;

/// How long a page in which nothing changed is still served: what it says of time is that old.
const MAX_AGE: Duration = Duration::from_secs(1);

/// The last page. Whoever asks while one is being made waits for it and gets the same: the lock is
/// an async one and held meanwhile.
pub(super) type PageCache = Mutex<Option<Cached>>;

#[derive(Debug)]
pub(super) struct Cached {
    html: Bytes,
    place: Place,
    made: Instant,
}

pub(super) async fn get(State(app): State<App>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, html(&app).await).into_response()
}

/// A page that knows of every event until now.
async fn html(app: &App) -> Bytes {
    let live = &app.0.parts.live;
    let asked = live.now();
    let mut cache = app.0.page.lock().await;
    if let Some(page) = &*cache
        && page.place.sequence >= asked.sequence
        && page.made.elapsed() < MAX_AGE
    {
        return page.html.clone();
    }
    // The place before the state: the page may know more than it says, never less.
    let place = live.now();
    let (subjects, now) = gather::subjects(app).await;
    let html = view::page(&app.0.frame, &subjects, &now, &place.to_string());
    let html = Bytes::from(html);
    *cache = Some(Cached {
        html: html.clone(),
        place,
        made: Instant::now(),
    });
    html
}

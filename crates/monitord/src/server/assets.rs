//! The files of the page, inside the binary. Their names carry a hash of their content, so that a
//! browser keeps them for good and never shows a new page with old files.

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::problem::Problem;

/// An embedded file.
#[derive(Debug)]
pub(super) struct Asset {
    stem: &'static str,
    extension: &'static str,
    media_type: &'static str,
    content: &'static str,
}

pub(super) const STYLE: Asset = Asset {
    stem: "status",
    extension: "css",
    media_type: "text/css; charset=utf-8",
    content: include_str!("../../assets/status.css"),
};
pub(super) const SCRIPT: Asset = Asset {
    stem: "status",
    extension: "js",
    media_type: "text/javascript; charset=utf-8",
    content: include_str!("../../assets/status.js"),
};
pub(super) const ICON: Asset = Asset {
    stem: "icon",
    extension: "svg",
    media_type: "image/svg+xml",
    content: include_str!("../../assets/icon.svg"),
};

impl Asset {
    /// Where the page finds it.
    pub(super) fn path(&self) -> String {
        format!("/assets/{}", self.name())
    }

    fn name(&self) -> String {
        format!(
            "{}-{:016x}.{}",
            self.stem,
            fnv1a(self.content),
            self.extension
        )
    }
}

/// 64-bit FNV-1a: names files, guards nothing.
fn fnv1a(content: &str) -> u64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    content.bytes().fold(0xcbf2_9ce4_8422_2325, fold)
}

/// `GET /assets/{name}`
pub(super) async fn get(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some(asset) = [STYLE, SCRIPT, ICON]
        .into_iter()
        .find(|asset| asset.name() == name)
    else {
        return Problem::not_found("no such file").into_response();
    };
    let tag = format!("\"{name}\"");
    let fresh = [
        (header::ETAG, tag.clone()),
        (
            header::CACHE_CONTROL,
            "public, max-age=31536000, immutable".to_owned(),
        ),
    ];
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|one| one.trim() == tag)) {
        return (StatusCode::NOT_MODIFIED, fresh).into_response();
    }
    (
        fresh,
        [(header::CONTENT_TYPE, asset.media_type)],
        asset.content,
    )
        .into_response()
}

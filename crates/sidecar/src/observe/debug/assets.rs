//! The console's files, in the binary: one page for all paths, and what it loads.

use axum::extract::{Path, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::answer::fault;
use tradewind_engine::model::Digest;

/// A file with its kind.
struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

macro_rules! assets {
    ($($name:literal: $kind:literal,)*) => {
        &[$(Asset {
            name: $name,
            kind: $kind,
            bytes: include_bytes!(concat!("../../../assets/console/", $name)),
        },)*]
    };
}

const HTML: &str = "index.html";

const ASSETS: &[Asset] = assets! {
    "actions.js": "text/javascript; charset=utf-8",
    "atlas.js": "text/javascript; charset=utf-8",
    "bill.js": "text/javascript; charset=utf-8",
    "charts.js": "text/javascript; charset=utf-8",
    "derive.js": "text/javascript; charset=utf-8",
    "diff.js": "text/javascript; charset=utf-8",
    "dom.js": "text/javascript; charset=utf-8",
    "explain.js": "text/javascript; charset=utf-8",
    "fmt.js": "text/javascript; charset=utf-8",
    "fonts/atkinson-hyperlegible-mono.woff2": "font/woff2",
    "fonts/atkinson-hyperlegible-next.woff2": "font/woff2",
    "frame.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "index.html": "text/html; charset=utf-8",
    "land.js": "text/javascript; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "main.js": "text/javascript; charset=utf-8",
    "map.js": "text/javascript; charset=utf-8",
    "overview.js": "text/javascript; charset=utf-8",
    "pages.css": "text/css; charset=utf-8",
    "plan.js": "text/javascript; charset=utf-8",
    "policy.js": "text/javascript; charset=utf-8",
    "race.js": "text/javascript; charset=utf-8",
    "rollout.js": "text/javascript; charset=utf-8",
    "site.js": "text/javascript; charset=utf-8",
    "states.js": "text/javascript; charset=utf-8",
    "store.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
};

/// The page, whatever its path: which of its views is shown, its own modules decide.
pub(super) async fn page(request: Request) -> Response {
    send(HTML, &request)
}

/// A file of it.
pub(super) async fn file(Path(name): Path<String>, request: Request) -> Response {
    send(&name, &request)
}

fn send(name: &str, request: &Request) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return fault(StatusCode::NOT_FOUND, &["the console has no such file"]);
    };
    let tag = format!("\"{}\"", Digest::of(asset.bytes).short());
    let known = request.headers().get(header::IF_NONE_MATCH);
    let is_known = known.is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        asset.bytes.into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    // Asked for each time, and not sent again while it is the same: another binary has other files.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

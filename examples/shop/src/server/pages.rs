//! The pages and what they load, from within the program.

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::routing::get;

use super::routes::Shop;

/// A wrapped parcel with a berry-red ribbon.
const ICON: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><path fill="#1f5b4a" d="M4 12h24v17H4z"/><path fill="#2f7a64" d="M2 8h28v6H2z"/><path fill="#c8404c" d="M13 8h6v21h-6zM16 8C9 9 7 2 11 2c3 0 4 3 5 6zM16 8c7 1 9-6 5-6-3 0-4 3-5 6z"/></svg>"##;

/// Each path, its content type, and what lies there.
const FILES: &[(&str, &str, &str)] = &[
    ("/", "text/html; charset=utf-8", include_str!("../../assets/index.html")),
    ("/live", "text/html; charset=utf-8", include_str!("../../assets/live.html")),
    ("/assets/shop.css", "text/css; charset=utf-8", include_str!("../../assets/shop.css")),
    ("/assets/shop.js", "text/javascript; charset=utf-8", include_str!("../../assets/shop.js")),
    ("/assets/live.js", "text/javascript; charset=utf-8", include_str!("../../assets/live.js")),
    ("/assets/icon.svg", "image/svg+xml", ICON),
    ("/favicon.ico", "image/svg+xml", ICON),
];

/// The routes of the pages.
pub(super) fn routes() -> Router<Shop> {
    FILES.iter().fold(Router::new(), |router, &(path, kind, text)| {
        // A new version of the program may bring other pages: ask each time.
        let headers = [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")];
        router.route(path, get(move || async move { (headers, text) }))
    })
}

//! The call page and the SDK, byte for byte the files of `web/`, embedded in the binary; and the headers that keep
//! browsers from running anything else.

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rust_embed::RustEmbed;
use serde::Serialize;

use crate::counters::{Counters, HttpRefusal};

#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/../web"]
struct Web;

/// A file of the client, as it is served, and its hash, so that others can compare.
#[derive(Clone, Serialize)]
pub struct WebFile {
    /// Below `web/`.
    pub path: String,
    /// In hex.
    pub sha256: String,
}

/// Every file of the client that is served, sorted by path.
pub fn files() -> Vec<WebFile> {
    let served = Web::iter().filter(|path| content_type(path).is_some());
    let hashed = |path: &str| {
        let hash = digest(&SHA256, &Web::get(path)?.data);
        let sha256 = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Some(WebFile { path: path.to_owned(), sha256 })
    };
    let mut files: Vec<WebFile> = served.filter_map(|path| hashed(&path)).collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// The page that every link opens.
pub(crate) fn index(headers: &HeaderMap) -> Response {
    file("index.html", headers).unwrap_or_else(|| (StatusCode::NOT_FOUND, "not found\n").into_response())
}

/// What is stored about calls, told to a person; where this build has no such page, `None`.
pub(crate) fn transparency(headers: &HeaderMap) -> Option<Response> {
    let wants_html = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).any(names_html);
    let mut page = wants_html.then(|| file("transparency.html", headers)).flatten()?;
    page.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Some(page)
}

/// Any other path: a file of the client, or nothing.
pub(crate) fn other(method: &Method, uri: &Uri, headers: &HeaderMap, counters: &Counters) -> Response {
    let path = uri.path().trim_start_matches('/');
    let found = FOLDERS.iter().any(|folder| path.starts_with(folder)).then(|| file(path, headers)).flatten();
    match found {
        Some(_) if method != Method::GET && method != Method::HEAD => method_not_allowed(counters),
        Some(response) => response,
        None => {
            counters.count_http(HttpRefusal::NotFound);
            (StatusCode::NOT_FOUND, "not found\n").into_response()
        }
    }
}

/// The path is there, the method is not.
pub(crate) fn method_not_allowed(counters: &Counters) -> Response {
    counters.count_http(HttpRefusal::Method);
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")], "method not allowed\n").into_response()
}

/// Adds what every answer carries, whatever its status.
pub(crate) async fn protect(uri: Uri, mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in EVERYWHERE {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Another site's page may import the SDK. Its own policy then governs what the modules may do.
    let shared = SHARED.iter().any(|folder| uri.path().starts_with(folder));
    let resource_policy = if shared { "cross-origin" } else { "same-origin" };
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static(resource_policy));
    if shared {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    response
}

fn file(path: &str, headers: &HeaderMap) -> Option<Response> {
    let content_type = content_type(path)?;
    let file = Web::get(path)?;
    let hash = digest(&SHA256, &file.data);
    let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16]));
    // Asked again at each load: a page and its modules always belong to one build.
    let caching = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, "no-cache".to_owned())];
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|tags| tags.split(',').any(|known| known.trim().trim_start_matches("W/") == tag)) {
        return Some((StatusCode::NOT_MODIFIED, caching).into_response());
    }
    Some((caching, [(header::CONTENT_TYPE, content_type)], file.data).into_response())
}

/// Whether an `Accept` (RFC 9110, section 12.5.1) names HTML, as browsers do when they open a page. A wildcard names
/// nothing.
fn names_html(accept: &str) -> bool {
    accept
        .split(',')
        .filter_map(|range| range.split(';').next())
        .any(|kind| kind.trim().eq_ignore_ascii_case("text/html"))
}

/// The type of a file that may be served: plain names, known endings, no tests.
fn content_type(path: &str) -> Option<&'static str> {
    let plain = |segment: &str| {
        let (first, rest) = segment.split_at_checked(1).unwrap_or_default();
        let letters = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        !first.is_empty() && first != "." && letters(first) && letters(rest)
    };
    let is_test = path.split('/').any(|segment| segment == "test" || segment == "tests") || path.contains(".test.");
    if is_test || !path.split('/').all(plain) {
        return None;
    }
    let (_, ending) = path.rsplit_once('.')?;
    TYPES.iter().find(|(known, _)| *known == ending).map(|(_, content_type)| *content_type)
}

/// Folders of `web/` that are served.
const FOLDERS: [&str; 4] = ["assets/", "e2ee/", "page/", "sdk/"];

/// Paths that pages of other sites may load.
const SHARED: [&str; 2] = ["/e2ee/", "/sdk/"];

const TYPES: [(&str, &str); 8] = [
    ("html", "text/html; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("ico", "image/x-icon"),
    ("woff2", "font/woff2"),
    ("webmanifest", "application/manifest+json"),
];

const EVERYWHERE: [(HeaderName, &str); 7] = [
    // `'self'` in `connect-src` covers ws: and wss: of the same host (CSP3, section 6.7.2.8).
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self' data:; \
         font-src 'self'; manifest-src 'self'; media-src 'self' blob:; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-embedder-policy"), "require-corp"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(self), microphone=(self), display-capture=(self), autoplay=(self), fullscreen=(self), \
         picture-in-picture=(self), screen-wake-lock=(self), clipboard-write=(self), accelerometer=(), \
         bluetooth=(), browsing-topics=(), clipboard-read=(), encrypted-media=(), geolocation=(), gyroscope=(), \
         hid=(), idle-detection=(), local-fonts=(), magnetometer=(), midi=(), payment=(), \
         publickey-credentials-get=(), serial=(), usb=(), xr-spatial-tracking=()",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (HeaderName::from_static("x-robots-tag"), "noindex"),
];

#[cfg(test)]
mod tests {
    use super::content_type;

    #[test]
    fn only_plain_names_with_known_endings_are_served() {
        assert_eq!(content_type("sdk/sotto.js"), Some("text/javascript; charset=utf-8"));
        for path in [
            "",
            "sdk",
            "sdk/",
            "sdk/../Cargo.js",
            "sdk/.hidden.js",
            "sdk//a.js",
            "sdk/a.rs",
            "sdk/a.js.map",
            "sdk/%2e%2e/a.js",
            "sdk/a\\b.js",
            "e2ee/tests/a.js",
            "e2ee/sframe.test.js",
            "sdk/tsconfig.json",
        ] {
            assert_eq!(content_type(path), None, "{path}");
        }
    }
}

//! The console: a page that asks the API, served at `/`.
//!
//! `console/` has its sources and `console/dist` the bundle that they give, which is committed: no build of
//! the server needs Node.js. `build.rs` puts the bundle into the program.
//!
//! ```text
//! /, /map, /flows, /performance, /explore    index.html, asked for anew each time (ETag)
//! /assets/NAME-HASH.js, .css                 named by content, kept for a year
//! /weir.svg                                  the icon
//! ```
//!
//! The page holds no data, so it needs no token; what it asks of the API does. Its policy of contents
//! admits scripts and styles of this server alone, none of them inline, and requests to nobody else.

use std::fmt::Write as _;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// A file of the bundle.
struct Asset {
    /// As it is asked for.
    path: &'static str,
    plain: &'static [u8],
    gzip: &'static [u8],
}

static ASSETS: &[Asset] = &include!(concat!(env!("OUT_DIR"), "/console.rs"));

/// Paths of views: the page reads them itself (`console/src/state/location.ts`).
const VIEWS: [&str; 5] = ["/", "/map", "/flows", "/performance", "/explore"];

/// What the page may load, and from where: this server alone.
const POLICY: &str = "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; \
                      img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// Headers of everything that the console consists of.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

fn asset(path: &str) -> Option<&'static Asset> {
    let path = if VIEWS.contains(&path) { "/index.html" } else { path };
    ASSETS.iter().find(|asset| asset.path == path)
}

/// Whether the console answers at this path. What it answers is the same for everybody.
pub fn is_console(path: &str) -> bool {
    asset(path).is_some()
}

/// The file at the path of a request; `None` if the console has none there.
pub(crate) fn answer(request: &Request) -> Option<Response> {
    let asset = asset(request.uri().path())?;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let allow = (header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Some((StatusCode::METHOD_NOT_ALLOWED, [allow]).into_response());
    }
    Some(asset.response(request.headers()))
}

impl Asset {
    fn response(&self, request: &HeaderMap) -> Response {
        let gzip = takes_gzip(request);
        let tag = self.tag(gzip);
        let known = request
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|given| given.trim().trim_start_matches("W/") == tag || given.trim() == "*");
        let mut response = if known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let bytes = if gzip { self.gzip } else { self.plain };
            let mut response = Body::from(Bytes::from_static(bytes)).into_response();
            let media = HeaderValue::from_static(media_type(self.path));
            response.headers_mut().insert(header::CONTENT_TYPE, media);
            if gzip {
                let encoding = HeaderValue::from_static("gzip");
                response.headers_mut().insert(header::CONTENT_ENCODING, encoding);
            }
            response
        };
        let headers = response.headers_mut();
        for (name, value) in HEADERS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(self.caching()));
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            headers.insert(header::ETAG, tag);
        }
        response
    }

    /// A strong validator (RFC 9110, section 8.8.3): each encoding has its own.
    fn tag(&self, gzip: bool) -> String {
        let mut tag = String::from("\"");
        let _ = write!(tag, "{:016x}{}", fnv(self.plain), if gzip { "-gzip" } else { "" });
        tag.push('"');
        tag
    }

    /// What the name says the content of never changes; everything else is asked for again.
    fn caching(&self) -> &'static str {
        if self.path.starts_with("/assets/") {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        }
    }
}

/// FNV-1a, 64 bits: tells versions of a file apart, nothing more.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Whether `Accept-Encoding` admits gzip (RFC 9110, section 12.5.3).
fn takes_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| {
            let mut words = part.split(';').map(str::trim);
            let gzip = words.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
            let refused = words.any(|word| {
                let weight = word.strip_prefix("q=").and_then(|q| q.parse::<f32>().ok());
                weight.is_some_and(|weight| weight <= 0.0)
            });
            gzip && !refused
        })
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        Some("json") => "application/json",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests;

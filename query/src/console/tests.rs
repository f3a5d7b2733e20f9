//! What the console is served with.

use std::collections::BTreeSet;
use std::io::Read;

use axum::http::Uri;
use flate2::read::GzDecoder;
use http_body_util::BodyExt;

use super::*;

fn request(method: Method, path: &str, headers: &[(HeaderName, &str)]) -> Request {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method;
    *request.uri_mut() = Uri::try_from(path).unwrap();
    for (name, value) in headers {
        request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
    }
    request
}

fn get(path: &str, headers: &[(HeaderName, &str)]) -> Option<Response> {
    answer(&request(Method::GET, path, headers))
}

async fn bytes(response: Response) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

fn header_of(response: &Response, name: HeaderName) -> &str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn each_view_is_the_page_and_nothing_else_is() {
    for view in ["/", "/map", "/flows?from=now-6h", "/performance", "/explore"] {
        let response = get(view, &[]).unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header_of(&response, header::CONTENT_TYPE), "text/html; charset=utf-8");
        assert_eq!(header_of(&response, header::CACHE_CONTROL), "no-cache");
        assert!(bytes(response).await.starts_with(b"<!doctype html>"));
    }
    for other in ["/metrics", "/api/v1/nothing", "/assets/", "/assets/x.js", "/flows/x", "/../x"] {
        assert!(get(other, &[]).is_none(), "{other}");
        assert!(!is_console(other));
    }
}

#[tokio::test]
async fn whatever_the_page_loads_is_there_and_stays_valid() {
    let page = bytes(get("/", &[]).unwrap()).await;
    let page = String::from_utf8(page.to_vec()).unwrap();
    let named: BTreeSet<_> = page.split('"').filter(|part| part.starts_with("/assets/")).collect();
    assert!(named.len() >= 2, "{page}");
    for path in named {
        let response = get(path, &[]).unwrap();
        assert!(header_of(&response, header::CACHE_CONTROL).contains("immutable"));
        let media = header_of(&response, header::CONTENT_TYPE);
        assert!(media.starts_with("text/javascript") || media.starts_with("text/css"), "{media}");
    }
}

/// A page that breaks its own policy does not work at all, so nothing in it is inline.
#[tokio::test]
async fn the_policy_admits_this_server_alone() {
    let response = get("/", &[]).unwrap();
    let policy = header_of(&response, header::CONTENT_SECURITY_POLICY).to_owned();
    for part in policy.split("; ").filter(|part| !part.starts_with("img-src")) {
        let (_, sources) = part.split_once(' ').unwrap();
        assert!(matches!(sources, "'self'" | "'none'"), "{part}");
    }
    let page = String::from_utf8(bytes(response).await.to_vec()).unwrap();
    assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains("<script>"));
    assert!(!page.contains("http://") && !page.contains("https://"), "{page}");
}

#[tokio::test]
async fn both_encodings_are_the_same_file() {
    for asset in ASSETS {
        let gzip = get(asset.path, &[(header::ACCEPT_ENCODING, "br, gzip;q=0.5")]).unwrap();
        assert_eq!(header_of(&gzip, header::CONTENT_ENCODING), "gzip");
        let mut unpacked = Vec::new();
        GzDecoder::new(&bytes(gzip).await[..]).read_to_end(&mut unpacked).unwrap();
        let plain = get(asset.path, &[(header::ACCEPT_ENCODING, "gzip;q=0, br")]).unwrap();
        assert_eq!(header_of(&plain, header::CONTENT_ENCODING), "");
        assert_eq!(unpacked, bytes(plain).await, "{}", asset.path);
    }
}

#[tokio::test]
async fn what_the_browser_has_is_not_sent_again() {
    let gzip = (header::ACCEPT_ENCODING, "gzip");
    let tag = header_of(&get("/", std::slice::from_ref(&gzip)).unwrap(), header::ETAG).to_owned();
    let plain = header_of(&get("/", &[]).unwrap(), header::ETAG).to_owned();
    assert_ne!(tag, plain);
    let again = get("/map", &[gzip, (header::IF_NONE_MATCH, &format!("\"x\", W/{tag}"))]).unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(header_of(&again, header::ETAG), tag);
    assert!(bytes(again).await.is_empty());
    let other = get("/", &[(header::IF_NONE_MATCH, &tag)]).unwrap();
    assert_eq!(other.status(), StatusCode::OK, "of another encoding");
}

#[test]
fn the_page_takes_no_data() {
    let response = answer(&request(Method::POST, "/", &[])).unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
}

/// The views are listed twice: here, and where the page reads the path.
#[test]
fn the_page_and_the_server_know_the_same_views() {
    let source = include_str!("../../console/src/state/location.ts");
    let (_, list) = source.split_once("export const VIEWS = {").unwrap();
    let (list, _) = list.split_once('}').unwrap();
    let paths: BTreeSet<_> = list.split('"').filter(|part| part.starts_with('/')).collect();
    assert_eq!(paths, VIEWS.into_iter().collect());
}

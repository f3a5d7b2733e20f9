//! Statuses, messages and headers as a Prometheus 3.5 gave them.

use axum::http::{HeaderMap, Method};
use flate2::read::GzDecoder;

use super::*;
use crate::{Description, Descriptions};

async fn raw(
    router: &Router,
    method: Method,
    uri: &str,
    headers: &[(&str, &str)],
) -> (StatusCode, HeaderMap, Vec<u8>) {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).expect("a request");
    let response = router.clone().oneshot(request).await.expect("a response");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    (parts.status, parts.headers, body.to_vec())
}

#[tokio::test]
async fn malformed_requests_are_told_in_the_same_words() {
    let (router, _dir) = small().await;
    for (path, params, error) in [
        (
            "query",
            vec![("query", "1"), ("time", "x")],
            "invalid parameter \"time\": invalid time value for 'time': cannot parse \"x\" to a \
             valid timestamp",
        ),
        (
            "query",
            vec![("query", "1"), ("timeout", "x")],
            "invalid parameter \"timeout\": cannot parse \"x\" to a valid duration",
        ),
        (
            "query",
            vec![("query", "1"), ("limit", "x")],
            "invalid parameter \"limit\": strconv.Atoi: parsing \"x\": invalid syntax",
        ),
        (
            "query",
            vec![("query", "1"), ("limit", "-1")],
            "invalid parameter \"limit\": limit must be non-negative",
        ),
        (
            "query",
            vec![("query", "1"), ("lookback_delta", "x")],
            "error parsing lookback delta duration: cannot parse \"x\" to a valid duration",
        ),
        (
            "query_range",
            vec![("query", "1")],
            "invalid parameter \"start\": cannot parse \"\" to a valid timestamp",
        ),
        (
            "query_range",
            vec![("query", "1"), ("start", "0"), ("end", "1")],
            "invalid parameter \"step\": cannot parse \"\" to a valid duration",
        ),
        (
            "query_range",
            vec![("query", "1"), ("start", "5"), ("end", "1"), ("step", "1")],
            "invalid parameter \"end\": end timestamp must not be before start time",
        ),
        (
            "query_range",
            vec![("query", "1"), ("start", "0"), ("end", "1"), ("step", "0")],
            "invalid parameter \"step\": zero or negative query resolution step widths are not \
             accepted. Try a positive integer",
        ),
        (
            "query_range",
            vec![("query", "1"), ("start", "0"), ("end", "11001"), ("step", "1")],
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query \
             resolution (?step=XX)",
        ),
        (
            "query_range",
            vec![("query", "up[5m]"), ("start", "0"), ("end", "1"), ("step", "1")],
            "invalid parameter \"query\": invalid expression type \"range vector\" for range query, \
             must be Scalar or instant Vector",
        ),
        ("series", vec![], "no match[] parameter provided"),
        (
            "series",
            vec![("match[]", "{}")],
            "invalid parameter \"match[]\": match[] must contain at least one non-empty matcher",
        ),
        ("labels", vec![("match[]", "{}")], "match[] must contain at least one non-empty matcher"),
        ("metadata", vec![("limit", "x")], "limit must be a number"),
        ("metadata", vec![("limit_per_metric", "x")], "limit_per_metric must be a number"),
        ("targets/metadata", vec![("limit", "x")], "limit must be a number"),
        ("status/tsdb", vec![("limit", "0")], "limit must be a positive number"),
        ("rules", vec![("type", "x")], "invalid parameter \"type\": not supported value \"x\""),
        (
            "query_exemplars",
            vec![("query", "a"), ("start", "9"), ("end", "1")],
            "end timestamp must not be before start timestamp",
        ),
    ] {
        let (status, answer) = get(&router, &format!("/api/v1/{path}"), &params).await;
        assert_eq!((status, &answer["errorType"]), (StatusCode::BAD_REQUEST, &json!("bad_data")));
        assert_eq!(answer["error"], json!(error), "{path} {params:?}");
    }
    for (path, query) in [("query", "sum("), ("format_query", ""), ("parse_query", "(")] {
        let (status, answer) = get(&router, &format!("/api/v1/{path}"), &[("query", query)]).await;
        let error = answer["error"].as_str().unwrap_or_default();
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(error.starts_with("invalid parameter \"query\": "), "{error}");
        assert!(error.contains("parse error: "), "{error}");
    }
}

#[tokio::test]
async fn empty_answers_are_answers() {
    let (router, _dir) = small().await;
    let millis = [("query", "up"), ("start", "1435781451781"), ("end", "1435781451782")];
    for (path, params, data) in [
        ("query_exemplars", millis.to_vec(), json!([])),
        ("targets/metadata", vec![], json!([])),
        ("rules", vec![("type", "alert")], json!({"groups": []})),
        ("alerts", vec![], json!({"alerts": []})),
        ("alertmanagers", vec![], json!({"activeAlertmanagers": [], "droppedAlertmanagers": []})),
        ("scrape_pools", vec![], json!({"scrapePools": []})),
        ("status/walreplay", vec![], json!({"min": 0, "max": 0, "current": 0})),
        ("labels", vec![("start", "5"), ("end", "1")], json!([])),
        (
            "targets",
            vec![("state", "active")],
            json!({"activeTargets": [], "droppedTargets": [], "droppedTargetCounts": null}),
        ),
        ("format_query", vec![("query", "sum(a)by(b)")], json!("sum by (b) (a)")),
        ("parse_query", vec![("query", "1")], json!({"type": "numberLiteral", "val": "1"})),
    ] {
        let (status, answer) = get(&router, &format!("/api/v1/{path}"), &params).await;
        assert_eq!((status, &answer["data"]), (StatusCode::OK, &data), "{path}: {answer}");
    }
}

#[tokio::test]
async fn the_server_tells_of_itself() {
    let (store, _dir) = store(&[row(1, "web", "api", 1)]).await;
    let mut settings = Settings::default();
    settings.about.flags.insert("retention".into(), "30d".into());
    settings.about.config = "retention: 30d\n".into();
    settings.about.retention = "30d".into();
    let router = router_with(store, &settings);
    let status = |name: &'static str| {
        let router = router.clone();
        async move { get(&router, &format!("/api/v1/status/{name}"), &[]).await.1["data"].clone() }
    };
    let info = status("runtimeinfo").await;
    assert_eq!(info["storageRetention"], "30d");
    for name in ["startTime", "serverTime", "CWD", "hostname", "GOMAXPROCS", "goroutineCount"] {
        assert!(!info[name].is_null(), "{name}: {info}");
    }
    assert_eq!(status("config").await, json!({"yaml": "retention: 30d\n"}));
    let flags = status("flags").await;
    assert_eq!(
        (&flags["retention"], &flags["query.max-concurrency"]),
        (&json!("30d"), &json!("20"))
    );
}

/// Rows that end now: that is what this endpoint counts.
#[tokio::test]
async fn series_of_flows_are_counted() {
    let now = jiff::Timestamp::now().as_second() - NOON;
    let (store, _dir) = store(&[row(now, "web", "api", 1), row(now, "api", "db", 1)]).await;
    let (_, answer) = get(&router(store), "/api/v1/status/tsdb", &[]).await;
    let data = &answer["data"];
    assert_eq!(data["headStats"]["chunkCount"], 2, "{answer}");
    let of = |list: &str, name: &str| {
        let entries = data[list].as_array().expect("a list");
        entries.iter().find(|e| e["name"] == name).map(|e| e["value"].clone())
    };
    // Three phases for each of the two label sets.
    assert_eq!(of("seriesCountByMetricName", "flow_retransmits_total"), Some(json!(6)));
    assert_eq!(of("seriesCountByMetricName", "flow_tx_bytes_total"), Some(json!(2)));
    let total = data["headStats"]["numSeries"].as_u64().expect("a number");
    let of_web = of("seriesCountByLabelValuePair", "role=client").expect("a count");
    assert_eq!(of_web.as_u64(), Some(total));
}

#[tokio::test]
async fn pages_of_any_origin_may_ask() {
    let (router, _dir) = small().await;
    for (method, status) in
        [(Method::GET, StatusCode::OK), (Method::OPTIONS, StatusCode::NO_CONTENT)]
    {
        let page = [("origin", "http://x.y")];
        let (got, headers, _) = raw(&router, method, "/api/v1/query?query=1", &page).await;
        assert_eq!(got, status);
        for (name, value) in [
            ("access-control-allow-origin", "http://x.y"),
            ("access-control-allow-methods", "GET, POST, OPTIONS"),
            ("access-control-allow-headers", "Accept, Authorization, Content-Type, Origin"),
            ("access-control-expose-headers", "Date"),
        ] {
            assert_eq!(headers.get(name).map(|v| v.as_bytes()), Some(value.as_bytes()), "{name}");
        }
        assert!(headers.get_all("vary").iter().any(|v| v == "Origin"));
    }
    let (_, headers, _) = raw(&router, Method::GET, "/api/v1/query?query=1", &[]).await;
    assert!(headers.get("access-control-allow-origin").is_none());
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_ask() {
    let (router, _dir) = small().await;
    let uri = "/api/v1/metadata";
    let (_, headers, plain) = raw(&router, Method::GET, uri, &[]).await;
    assert!(headers.get("content-encoding").is_none() && plain.starts_with(b"{"));
    let gzip = [("accept-encoding", "deflate, gzip")];
    let (_, headers, packed) = raw(&router, Method::GET, uri, &gzip).await;
    assert_eq!(headers.get("content-encoding").map(|v| v.as_bytes()), Some(b"gzip".as_slice()));
    assert!(packed.starts_with(&[0x1f, 0x8b]) && packed.len() < plain.len());
}

#[tokio::test]
async fn senders_describe_samples() {
    let (store, _dir) = store(&[row(1, "web", "api", 1)]).await;
    let known = [("a_total", "counter"), ("flow_tx_bytes_total", "gauge"), ("z", "gauge")];
    let descriptions = Descriptions::new(move |only, tell| {
        for (name, kind) in known.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
            let text = |text: &str| text.to_owned();
            tell(name, Description { kind: text(kind), unit: text("s"), help: text("It is.") });
        }
    });
    let router = router_with(store, &Settings { descriptions, ..Settings::default() });
    let ask = async |params: &[(&str, &str)]| {
        let (status, answer) = get(&router, "/api/v1/metadata", params).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["data"].as_object().cloned().unwrap_or_default()
    };
    let all = ask(&[]).await;
    assert_eq!(all["z"], json!([{"type": "gauge", "unit": "s", "help": "It is."}]));
    assert_eq!(all["flow_tx_bytes_total"][0]["type"], "counter", "flows tell of themselves");
    assert_eq!(all["flow_tx_bytes_total"].as_array().map(Vec::len), Some(1));
    for (params, names) in [
        (vec![("metric", "a_total")], vec!["a_total"]),
        (vec![("metric", "a_total"), ("limit_per_metric", "1")], vec!["a_total"]),
        (vec![("metric", "none")], vec![]),
        (vec![("limit", "1")], vec!["a_total"]),
        (vec![("limit", "0")], vec![]),
    ] {
        let found = ask(&params).await;
        assert_eq!(found.keys().collect::<Vec<_>>(), names, "{params:?}");
    }
    assert_eq!(ask(&[("limit", "-1")]).await.len(), all.len());
}

#[tokio::test]
async fn large_answers_come_whole_compressed_or_not() {
    let (router, _dir) = small().await;
    let ask = async |query: &str, headers: &[(&str, &str)]| {
        let uri = format!("/api/v1/query_range?query={query}&start=0&end=10999&step=1");
        let (status, headers, body) = raw(&router, Method::GET, &uri, headers).await;
        assert_eq!(status, StatusCode::OK);
        (headers, body)
    };
    let (headers, plain) = ask("vector(0.5)", &[]).await;
    assert!(plain.len() > 100_000 && headers.get("content-length").is_none());
    let answer: Value = serde_json::from_slice(&plain).expect("JSON");
    let values = answer["data"]["result"][0]["values"].as_array().expect("values");
    assert!(values.len() == 11_000 && values[10_999] == json!([10_999, "0.5"]), "{answer}");
    let (headers, packed) = ask("vector(0.5)", &[("accept-encoding", "gzip")]).await;
    assert_eq!(headers.get("content-encoding").map(|v| v.as_bytes()), Some(b"gzip".as_slice()));
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(&mut GzDecoder::new(&packed[..]), &mut unpacked).expect("gzip");
    assert!(unpacked == plain && packed.len() < plain.len() / 4);
    let (headers, short) = ask("absent(vector(1))", &[]).await;
    let length = headers.get("content-length").and_then(|v| v.to_str().ok()?.parse().ok());
    assert_eq!(length, Some(short.len()));
}

#[tokio::test]
async fn what_is_not_there_is_a_plain_page() {
    let (router, _dir) = small().await;
    for path in ["/api/v1/rules/test/test", "/api/v1/nonexist", "/nothing"] {
        let (status, headers, body) = raw(&router, Method::GET, path, &[]).await;
        assert_eq!(
            (status, body.as_slice()),
            (StatusCode::NOT_FOUND, b"404 page not found\n".as_slice())
        );
        let media = headers.get("content-type").and_then(|v| v.to_str().ok());
        assert!(media.is_some_and(|m| m.starts_with("text/plain")), "{path}: {media:?}");
    }
    let (status, ..) = raw(&router, Method::DELETE, "/api/v1/query", &[]).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
}

/// More queries than places: those that wait too long are told so, and none is lost.
#[tokio::test(flavor = "multi_thread")]
async fn queries_wait_for_a_place() {
    let (store, _dir) = store(&[row(1, "web", "api", 1)]).await;
    let settings = Settings { concurrency: 1, ..Settings::default() };
    let router = router_with(store, &settings);
    let queries = (0..8).map(|_| get(&router, "/api/v1/query", &[("query", "vector(1)")]));
    for (status, _) in futures::future::join_all(queries).await {
        assert_eq!(status, StatusCode::OK);
    }
    let late = [("query", "vector(1)"), ("timeout", "0.0001")];
    let queries = (0..8).map(|_| get(&router, "/api/v1/query", &late));
    for (status, answer) in futures::future::join_all(queries).await {
        assert!(status == StatusCode::OK || answer["errorType"] == "timeout", "{status} {answer}");
    }
}

#[tokio::test]
async fn too_many_samples_are_refused() {
    let (store, _dir) = store(&[row(1, "web", "api", 1)]).await;
    let mut settings = Settings::default();
    settings.engine.max_samples = 100;
    let router = router_with(store, &settings);
    let params = [("query", "vector(1)"), ("start", "0"), ("end", "101"), ("step", "1")];
    let (status, answer) = get(&router, "/api/v1/query_range", &params).await;
    assert_eq!(
        (status, &answer["errorType"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("execution"))
    );
    let error = answer["error"].as_str().unwrap_or_default();
    assert!(
        error.starts_with(
            "query processing would load too many samples into memory in query execution"
        ),
        "{error}"
    );
}

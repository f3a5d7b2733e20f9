//! Clients of the Prometheus HTTP API: the requests that Grafana's datasource makes, in its order, and the
//! Python client. What they read must have the shape that they expect.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use support::{Server, batch, flows, now_us, program, run};

/// A server with a minute of flows that ends now; the end in whole milliseconds, as seconds.
fn server(directory: &std::path::Path) -> (Server, f64) {
    let server = Server::start(directory, &[]);
    let now = now_us() / 1000 * 1000;
    for sequence in 0..6 {
        let end = now - (5 - sequence) * 10_000_000;
        let rows = flows(end, &[("nginx", 1000, 1), ("curl", 50, 0)]);
        assert_eq!(server.post(&batch("b", sequence, &rows)).unwrap().0, 200);
    }
    (server, now as f64 / 1e6)
}

/// Sends a request as Grafana does: status, whether the body came compressed, body.
fn ask(server: &Server, method: &str, path: &str, fields: &[(&str, String)]) -> (u16, bool, Value) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(60)))
        .build()
        .into();
    let url = format!("{}{path}", server.url);
    let fields = fields.iter().map(|(name, value)| (*name, value.as_str()));
    let mut response = if method == "POST" {
        agent.post(url).header("accept-encoding", "gzip").send_form(fields).unwrap()
    } else {
        let request = fields.fold(agent.get(url), |request, (n, v)| request.query(n, v));
        request.call().unwrap()
    };
    let encoding = response.headers().get("content-encoding").cloned();
    let status = response.status().as_u16();
    let body = response.body_mut().read_to_vec().unwrap();
    if let Some(encoding) = encoding {
        assert_eq!(encoding, "gzip", "{path}");
        assert_eq!(body.get(..2), Some(&[0x1f, 0x8b][..]), "{path}");
        return (status, true, Value::Null);
    }
    (status, false, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// The `data` of a success.
fn data(server: &Server, path: &str, fields: &[(&str, String)]) -> Value {
    let (status, _, body) = ask(server, "GET", path, fields);
    assert_eq!((status, &body["status"]), (200, &Value::from("success")), "{path}: {body}");
    body["data"].clone()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect()
}

#[test]
fn grafanas_requests_have_answers_of_the_right_shape() {
    let dir = tempfile::tempdir().unwrap();
    let (server, now) = server(dir.path());
    let (start, end) = (format!("{}", now - 60.0), format!("{now}"));
    let span = [("start", start.clone()), ("end", end.clone())];
    let metric = "flow_tx_bytes_total";

    // Saving and testing a datasource.
    let build = data(&server, "/api/v1/status/buildinfo", &[]);
    assert!(build["version"].is_string(), "{build}");
    let health = data(&server, "/api/v1/query", &[("query", "1+1".into()), ("time", end.clone())]);
    assert_eq!(health["resultType"], "scalar");
    assert_eq!(health["result"][1], "2");
    assert!(health["result"][0].is_number());

    // The label browser and the query builder.
    let labels = data(&server, "/api/v1/labels", &span);
    assert!(texts(&labels).contains(&"workload"), "{labels}");
    let names = data(&server, "/api/v1/label/__name__/values", &span);
    assert!(texts(&names).contains(&metric), "{names}");
    let matching = [span[0].clone(), span[1].clone(), ("match[]", metric.to_owned())];
    let values = data(&server, "/api/v1/label/workload/values", &matching);
    assert_eq!(texts(&values), ["curl", "nginx"]);
    let series = data(&server, "/api/v1/series", &matching);
    let series = series.as_array().unwrap();
    assert!(!series.is_empty() && series.iter().all(|one| one["__name__"] == metric), "{series:?}");
    let metadata = data(&server, "/api/v1/metadata", &[]);
    let of_metric = &metadata[metric][0];
    assert_eq!(of_metric["type"], "counter", "{metadata}");
    assert!(of_metric["help"].is_string() && of_metric["unit"].is_string(), "{of_metric}");

    // A panel: a range, as a form, compressed.
    let range = |start: &str| {
        vec![
            ("query", format!("sum by (workload) (rate({metric}[20s]))")),
            ("start", start.to_owned()),
            ("end", end.clone()),
            ("step", "10".to_owned()),
        ]
    };
    let (status, _, _) = ask(&server, "POST", "/api/v1/query_range", &range(&start));
    assert_eq!(status, 200);
    let panel = data(&server, "/api/v1/query_range", &range(&start));
    assert_eq!(panel["resultType"], "matrix");
    let lines = panel["result"].as_array().unwrap();
    assert_eq!(lines.len(), 2, "{panel}");
    for line in lines {
        assert!(line["metric"]["workload"].is_string());
        for point in line["values"].as_array().unwrap() {
            assert!(point[0].is_number() && point[1].as_str().unwrap().parse::<f64>().is_ok());
        }
    }
    // The incremental query: only what is new, which equals the end of the whole.
    let later = data(&server, "/api/v1/query_range", &range(&format!("{}", now - 20.0)));
    let tail = |value: &Value| value["result"][0]["values"].as_array().unwrap().last().cloned();
    assert_eq!(tail(&later), tail(&panel));
    // A table panel: an instant.
    let instant = [("query", format!("topk(1, {metric})")), ("time", end.clone())];
    let table = data(&server, "/api/v1/query", &instant);
    assert_eq!(table["resultType"], "vector");
    assert_eq!(table["result"].as_array().unwrap().len(), 1);
    // Errors are JSON with a type.
    let (status, _, error) = ask(&server, "GET", "/api/v1/query", &[("query", "sum(".to_owned())]);
    assert_eq!((status, &error["errorType"]), (400, &Value::from("bad_data")), "{error}");

    // What a dashboard asks for beside its panels.
    let exemplars = [("query", metric.to_owned()), span[0].clone(), span[1].clone()];
    assert_eq!(data(&server, "/api/v1/query_exemplars", &exemplars), Value::Array(Vec::new()));
    assert!(data(&server, "/api/v1/rules", &[])["groups"].is_array());
    assert!(data(&server, "/api/v1/alerts", &[])["alerts"].is_array());
}

#[test]
fn the_python_client_reads_what_it_expects() {
    let probe = "import prometheus_api_client";
    let Some(python) = program("python3", &["-c", probe]) else { return };
    let dir = tempfile::tempdir().unwrap();
    let (server, now) = server(dir.path());
    let script = format!("{}/tests/python/prometheus_client.py", env!("CARGO_MANIFEST_DIR"));
    let output = run(Command::new(python).args([script, server.url.clone(), now.to_string()]));
    let seen: Value = serde_json::from_str(&output).unwrap();
    assert_eq!(seen["has_metric"], true, "{seen}");
    assert_eq!(seen["workloads"], serde_json::json!(["curl", "nginx"]), "{seen}");
    assert_eq!(seen["increase"], serde_json::json!({"curl": 300.0, "nginx": 6000.0}), "{seen}");
    assert_eq!(seen["rates"], serde_json::json!([100.0, 100.0, 100.0, 100.0]), "{seen}");
    assert_eq!(seen["current"], 2, "{seen}");
}

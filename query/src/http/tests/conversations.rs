//! The flow table and its neighbours, against SQL and PromQL over the same rows.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use weir_wire::schema::AGENT_LOSS;

use super::*;
use crate::testing::specs_with_tiers;

/// Begin of the rows: 09:00:10.
const BEGIN: i64 = NOON - 3 * 3600 + 10;

/// Both ends of a conversation in one interval: bytes there and back, packets sent and of those arrived.
fn conversation(
    at: i64,
    from: [&'static str; 2],
    to: [&'static str; 2],
    sent: i64,
    lost: i64,
) -> [Row; 2] {
    let row = |role,
               own: [&'static str; 2],
               peer: [&'static str; 2],
               numbers: Vec<(&'static str, i64)>| Row {
        end: at * 1_000_000,
        labels: vec![
            ("namespace", "shop"),
            ("workload", own[0]),
            ("workload_kind", "Deployment"),
            ("pod", own[1]),
            ("peer_namespace", "shop"),
            ("peer_workload", peer[0]),
            ("peer_workload_kind", "Deployment"),
            ("peer_pod", peer[1]),
            ("peer_scope", "cluster"),
            ("protocol", "tcp"),
            (
                "crossing",
                if own[1] == "db-1" || peer[1] == "db-1" { "cross-zone" } else { "same-zone" },
            ),
            ("role", role),
        ],
        numbers,
        rtts: Some(vec![100 + sent as u64, 2000]),
    };
    [
        row(
            "client",
            from,
            to,
            vec![
                ("tx_bytes", sent),
                ("rx_bytes", 7),
                ("tx_packets", 10),
                ("rx_packets", 2),
                ("retransmits", lost),
                ("connects", 1),
                ("connect_failures", 1),
                ("port", 0),
                ("peer_port", 80),
            ],
        ),
        row(
            "server",
            to,
            from,
            vec![
                ("tx_bytes", 7),
                ("rx_bytes", sent),
                ("tx_packets", 3),
                ("rx_packets", 10 - lost),
                ("accepts", 1),
                ("port", 80),
                ("peer_port", 0),
            ],
        ),
    ]
}

fn outside(
    at: i64,
    scope: &'static str,
    role: &'static str,
    place: (&'static str, &'static str),
) -> Row {
    Row {
        end: at * 1_000_000,
        labels: vec![
            ("namespace", "shop"),
            ("workload", "web"),
            ("workload_kind", "Deployment"),
            ("pod", "web-1"),
            ("peer_scope", scope),
            ("peer_address", "203.0.113.9"),
            ("protocol", "tcp"),
            ("role", role),
            place,
        ],
        numbers: vec![("tx_bytes", 100), ("rx_bytes", 50), ("tx_packets", 4)],
        rtts: None,
    }
}

/// Three hours, a row of each kind a minute.
async fn shop() -> (Router, tempfile::TempDir) {
    let mut rows = Vec::new();
    for minute in 0..180 {
        let at = BEGIN + minute * 60;
        rows.extend(conversation(at, ["web", "web-1"], ["api", "api-1"], 1000, 0));
        rows.extend(conversation(at, ["web", "web-2"], ["api", "api-1"], 500, 0));
        rows.extend(conversation(
            at,
            ["api", "api-1"],
            ["db", if minute % 2 == 0 { "db-1" } else { "db-2" }],
            300,
            minute % 3,
        ));
        rows.push(outside(at, "cloud", "client", ("peer_cloud_service", "S3")));
        rows.push(outside(at, "external", "server", ("peer_country", "DE")));
        let mut unknown = outside(at, "cluster", "unknown", ("peer_workload", "dns"));
        unknown.numbers.extend([("port", 0), ("peer_port", 53)]);
        rows.push(unknown);
        let mut answer = outside(at, "cluster", "unknown", ("peer_workload", "gossip"));
        answer.numbers.extend([("port", 53), ("peer_port", 0)]);
        rows.push(answer);
    }
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(Options::new(dir.path().join("data"), specs_with_tiers()))
        .await
        .expect("a store");
    let (older, newer) = rows.split_at(rows.len() / 2);
    append(&store, &flow_batch(older)).await;
    store.flush().await.expect("rows are written to files");
    append(&store, &flow_batch(newer)).await;
    append_to(&store, "agent_loss", &losses()).await;
    (router(store), dir)
}

/// One agent that is heard all the time but for two batches, and one that falls silent after an hour.
fn losses() -> RecordBatch {
    let mut rows: Vec<(i64, &str, i64, Option<&str>, i64)> = Vec::new();
    for n in (0..180).filter(|n| *n != 20 && *n != 21) {
        rows.push((BEGIN + n * 60, "one", n, None, 0));
    }
    rows.push((BEGIN + 30 * 60, "one", 30, Some("ring_drops"), 5));
    rows.extend((0..60).map(|n| (BEGIN + n * 60, "two", n, None, 0)));
    let text = |of: &dyn Fn(usize) -> Option<String>, to| -> ArrayRef {
        let texts: StringArray = (0..rows.len()).map(of).collect();
        cast(&texts, to).expect("labels")
    };
    let number = |of: &dyn Fn(usize) -> i64| -> ArrayRef {
        Arc::new((0..rows.len()).map(|row| Some(of(row))).collect::<Int64Array>())
    };
    let columns = AGENT_LOSS
        .fields()
        .iter()
        .map(|field| match field.name().as_str() {
            "end" => {
                let times = rows.iter().map(|row| row.0 * 1_000_000);
                Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
                    as ArrayRef
            }
            "cluster" => text(&|_| None, field.data_type()),
            "reason" => text(&|row| rows[row].3.map(str::to_owned), field.data_type()),
            "node" => text(&|row| Some(format!("node-{}", rows[row].1)), field.data_type()),
            "agent" => text(&|row| Some(rows[row].1.to_owned()), field.data_type()),
            "boot" => text(&|_| Some("boot".to_owned()), field.data_type()),
            "sequence" => number(&|row| rows[row].2),
            "rows" => number(&|_| 10),
            _ => number(&|row| rows[row].4),
        })
        .collect();
    RecordBatch::try_new(AGENT_LOSS.clone(), columns).expect("rows of the table")
}

const START: &str = "1795338000"; // 09:00
const END: &str = "1795348810"; // the last row

async fn ask(router: &Router, path: &str, params: &[(&str, &str)]) -> Value {
    let all: Vec<(&str, &str)> =
        [("start", START), ("end", END)].into_iter().chain(params.iter().copied()).collect();
    let (status, answer) = get(router, path, &all).await;
    assert_eq!(status, StatusCode::OK, "{path} {params:?}: {answer}");
    answer["data"].clone()
}

fn rows(answer: &Value) -> Vec<Value> {
    answer["rows"].as_array().expect("rows").clone()
}

#[tokio::test]
async fn each_byte_counts_once_and_the_other_end_stands_beside_it() {
    let (router, _dir) = shop().await;
    let answer = ask(&router, "/api/v1/flows", &[
        ("view", "cluster"),
        ("by", "workload,peer_workload"),
        ("measures", "tx_bytes,rx_bytes,tx_packets,retransmits,retransmit_ratio,server_rx_bytes,lost_tx,lost_rx"),
        ("order", "-tx_bytes"),
        ("limit", "2"),
    ])
    .await;
    assert_eq!(
        rows(&answer),
        [
            json!(["web", "api", 270_000, 2520, 3600, 0, 0.0, 270_000, 0, 360]),
            json!(["api", "db", 54_000, 1260, 1800, 180, 0.1, 54_000, 180, 180]),
        ]
    );
    // Of role unknown: the one whose peer's port is known; the other is a server's word.
    assert_eq!(
        answer["other"],
        json!([null, null, 18_000, 9000, 720, null, null, 9000, null, null])
    );
    assert_eq!(answer["groups"], 4, "one is told of by the server alone");
    assert_eq!(answer["total"][2], 342_000);
    assert_eq!(answer["notes"], json!([]));
    // Hours in the middle, minutes around them, rows at the edges; and the same from rows alone.
    let tables: Vec<&str> =
        answer["tiers"].as_array().unwrap().iter().map(|t| t["table"].as_str().unwrap()).collect();
    assert_eq!(tables, ["flows_1h", "flows"]);
    let by_pod = ask(
        &router,
        "/api/v1/flows",
        &[
            ("view", "cluster"),
            ("by", "workload,peer_workload,pod"),
            ("measures", "tx_bytes,lost_tx"),
            ("order", "pod"),
        ],
    )
    .await;
    assert_eq!(by_pod["tiers"][0]["table"], "flows");
    assert_eq!(rows(&by_pod).len(), 5);
    assert_eq!(by_pod["total"][3], 342_000);
    let seven = [
        ("start", "1795338420"),
        ("end", "1795345620"),
        ("view", "cluster"),
        ("by", "workload"),
        ("measures", "tx_bytes"),
    ];
    let (_, part) = get(&router, "/api/v1/flows", &seven).await;
    let tables: Vec<&str> = part["data"]["tiers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["table"].as_str().unwrap())
        .collect();
    assert_eq!(tables, ["flows", "flows_5m", "flows_1h", "flows_5m", "flows"]);
    assert_eq!(part["data"]["total"][1], 120 * 1900);

    for (view, total) in [("cloud", 18_000), ("external", 18_000), ("all", 342_000 + 36_000)] {
        let answer = ask(
            &router,
            "/api/v1/flows",
            &[("view", view), ("measures", "tx_bytes"), ("by", "workload")],
        )
        .await;
        assert_eq!(answer["total"][1], total, "{view}");
    }
    let answer = ask(
        &router,
        "/api/v1/flows",
        &[("view", "cluster"), ("by", "workload,role"), ("measures", "tx_bytes,lost_tx")],
    )
    .await;
    assert_eq!(rows(&answer)[0], json!(["web", "client", 270_000, null]));
    assert!(
        answer["notes"][0].as_str().unwrap().contains("does not know all of these labels"),
        "{answer}"
    );
}

#[tokio::test]
async fn what_is_copied_gives_what_is_shown() {
    let (router, _dir) = shop().await;
    for (view, matches) in [
        ("cluster", vec![]),
        ("cluster", vec![r#"{either_workload="api",peer_workload!="x"}"#]),
        ("cluster", vec![r#"{either_workload!~"db|dns"}"#]),
        ("all", vec![r#"{workload="web"}"#, r#"{workload=~"a.i"}"#]),
        ("cloud", vec![]),
        ("external", vec![]),
    ] {
        for (measure, exact) in [
            ("bytes", true),
            ("retransmits", true),
            ("retransmit_ratio", true),
            ("rtt_p95", false),
            ("rtt_avg", true),
        ] {
            let mut params =
                vec![("view", view), ("by", "workload,peer_workload"), ("measures", measure)];
            params.extend(matches.iter().map(|selector| ("match[]", *selector)));
            let answer = ask(&router, "/api/v1/flows", &params).await;
            let shown: BTreeMap<(String, String), f64> = rows(&answer)
                .iter()
                .filter_map(|row| {
                    let label = |at: usize| row[at].as_str().unwrap_or("").to_owned();
                    Some(((label(0), label(1)), row[2].as_f64()?))
                })
                .collect();
            let promql = answer["promql"].as_str().expect("an expression");
            let (status, result) =
                form(&router, "/api/v1/query", &[("query", promql), ("time", END)]).await;
            assert_eq!(status, StatusCode::OK, "{promql}: {result}");
            let found: BTreeMap<(String, String), f64> = result["data"]["result"]
                .as_array()
                .expect("a vector")
                .iter()
                .filter_map(|series| {
                    let label =
                        |name: &str| series["metric"][name].as_str().unwrap_or("").to_owned();
                    let value: f64 = series["value"][1].as_str()?.parse().ok()?;
                    (!value.is_nan()).then(|| ((label("workload"), label("peer_workload")), value))
                })
                .collect();
            // Windows of PromQL are whole seconds from the end; the period is, too.
            assert_eq!(found, shown, "{view} {matches:?} {measure}: {promql}");
            if !exact {
                continue;
            }
            let sql = answer["sql"].as_str().expect("a statement");
            let (status, result) =
                form(&router, "/api/v1/sql", &[("query", sql), ("format", "json")]).await;
            assert_eq!(status, StatusCode::OK, "{sql}: {result}");
            let found: BTreeMap<(String, String), f64> = rows(&result)
                .iter()
                .filter_map(|row| {
                    let label = |at: usize| row[at].as_str().unwrap_or("").to_owned();
                    Some(((label(0), label(1)), row[2].as_f64()?))
                })
                .collect();
            assert_eq!(found, shown, "{view} {matches:?} {measure}: {sql}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_copied_is_not_offered() {
    let (router, _dir) = shop().await;
    let usual = [("by", "workload,peer_workload"), ("measures", "tx_bytes"), ("limit", "2")];
    let page = ask(&router, "/api/v1/flows", &[&usual[..], &[("offset", "1")]].concat()).await;
    assert!(page["promql"].is_null(), "{page}");
    let sql = page["sql"].as_str().expect("a statement");
    let (_, result) = form(&router, "/api/v1/sql", &[("query", sql), ("format", "json")]).await;
    assert_eq!(rows(&result), rows(&page), "{sql}");
    let by_label =
        ask(&router, "/api/v1/flows", &[&usual[..], &[("order", "workload")]].concat()).await;
    assert!(by_label["promql"].is_null(), "{by_label}");
    // Each of them may be of either end: more than an expression can say.
    let many = format!("{{{}}}", vec![r#"either_pod=~".*""#; 40].join(","));
    let answer = ask(&router, "/api/v1/flows", &[&usual[..], &[("match[]", &many)]].concat()).await;
    assert!(answer["promql"].is_null() && answer.to_string().len() < 20_000, "{answer}");
    // Peers outside are measured at one end: nothing of the cluster comes in beside.
    for view in ["cloud", "external"] {
        let both = [("view", view), ("measures", "bytes,server_tx_bytes"), ("by", "workload")];
        let answer = ask(&router, "/api/v1/flows", &both).await;
        assert_eq!(
            (&answer["groups"], &rows(&answer)[0][2]),
            (&json!(1), &Value::Null),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn lines_add_up_and_files_have_the_rows() {
    let (router, _dir) = shop().await;
    let params = [
        ("view", "cluster"),
        ("by", "workload"),
        ("measures", "bytes,rtt_p50"),
        ("points", "12"),
        ("limit", "2"),
    ];
    let answer = ask(&router, "/api/v1/flows", &params).await;
    let line =
        |values: &Value| values.as_array().unwrap().iter().filter_map(Value::as_i64).sum::<i64>();
    let spark = &answer["spark"];
    assert_eq!((&spark["measure"], &spark["step"]), (&json!("bytes"), &json!(1800)));
    for (row, values) in rows(&answer).iter().zip(spark["values"].as_array().unwrap()) {
        assert_eq!(json!(line(values)), row[1], "{row}");
    }
    assert_eq!(json!(line(&spark["total"])), answer["total"][1]);
    assert!(answer["total"][2].as_f64().is_some() && answer["other"][2].is_null(), "{answer}");

    let none =
        ask(&router, "/api/v1/flows", &[("points", "12"), ("spark", "rtt_p95"), ("by", "pod")])
            .await;
    assert!(none["spark"].is_null(), "{none}");
    assert_eq!(none["notes"], json!(["rtt_p95 is not shown over time"]));

    let query = format!(
        "/api/v1/flows?start={START}&end={END}&view=cluster&by=workload&measures=bytes&format=csv"
    );
    let request = Request::get(query).body(Body::empty()).expect("a request");
    let (status, media, body) = send(&router, request).await;
    assert_eq!((status, media.as_str()), (StatusCode::OK, "text/csv"));
    assert_eq!(
        String::from_utf8(body).unwrap().lines().collect::<Vec<_>>(),
        ["workload,bytes", "web,299520", "api,55260"]
    );
}

#[tokio::test]
async fn the_map_has_every_byte_of_the_table() {
    let (router, _dir) = shop().await;
    let map = ask(&router, "/api/v1/service-map", &[]).await;
    let edges = map["edges"].as_array().unwrap();
    let of = |map: &Value, id: &str| {
        let edges = map["edges"].as_array().unwrap();
        edges.iter().find(|e| e["id"] == id).unwrap_or_else(|| panic!("{id}: {edges:#?}")).clone()
    };
    let edge = of(&map, "workload:shop/api/Deployment>workload:shop/db/Deployment");
    assert_eq!(
        (&edge["tx_bytes"], &edge["lost_tx"], &edge["retransmits"]),
        (&json!(54_000), &json!(180), &json!(180))
    );
    assert_eq!(edge["crossing"], json!({"cross-zone": 27_630, "same-zone": 27_630}));
    assert_eq!(edge["protocols"], json!(["tcp"]));
    assert!(edge["rtt_p95"].as_f64().is_some());
    let inward = of(&map, "external:>workload:shop/web/Deployment");
    assert_eq!(inward["bytes"], 27_000);
    of(&map, "workload:shop/web/Deployment>cloud:S3");
    let all = ask(&router, "/api/v1/flows", &[("measures", "bytes"), ("by", "workload")]).await;
    let bytes: i64 = edges.iter().map(|edge| edge["bytes"].as_i64().unwrap()).sum();
    assert_eq!(json!(bytes), all["total"][1]);
    let ids: Vec<&str> =
        map["nodes"].as_array().unwrap().iter().map(|n| n["id"].as_str().unwrap()).collect();
    for edge in edges {
        assert!(
            ids.contains(&edge["source"].as_str().unwrap())
                && ids.contains(&edge["target"].as_str().unwrap())
        );
    }

    let open = ask(&router, "/api/v1/service-map", &[("expand", "shop/db"), ("limit", "3")]).await;
    of(&open, "workload:shop/api/Deployment>pod:shop/db/Deployment/db-2");
    assert_eq!(open["edges"].as_array().unwrap().len(), 3);
    let shown: i64 =
        open["edges"].as_array().unwrap().iter().map(|e| e["bytes"].as_i64().unwrap()).sum();
    assert_eq!(shown + open["hidden"]["bytes"].as_i64().unwrap(), bytes);

    let graph =
        ask(&router, "/api/v1/service-map", &[("format", "node-graph"), ("level", "namespace")])
            .await;
    assert!(
        graph["nodes"][0]["title"].is_string() && graph["edges"][0]["mainstat"].is_number(),
        "{graph}"
    );
}

#[tokio::test]
async fn two_periods_are_held_against_each_other() {
    let (router, _dir) = shop().await;
    let (start, middle) = ("1795338000", "1795341600");
    let params = [
        ("start", middle),
        ("end", "1795345200"),
        ("view", "cluster"),
        ("by", "workload,peer_workload"),
        ("measures", "bytes,retransmits"),
    ];
    let (status, answer) = get(&router, "/api/v1/compare", &params).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let data = &answer["data"];
    assert_eq!(data["before_start"].as_f64().map(|t| t.to_string()).as_deref(), Some(start));
    assert_eq!(data["total"]["change"], json!([0, 0]));
    // Half an hour earlier there was less.
    let (_, answer) = get(
        &router,
        "/api/v1/compare",
        &[params.as_slice(), &[("before_start", "1795336200"), ("before_end", "1795339800")]]
            .concat(),
    )
    .await;
    let row = &answer["data"]["rows"][0];
    assert_eq!(row["labels"], json!(["web", "api"]));
    assert_eq!(
        (&row["now"][0], &row["before"][0], &row["change"][0]),
        (&json!(90_840), &json!(45_420), &json!(45_420))
    );
}

#[tokio::test]
async fn what_is_missing_is_known() {
    let (router, _dir) = shop().await;
    let found = ask(&router, "/api/v1/completeness", &[]).await;
    let (one, two) = (&found["agents"][0], &found["agents"][1]);
    assert_eq!(
        (&one["agent"], &one["silent"], &one["intervals"], &one["missing"]),
        (&json!("one"), &json!(false), &json!(178), &json!(2))
    );
    assert_eq!(one["losses"], json!({"ring_drops": 5}));
    assert_eq!(
        (&two["silent"], &two["missing"], &two["node"]),
        (&json!(true), &json!(121), &json!("node-two"))
    );
    let ratio = found["ratio"].as_f64().unwrap();
    assert!((ratio - 238.0 / 361.0).abs() < 1e-9, "{ratio}");
    let flows =
        found["storage"].as_array().unwrap().iter().find(|t| t["table"] == "flows").unwrap();
    assert_eq!(
        flows["rows"].as_i64().unwrap() + flows["rows_in_memory"].as_i64().unwrap(),
        180 * 10
    );
    let table = ask(&router, "/api/v1/flows", &[]).await;
    assert_eq!(
        (&table["completeness"]["agents"], &table["completeness"]["silent"]),
        (&json!(2), &json!(1))
    );
}

#[tokio::test]
async fn bad_questions_are_told_what_is_wrong() {
    let (router, _dir) = shop().await;
    for (path, name, value, part) in [
        ("flows", "view", "west", "none of all, cluster, cloud, external"),
        ("flows", "by", "workload,colour", "flows have no label `colour`"),
        ("flows", "measures", "speed", "there is no measure `speed`"),
        ("flows", "order", "-drops", "the answer has no column `drops`"),
        ("flows", "limit", "10001", "10001 is more than 10000"),
        ("flows", "match[]", r#"{colour="red"}"#, "flows have no label `colour`"),
        ("flows", "match[]", "flow_tx_bytes_total", "label selectors only"),
        ("flows", "points", "1000", "from 0 to 240"),
        ("flows", "format", "xls", "format `xls` is not known"),
        ("flows", "spark", "speed", "there is no measure `speed`"),
        ("flows", "end", "1", "end timestamp must be after start time"),
        ("service-map", "level", "planet", "none of namespace, workload, pod"),
        ("compare", "before_start", "1", "come together"),
        ("compare", "order", "drops", "none of the measures"),
    ] {
        let (status, answer) = get(
            &router,
            &format!("/api/v1/{path}"),
            &[("start", START), ("end", END), (name, value)],
        )
        .await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path} {name}={value}: {answer}");
        assert!(
            answer["error"].as_str().unwrap().contains(part),
            "{path} {name}={value}: {answer}"
        );
    }
}

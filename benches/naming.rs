//! What it costs to name both ends of flows: servers with and without a large cluster to follow, side by side.
//!
//! `cargo bench --bench naming` makes rows as agents of a cluster send them (uids, container ids and addresses, no
//! names) and sends them, by turns, to a server that names them by a cluster of 100,000 pods and 20,000 services and to
//! one that does not; and to a third the same rows with the names in them already, which is what it costs to have names
//! at all. Then pods come and go at 500 a second, and the table `names` tells when each was known.
//!
//! - `WEIR_BENCH_SECONDS` length of each turn, default 10;
//! - `WEIR_BENCH_TURNS`   turns of each server, default 5;
//! - `WEIR_BENCH_PODS`    pods of the cluster, default 100000.

#![expect(clippy::expect_used, reason = "a benchmark fails by panicking")]

mod answer;
mod cost;
mod generator;
mod load;
mod process;

#[path = "naming/api.rs"]
mod api;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use serde_json::{Value, json};

use api::{Api, Pod};
use generator::{Cluster, Shape};
use load::{Pace, Until};
use process::Server;

const SERVICES: usize = 20_000;
const NODES: usize = 1_000;
/// Rows that are made; longer turns send them again.
const MADE_ROWS: usize = 1_500_000;

static CLUSTER: LazyLock<Arc<Cluster>> = LazyLock::new(|| {
    let shape =
        Shape { nodes: 16, workloads: 600, pods: 10, keys_per_node: 2_192, ..Shape::default() };
    Arc::new(Cluster::new(shape))
});

/// Numbers of the pods by name.
static NUMBERS: LazyLock<HashMap<String, u64>> = LazyLock::new(|| {
    let pods = CLUSTER.pods();
    pods.iter().zip(1..).map(|(pod, number)| (pod[2].to_owned(), number)).collect()
});

fn main() {
    let seconds = number("WEIR_BENCH_SECONDS", 10);
    let turns = number("WEIR_BENCH_TURNS", 5);
    let pods = number("WEIR_BENCH_PODS", 100_000);
    let api = Api::start(cluster_pods(pods), SERVICES, NODES);
    let rows = 1_500 * 16;
    let lanes = load::lanes_of(CLUSTER.clone(), (MADE_ROWS / rows) as u64, as_agents_send);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let kubeconfig = dir.path().join("kubeconfig");
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": api.url}}], "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]});
    std::fs::write(&kubeconfig, config.to_string()).expect("a file");
    let kubeconfig = kubeconfig.display().to_string();

    let plain = Server::start(&dir.path().join("plain"), &[]);
    let naming = Server::start(&dir.path().join("naming"), &["--kubeconfig", &kubeconfig]);
    let begin = Instant::now();
    while metric(&naming, "weir_names_pods") < pods as f64
        || metric(&naming, "weir_names_listed") < 6.0
    {
        assert!(begin.elapsed() < Duration::from_secs(300), "the cluster was not listed");
        std::thread::sleep(Duration::from_millis(100));
    }
    println!(
        "{pods} pods, {SERVICES} services and {NODES} nodes are known after {:.1?}",
        begin.elapsed()
    );
    // The lists have gone by; what is held is what is left.
    std::thread::sleep(Duration::from_secs(20));
    let resident = |server: &Server| server.memory() as f64 / f64::from(1 << 20);
    println!(
        "resident memory: {:.0} MiB with them, {:.0} MiB without; at most {:.0} and {:.0} MiB so far",
        resident(&naming),
        resident(&plain),
        naming.peak_memory() as f64 / f64::from(1 << 20),
        plain.peak_memory() as f64 / f64::from(1 << 20),
    );

    let complete = load::lanes_of(CLUSTER.clone(), (MADE_ROWS / rows) as u64, |batch| batch);
    let other = Server::start(&dir.path().join("other"), &[]);
    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    let mut costs = [Vec::new(), Vec::new(), Vec::new()];
    for turn in 0..turns {
        let servers = [(&plain, &lanes), (&other, &complete), (&naming, &lanes)];
        for (at, (server, lanes)) in servers.into_iter().enumerate() {
            let cpu = server.cpu();
            let length = Until::Elapsed(Duration::from_secs(seconds));
            let done = load::send(&server.address, lanes, turn, Pace::Closed, length);
            rates[at].push(done.rate());
            costs[at].push((server.cpu() - cpu).as_secs_f64() / (done.rows as f64 / 1e6));
        }
    }
    for (at, what) in ["rows without names", "rows that come with names", "rows that are named"]
        .iter()
        .enumerate()
    {
        println!(
            "{what:<26} {:>7.0} rows/s, {:.3} CPU s per million",
            median(rates[at].clone()),
            median(costs[at].clone())
        );
    }
    // Turn by turn, since the machine is not the same for long.
    let ratio = |of: &[Vec<f64>; 3], to: usize| {
        median(of[2].iter().zip(&of[to]).map(|(named, other)| named / other).collect())
    };
    println!(
        "named here, of what comes with names: rate {:.3}, CPU {:.3}; of what has none: rate {:.3}, CPU {:.3}",
        ratio(&rates, 1),
        ratio(&costs, 1),
        ratio(&rates, 0),
        ratio(&costs, 0),
    );
    named(&naming);
    churn(&api, &naming);
}

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a whole number")),
        Err(_) => default,
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// The pods that the rows speak of, and others until there are `total`.
fn cluster_pods(total: u64) -> Vec<Pod> {
    let mut pods: Vec<Pod> = CLUSTER
        .pods()
        .iter()
        .map(|[namespace, workload, name, node, address]| Pod {
            number: NUMBERS[*name],
            namespace: (*namespace).into(),
            workload: (*workload).into(),
            name: (*name).into(),
            node: (*node).into(),
            address: (*address).into(),
        })
        .collect();
    for number in pods.len() as u64 + 1..=total {
        let workload = number / 10;
        pods.push(Pod {
            number,
            namespace: format!("team-{}", workload % 50),
            workload: format!("filler-{workload}"),
            name: format!("filler-{workload}-5f9c7d8b6-{:05x}", number),
            node: format!("node-{}", number % NODES as u64),
            address: format!(
                "10.{}.{}.{}",
                200 + number / 62_500,
                number / 250 % 250,
                number % 250 + 1
            ),
        });
    }
    pods
}

/// A batch as an agent sends it: what only the cluster knows is not in it.
fn as_agents_send(batch: RecordBatch) -> RecordBatch {
    let text = |name: &str| -> StringArray {
        let column = cast(batch.column_by_name(name).expect("a column"), &DataType::Utf8);
        column.expect("text").as_string::<i32>().clone()
    };
    let pods = text("pod");
    let services = text("peer_service");
    let peers = text("peer_workload");
    let of_pod = |make: fn(u64) -> String| -> ArrayRef {
        let numbers = pods.iter().map(|pod| pod.and_then(|pod| NUMBERS.get(pod)).copied());
        Arc::new(numbers.map(|number| number.map(make)).collect::<StringArray>())
    };
    let dialled = |row: usize| -> Option<String> {
        services.is_valid(row).then(|| {
            let hash =
                peers.value(row).bytes().fold(7usize, |h, b| h.wrapping_mul(31) + usize::from(b));
            api::service_address(hash % SERVICES)
        })
    };
    let rows = batch.num_rows();
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let column: ArrayRef = match field.name().as_str() {
            "namespace" | "zone" | "peer_namespace" | "peer_workload" | "peer_workload_kind"
            | "peer_pod" | "peer_container" | "peer_node" | "peer_zone" | "peer_service" => {
                continue;
            }
            "pod" => of_pod(api::uid),
            "container" | "workload" => of_pod(api::container),
            "workload_kind" => Arc::new(StringArray::from(vec!["Container"; rows])),
            "peer_scope" => Arc::new(StringArray::from(vec!["external"; rows])),
            "peer_service_address" => Arc::new((0..rows).map(dialled).collect::<StringArray>()),
            "peer_service_port" => Arc::new(
                (0..rows).map(|row| services.is_valid(row).then_some(80)).collect::<Int32Array>(),
            ),
            _ => column.clone(),
        };
        let column = match field.data_type() {
            DataType::Dictionary(..) => cast(&column, field.data_type()).expect("labels"),
            _ => column,
        };
        fields.push(Field::new(field.name(), column.data_type().clone(), true));
        columns.push(column);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns of one length")
}

fn get(server: &Server, path: &str) -> String {
    let mut answer =
        ureq::get(format!("http://{}{path}", server.address)).call().expect("an answer");
    answer.body_mut().read_to_string().expect("text")
}

/// A metric of the server's own, 0 while it has none.
fn metric(server: &Server, name: &str) -> f64 {
    let text = get(server, "/metrics");
    let value =
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or(0.0)
}

fn sql(server: &Server, statement: &str) -> Vec<Vec<Value>> {
    let url = format!("http://{}/api/v1/sql?format=json", server.address);
    let mut answer = ureq::post(url).send(statement).expect("an answer");
    let text = answer.body_mut().with_config().limit(64 << 20).read_to_string().expect("text");
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    serde_json::from_value(answer["rows"].clone()).expect("rows")
}

/// Every row has a name, or the bench measured nothing.
fn named(server: &Server) {
    let rows = sql(
        server,
        "SELECT count(*), count(namespace), count(CASE WHEN peer_scope = 'cluster' THEN peer_namespace END), \
         count(CASE WHEN peer_scope = 'cluster' THEN 1 END), count(peer_service), count(crossing) FROM flows",
    );
    let [all, local, peers, inside, services, crossings] =
        rows[0].iter().map(|n| n.as_i64().unwrap_or(0)).collect::<Vec<_>>()[..]
    else {
        panic!("six numbers")
    };
    println!(
        "of {all} rows {local} have a namespace, {inside} a peer in the cluster, {services} a service, {crossings} a crossing"
    );
    assert!(local == all && peers == inside && inside * 2 > all && services > 0 && crossings > 0);
}

/// Pods come and go for ten seconds.
fn churn(api: &Api, server: &Server) {
    api.churn(Some(500));
    std::thread::sleep(Duration::from_secs(10));
    api.churn(None);
    std::thread::sleep(Duration::from_secs(3));
    let told = api.told.lock().expect("no panic").clone();
    let rows = sql(
        server,
        "SELECT name, min(CAST(time AS BIGINT)) FROM names WHERE namespace = 'batch' GROUP BY name",
    );
    let mut delays: Vec<f64> = rows
        .iter()
        .filter_map(|row| {
            let seen = row[1].as_i64()?;
            Some((seen - told.get(row[0].as_str()?)?) as f64 / 1e3)
        })
        .collect();
    delays.sort_by(f64::total_cmp);
    let at = |share: f64| delays[((delays.len() - 1) as f64 * share) as usize];
    println!(
        "{} pods came in 10 s, {} are known: after {:.1} ms in the middle, {:.1} ms for 99 of 100, {:.1} ms at most",
        told.len(),
        delays.len(),
        at(0.5),
        at(0.99),
        at(1.0),
    );
    assert_eq!(told.len(), delays.len(), "every pod is known");
}

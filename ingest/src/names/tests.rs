//! Names that come late, and names that a start takes back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use tokio::time::Instant;
use weir_storage::Store;
use weir_wire::Header;

use super::record::By;
use super::testing::Cluster;
use super::{Names, keep_history};
use crate::enrich::Enrichment;
use crate::places::LivePlaces;
use crate::receive::Receiver;
use crate::repair::repair;
use crate::tables::store_options_with;

struct Server {
    store: Arc<Store>,
    receiver: Receiver,
    enrichment: Enrichment,
    tasks: tokio::task::JoinSet<()>,
    _dir: tempfile::TempDir,
}

async fn server(names: &Arc<Names>) -> Server {
    let dir = tempfile::tempdir().unwrap();
    let enrichment = Enrichment { places: LivePlaces::shipped(), names: Arc::clone(names) };
    let options = store_options_with(dir.path(), enrichment.clone());
    let store = Store::open(options).await.unwrap();
    let receiver = Receiver::new(Arc::clone(&store)).with(enrichment.clone());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(keep_history(Arc::clone(names), Arc::clone(&store)));
    tasks.spawn(repair(enrichment.clone(), Arc::clone(&store)));
    Server { store, receiver, enrichment, tasks, _dir: dir }
}

impl Server {
    /// One row, as an agent sends it.
    async fn send(&self, sequence: i64, pod: &str, peer: &str) {
        let now = self.enrichment.names.now() / 1_000_000 * 1_000_000;
        let time = |t: i64| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from(vec![t]).with_timezone("UTC"))
        };
        let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
        let rows = RecordBatch::try_from_iter([
            ("start", time(now - 1_000_000)),
            ("end", time(now)),
            ("node", text("n1")),
            ("workload", text("0000000000ff")),
            ("pod", text(pod)),
            ("address", text("10.244.1.9")),
            ("peer_address", text(peer)),
            ("peer_scope", text("external")),
            ("protocol", text("tcp")),
            ("role", text("client")),
            ("tx_bytes", Arc::new(Int64Array::from(vec![7])) as ArrayRef),
        ])
        .unwrap();
        let header =
            Header { agent: "a".into(), boot: "b".into(), sequence, losses: BTreeMap::new() };
        let body = weir_wire::encode(&header, &rows).unwrap();
        self.receiver.receive(body.into()).await.unwrap();
    }

    fn memory(&self, table: &str) -> Vec<RecordBatch> {
        self.store.snapshot(table).unwrap().memory.batches().unwrap().to_vec()
    }

    fn values(&self, column: &str) -> Vec<String> {
        let mut values = Vec::new();
        for batch in self.memory("flows") {
            let texts = cast(batch.column_by_name(column).unwrap(), &DataType::Utf8).unwrap();
            let texts = texts.as_string::<i32>();
            values.extend(texts.iter().map(|text| text.unwrap_or("").to_owned()));
        }
        values
    }

    async fn until(&self, what: &str, is: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is(self) {
            assert!(Instant::now() < deadline, "{what}: {:?}", self.values("workload"));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn seconds(names: &Names) -> i64 {
    names.now() / 1_000_000
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_comes_late_finds_the_rows() {
    let mut cluster = Cluster::new();
    let names = Arc::clone(&cluster.names);
    let server = server(&names).await;
    let pod = cluster.uid(1);
    let began = Instant::now();
    server.send(1, &pod, "10.244.2.2").await;
    assert!(began.elapsed() >= Duration::from_millis(400), "it waited for the name");
    server.send(2, &pod, "10.244.2.2").await;
    assert_eq!(server.values("namespace"), ["", ""], "and did not for ever");
    let since = seconds(&names) - 100;
    cluster.pod(since, 1, "shop/cart-x", "n1", "10.244.1.9", Some(("StatefulSet", "cart", 5)));
    server.until("the local end", |s| s.values("workload") == ["cart", "cart"]).await;
    cluster.pod(since, 2, "shop/pay-y", "n2", "10.244.2.2", None);
    server.until("the peer", |s| s.values("peer_workload") == ["pay-y", "pay-y"]).await;
    assert_eq!(server.values("peer_scope"), ["cluster", "cluster"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_comes_at_once_is_waited_for() {
    let mut cluster = Cluster::new();
    let names = Arc::clone(&cluster.names);
    let mut server = server(&names).await;
    // Nobody else names the rows.
    server.tasks.shutdown().await;
    let since = seconds(&names) - 100;
    let pod = cluster.uid(1);
    let telling = tokio::task::spawn_blocking(move || {
        std::thread::sleep(Duration::from_millis(100));
        cluster.pod(since, 1, "shop/cart-x", "n1", "10.244.1.9", None);
    });
    server.send(1, &pod, "203.0.113.9").await;
    telling.await.unwrap();
    assert_eq!(server.values("workload"), ["cart-x"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_takes_back_who_was_there() {
    let mut cluster = Cluster::new();
    let names = Arc::clone(&cluster.names);
    let server = server(&names).await;
    let now = seconds(&names);
    cluster.node("n1", "zone-a", "region-1", "172.30.0.1");
    cluster.deployment("shop", "cart", 7);
    cluster.pod(now - 300, 1, "shop/cart-a", "n1", "10.244.1.2", Some(("ReplicaSet", "cart-7", 7)));
    cluster.delete_pod(now - 100, 1);
    cluster.pod(now - 90, 2, "shop/pay-0", "n1", "10.244.1.2", Some(("StatefulSet", "pay", 8)));
    cluster.host_pod(
        now - 90,
        3,
        "infra/proxy",
        "n1",
        "172.30.0.1",
        9100,
        Some(("DaemonSet", "proxy", 9)),
    );
    cluster.service("shop/pay", "10.96.0.10", 80, 30080);
    cluster.external_service("shop/mail", "smtp.example.net");
    let rows = |s: &Server| s.memory("names").iter().map(RecordBatch::num_rows).sum::<usize>();
    // A node, pods that began (two), ended (one) and are in the host's network, and services: two places and a name.
    server.until("all is written down", |s| rows(s) == 1 + 2 + 1 + 1 + 2 + 1).await;

    let again = Names::new();
    again.seed(&server.memory("names")).unwrap();
    for names in [&names, &again] {
        let lookup = names.lookup().unwrap();
        let at = |from: i64| {
            let (start, end) = ((now - from) * 1_000_000, (now - from + 10) * 1_000_000);
            let who = lookup.pod_at("10.244.1.2", start, end)?;
            let (seat, zone) = (who.seat, &*who.spot.zone);
            Some([who.pod, &*seat.workload, &*seat.workload_kind, zone].join(" "))
        };
        assert_eq!(at(200).as_deref(), Some("cart-a cart Deployment zone-a"));
        assert_eq!(at(50).as_deref(), Some("pay-0 pay StatefulSet zone-a"));
        let (start, end) = (now * 1_000_000, now * 1_000_000 + 1);
        let on_host = lookup.on_host(lookup.tcp("172.30.0.1", 9100), start, end);
        assert_eq!(on_host.map(|(who, _)| &*who.seat.workload), Some("proxy"));
        assert_eq!(lookup.service("10.96.0.10", 80, start), Some(("shop", "shop/pay")));
        assert_eq!(
            lookup.service_at_node_port(lookup.tcp("172.30.0.1", 30080), start, end),
            Some(("shop", "shop/pay"))
        );
        assert_eq!(lookup.service_of_domain("smtp.example.net"), Some("shop/mail"));
        assert_eq!(lookup.container(&format!("{:012x}", 2)), Some("main"));
    }
    // What was taken back is not written down once more.
    assert!(again.events.lock().is_empty());
}

/// What a cluster's API lists are its own nodes: hosts beside it are not gone.
#[test]
fn hosts_beside_a_cluster_stay() {
    let mut cluster = Cluster::new();
    cluster.node("n1", "a", "r", "172.30.0.1");
    cluster.names.change(|map| {
        map.apply_host(
            ("host", None, None),
            super::record::address("192.0.2.1".parse().unwrap()),
            0,
        );
        map.retain_nodes(By::Cluster, &std::collections::HashSet::new(), 1);
    });
    let late = 400_000_000;
    let lookup = cluster.names.lookup().unwrap();
    let at = |ip: &str| lookup.node_at(ip, late, late + 1).map(|who| &*who.seat.workload);
    assert_eq!(at("192.0.2.1"), Some("host"));
    assert_eq!(at("172.30.0.1"), None, "the cluster has it no longer");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_back_is_as_it_was_told_last() {
    let mut cluster = Cluster::new();
    let names = Arc::clone(&cluster.names);
    let server = server(&names).await;
    let now = seconds(&names);
    cluster.node("n1", "zone-old", "r", "172.30.0.1");
    // It changes and is gone in one moment, as a deletion tells its last state along.
    cluster.pod(now, 1, "shop/a", "n1", "10.244.1.2", None);
    cluster.pod(now, 1, "shop/a", "n1", "10.244.1.3", None);
    cluster.delete_pod(now, 1);
    let rows = |s: &Server| s.memory("names").iter().map(RecordBatch::num_rows).sum::<usize>();
    server.until("all is written down", |s| rows(s) == 4).await;

    let again = Names::new();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "172.30.0.1 n1 zone-new\n").unwrap();
    again.read_hosts(file.path()).unwrap();
    again.seed(&server.memory("names")).unwrap();
    let told = again.map.read().current(again.now());
    let is_pod = |what: &super::map::Named| matches!(what, super::map::Named::Pod(_));
    assert!(!told.iter().any(|event| is_pod(&event.what)), "the pod is gone");
    let lookup = again.lookup().unwrap();
    assert_eq!(
        lookup.node("n1").map(|who| &*who.spot.zone),
        Some("zone-new"),
        "the user's file says so now"
    );
}

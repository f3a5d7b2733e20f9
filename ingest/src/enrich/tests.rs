//! Rows of every kind, against a cluster that is told to the map object by object.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema};
use weir_storage::conform;

use super::*;
use crate::names::testing::{Cluster, SECOND};
use crate::tables::flows_table;

/// Labels and ports of a row by column; the rest is null.
type Row<'a> = Vec<(&'static str, &'a str)>;

fn batch(rows: &[(i64, i64, Row<'_>)]) -> RecordBatch {
    let spec = flows_table();
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for field in spec.schema.fields() {
        let value = |row: &(i64, i64, Row<'_>)| {
            let found = row.2.iter().find(|(name, _)| name == field.name());
            let required =
                ["node", "workload", "protocol", "role"].contains(&field.name().as_str());
            found.map(|(_, text)| (*text).to_owned()).or(required.then(|| "x".into()))
        };
        let column: ArrayRef = match field.data_type() {
            DataType::Dictionary(..) => Arc::new(rows.iter().map(value).collect::<StringArray>()),
            DataType::Int32 => {
                Arc::new(rows.iter().map(|row| value(row)?.parse().ok()).collect::<Int32Array>())
            }
            DataType::Timestamp(..) => {
                let times = rows.iter().map(|(start, end, _)| {
                    SECOND * if field.name() == "start" { *start } else { *end }
                });
                Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
            }
            _ => continue,
        };
        fields.push(Field::new(field.name(), column.data_type().clone(), field.is_nullable()));
        columns.push(column);
    }
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    conform(&spec, &batch).unwrap()
}

fn label(batch: &RecordBatch, row: usize, name: &str) -> String {
    column::Column::of(batch, name).and_then(|c| c.get(row)).unwrap_or("").to_owned()
}

fn labels<const N: usize>(batch: &RecordBatch, row: usize, names: [&str; N]) -> [String; N] {
    names.map(|name| label(batch, row, name))
}

fn enriched(cluster: &Cluster, rows: &[(i64, i64, Row<'_>)]) -> (RecordBatch, Unknown) {
    let enrichment =
        Enrichment { places: LivePlaces::shipped(), names: Arc::clone(&cluster.names) };
    let mut unknown = Unknown::default();
    let batch = enrichment.enrich(batch(rows), &mut unknown).unwrap();
    assert_eq!(batch.schema(), flows_table().schema);
    (batch, unknown)
}

const LOCAL: [&str; 5] = ["namespace", "workload", "workload_kind", "pod", "container"];
const PEER: [&str; 6] = [
    "peer_namespace",
    "peer_workload",
    "peer_workload_kind",
    "peer_pod",
    "peer_node",
    "peer_scope",
];

fn shop() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.node("n1", "a", "eu-west-1", "172.30.0.1");
    cluster.node("n2", "b", "eu-west-1", "172.30.0.2");
    cluster.deployment("shop", "cart", 7);
    cluster.pod(100, 1, "shop/cart-7-aaaaa", "n1", "10.244.1.2", Some(("ReplicaSet", "cart-7", 7)));
    cluster.pod(100, 2, "shop/pay-0", "n2", "10.244.2.2", Some(("StatefulSet", "pay", 8)));
    cluster.service("shop/pay", "10.96.0.10", 80, 30080);
    cluster
}

#[test]
fn both_ends_get_their_names_by_uid_and_address() {
    let cluster = shop();
    let uid = cluster.uid(1);
    let rows = [
        (
            200,
            210,
            vec![
                ("node", "n1"),
                ("pod", uid.as_str()),
                ("workload", "000000000001"),
                ("workload_kind", "Container"),
                ("container", "000000000001"),
                ("address", "10.244.1.2"),
                ("peer_address", "10.244.2.2"),
                ("peer_port", "8080"),
                ("peer_service_address", "10.96.0.10"),
                ("peer_service_port", "80"),
                ("protocol", "tcp"),
                ("peer_scope", "external"),
            ],
        ),
        // By address alone, and from the other end.
        (
            200,
            210,
            vec![
                ("node", "n2"),
                ("address", "10.244.2.2"),
                ("peer_address", "10.244.1.2"),
                ("protocol", "tcp"),
                ("peer_scope", "external"),
            ],
        ),
    ];
    let (batch, unknown) = enriched(&cluster, &rows);
    assert!(unknown.pods.is_empty() && unknown.addresses.is_empty(), "{unknown:?}");
    assert_eq!(labels(&batch, 0, LOCAL), ["shop", "cart", "Deployment", "cart-7-aaaaa", "main"]);
    assert_eq!(labels(&batch, 0, PEER), ["shop", "pay", "StatefulSet", "pay-0", "n2", "cluster"]);
    assert_eq!(
        labels(
            &batch,
            0,
            ["peer_service", "zone", "region", "peer_zone", "peer_region", "crossing"]
        ),
        ["shop/pay", "a", "eu-west-1", "b", "eu-west-1", "cross-zone"]
    );
    assert_eq!(labels(&batch, 1, LOCAL), ["shop", "pay", "StatefulSet", "pay-0", ""]);
    assert_eq!(
        labels(&batch, 1, PEER),
        ["shop", "cart", "Deployment", "cart-7-aaaaa", "n1", "cluster"]
    );
    assert_eq!(label(&batch, 1, "peer_service"), "", "nobody dialled a service there");
}

#[test]
fn a_reused_address_is_whose_it_was_then() {
    let mut cluster = shop();
    cluster.delete_pod(300, 2);
    cluster.pod(303, 3, "shop/other-x", "n2", "10.244.2.2", None);
    let to = |start, end| {
        let row = vec![
            ("address", "10.244.1.2"),
            ("peer_address", "10.244.2.2"),
            ("peer_scope", "external"),
        ];
        (start, end, row)
    };
    // One batch with four intervals: a late one among them.
    let rows = [to(250, 260), to(296, 306), to(310, 320), to(150, 160)];
    let (batch, _) = enriched(&cluster, &rows);
    let pods: Vec<String> = (0..4).map(|row| label(&batch, row, "peer_pod")).collect();
    assert_eq!(pods, ["pay-0", "pay-0", "other-x", "pay-0"]);
    assert_eq!(label(&batch, 2, "peer_workload_kind"), "Pod", "a bare one");
}

#[test]
fn the_host_network_is_told_apart_by_port() {
    let mut cluster = shop();
    cluster.host_pod(
        100,
        4,
        "infra/proxy-k",
        "n2",
        "172.30.0.2",
        9100,
        Some(("DaemonSet", "proxy", 9)),
    );
    let to = |port, workload| {
        vec![
            ("address", "10.244.1.2"),
            ("peer_address", "172.30.0.2"),
            ("peer_port", port),
            ("peer_workload", workload),
            ("protocol", "tcp"),
            ("peer_scope", "external"),
        ]
    };
    let uid = cluster.uid(4);
    let own = vec![("node", "n2"), ("pod", uid.as_str()), ("address", "172.30.0.2")];
    let rows = [
        (200, 210, to("9100", "")),
        (200, 210, to("22", "")),
        (200, 210, to("22", "sshd")),
        (200, 210, own),
    ];
    let (batch, _) = enriched(&cluster, &rows);
    assert_eq!(
        labels(&batch, 0, PEER),
        ["infra", "proxy", "DaemonSet", "proxy-k", "n2", "cluster"]
    );
    assert_eq!(labels(&batch, 1, PEER), ["", "n2", "Node", "", "n2", "cluster"]);
    assert_eq!(
        labels(&batch, 2, PEER),
        ["", "sshd", "", "", "n2", "cluster"],
        "the agent knows better"
    );
    assert_eq!(labels(&batch, 3, LOCAL), ["infra", "proxy", "DaemonSet", "proxy-k", ""]);
}

#[test]
fn services_are_known_by_everything_that_is_dialled() {
    let mut cluster = shop();
    cluster.external_service("shop/mail", "smtp.example.net");
    cluster.endpoint("shop/pay-headless", "shop/pay-headless-1", "10.244.2.2", 5432);
    let to = |fields: &[(&'static str, &'static str)]| {
        let mut row =
            vec![("address", "10.244.1.2"), ("protocol", "tcp"), ("peer_scope", "external")];
        row.extend(fields);
        (200, 210, row)
    };
    let rows = [
        to(&[("peer_address", "10.96.0.10"), ("peer_port", "80")]),
        to(&[
            ("peer_address", "10.244.2.2"),
            ("peer_service_address", "172.30.0.1"),
            ("peer_service_port", "30080"),
        ]),
        to(&[("peer_address", "203.0.113.9"), ("peer_domain", "smtp.example.net")]),
        to(&[("peer_address", "10.244.2.2"), ("peer_port", "5432")]),
        to(&[("peer_address", "10.244.2.2"), ("peer_domain", "pay.shop.svc.cluster.local")]),
        to(&[("peer_address", "10.244.2.2"), ("peer_port", "5433")]),
        to(&[("peer_address", "10.244.2.2"), ("peer_service", "mine"), ("peer_port", "5432")]),
    ];
    let (batch, _) = enriched(&cluster, &rows);
    let services: Vec<String> = (0..7).map(|row| label(&batch, row, "peer_service")).collect();
    let expected =
        ["shop/pay", "shop/pay", "shop/mail", "shop/pay-headless", "shop/pay", "", "mine"];
    assert_eq!(services, expected);
    assert_eq!(labels(&batch, 0, ["peer_namespace", "peer_scope"]), ["shop", "cluster"]);
    assert_eq!(
        labels(&batch, 2, ["peer_namespace", "peer_scope", "crossing"]),
        ["", "external", "internet"]
    );
}

#[test]
fn what_a_sender_says_stays_and_what_is_not_known_is_told() {
    let cluster = shop();
    let stranger = cluster.uid(99);
    let rows = [
        (
            200,
            210,
            vec![
                ("namespace", "own"),
                ("workload", "w"),
                ("address", "10.244.1.2"),
                ("peer_namespace", "theirs"),
                ("peer_workload", "p"),
                ("peer_address", "10.244.2.2"),
                ("zone", "z"),
                ("node", "n1"),
                ("crossing", "own"),
                ("peer_scope", "external"),
            ],
        ),
        (
            200,
            210,
            vec![
                ("pod", stranger.as_str()),
                ("peer_address", "10.244.9.9"),
                ("peer_scope", "external"),
            ],
        ),
        (200, 210, vec![("peer_address", "203.0.113.9"), ("peer_scope", "external")]),
    ];
    let (batch, unknown) = enriched(&cluster, &rows);
    assert_eq!(
        labels(&batch, 0, ["namespace", "workload", "zone", "crossing"]),
        ["own", "w", "z", "own"]
    );
    assert_eq!(
        labels(&batch, 0, ["peer_namespace", "peer_workload", "peer_pod"]),
        ["theirs", "p", ""]
    );
    assert_eq!(unknown.pods, [stranger]);
    assert_eq!(unknown.addresses, ["10.244.9.9", "203.0.113.9"]);
    assert_eq!(labels(&batch, 2, ["peer_scope", "crossing"]), ["external", "internet"]);
}

/// A host's row.
fn of_host<'a>(
    host: &'a str,
    address: &'a str,
    workload: &'a str,
    peer: &'a str,
    (role, port, peer_port): (&'a str, &'a str, &'a str),
) -> Row<'a> {
    vec![
        ("node", host),
        ("address", address),
        ("workload", workload),
        ("workload_kind", "SystemdUnit"),
        ("peer_address", peer),
        ("port", port),
        ("peer_port", peer_port),
        ("protocol", "tcp"),
        ("role", role),
        ("peer_scope", "external"),
    ]
}

#[test]
fn hosts_without_a_cluster_name_each_other() {
    let cluster = Cluster::new();
    let enrichment =
        Enrichment { places: LivePlaces::shipped(), names: Arc::clone(&cluster.names) };
    let tell = |row: Row<'_>| {
        let mut unknown = Unknown::default();
        let batch = enrichment.enrich(batch(&[(200, 210, row)]), &mut unknown).unwrap();
        enrichment.learn(&batch);
        (labels(&batch, 0, PEER), unknown.addresses)
    };
    let client = || of_host("web1", "203.0.113.1", "nginx", "203.0.113.2", ("client", "0", "5432"));
    let server =
        || of_host("db1", "203.0.113.2", "postgresql", "203.0.113.1", ("server", "5432", "0"));
    let (peer, unknown) = tell(client());
    assert_eq!(peer, ["", "", "", "", "", "external"], "nothing has been told yet");
    assert_eq!(unknown, ["203.0.113.2"]);
    let (peer, _) = tell(server());
    assert_eq!(peer, ["", "nginx", "SystemdUnit", "", "web1", "cluster"]);
    let (peer, _) = tell(client());
    assert_eq!(peer, ["", "postgresql", "SystemdUnit", "", "db1", "cluster"]);
    // A port at which nobody has answered yet: the host is known.
    let (peer, unknown) =
        tell(of_host("web1", "203.0.113.1", "nginx", "203.0.113.2", ("client", "0", "22")));
    assert_eq!(peer, ["", "db1", "Node", "", "db1", "cluster"]);
    assert_eq!(unknown, ["203.0.113.2"]);
    // Two of one host call the same: which of them a row is of, nobody can tell.
    tell(of_host("web1", "203.0.113.1", "cron", "203.0.113.2", ("client", "0", "5432")));
    let (peer, _) = tell(server());
    assert_eq!(peer, ["", "web1", "Node", "", "web1", "cluster"]);
    // A bridge that every host has is nobody's.
    for host in ["web1", "db1", "web1", "db1"] {
        tell(of_host(host, "172.17.0.2", "app", "203.0.113.9", ("client", "0", "80")));
    }
    let (peer, _) =
        tell(of_host("web1", "203.0.113.1", "nginx", "172.17.0.2", ("client", "0", "80")));
    assert_eq!(peer[4], "", "{peer:?}");
}

/// The first rows of a host come before it is known as one; when they are named, nothing says `internet` or `cloud` any
/// more.
#[test]
fn a_name_that_comes_late_takes_scope_and_crossing_along() {
    let mut cluster = Cluster::new();
    cluster.node("web1", "zone-a", "eu-west-1", "203.0.113.1");
    let rows = |peer| {
        let row = of_host("web1", "203.0.113.1", "nginx", peer, ("client", "0", "5432"));
        [(200, 210, row)]
    };
    // One of no provider's addresses, one of a provider's.
    for (peer, before) in
        [("203.0.113.2", ["external", "internet"]), ("52.94.5.1", ["cloud", "same-region"])]
    {
        let (first, _) = enriched(&cluster, &rows(peer));
        assert_eq!(labels(&first, 0, ["peer_scope", "crossing"]), before);
        cluster.node(&format!("db-{peer}"), "zone-b", "eu-west-1", peer);
        let enrichment =
            Enrichment { places: LivePlaces::shipped(), names: Arc::clone(&cluster.names) };
        let again = enrichment.enrich(first, &mut Unknown::default()).unwrap();
        assert_eq!(labels(&again, 0, ["peer_scope", "crossing"]), ["cluster", "cross-zone"]);
        cluster.node(&format!("db-{peer}"), "", "", peer);
    }
}

/// A sender may give each row an interval and an address of its own: what is looked up grows with the rows, not with
/// their square.
#[test]
fn rows_of_many_intervals_are_named_each_by_its_own() {
    const ROWS: usize = 20_000;
    let cluster = shop();
    let peers: Vec<String> =
        (0..ROWS).map(|n| format!("198.18.{}.{}", n / 250, n % 250 + 1)).collect();
    let rows: Vec<_> = (0..ROWS)
        .map(|n| {
            let peer = if n == 7 { "10.244.2.2" } else { peers[n].as_str() };
            let at = 200 + n as i64;
            (at, at + 10, vec![("peer_address", peer), ("peer_scope", "external")])
        })
        .collect();
    let (batch, unknown) = enriched(&cluster, &rows);
    assert_eq!(label(&batch, 7, "peer_pod"), "pay-0");
    assert_eq!(unknown.addresses.len(), ROWS - 1, "each was asked for once");
}

//! A cluster of three nodes with real traffic, real agents and a real API server: every byte has the right names.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "cluster/plane.rs"]
mod plane;
#[path = "cluster/rig.rs"]
mod rig;
#[path = "cluster/shop.rs"]
mod shop;
mod support;

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::process::Child;
use std::time::Duration;

use serde_json::{Value, json};

use rig::Cluster;
use shop::{LABEL, SCRIPT, Shop, agents, serve};
use support::{eventually, read_all, skip};

/// What a client says that it sent and received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Volume {
    connections: i64,
    sent: i64,
    received: i64,
}

fn report(mut client: Child) -> Volume {
    let text = read_all(client.stdout.take().unwrap());
    assert!(client.wait().unwrap().success(), "{text}");
    let report: Value = serde_json::from_str(&text).unwrap();
    let number = |name: &str| report[name].as_i64().unwrap();
    Volume {
        connections: number("connections"),
        sent: number("sent"),
        received: number("received"),
    }
}

fn sorted(mut rows: Vec<Vec<Value>>) -> Vec<Vec<Value>> {
    rows.sort_by_key(|row| json!(row).to_string());
    rows
}

/// One of a conversation's ends, as the rows should have it.
fn end(namespace: &str, workload: &str, kind: &str, pod: &str, zone: &str) -> [String; 5] {
    [namespace, workload, kind, pod, zone].map(str::to_owned)
}

#[test]
fn every_byte_has_the_right_names() {
    let Some(mut shop) = Shop::open() else { return };
    let frontend = shop.controller("shop", "Deployment", "frontend");
    let cart = shop.controller("shop", "Deployment", "cart");
    let pay = shop.controller("shop", "Deployment", "pay");
    let orders = shop.controller("shop", "StatefulSet", "orders");
    let mail = shop.controller("shop", "Job", "mail");
    let proxy = shop.controller("infra", "DaemonSet", "proxy");
    shop.pod("frontend-a", "shop", Some(&frontend), 0, 10, 80);
    shop.pod("frontend-b", "shop", Some(&frontend), 1, 10, 80);
    shop.pod("cart-a", "shop", Some(&cart), 0, 11, 8080);
    shop.pod("cart-b", "shop", Some(&cart), 2, 11, 8080);
    shop.pod("pay-a", "shop", Some(&pay), 1, 12, 8081);
    shop.pod("pay-b", "shop", Some(&pay), 2, 12, 8081);
    shop.pod("orders-0", "shop", Some(&orders), 1, 13, 8082);
    shop.pod("orders-1", "shop", Some(&orders), 2, 13, 8082);
    shop.pod("mail-x", "shop", Some(&mail), 0, 14, 1);
    shop.pod("bare", "shop", None, 2, 14, 1);
    shop.pod("proxy-3", "infra", Some(&proxy), 2, 0, 9100);
    shop.pod("old", "shop", Some(&pay), 1, 20, 8083);
    shop.service("cart", "10.96.0.11", 80);
    shop.service("pay", "10.96.0.12", 80);
    shop.service("orders", "10.96.0.13", 80);
    shop.service("frontend", "10.96.0.14", 80);
    shop.cluster.service(
        "10.96.0.11",
        80,
        &[(&shop.pods["cart-a"], 8080), (&shop.pods["cart-b"], 8080)],
    );
    for (name, port) in [
        ("cart-a", 8080),
        ("cart-b", 8080),
        ("pay-a", 8081),
        ("pay-b", 8081),
        ("orders-0", 8082),
        ("orders-1", 8082),
        ("proxy-3", 9100),
        ("old", 8083),
    ] {
        shop.listen(name, port);
    }

    let address = |name: &str| shop.pods[name].address.clone();
    let by_service = shop.call("frontend-a", "10.96.0.11", 80, 40);
    let calls = [
        ("frontend-b", "orders-0", 8082, 25),
        ("cart-a", "pay-b", 8081, 31),
        ("cart-b", "pay-a", 8081, 17),
        ("orders-1", "orders-0", 8082, 12),
        ("mail-x", "proxy-3", 9100, 14),
        ("bare", "orders-1", 8082, 9),
        ("proxy-3", "cart-b", 8080, 11),
        ("mail-x", "old", 8083, 13),
    ];
    let clients: Vec<Child> =
        calls.iter().map(|(from, to, port, n)| shop.call(from, &address(to), *port, *n)).collect();
    let by_service = report(by_service);
    let mut reports: Vec<Volume> = clients.into_iter().map(report).collect();
    // The address changes hands in the middle of it all.
    std::thread::sleep(Duration::from_millis(1500));
    shop.delete("old", "shop");
    shop.pod("new", "shop", Some(&cart), 1, 20, 8083);
    shop.listen("new", 8083);
    let to_new = shop.call("mail-x", &shop.pods["new"].address, 8083, 21);
    reports.push(report(to_new));

    // Name, and how the rows should call it.
    let who: HashMap<&str, [String; 5]> = [
        ("frontend-a", end("shop", "frontend", "Deployment", "frontend-a", "zone-a")),
        ("frontend-b", end("shop", "frontend", "Deployment", "frontend-b", "zone-a")),
        ("cart-a", end("shop", "cart", "Deployment", "cart-a", "zone-a")),
        ("cart-b", end("shop", "cart", "Deployment", "cart-b", "zone-b")),
        ("pay-a", end("shop", "pay", "Deployment", "pay-a", "zone-a")),
        ("pay-b", end("shop", "pay", "Deployment", "pay-b", "zone-b")),
        ("orders-0", end("shop", "orders", "StatefulSet", "orders-0", "zone-a")),
        ("orders-1", end("shop", "orders", "StatefulSet", "orders-1", "zone-b")),
        ("mail-x", end("shop", "mail", "Job", "mail-x", "zone-a")),
        ("bare", end("shop", "bare", "Pod", "bare", "zone-b")),
        ("proxy-3", end("infra", "proxy", "DaemonSet", "proxy-3", "zone-b")),
        ("old", end("shop", "pay", "Deployment", "old", "zone-a")),
        ("new", end("shop", "cart", "Deployment", "new", "zone-a")),
    ]
    .into();
    let mut expected: Vec<([String; 5], [String; 5], i64, Volume)> = Vec::new();
    let all = calls
        .iter()
        .map(|(from, to, port, _)| (*from, *to, *port))
        .chain([("mail-x", "new", 8083)]);
    for ((from, to, port), volume) in all.zip(&reports) {
        expected.push((who[from].clone(), who[to].clone(), port.into(), *volume));
    }
    let statement = "SELECT namespace, workload, workload_kind, pod, zone, \
        peer_namespace, peer_workload, peer_workload_kind, peer_pod, peer_zone, peer_port, \
        sum(connects), sum(tx_bytes), sum(rx_bytes) FROM flows WHERE role = 'client' AND peer_port IN \
        (8080, 8081, 8082, 8083, 9100) AND peer_service IS NULL GROUP BY 1,2,3,4,5,6,7,8,9,10,11";
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let five =
        |row: &[Value], at: usize| -> [String; 5] { std::array::from_fn(|i| text(&row[at + i])) };
    let found = |rows: Vec<Vec<Value>>| -> Vec<([String; 5], [String; 5], i64, Volume)> {
        rows.iter()
            .map(|row| {
                let number = |at: usize| row[at].as_i64().unwrap_or(-1);
                let volume =
                    Volume { connections: number(11), sent: number(12), received: number(13) };
                (five(row, 0), five(row, 5), number(10), volume)
            })
            .collect()
    };
    expected.sort_by_key(|(from, to, port, _)| (from.clone(), to.clone(), *port));
    let mut last = Vec::new();
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while last != expected && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(500));
        last = found(shop.sql(statement));
        last.sort_by_key(|(from, to, port, _)| (from.clone(), to.clone(), *port));
    }
    assert_eq!(last, expected, "the clients' ends");

    // Through the service: each byte at one of its two backends, and as many as the client says.
    let rows = shop.sql(
        "SELECT workload, pod, peer_service, peer_service_address, peer_workload, peer_pod, peer_zone, crossing, \
         sum(connects), sum(tx_bytes), sum(rx_bytes) FROM flows \
         WHERE role = 'client' AND peer_service IS NOT NULL GROUP BY 1,2,3,4,5,6,7,8 ORDER BY peer_pod",
    );
    let labels = |row: &[Value]| (0..8).map(|at| text(&row[at])).collect::<Vec<_>>();
    assert_eq!(rows.len(), 2, "{rows:?}");
    let frontend = ["frontend", "frontend-a", "shop/cart", "10.96.0.11", "cart"];
    let of = |rest: [&str; 3]| {
        frontend.iter().chain(&rest).map(|text| (*text).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(labels(&rows[0]), of(["cart-a", "zone-a", "same-zone"]));
    assert_eq!(labels(&rows[1]), of(["cart-b", "zone-b", "cross-zone"]));
    let sum = |at: usize| rows.iter().map(|row| row[at].as_i64().unwrap()).sum::<i64>();
    let total = Volume { connections: sum(8), sent: sum(9), received: sum(10) };
    assert_eq!(total, by_service);

    // The servers' ends say the same; the client in the host's network is on the server's own node, whose agent
    // knows it by its socket.
    let rows = shop.sql(
        "SELECT namespace, workload, workload_kind, pod, zone, peer_namespace, peer_workload, peer_workload_kind, \
         peer_pod, peer_zone, port, sum(accepts), sum(rx_bytes), sum(tx_bytes) FROM flows \
         WHERE role = 'server' AND port IN (8080, 8081, 8082, 8083, 9100) GROUP BY 1,2,3,4,5,6,7,8,9,10,11",
    );
    let servers = found(rows);
    for (from, to, port, volume) in &expected {
        let one: Vec<_> =
            servers.iter().filter(|s| &s.0 == to && &s.1 == from && s.2 == *port).collect();
        assert_eq!(one.len(), 1, "{from:?} -> {to:?}: {servers:#?}");
        assert_eq!(one[0].3, *volume, "{from:?} -> {to:?}");
    }
    let everything: i64 = servers.iter().map(|s| s.3.sent).sum();
    let told: i64 = expected.iter().map(|e| e.3.sent).sum::<i64>() + by_service.sent;
    assert_eq!(everything, told, "no byte is anywhere else");

    // The history of names knows whose the address was.
    eventually("the history of names", Duration::from_secs(10), || {
        let rows = shop.sql(
            "SELECT name, max(until) IS NULL FROM names WHERE kind = 'pod' AND address = '10.244.2.20' \
             GROUP BY name ORDER BY name",
        );
        rows == [vec![json!("new"), json!(true)], vec![json!("old"), json!(false)]]
    });

    // The chosen label of both ends, in every table.
    let pods = shop.sql(
        "SELECT DISTINCT pod, team, peer_pod, peer_team FROM flows WHERE peer_pod IS NOT NULL",
    );
    let team = |pod: &Value| format!("{}-team", pod.as_str().unwrap().split('-').next().unwrap());
    assert!(pods.len() > 2 * calls.len(), "{pods:?}");
    for row in &pods {
        assert_eq!((text(&row[1]), text(&row[3])), (team(&row[0]), team(&row[2])), "{row:?}");
    }
    let teams = |table: &str| {
        let statement = format!(
            "SELECT team, peer_team, sum(tx_bytes) FROM {table} WHERE role = 'client' GROUP BY 1, 2 ORDER BY 1, 2"
        );
        shop.sql(&statement)
    };
    assert_eq!(teams("flows_1h"), teams("flows"));

    // A server that is killed knows the names again, also of rows that are in its log alone and without the cluster.
    let _ = shop.server.0.kill();
    let _ = shop.server.0.wait();
    (shop.server, shop.client) = serve(&shop.cluster, shop.data.path(), 9470, &["--label", LABEL]);
    let mut after = found(shop.sql(statement));
    after.sort_by_key(|(from, to, port, _)| (from.clone(), to.clone(), *port));
    assert_eq!(after, expected, "after a kill");
    let again = shop.sql(
        "SELECT DISTINCT pod, team, peer_pod, peer_team FROM flows WHERE peer_pod IS NOT NULL",
    );
    assert_eq!(sorted(again), sorted(pods), "labels are known again");
}

/// A fleet of plain hosts: nothing but agents and the server, and no configuration.
#[test]
fn hosts_name_each_other() {
    if let Some(reason) = rig::missing() {
        return skip(reason);
    }
    let cluster = Cluster::build();
    let data = tempfile::tempdir().unwrap();
    let (_server, client) = serve(&cluster, data.path(), 9471, &["--flush-interval", "20s"]);
    let _agents = agents(&cluster, &client.url, data.path());
    eventually("three agents that measure", Duration::from_secs(20), || {
        let agents = cluster.enter(|| client.sql("SELECT count(DISTINCT agent) FROM agent_loss"));
        agents == [vec![json!(3)]]
    });
    let database = cluster.unit(1, "database");
    let mut listening = database.start(&["python3", SCRIPT, "server", &database.address, "5432"]);
    let mut line = String::new();
    BufReader::new(listening.stdout.take().unwrap()).read_line(&mut line).unwrap();
    std::thread::spawn(move || listening.wait());
    let call = |node: usize, unit: &str, count: &str| {
        let unit = cluster.unit(node, unit);
        unit.start(&["python3", SCRIPT, "client", &database.address, "5432", count, "3"])
    };
    let (shop, report_job) = (call(0, "shop", "30"), call(2, "report", "12"));
    let (shop, job) = (report(shop), report(report_job));
    let told = |role: &str, port: &str| {
        let statement = format!(
            "SELECT node, workload, zone, peer_node, peer_workload, peer_workload_kind, peer_zone, peer_scope, crossing, \
             sum(connects) + sum(accepts), sum(tx_bytes), sum(rx_bytes) FROM flows \
             WHERE role = '{role}' AND {port} = 5432 GROUP BY 1,2,3,4,5,6,7,8,9 ORDER BY node, peer_node"
        );
        cluster.enter(|| client.sql(&statement))
    };
    let row = |texts: [&str; 9], volume: Volume| -> Vec<Value> {
        let numbers = [volume.connections, volume.sent, volume.received].map(Value::from);
        texts.iter().map(|text| json!(text)).chain(numbers).collect()
    };
    let other = |volume: Volume| Volume { sent: volume.received, received: volume.sent, ..volume };
    let unit = "SystemdUnit";
    let clients = vec![
        row(
            [
                "node1",
                "shop",
                "zone-of-node1",
                "node2",
                "database",
                unit,
                "zone-of-node2",
                "cluster",
                "cross-zone",
            ],
            shop,
        ),
        row(
            [
                "node3",
                "report",
                "zone-of-node3",
                "node2",
                "database",
                unit,
                "zone-of-node2",
                "cluster",
                "cross-zone",
            ],
            job,
        ),
    ];
    let servers = vec![
        row(
            [
                "node2",
                "database",
                "zone-of-node2",
                "node1",
                "shop",
                unit,
                "zone-of-node1",
                "cluster",
                "cross-zone",
            ],
            other(shop),
        ),
        row(
            [
                "node2",
                "database",
                "zone-of-node2",
                "node3",
                "report",
                unit,
                "zone-of-node3",
                "cluster",
                "cross-zone",
            ],
            other(job),
        ),
    ];
    let deadline = std::time::Instant::now() + Duration::from_secs(15);
    let is_right = || {
        (told("client", "peer_port"), told("server", "port")) == (clients.clone(), servers.clone())
    };
    while !is_right() && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(told("client", "peer_port"), clients);
    assert_eq!(told("server", "port"), servers);
}

//! Peers in clouds and in the user's networks: as the server labels them, and as Python's `ipaddress` does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::cell::Cell;
use std::collections::HashMap;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use serde_json::Value;

use support::answers::{self, Answers, ok};
use support::{Server, batch, now_us, ports, program};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/places.py");
const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/ingest/src/places/clouds.zst");

/// Flows of one workload, one to each address, of peers that the agent does not know.
fn flows_to(addresses: &[&str]) -> RecordBatch {
    let n = addresses.len();
    let end = now_us();
    let time =
        |t| Arc::new(TimestampMicrosecondArray::from_value(t, n).with_timezone("UTC")) as ArrayRef;
    let text = |s: &str| Arc::new(StringArray::from(vec![s; n])) as ArrayRef;
    RecordBatch::try_from_iter([
        ("start", time(end - 1_000_000)),
        ("end", time(end)),
        ("node", text("test")),
        ("workload", text("shop")),
        ("peer_address", Arc::new(StringArray::from(addresses.to_vec())) as ArrayRef),
        ("peer_scope", text("external")),
        ("protocol", text("tcp")),
        ("role", text("client")),
        ("tx_bytes", Arc::new(Int64Array::from(vec![1; n]))),
    ])
    .unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[test]
fn ten_thousand_addresses_are_where_ipaddress_says() {
    const COUNT: usize = 10_000;
    let Some(python) = program("python3", &["-c", "import pyarrow"]) else { return };
    let output =
        Command::new(python).args([SCRIPT, SHIPPED, &COUNT.to_string(), "1"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let expected: HashMap<&str, (&str, &str)> = said
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split('\t').collect();
            (words[0], (words[1], words[2]))
        })
        .collect();
    assert_eq!(expected.len(), COUNT);
    let in_clouds = expected.values().filter(|(service, _)| !service.is_empty()).count();
    assert!((COUNT / 2..COUNT - 500).contains(&in_clouds), "{in_clouds} in clouds");

    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path(), &[]);
    let addresses: Vec<&str> = expected.keys().copied().collect();
    for (sequence, addresses) in (0..).zip(addresses.chunks(1000)) {
        assert_eq!(server.post(&batch("b", sequence, &flows_to(addresses))).unwrap().0, 200);
    }
    // As it came, as the log gives it back, and as files have it.
    for look in 0..3 {
        let rows = server.sql(
            "SELECT peer_address, peer_scope, peer_cloud_service, peer_region FROM flows LIMIT 20000",
        );
        assert_eq!(rows.len(), COUNT);
        for row in &rows {
            let address = text(&row[0]);
            let (service, region) = expected[&*address];
            let scope = if service.is_empty() { "external" } else { "cloud" };
            let found = (text(&row[1]), text(&row[2]), text(&row[3]));
            assert_eq!(found, (scope.into(), service.into(), region.into()), "{address}, {look}");
        }
        if look == 0 {
            server.kill_now();
        } else {
            assert!(server.terminate().success());
        }
        server = Server::start(dir.path(), &[]);
    }
}

#[test]
fn networks_have_the_names_that_the_user_gives() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("weir.toml");
    let ranges = dir.path().join("aws.json");
    let aws = r#"{"syncToken": "1", "prefixes": [
        {"ip_prefix": "203.0.113.0/24", "region": "moon-1", "service": "S3"}]}"#;
    std::fs::write(&ranges, aws).unwrap();
    let said = format!(
        "cloud_ranges = [{ranges:?}]\n[networks]\noffice = \"192.0.2.0/24\"\n\
         branches = [\"198.51.100.0/25\", \"2001:db8::/32\"]\n"
    );
    std::fs::write(&config, said).unwrap();
    let options = ["--config", config.to_str().unwrap(), "--network", "lab=192.0.2.128/25"];
    let server = Server::start(&dir.path().join("data"), &options);
    let addresses =
        ["192.0.2.1", "192.0.2.200", "2001:db8::7", "10.0.0.1", "203.0.113.5", "52.94.5.1"];
    assert_eq!(server.post(&batch("b", 0, &flows_to(&addresses))).unwrap().0, 200);
    let rows = server.sql(
        "SELECT peer_address, peer_network, peer_cloud_service, peer_region FROM flows ORDER BY 1",
    );
    let rows: Vec<_> = rows.iter().map(|row| row.iter().map(text).collect::<Vec<_>>()).collect();
    let rows: Vec<Vec<&str>> =
        rows.iter().map(|row| row.iter().map(String::as_str).collect()).collect();
    let expected = [
        ["10.0.0.1", "private", "", ""],
        ["192.0.2.1", "office", "", ""],
        ["192.0.2.200", "lab", "", ""],
        ["2001:db8::7", "branches", "", ""],
        ["203.0.113.5", "", "S3", "moon-1"],
        // Of the provider whose own list was given, the shipped one is not used.
        ["52.94.5.1", "", "", ""],
    ];
    assert_eq!(rows, expected);
    for (options, why) in [
        (vec!["--cloud-ranges", config.to_str().unwrap()], "is not as its provider documents it"),
        (vec!["--cloud-ranges", "/no/such"], "cannot read cloud ranges /no/such"),
        (vec!["--network", "x=192.0.2.7/24"], "192.0.2.0/24"),
    ] {
        let error = Server::try_start(&dir.path().join("other"), &options).err().unwrap();
        assert!(error.contains(why), "{error}");
    }
}

/// A list of AWS with a network for each service.
fn aws(services: &[&str]) -> String {
    let prefixes = (0..).zip(services).map(|(n, service)| {
        format!(r#"{{"ip_prefix": "203.0.{n}.0/24", "region": "moon-1", "service": "{service}"}}"#)
    });
    format!(r#"{{"prefixes": [{}]}}"#, prefixes.collect::<Vec<_>>().join(","))
}

/// Google's own list: there is none among the shipped ones, so any length will do.
fn goog(networks: usize) -> String {
    let prefixes = (0..networks).map(|n| format!(r#"{{"ipv4Prefix": "198.51.{n}.0/24"}}"#));
    format!(r#"{{"prefixes": [{}]}}"#, prefixes.collect::<Vec<_>>().join(","))
}

/// Waits until there is what is waited for.
fn until(what: &str, is: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Readings of a source by what came of them.
fn reads(server: &Server, source: &str, outcome: &str) -> u64 {
    let (status, text) = server.get("/metrics");
    assert_eq!(status, 200);
    let wanted = format!("source=\"{source}\",outcome=\"{outcome}\"}} ");
    let line = text.lines().find_map(|line| {
        let (before, value) = line.split_once(&wanted)?;
        before.starts_with("weir_source_reads_total").then_some(value)
    });
    line.unwrap_or("0").parse().unwrap()
}

/// What rows are told of an address that come now.
fn told(server: &Server, sequence: &Cell<i64>, address: &str) -> [String; 4] {
    sequence.set(sequence.get() + 1);
    let rows = flows_to(&[address]);
    assert_eq!(server.post(&batch("b", sequence.get(), &rows)).unwrap().0, 200);
    let rows = server.sql(&format!(
        "SELECT peer_cloud_service, peer_network, peer_workload, CAST(peer_asn AS TEXT) FROM flows \
         WHERE peer_address = '{address}' ORDER BY \"end\" DESC LIMIT 1"
    ));
    [0, 1, 2, 3].map(|column| text(&rows[0][column]))
}

#[test]
fn lists_are_fetched_and_only_good_ones_are_used() {
    let dir = tempfile::tempdir().unwrap();
    let (data, ca) = (dir.path().join("data"), dir.path().join("ca.pem"));
    let web = Answers::start(ports::free_port(), true);
    std::fs::write(&ca, &web.certificate).unwrap();
    let url = web.url("/goog.json");
    let options = [
        "--cloud-ranges",
        &url,
        "--cloud-ranges-interval",
        "1s",
        "--cloud-ranges-ca",
        ca.to_str().unwrap(),
    ];
    let sequence = Cell::new(0);
    let server = Server::start(&data, &options);
    // Nothing has come yet, and nobody waits for it.
    let services = |server: &Server| {
        ["198.51.0.1", "198.51.1.1"].map(|address| told(server, &sequence, address)[0].clone())
    };
    let wait = |outcome: &str| {
        let before = reads(&server, &url, outcome);
        until(outcome, || reads(&server, &url, outcome) > before);
    };
    wait("failed");
    assert_eq!(services(&server), ["", ""]);
    web.say(ok(&goog(2), &["ETag: \"1\""]));
    wait("taken");
    assert_eq!(services(&server), ["Google", "Google"]);
    web.say(answers::text("HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n"));
    wait("unchanged");
    assert!(web.heads().last().unwrap().to_lowercase().contains("if-none-match: \"1\""));
    let wide = r#"{"prefixes": [{"ipv4Prefix": "0.0.0.0/0"}, {"ipv4Prefix": "198.51.0.0/24"}]}"#;
    let (half, page) = (&goog(2)[..30], "<html>Please log in</html>");
    for lie in [half, page, wide, &goog(0), "{}", &aws(&["S3", "EC2"])] {
        web.say(ok(lie, &["ETag: \"2\""]));
        wait("refused");
        assert_eq!(services(&server), ["Google", "Google"], "{lie}");
    }
    web.say(answers::text("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"));
    wait("failed");
    assert_eq!(services(&server), ["Google", "Google"]);
    web.say(ok(&goog(1), &["ETag: \"3\""]));
    wait("taken");
    assert_eq!(services(&server), ["Google", ""]);
    assert!(server.terminate().success());
    // Without network, the last good copy is what there is.
    drop(web);
    let server = Server::start(&data, &options);
    until("failed fetch", || reads(&server, &url, "failed") > 0);
    assert_eq!(services(&server), ["Google", ""]);
    assert_eq!(reads(&server, &url, "taken"), 0);
    assert!(server.get("/metrics").1.contains("weir_source_good_timestamp_seconds{"));
}

#[test]
fn files_are_read_again_when_they_change() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
    let database = concat!(env!("CARGO_MANIFEST_DIR"), "/ingest/tests/fixtures/asn-country.mmdb");
    let database = std::fs::read(database).unwrap();
    write("aws.json", &aws(&["S3"]));
    write("hosts", "192.0.2.1 first\n");
    write("prices.toml", "[[price]]\nsent = 1e6\n");
    write("weir.toml", "[networks]\noffice = \"198.51.100.0/24\"\n");
    std::fs::write(path("asn.mmdb"), &database).unwrap();
    let named = |name: &str| path(name).to_str().unwrap().to_owned();
    let names = ["weir.toml", "aws.json", "hosts", "prices.toml", "asn.mmdb"].map(named);
    let kinds = ["--config", "--cloud-ranges", "--hosts", "--prices", "--mmdb"];
    let options: Vec<&str> =
        kinds.iter().zip(&names).flat_map(|(kind, name)| [*kind, name]).collect();
    let server = Server::start(&path("data"), &options);
    let sequence = Cell::new(0);
    let told = |address: &str| told(&server, &sequence, address);
    let is_cost = |expected: f64| {
        let rows = server.sql(
            "SELECT max(flow_cost(crossing, peer_cloud_service, tx_bytes, rx_bytes)) FROM flows",
        );
        let cost = rows[0][0].as_f64().unwrap();
        assert!((cost - expected).abs() < 1e-9, "{cost}, not {expected}");
    };
    assert_eq!(told("203.0.0.1")[0], "S3");
    assert_eq!(told("198.51.100.1"), ["", "office", "", "64501"]);
    assert_eq!(told("192.0.2.1")[2], "first");
    is_cost(1e-3);
    write("aws.json", &aws(&["EC2"]));
    write("hosts", "192.0.2.1 second\n");
    write("prices.toml", "[[price]]\nsent = 2e5\n");
    // Put in its place, as editors and Kubernetes do.
    write("new.toml", "[networks]\nbranch = \"198.51.100.0/24\"\n");
    std::fs::rename(path("new.toml"), path("weir.toml")).unwrap();
    for name in names.iter().take(4) {
        until(name, || reads(&server, name, "taken") > 1);
    }
    assert_eq!(told("203.0.0.1")[0], "EC2");
    assert_eq!(told("198.51.100.1"), ["", "branch", "", "64501"]);
    // Rows of the second before are the former name's.
    until("other name", || told("192.0.2.1")[2] == "second");
    is_cost(2e-4);
    write("aws.json", &aws(&["EC2"])[..20]);
    write("hosts", "192.0.2.1\n");
    write("prices.toml", "[[price]]\nsent = -1\n");
    write("weir.toml", "[networks]\nbranch = \"198.51.100.7/24\"\n");
    std::fs::write(path("asn.mmdb"), &database[..database.len() / 2]).unwrap();
    for name in &names {
        until(name, || reads(&server, name, "refused") > 0);
    }
    assert_eq!(told("203.0.0.1")[0], "EC2");
    assert_eq!(told("198.51.100.1"), ["", "branch", "", "64501"]);
    assert_eq!(told("192.0.2.1")[2], "second");
    is_cost(2e-4);
}

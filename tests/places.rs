//! Peers in clouds and in the user's networks: as the server labels them, and as Python's `ipaddress` does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::HashMap;
use std::process::Command;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use serde_json::Value;

use support::{Server, batch, now_us, program};

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

//! The alert rules (`deploy/grafana/rules`): checked and unit-tested by promtool, and evaluated by vmalert over a history
//! in a real server, which also takes the alerts that it writes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "dashboards/history.rs"]
mod history;
mod support;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use support::peers::peer;
use support::ports::free_port;
use support::{Background, Server, eventually, now_us, run};

const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/grafana/rules");

#[test]
fn promtool_accepts_the_rules_and_their_unit_tests() {
    let Some(promtool) = peer("promtool") else { return };
    run(Command::new(&promtool)
        .args(["check", "rules", "--lint-fatal", "weir.yaml"])
        .current_dir(RULES));
    run(Command::new(&promtool).args(["test", "rules", "tests.yaml"]).current_dir(RULES));
}

/// Each alert has a test that names it, and says what it is about and where to look.
#[test]
fn every_alert_is_tested_and_says_what_to_do() {
    let rules = std::fs::read_to_string(format!("{RULES}/weir.yaml")).unwrap();
    let tests = std::fs::read_to_string(format!("{RULES}/tests.yaml")).unwrap();
    let names: BTreeSet<&str> =
        rules.lines().filter_map(|l| l.trim().strip_prefix("- alert: ")).collect();
    assert_eq!(names.len(), 11, "{names:?}");
    for name in names {
        assert!(tests.contains(&format!("alertname=\"{name}\"")), "{name} has no test");
    }
    let alerts = rules.matches("- alert: ").count();
    for part in ["severity: ", "for: "] {
        assert_eq!(rules.matches(part).count(), alerts, "{part}");
    }
    // Four of them share the annotations of the fifth.
    for part in ["summary: ", "description: ", "dashboard: '/d/weir-"] {
        assert_eq!(rules.matches(part).count(), alerts - 4, "{part}");
    }
}

#[test]
fn vmalert_fires_on_real_data() {
    let Some(vmalert) = peer("vmalert") else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let end = now_us() / history::MINUTE * history::MINUTE;
    history::post(&server, end);
    let end = end / 1_000_000;
    let time = |seconds| jiff::Timestamp::from_second(seconds).unwrap();
    // Replay: the rules as they would have been evaluated minute by minute, the alerts written back as samples.
    let output = Command::new(vmalert)
        .arg(format!("-rule={RULES}/weir.yaml"))
        .arg(format!("-datasource.url={}", server.url))
        .arg(format!("-remoteWrite.url={}", server.url))
        .arg(format!("-replay.timeFrom={}", time(end - 3600)))
        .arg(format!("-replay.timeTo={}", time(end)))
        .args(["-replay.disableProgressBar", "-replay.rulesDelay=0", "-httpListenAddr=127.0.0.1:0"])
        .args(["-remoteWrite.flushInterval=100ms", "-loggerLevel=WARN"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let wanted: BTreeSet<String> = [
        // 20 of 1000 segments again, 2 of 10 connects in vain; 1 in 200 of the other direction is none.
        "WeirRetransmits warning web",
        "WeirConnectsFail warning web",
        "WeirAgentSilent warning n3",
        "WeirAllowanceExceeded warning n2 bw_in",
        "WeirAllowanceExceeded warning n2 bw_out",
        "WeirAllowanceExceeded warning n2 pps",
        "WeirAllowanceExceeded warning n2 conntrack",
        "WeirAllowanceExceeded warning n2 linklocal",
        // 60,000 of 65,536.
        "WeirConntrackFull critical n1",
        "WeirConntrackFull critical n2",
        "WeirIncomplete warning n2",
        "WeirNotMeasured warning n2 ring_drops",
        "WeirAgentWithoutBpf info n2",
    ]
    .map(str::to_owned)
    .into();
    let mut found = BTreeSet::new();
    eventually("alerts are there", Duration::from_secs(20), || {
        found = firing(&server, end);
        found.len() >= wanted.len()
    });
    assert_eq!(found, wanted, "{said}");
}

/// As it runs for good: instant queries at the time, and the texts of the annotations. The rules are the same ones, evaluated every
/// second instead of every minute and without waiting.
#[test]
fn vmalert_raises_alerts_live() {
    let Some(vmalert) = peer("vmalert") else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    history::post(&server, now_us() / history::MINUTE * history::MINUTE);
    let rules = std::fs::read_to_string(format!("{RULES}/weir.yaml")).unwrap();
    let at_once = |line: &str| match line.trim() {
        "interval: 1m" => line.replace("1m", "1s"),
        text if text.starts_with("for: ") => String::new(),
        _ => line.to_owned(),
    };
    let file = dir.path().join("rules.yaml");
    std::fs::write(&file, rules.lines().map(|line| at_once(line) + "\n").collect::<String>())
        .unwrap();
    let listen = format!("127.0.0.1:{}", free_port());
    let child = Command::new(vmalert)
        .arg(format!("-rule={}", file.display()))
        .arg(format!("-datasource.url={}", server.url))
        .arg(format!("-httpListenAddr={listen}"))
        .args(["-notifier.blackhole", "-loggerLevel=ERROR"])
        .spawn()
        .unwrap();
    let _vmalert = Background(child);
    let alerts = || -> Option<Value> {
        let mut answer = ureq::get(format!("http://{listen}/api/v1/alerts")).call().ok()?;
        serde_json::from_str(&answer.body_mut().read_to_string().ok()?).ok()
    };
    let mut found = Value::Null;
    eventually("an alert fires", Duration::from_secs(30), || {
        let all = alerts().unwrap_or_default();
        let all = all["data"]["alerts"].as_array().cloned().unwrap_or_default();
        let wanted = |a: &&Value| a["name"] == "WeirConnectsFail" && a["state"] == "firing";
        found = all.iter().find(wanted).cloned().unwrap_or_default();
        found.is_object()
    });
    let annotations = &found["annotations"];
    assert_eq!(
        annotations["summary"], "20% of the connects of shop/web to shop/api fail",
        "{found}"
    );
    let dashboard = "/d/weir-edge?var-namespace=shop&var-workload=web&var-peer_namespace=shop&var-peer_workload=api";
    assert_eq!(annotations["dashboard"], dashboard, "{found}");
}

/// What fires at a time: name, severity and what it is about.
fn firing(server: &Server, time: i64) -> BTreeSet<String> {
    let time = time.to_string();
    let fields = [("query", "ALERTS{alertstate=\"firing\"}"), ("time", &time)];
    let (status, answer) = server.form("/api/v1/query", &fields);
    assert_eq!(status, 200, "{answer}");
    let result = answer["data"]["result"].as_array().unwrap();
    let about = |series: &Value| {
        let labels = ["alertname", "severity", "workload", "node", "allowance", "reason"];
        let texts = labels.iter().filter_map(|name| series["metric"][name].as_str());
        texts.collect::<Vec<_>>().join(" ")
    };
    result.iter().map(about).collect()
}

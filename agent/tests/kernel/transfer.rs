//! A lossy bulk transfer, told by `iperf3`, `nstat` and `ss`.

use std::thread;
use std::time::Duration;

use serde_json::Value;
use weir_agent::bpf::Options;

use crate::lab::{Lab, Namespace, Offloads};
use crate::watch::{Watch, quantile, sum};

const TOOLS: [&str; 5] = ["iperf3", "nft", "nstat", "ss", "ethtool"];

#[test]
fn lossy_transfer() {
    for offloads in [Offloads::Off, Offloads::On] {
        let Some(lab) = Lab::build(&TOOLS, offloads) else { return };
        transfer(&lab);
    }
}

fn transfer(lab: &Lab) {
    lab.b.nft("add table inet loss");
    lab.b.nft("add chain inet loss in { type filter hook input priority 0; }");
    lab.b.nft("add rule inet loss in meta l4proto tcp numgen random mod 100 < 3 drop");
    let watch = Watch::start(Options::default(), Duration::from_secs(1));
    let address = lab.b.address.to_string();
    let server = lab.b.start("iperf3", &["-s", "-1", "-B", &address]);
    thread::sleep(Duration::from_millis(500));
    let client = lab.a.start("iperf3", &["-c", &address, "-t", "5", "-b", "200M", "--json"]);
    let mut rtts: Vec<f64> = Vec::new();
    for _ in 0..45 {
        thread::sleep(Duration::from_millis(100));
        rtts.extend(smoothed_rtt_us(&lab.a));
    }
    let report: Value = serde_json::from_str(&client.finish()).unwrap();
    drop(server);
    let seen = watch.stop();
    let sockets = seen.of(lab.a.cookie);
    let sent = report["end"]["streams"][0]["sender"]["bytes"].as_u64().unwrap();
    let received = report["end"]["streams"][0]["receiver"]["bytes"].as_u64().unwrap();
    rtts.sort_by(f64::total_cmp);
    for s in &sockets { eprintln!("{s:?}"); }
    for s in seen.of(lab.b.cookie) { eprintln!("b {s:?}"); }
    eprintln!("sent {sent} received {received} tx {}", sum(&sockets, |c| c.tx_bytes));
    eprintln!("retr {} iperf {} nstat {}", sum(&sockets, |c| c.retransmits), report["end"]["streams"][0]["sender"]["retransmits"], lab.a.counter("TcpRetransSegs"));
    eprintln!("b retr {} nstat {}", sum(&seen.of(lab.b.cookie), |c| c.retransmits), lab.b.counter("TcpRetransSegs"));
    eprintln!("rto {} nstat {}", sum(&sockets, |c| c.timeouts), lab.a.counter("TcpExtTCPTimeouts"));
    eprintln!("b rto {} nstat {}", sum(&seen.of(lab.b.cookie), |c| c.timeouts), lab.b.counter("TcpExtTCPTimeouts"));
    let data = sockets.iter().max_by_key(|s| s.counters.tx_bytes).unwrap();
    eprintln!("p50 {} ss {:?}", quantile(data, 0.5), rtts.get(rtts.len() / 2));
    eprintln!("p25 {} p75 {} ss {:?} {:?} n {}", quantile(data, 0.25),quantile(data, 0.75), rtts.get(rtts.len() / 4), rtts.get(rtts.len()*3 / 4), rtts.len());
}

/// `rtt:` of the connection that has sent most, by ss(8), microseconds.
fn smoothed_rtt_us(namespace: &Namespace) -> Option<f64> {
    let out = namespace.run("ss", &["-tinH", "state", "established"]);
    let field = |line: &str, name: &str| {
        line.split_whitespace().find_map(|f| f.strip_prefix(name)?.split('/').next()?.parse().ok())
    };
    let lines = out.lines().filter(|l| l.contains(" rtt:"));
    let data = lines.max_by_key(|l| field(l, "bytes_sent:").unwrap_or(0.0f64) as u64)?;
    field(data, "rtt:").map(|milliseconds: f64| milliseconds * 1000.0)
}

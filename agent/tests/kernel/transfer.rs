//! A lossy bulk transfer, told by `iperf3`, `nstat` and `ss`.

use std::thread;
use std::time::Duration;

use serde_json::Value;
use weir_agent::bpf::Options;
use weir_agent::socket::SocketState;

use crate::lab::{Lab, Link, Namespace};
use crate::watch::{Watch, quantile, sum};

const TOOLS: [&str; 5] = ["iperf3", "nft", "nstat", "ss", "ethtool"];

#[test]
fn lossy_transfer_of_single_segments() {
    transfer(Link::VethSegmented, "200M", |_, _| ());
}

#[test]
fn lossy_transfer_with_offloads() {
    transfer(Link::Veth, "50M", |_, _| ());
}

/// Between two namespaces of one machine the round trip is the scheduler's whim: samples of a few
/// microseconds and of a millisecond in one transfer, whose median and whose moving average (what
/// `ss` shows) have nothing to do with each other. With a path's delay they must agree.
#[test]
fn lossy_transfer_over_a_long_path() {
    transfer(Link::Delayed(Duration::from_millis(10)), "20M", |data, smoothed_us| {
        let p50 = quantile(data, 0.5);
        eprintln!("rtt p50 {p50:.0} us, by ss {smoothed_us:.0} us");
        assert!((p50 / smoothed_us - 1.0).abs() < 0.2, "{p50} us, by ss {smoothed_us} us");
        // There and back again is 20 ms and cannot be less.
        assert!(data.rtt.min_us >= 20_000, "{:?}", data.rtt);
        assert!(data.connect_time_us.unwrap() >= 20_000, "{data:#?}");
        let mean = data.rtt.sum_us as f64 / f64::from(data.rtt.slots.iter().sum::<u32>());
        assert!((mean / smoothed_us - 1.0).abs() < 0.2, "{mean} us, by ss {smoothed_us} us");
    });
}

fn transfer(link: Link, rate: &str, check_rtt: impl Fn(&SocketState, f64)) {
    let Some(lab) = Lab::build(&TOOLS, link) else { return };
    lab.b.nft("add table inet loss");
    lab.b.nft("add chain inet loss in { type filter hook input priority 0; }");
    lab.b.nft("add rule inet loss in meta l4proto tcp numgen random mod 100 < 3 drop");
    let watch = Watch::start(Options::default(), Duration::from_secs(1));
    let address = lab.b.address.to_string();
    let _server = lab.b.start("iperf3", &["-s", "-1", "-B", &address]);
    thread::sleep(Duration::from_millis(500));
    let client = lab.a.start("iperf3", &["-c", &address, "-t", "5", "-b", rate, "--json"]);
    let mut smoothed_us: Vec<f64> = Vec::new();
    for _ in 0..45 {
        thread::sleep(Duration::from_millis(100));
        smoothed_us.extend(smoothed_rtt_us(&lab.a));
    }
    let report: Value = serde_json::from_str(&client.finish()).unwrap();
    let seen = watch.stop(&lab);

    let sockets = seen.of(lab.a.cookie);
    assert_eq!(sockets.len(), 2, "control and data: {sockets:#?}");
    let data = sockets.iter().max_by_key(|s| s.counters.tx_bytes).unwrap();
    let sender = &report["end"]["streams"][0]["sender"];
    let sent = sender["bytes"].as_u64().unwrap();
    let tx_bytes = sum(&sockets, |c| c.tx_bytes);
    eprintln!("tx_bytes {tx_bytes}, sent {sent}; {:?}", data.counters);
    // iperf3 opens the stream with a cookie, which it does not count. When the time is up the server
    // may close with data still on its way, whose acknowledgement then never comes.
    const COOKIE: u64 = 37;
    if data.counters.resets == 0 {
        assert_eq!(data.counters.tx_bytes, sent + COOKIE);
        assert!(tx_bytes.abs_diff(sent) * 1000 <= sent, "tx_bytes {tx_bytes}, iperf3 sent {sent}");
    } else {
        let received = report["end"]["streams"][0]["receiver"]["bytes"].as_u64().unwrap();
        let acknowledged = received + COOKIE..=sent + COOKIE;
        assert!(acknowledged.contains(&data.counters.tx_bytes), "{acknowledged:?}: {data:#?}");
    }

    let retransmits = sum(&sockets, |c| c.retransmits);
    assert!(retransmits > 0);
    assert_eq!(retransmits, lab.a.counter("TcpRetransSegs"));
    // iperf3 asks the kernel once, before the end.
    assert!(data.counters.retransmits >= sender["retransmits"].as_u64().unwrap());
    let timeouts = sum(&sockets, |c| c.timeouts);
    eprintln!("retransmits {retransmits}, timeouts {timeouts}");
    assert_eq!(timeouts, lab.a.counter("TcpExtTCPTimeouts"));

    let receiver = seen.of(lab.b.cookie);
    // The last acknowledgements of a stream that was cut may be lost.
    let rx_bytes = sum(&receiver, |c| c.rx_bytes);
    assert!(rx_bytes == tx_bytes || (rx_bytes > tx_bytes && data.counters.resets > 0));
    assert_eq!(sum(&receiver, |c| c.retransmits), lab.b.counter("TcpRetransSegs"));
    assert_eq!(sum(&sockets, |c| c.connects), 2);
    assert_eq!(sum(&receiver, |c| c.accepts), 2);

    smoothed_us.sort_by(f64::total_cmp);
    check_rtt(data, smoothed_us[smoothed_us.len() / 2]);
    for end in [&sockets, &receiver] {
        assert!(end.iter().all(|s| s.owner.comm.starts_with(b"iperf3\0")), "{end:#?}");
        assert!(end.iter().all(|s| s.owner.cgroup != 0 && s.owner.tgid != 0), "{end:#?}");
    }
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

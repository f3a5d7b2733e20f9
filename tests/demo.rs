//! `weir demo`: what is shown is what happens, and nothing is left of it, however it ends.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use arrow::array::{Array as _, Int64Array};
use serde_json::{Value, json};
use support::ports::free_port;
use support::{Background, Client, WEIR, eventually, signal, skip};

/// The pod that the demo's loss hits.
const UNLUCKY: &str = "products-58c7f6d94b-t7h5w";
/// A process that cannot be: `PID_MAX_LIMIT` is 2^22.
const NOBODY: &str = "weir-demo-99999999";

struct Demo {
    process: Background,
    client: Client,
    temporary: tempfile::TempDir,
}

impl Demo {
    /// Starts a demo that has nothing of this machine but a folder for temporary files, and waits for its links.
    fn start(mut command: Command, options: &[&str]) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        fs::create_dir_all(temporary.path().join(NOBODY).join("history")).unwrap();
        let listen = format!("127.0.0.1:{}", free_port());
        let child = command
            .args(["demo", "--listen", &listen])
            .args(options)
            .env("TMPDIR", temporary.path())
            .env("WEIR_LOG", "warn")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut process = Background(child);
        let mut lines = BufReader::new(process.0.stderr.take().unwrap()).lines();
        let mut said = String::new();
        for line in lines.by_ref() {
            said.push_str(&line.unwrap());
            said.push('\n');
            if said.contains("Ctrl-C") {
                break;
            }
        }
        let client = Client { url: format!("http://{listen}") };
        assert!(said.contains(&format!("{}/map?from=", client.url)), "{said}");
        std::thread::spawn(move || lines.for_each(|l| eprintln!("  {}", l.unwrap_or_default())));
        Self { process, client, temporary }
    }

    fn is_clean(&self) -> bool {
        fs::read_dir(self.temporary.path()).unwrap().next().is_none()
    }

    /// Retransmits of the conversations between orders and each pod of products, at both ends.
    fn retransmits(&self) -> BTreeMap<String, i64> {
        let rows = self.client.sql(
            "SELECT coalesce(CASE WHEN workload = 'products' THEN pod ELSE peer_pod END, ''), sum(retransmits) \
             FROM flows WHERE workload IN ('orders', 'products') AND peer_workload IN ('orders', 'products') \
             GROUP BY 1",
        );
        let of = |row: &Vec<Value>| (row[0].as_str().unwrap().to_owned(), row[1].as_i64().unwrap());
        rows.iter().map(of).collect()
    }
}

/// The one pod that is hit has many retransmits, and the others of products next to none.
fn assert_incident(retransmits: &BTreeMap<String, i64>) {
    assert_eq!(retransmits.len(), 3, "{retransmits:?}");
    let unlucky = retransmits[UNLUCKY];
    let others = retransmits.iter().filter(|(pod, _)| *pod != UNLUCKY).map(|(_, n)| n);
    let most = others.max().unwrap();
    assert!(unlucky >= 10 && unlucky > 5 * most, "{retransmits:?}");
}

/// Texts of the first column of an answer.
fn texts(rows: &[Vec<Value>]) -> BTreeSet<String> {
    rows.iter().map(|row| row[0].as_str().unwrap_or("-").to_owned()).collect()
}

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Processes in a cgroup and below.
fn processes(cgroup: &Path) -> Vec<u32> {
    let own = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let own = own.lines().filter_map(|pid| pid.parse().ok());
    let below = fs::read_dir(cgroup).into_iter().flatten().flatten();
    let below = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    own.chain(below.flat_map(|entry| processes(&entry.path()))).collect()
}

/// The network namespace that a file stands for.
fn inode(path: PathBuf) -> Option<u64> {
    fs::metadata(path).map(|found| found.ino()).ok()
}

/// Network namespaces that somebody is in, or that have a name.
fn networks() -> BTreeSet<u64> {
    let of = |folder: &str| fs::read_dir(folder).into_iter().flatten().flatten();
    let lived_in = of("/proc").filter_map(|entry| inode(entry.path().join("ns/net")));
    lived_in.chain(of("/run/netns").filter_map(|entry| inode(entry.path()))).collect()
}

/// What of this machine's own network the demo could have changed.
fn own_network() -> Vec<String> {
    let links = support::run(Command::new("ip").args(["-brief", "link"]));
    let demo = ["between", "pod0", "node1"];
    let links = links.lines().filter(|line| demo.iter().any(|name| line.starts_with(name)));
    let tables = support::run(Command::new("nft").args(["list", "tables"]));
    let tables = tables.lines().filter(|line| line.contains("weir_demo"));
    links.chain(tables).map(str::to_owned).collect()
}

#[test]
fn a_shop_is_measured_and_nothing_is_left_of_it() {
    if !rustix::process::geteuid().is_root() {
        return skip("namespaces and BPF want root");
    }
    let Ok(mount) = weir_agent::cgroup_mount::find() else {
        return skip("no cgroup v2 hierarchy is mounted");
    };
    let swept = mount.join(NOBODY);
    fs::create_dir_all(swept.join("node-a1")).unwrap();
    let options = ["--day", "100s", "--interval", "1s", "--pages", "30"];
    let demo = Demo::start(Command::new(WEIR), &options);
    assert!(!swept.exists() && !demo.temporary.path().join(NOBODY).exists(), "former demos");
    let sql = |statement: &str| demo.client.sql(statement);

    // The loss has gone on for a while.
    eventually("packets are dropped", Duration::from_secs(60), || {
        demo.retransmits().get(UNLUCKY).is_some_and(|count| *count >= 25)
    });
    assert_incident(&demo.retransmits());
    let rate = |pod: &str| {
        let expression = format!(
            "sum(increase(flow_retransmits_total{{workload=\"products\",pod{pod},peer_workload=\"orders\"}}[2m])) / \
             sum(increase(flow_tx_packets_total{{workload=\"products\",pod{pod},peer_workload=\"orders\"}}[2m]))"
        );
        demo.client.promql(&expression, None).unwrap()
    };
    let (unlucky, others) = (rate(&format!("=\"{UNLUCKY}\"")), rate(&format!("!=\"{UNLUCKY}\"")));
    assert!(unlucky > 0.02 && unlucky > 5.0 * others, "{unlucky} and {others}");

    // The kernel's own word: the packets were dropped where that pod is.
    let dropped = |node: &str| {
        let statement = format!("SELECT coalesce(sum(drops), 0) FROM flows WHERE node {node}");
        sql(&statement)[0][0].as_i64().unwrap()
    };
    let (here, elsewhere) = (dropped("= 'node-b1'"), dropped("<> 'node-b1'"));
    assert!(here >= 20 && here > 5 * elsewhere, "{here} and {elsewhere}");

    // Everything has a name, and is where it should be.
    let named =
        sql("SELECT DISTINCT concat(node, ' ', zone, ' ', namespace, '/', workload) FROM flows");
    let expected = [
        "node-a1 eu-central-1a analytics/report",
        "node-a1 eu-central-1a shop/frontend",
        "node-a1 eu-central-1a shop/graphql",
        "node-a1 eu-central-1a shop/products",
        "node-a1 eu-central-1a weir/weir-agent",
        "node-a2 eu-central-1a shop/database",
        "node-a2 eu-central-1a shop/frontend",
        "node-a2 eu-central-1a shop/orders",
        "node-a2 eu-central-1a shop/products",
        "node-a2 eu-central-1a weir/weir-agent",
        "node-b1 eu-central-1b shop/frontend",
        "node-b1 eu-central-1b shop/graphql",
        "node-b1 eu-central-1b shop/orders",
        "node-b1 eu-central-1b shop/products",
        "node-b1 eu-central-1b weir/weir-agent",
    ];
    assert_eq!(texts(&named), set(&expected));
    let peers = sql(
        "SELECT DISTINCT concat(workload, ' ', role, ' ', coalesce(peer_workload, peer_cloud_service, \
         peer_network, 'internet')) FROM flows WHERE namespace = 'shop'",
    );
    let expected = [
        "database server products",
        "database server orders",
        "frontend client graphql",
        "frontend server internet",
        "frontend server office",
        "graphql client orders",
        "graphql client products",
        "graphql server frontend",
        "orders client database",
        "orders client payment-provider",
        "orders client products",
        "orders server graphql",
        "products client S3",
        "products client database",
        "products server graphql",
        "products server orders",
    ];
    let missing: Vec<_> = set(&expected).difference(&texts(&peers)).cloned().collect();
    assert!(missing.is_empty(), "{missing:?} of {peers:?}");
    let cloud = sql(
        "SELECT DISTINCT peer_scope, peer_region, crossing FROM flows WHERE peer_cloud_service = 'S3'",
    );
    assert_eq!(cloud, [vec![json!("cloud"), json!("eu-central-1"), json!("same-region")]]);
    let domains = sql(
        "SELECT DISTINCT concat(workload, ' ', peer_domain) FROM flows WHERE peer_domain IS NOT NULL",
    );
    let expected =
        ["orders api.payments.example", "products shop-pictures.s3.eu-central-1.amazonaws.com"];
    let missing: Vec<_> = set(&expected).difference(&texts(&domains)).cloned().collect();
    assert!(missing.is_empty(), "{missing:?} of {domains:?}");
    let crossings = sql("SELECT DISTINCT crossing FROM flows WHERE peer_workload = 'database'");
    assert_eq!(texts(&crossings), set(&["cross-zone", "same-zone"]));
    let losses = sql("SELECT node, reason, count FROM agent_loss WHERE count > 0");
    assert!(losses.is_empty(), "{losses:?}");

    // Killed, it takes everybody along.
    let pid = demo.process.0.id();
    let cgroup = mount.join(format!("weir-demo-{pid}"));
    let everybody = processes(&cgroup);
    assert!(everybody.len() > 15, "{everybody:?}");
    let own = inode("/proc/self/ns/net".into()).unwrap();
    let theirs: BTreeSet<u64> = everybody
        .iter()
        .filter_map(|pid| inode(format!("/proc/{pid}/ns/net").into()))
        .filter(|network| *network != own)
        .collect();
    // Outside, three nodes and twelve pods.
    assert_eq!(theirs.len(), 16);
    signal(&demo.process.0, "-KILL");
    let is_gone = |pid: &u32| !Path::new(&format!("/proc/{pid}")).exists();
    eventually("everybody has ended", Duration::from_secs(20), || everybody.iter().all(is_gone));
    eventually("the cgroup is gone", Duration::from_secs(20), || !cgroup.exists());
    eventually("the folder is gone", Duration::from_secs(20), || demo.is_clean());
    eventually("the networks are gone", Duration::from_secs(20), || {
        theirs.is_disjoint(&networks())
    });
    assert_eq!(own_network(), Vec::<String>::new());
}

/// Rows, bytes sent and retransmits of a recording, read as its format says.
fn totals(path: &Path) -> (i64, i64, i64) {
    let text = zstd::decode_all(fs::File::open(path).unwrap()).unwrap();
    let mut rest = text.strip_prefix(b"weirday\x01").unwrap();
    let mut parts = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk() {
        let (part, after) = after.split_at(u32::from_le_bytes(*length) as usize);
        parts.push(part);
        rest = after;
    }
    let mut totals = (0, 0, 0);
    // Of flows; the others are samples.
    for part in parts[1..].iter().filter_map(|part| part.strip_prefix(&[1])) {
        for rows in weir_wire::decode(part, &weir_wire::Limits::default()).unwrap().batches {
            let sum = |name: &str| -> i64 {
                let column = rows.column_by_name(name);
                let column = column.map(|c| c.as_any().downcast_ref::<Int64Array>().unwrap());
                column.into_iter().flat_map(|c| c.iter().flatten()).sum()
            };
            totals.0 += i64::try_from(rows.num_rows()).unwrap();
            totals.1 += sum("tx_bytes");
            totals.2 += sum("retransmits");
        }
    }
    totals
}

/// Without what root may, if the test has it.
fn without_privileges() -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(WEIR);
    }
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", WEIR]);
    command
}

#[test]
fn a_recorded_day_is_played_as_it_was() {
    let shipped = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/demo/day.weir"));
    assert!(fs::metadata(shipped).unwrap().len() < 1 << 20);
    let mut demo = Demo::start(without_privileges(), &["--replay"]);
    let sql = |statement: &str| demo.client.sql(statement);
    let (rows, bytes, retransmits) = totals(shipped);
    let played = sql("SELECT count(*), sum(tx_bytes), sum(retransmits) FROM flows");
    assert_eq!(played, [vec![json!(rows), json!(bytes), json!(retransmits)]]);
    assert_incident(&demo.retransmits());
    let ends = sql("SELECT now() - max(\"end\") < INTERVAL '1 minute', max(\"end\") <= now(), \
         max(\"end\") - min(\"end\") > INTERVAL '4 minutes' FROM flows");
    assert_eq!(ends, [vec![json!(true), json!(true), json!(true)]], "it ends now");
    let unnamed = sql("SELECT DISTINCT pod FROM flows WHERE namespace IS NULL");
    assert_eq!(unnamed, Vec::<Vec<Value>>::new());
    let agents = sql("SELECT count(DISTINCT agent) FROM agent_loss");
    assert_eq!(agents, [vec![json!(3)]]);
    // What the nodes counted is there as well, with the reason.
    let dropped =
        "sum(increase(weir_node_drops_total{instance=\"node-b1\",reason=\"NETFILTER_DROP\"}[5m]))";
    assert!(demo.client.promql(dropped, None).unwrap() > 10.0);
    signal(&demo.process.0, "-TERM");
    assert!(demo.process.0.wait().unwrap().success());
    assert!(demo.is_clean(), "the folder is gone when it ends");
}

#[test]
fn what_cannot_be_is_said_with_the_way_out() {
    let fails = |mut command: Command, options: &[&str]| {
        let output = command.arg("demo").args(options).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let dir = tempfile::tempdir().unwrap();
    let none = dir.path().join("none");
    fs::write(&none, "no recording").unwrap();
    let said = fails(Command::new(WEIR), &["--replay", none.to_str().unwrap()]);
    assert!(said.contains(none.to_str().unwrap()), "{said}");
    let said = fails(Command::new(WEIR), &["--listen", "0.0.0.0:9470"]);
    assert!(said.contains("loopback alone"), "{said}");
    let mut without_programs = Command::new(WEIR);
    without_programs.env("PATH", dir.path());
    let said = fails(without_programs, &[]);
    assert!(said.contains("weir demo --replay"), "{said}");
}

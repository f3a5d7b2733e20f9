use std::net::SocketAddr;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use proptest::prelude::*;

use super::*;
use crate::deltas::Delta;
use crate::socket::{Histogram, Owner, Protocol, SocketState};

fn workload(name: &str) -> Arc<Workload> {
    Arc::new(Workload { name: name.into(), kind: "Process", container: None, pod: None })
}

fn socket(role: Role, local: &str, peer: &str, tx_bytes: u64, open: bool) -> Attributed {
    let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
    let counters = Counters { tx_bytes, ..Counters::default() };
    Attributed {
        delta: Delta {
            socket: SocketState {
                protocol: Protocol::Tcp,
                cookie: 1,
                netns: 1,
                began_ns: 0,
                sampling: 1,
                owner: Owner::default(),
                role,
                local: parse(local),
                peer: parse(peer),
                counters,
                rtt: Histogram::default(),
                connect_time_us: None,
                open,
                closed: !open,
            },
            counters,
            rtt: Durations::default(),
            connect_time_us: None,
            open,
        },
        local: workload("curl"),
        peer: None,
        peer_scope: Scope::External,
        local_address: parse(local),
        peer_address: parse(peer),
        service: None,
        domain: None,
    }
}

impl Rows {
    /// One interval.
    fn aggregate(&mut self, sockets: &[Attributed], interval: Interval) -> BTreeMap<Key, Row> {
        self.begin_levels();
        sockets.iter().for_each(|socket| self.add(socket, &Reasons::default()));
        self.take(interval)
    }
}

fn at(seconds: i64) -> Interval {
    Interval { start_us: (seconds - 10) * 1_000_000, end_us: seconds * 1_000_000 }
}

fn ports(rows: &BTreeMap<Key, Row>) -> Vec<(u16, u16)> {
    rows.keys().map(|k| (k.port, k.peer_port)).collect()
}

#[test]
fn the_ephemeral_port_folds_on_the_connecting_side() {
    for (role, local, peer, folded) in [
        (Role::Client, "10.0.0.1:40000", "1.1.1.1:443", (0, 443)),
        (Role::Server, "10.0.0.1:8080", "1.1.1.1:5555", (8080, 0)),
        (Role::Unknown, "10.0.0.1:40000", "1.1.1.1:443", (0, 443)),
        (Role::Unknown, "10.0.0.1:443", "1.1.1.1:40000", (443, 0)),
        (Role::Unknown, "10.0.0.1:443", "1.1.1.1:5555", (443, 5555)),
        (Role::Unknown, "10.0.0.1:40000", "1.1.1.1:50000", (40000, 0)),
    ] {
        let mut rows = Rows::new(32768..=60999);
        let rows = rows.aggregate(&[socket(role, local, peer, 1, true)], at(10));
        assert_eq!(ports(&rows), [folded], "{role:?} {local} {peer}");
    }
}

#[test]
fn connections_of_one_client_are_one_flow() {
    let mut rows = Rows::new(32768..=60999);
    let sockets = [
        socket(Role::Client, "10.0.0.1:40000", "1.1.1.1:443", 5, true),
        socket(Role::Client, "10.0.0.1:40001", "1.1.1.1:443", 6, false),
    ];
    let rows = rows.aggregate(&sockets, at(10));
    let row = rows.values().next().unwrap();
    assert_eq!((rows.len(), row.counters.tx_bytes, row.active), (1, 11, 1));
}

#[test]
fn an_idle_connection_has_a_row_a_minute_and_one_when_it_goes() {
    let mut rows = Rows::new(32768..=60999);
    let idle = [socket(Role::Client, "10.0.0.1:40000", "1.1.1.1:443", 0, true)];
    let mut with_row = Vec::new();
    for seconds in (10..=130).step_by(10) {
        if !rows.aggregate(&idle, at(seconds)).is_empty() {
            with_row.push(seconds);
        }
    }
    assert_eq!(with_row, [10, 70, 130]);
    // It vanished without a report: the level comes down all the same, once.
    let gone = rows.aggregate(&[], at(140));
    assert_eq!(gone.values().map(|r| r.active).collect::<Vec<_>>(), [0]);
    assert!(rows.aggregate(&[], at(150)).is_empty());
}

#[test]
fn columns_are_those_of_the_schema() {
    let mut socket = socket(Role::Server, "[::1]:8080", "[::1]:5555", 9, true);
    socket.peer = Some(workload("nginx"));
    socket.peer_scope = Scope::Node;
    socket.delta.rtt = Durations::one(1500);
    let mut aggregate = Rows::new(32768..=60999);
    let rows = aggregate.aggregate(&[socket], at(10));
    let observer = Observer { node: "n1".into(), zone: Some("z".into()), ..Observer::default() };
    let batch = batch(&rows, &observer, at(10)).unwrap();
    for field in batch.schema().fields() {
        assert_eq!(weir_wire::schema::FLOWS.field_with_name(field.name()).unwrap(), field.as_ref());
    }
    for column in weir_wire::schema::FLOW_COLUMNS.iter().filter(|c| c.required) {
        assert_eq!(batch.column_by_name(column.name).unwrap().null_count(), 0, "{}", column.name);
    }
    let text = |name: &str| {
        let column = batch.column_by_name(name).unwrap().as_dictionary::<Int32Type>();
        column.key(0).map(|k| column.values().as_string::<i32>().value(k).to_owned())
    };
    assert_eq!(text("workload").as_deref(), Some("curl"));
    assert_eq!(text("peer_workload").as_deref(), Some("nginx"));
    assert_eq!(text("peer_node").as_deref(), Some("n1"));
    assert_eq!(text("address").as_deref(), Some("::1"));
    assert!(batch.column_by_name("cluster").is_none(), "null in every row");
    let number =
        |name: &str| batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().value(0);
    assert_eq!((number("tx_bytes"), number("rtt_count"), number("rtt_max_us")), (9, 1, 1500));
    assert!(batch.column_by_name("connect_time_min_us").is_none());
    let buckets = batch.column_by_name("rtt_buckets").unwrap().as_list::<i32>().value(0);
    assert_eq!(buckets.as_primitive::<Int64Type>().values().as_ref(), &[1]);
    let offset = batch.column_by_name("rtt_offset").unwrap().as_primitive::<Int32Type>().value(0);
    assert_eq!(offset, weir_wire::histogram::index_of(1500));
    let end = batch.column_by_name("end").unwrap().as_primitive::<TimestampMicrosecondType>();
    assert_eq!(end.value(0), 10_000_000);
}

#[test]
fn no_rows_are_a_batch_too() {
    let batch = batch(&BTreeMap::new(), &Observer::default(), at(10)).unwrap();
    assert_eq!(batch.num_rows(), 0);
}

proptest! {
    #[test]
    fn nothing_is_lost_in_adding_up(
        sockets in prop::collection::vec((0u16..4, 0u16..3, 0u64..1000, any::<bool>()), 0..60)
    ) {
        let sockets: Vec<_> = sockets
            .into_iter()
            .map(|(local, peer, tx, open)| {
                let role = [Role::Client, Role::Server, Role::Unknown][usize::from(peer)];
                let local = format!("10.0.0.1:{}", 40000 + local);
                socket(role, &local, &format!("10.0.0.2:{}", 80 + peer), tx, open)
            })
            .collect();
        let mut rows = Rows::new(32768..=60999);
        let rows = rows.aggregate(&sockets, at(10));
        let tx: u64 = sockets.iter().map(|s| s.delta.counters.tx_bytes).sum();
        let open = sockets.iter().filter(|s| s.delta.open).count() as u64;
        prop_assert_eq!(rows.values().map(|r| r.counters.tx_bytes).sum::<u64>(), tx);
        prop_assert_eq!(rows.values().map(|r| r.active).sum::<u64>(), open);
    }
}

#[test]
fn a_row_that_stands_for_many_is_scaled_and_says_so() {
    let mut one = socket(Role::Client, "10.0.0.1:40000", "10.0.0.2:80", 100, true);
    one.delta.rtt = Durations::one(1500);
    let mut of_eight = one.clone();
    of_eight.delta.socket.sampling = 8;
    let mut rows = Rows::new(32768..=60999);
    let rows = rows.aggregate(&[one, of_eight.clone(), of_eight], at(10));
    let seen: Vec<_> = rows
        .iter()
        .map(|(k, r)| (k.sampling, r.counters.tx_bytes, r.active, r.rtt.count(), r.rtt.sum_us))
        .collect();
    assert_eq!(seen, [(1, 100, 1, 1, 1500), (8, 1600, 16, 16, 24_000)]);
    let batch = batch(&rows, &Observer::default(), at(10)).unwrap();
    let sampling = batch.column_by_name("sampling").unwrap().as_primitive::<Int32Type>();
    assert_eq!(sampling.values().as_ref(), &[1, 8]);
}

#[test]
fn too_many_flows_are_one_row_of_their_workload_and_totals_stay() {
    let mut rows = Rows::new(32768..=60999);
    rows.most = 10;
    let mut sockets = Vec::new();
    for n in 0..100u16 {
        let peer = format!("10.0.{}.{}:80", n / 50, 1 + n % 50);
        let mut socket = socket(Role::Client, "10.0.0.1:40000", &peer, u64::from(n / 2), true);
        if n % 2 == 0 {
            socket.local = workload("wget");
        }
        sockets.push(socket);
    }
    let taken = rows.aggregate(&sockets, at(10));
    // The rows of others come beside.
    assert!((8..=12).contains(&taken.len()), "{taken:#?}");
    let others: Vec<_> = taken
        .iter()
        .filter(|(key, _)| key.is_other())
        .map(|(key, row)| (key.local.name.as_str(), row.active))
        .collect();
    let told = taken.len() as u64 - 2;
    assert_eq!(others.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["curl", "wget"]);
    assert_eq!(others.iter().map(|(_, active)| active).sum::<u64>(), 100 - told);
    assert_eq!(rows.folded(), 100 - told);
    let sent: u64 = taken.values().map(|row| row.counters.tx_bytes).sum();
    assert_eq!(sent, (0..100).map(|n| n / 2).sum::<u64>());
    let least = taken.iter().filter(|(key, _)| !key.is_other()).map(|(_, r)| r.volume()).min();
    assert_eq!(least, Some(49 - (told - 1) / 2), "the largest are told apart");
    let batch = batch(&taken, &Observer::default(), at(10)).unwrap();
    let addresses = batch.column_by_name("peer_address").unwrap();
    assert_eq!(addresses.null_count(), 2);
    // The next interval begins anew.
    let again = rows.aggregate(&sockets, at(20));
    assert_eq!((again.len() as u64, rows.folded()), (told + 2, 100 - told));
}

#[test]
fn a_dialled_service_is_told_beside_what_answered() {
    let mut rows = Rows::new(32768..=60999);
    let dialled = "10.96.0.1:443".parse().unwrap();
    let direct = socket(Role::Client, "10.0.0.1:40000", "10.0.0.7:6443", 100, true);
    let mut through = socket(Role::Client, "10.0.0.1:40001", "10.96.0.1:443", 100, true);
    through.peer_address = direct.peer_address;
    through.service = Some(dialled);
    let rows = rows.aggregate(&[direct, through], at(10));
    let services: Vec<_> = rows.keys().map(|k| (k.peer_address.to_string(), k.service)).collect();
    assert_eq!(services, [("10.0.0.7".into(), None), ("10.0.0.7".into(), Some(dialled))]);
    let batch = batch(&rows, &Observer::default(), at(10)).unwrap();
    let ports = batch.column_by_name("peer_service_port").unwrap();
    let ports = ports.as_any().downcast_ref::<arrow_array::Int32Array>().unwrap();
    assert_eq!(ports.iter().collect::<Vec<_>>(), [None, Some(443)]);
    assert!(batch.column_by_name("peer_service_address").is_some());
}

#[test]
fn domains_are_told_row_by_row() {
    let mut rows = Rows::new(32768..=60999);
    let flow = |peer: &str, domain: Option<&str>| Attributed {
        domain: domain.map(Into::into),
        ..socket(Role::Client, "10.0.0.1:40000", peer, 100, true)
    };
    let flows = [
        flow("10.0.0.2:53", None),
        flow("192.0.2.1:99", Some("one.test")),
        flow("192.0.2.2:99", Some("shop.test")),
        flow("192.0.2.3:99", None),
    ];
    let rows = rows.aggregate(&flows, at(10));
    let batch =
        batch(&rows, &Observer { node: "n".into(), ..Observer::default() }, at(10)).unwrap();
    let header = weir_wire::Header {
        agent: "a".into(),
        boot: "b".into(),
        sequence: 1,
        losses: BTreeMap::new(),
    };
    let body = weir_wire::encode(&header, &batch).unwrap();
    let limits = weir_wire::Limits::default();
    let stream = weir_wire::frame::inflate(&body, limits.decompressed_bytes).unwrap();
    for message in [weir_wire::decode(&stream, &limits), weir_wire::decode_flows(&stream, &limits)]
    {
        let message = message.unwrap();
        let column = message.batches[0].column_by_name("peer_domain").unwrap();
        let labels = column.as_any_dictionary();
        let values = labels.values().as_string::<i32>();
        let keys = labels.keys().as_primitive::<arrow_array::types::Int32Type>();
        let domains: Vec<_> =
            keys.iter().map(|key| key.map(|key| values.value(key as usize))).collect();
        assert_eq!(domains, [None, Some("one.test"), Some("shop.test"), None]);
    }
}

//! The table `names`: who had which address when, one row for each object and address whenever it begins, changes or
//! ends.
//!
//! Of an object that is still there, column `until` is null. Whatever there is, is told again with each new day
//! (UTC), so that a day's rows are enough to know who was there: that is also what a start reads back.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, RecordBatch, StringArray, StringDictionaryBuilder,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use thiserror::Error;
use weir_storage::{Entry, Part, Store};
use weir_wire::chosen::chosen;
use weir_wire::schema::{label_type, time_type};

use super::Names;
use super::map::{Event, Map, Named};
use super::owner::Owner;
use super::record::{Address, By, ContainerId, Node, Pod, Protocol, Service, Uid, address};
use super::tenure::Since;
use super::text::{Text, Texts};

/// Between two writes.
const EVERY: Duration = Duration::from_secs(1);
/// Rows of one write.
const ROWS: usize = 50_000;
const DAY: i64 = 86_400_000_000;

const LABELS: [&str; 14] = [
    "kind",
    "namespace",
    "name",
    "uid",
    "address",
    "protocol",
    "workload",
    "workload_kind",
    "node",
    "zone",
    "region",
    "domain",
    "containers",
    "labels",
];

/// The columns of `names`.
pub(crate) static HISTORY: LazyLock<SchemaRef> = LazyLock::new(|| {
    let time = |name, nullable| Field::new(name, time_type(), nullable);
    let mut fields = vec![time("time", false), time("start", false), time("until", true)];
    fields.extend(LABELS.map(|name| Field::new(name, label_type(), name != "kind")));
    fields.push(Field::new("port", DataType::Int32, true));
    Arc::new(Schema::new(fields))
});

/// What a start asks for, to give it to [`Names::seed`]: the rows of the last day and a little, and of more than two
/// million the latest.
pub const SEED: &str = "SELECT * FROM (SELECT * FROM names WHERE time >= now() - INTERVAL '30 hours' \
    ORDER BY time DESC LIMIT 2000000) ORDER BY time";

/// Names cannot be written down or read back.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// They make no columns: a defect.
    #[error("names cannot be made into rows")]
    Rows(#[from] ArrowError),
    /// The store refuses them.
    #[error("names cannot be stored")]
    Store(#[from] weir_storage::Error),
}

/// One row.
#[derive(Debug, Default, Clone)]
struct Row<'a> {
    seen: i64,
    start: i64,
    until: Option<i64>,
    kind: &'static str,
    namespace: &'a str,
    name: &'a str,
    uid: String,
    address: Option<Address>,
    port: Option<u16>,
    protocol: Option<Protocol>,
    workload: &'a str,
    workload_kind: &'a str,
    node: &'a str,
    zone: &'a str,
    region: &'a str,
    domain: &'a str,
    containers: String,
    labels: String,
}

fn text(address: Address) -> String {
    IpAddr::V6(Ipv6Addr::from_bits(address)).to_canonical().to_string()
}

/// The chosen labels of a pod: `KEY=VALUE` of those that it has. Neither keys nor values have blanks in them.
fn labels(pod: &Pod) -> String {
    let pairs = chosen().iter().zip(&pod.labels).filter(|(_, value)| !value.is_empty());
    pairs.map(|(chosen, value)| format!("{}={value}", chosen.key)).collect::<Vec<_>>().join(" ")
}

/// Those of them that are chosen now.
fn restored(labels: &str, texts: &mut Texts) -> Box<[Text]> {
    let told: HashMap<_, _> = labels.split(' ').filter_map(|pair| pair.split_once('=')).collect();
    let mut one = |key: &str| told.get(key).map_or_else(Text::default, |text| texts.one(text));
    chosen().iter().map(|chosen| one(&chosen.key)).collect()
}

fn rows_of<'a>(event: &'a Event, rows: &mut Vec<Row<'a>>) {
    let Event { seen, until, .. } = *event;
    let begun = |since: Since| Row { seen, start: since.at, until, ..Row::default() };
    match &event.what {
        Named::Pod(pod) => {
            let (seat, spot) = (&pod.seat, &pod.spot);
            let containers = pod.containers.iter().map(|(id, name)| format!("{id}={name}"));
            let row = Row {
                kind: "pod",
                namespace: &seat.namespace,
                name: &pod.name,
                uid: pod.uid.to_string(),
                workload: &seat.workload,
                workload_kind: &seat.workload_kind,
                node: &spot.node,
                zone: &spot.zone,
                region: &spot.region,
                containers: containers.collect::<Vec<_>>().join(" "),
                labels: labels(pod),
                ..begun(pod.since)
            };
            let own =
                pod.addresses.iter().map(|address| Row { address: Some(*address), ..row.clone() });
            let shared = pod.places.iter().map(|(address, port, protocol)| Row {
                address: Some(*address),
                port: Some(*port),
                protocol: Some(*protocol),
                ..row.clone()
            });
            let before = rows.len();
            rows.extend(own.chain(shared));
            if rows.len() == before {
                rows.push(row);
            }
        }
        Named::Node(node) => {
            let row = Row {
                kind: "node",
                name: &node.name,
                node: &node.name,
                zone: node.zone.as_deref().unwrap_or(""),
                region: node.region.as_deref().unwrap_or(""),
                ..begun(node.since)
            };
            let addresses = node.addresses.iter();
            rows.extend(addresses.map(|address| Row { address: Some(*address), ..row.clone() }));
        }
        Named::Service(service) => {
            let row = Row {
                kind: "service",
                namespace: &service.namespace,
                name: &service.name,
                ..begun(service.since)
            };
            let places = service.places.iter().map(|(address, port, protocol)| Row {
                address: Some(*address),
                port: Some(*port),
                protocol: Some(*protocol),
                ..row.clone()
            });
            let ports = service.node_ports.iter().map(|(port, protocol)| Row {
                port: Some(*port),
                protocol: Some(*protocol),
                ..row.clone()
            });
            let names = service.external_names.iter();
            let names = names.map(|domain| Row { domain, ..row.clone() });
            rows.extend(places.chain(ports).chain(names));
        }
    }
}

fn batch(rows: &[Row<'_>]) -> Result<RecordBatch, ArrowError> {
    let times = |of: &dyn Fn(&Row<'_>) -> Option<i64>| -> ArrayRef {
        let times: TimestampMicrosecondArray = rows.iter().map(of).collect();
        Arc::new(times.with_timezone("UTC"))
    };
    let label = |name: &str| -> ArrayRef {
        let mut builder = StringDictionaryBuilder::<Int32Type>::new();
        for row in rows {
            let address = row.address.map(text).unwrap_or_default();
            let value = match name {
                "kind" => row.kind,
                "namespace" => row.namespace,
                "name" => row.name,
                "uid" => &row.uid,
                "address" => &address,
                "protocol" => row.protocol.map_or("", Protocol::name),
                "workload" => row.workload,
                "workload_kind" => row.workload_kind,
                "node" => row.node,
                "zone" => row.zone,
                "region" => row.region,
                "domain" => row.domain,
                "labels" => &row.labels,
                _ => &row.containers,
            };
            builder.append_option(Some(value).filter(|value| !value.is_empty()));
        }
        Arc::new(builder.finish())
    };
    let mut columns = vec![
        times(&|row| Some(row.seen.max(0))),
        times(&|row| Some(row.start.max(0))),
        times(&|row| row.until),
    ];
    columns.extend(LABELS.map(label));
    let ports: Int32Array = rows.iter().map(|row| row.port.map(i32::from)).collect();
    columns.push(Arc::new(ports));
    RecordBatch::try_new(HISTORY.clone(), columns)
}

/// Writes names down as they come and go, until the task is given up.
///
/// Rows that cannot be stored are tried again with the next ones.
pub async fn keep_history(names: Arc<Names>, store: Arc<Store>) {
    let mut waiting: Vec<Event> = Vec::new();
    let mut day = None;
    let mut failing = false;
    loop {
        tokio::time::sleep(EVERY).await;
        let now = names.now();
        if day != Some(now.div_euclid(DAY)) {
            // What a start has read back has been told today, or will be with the list of the cluster.
            if day.is_some() {
                waiting.extend(names.map.read().current(now));
            }
            day = Some(now.div_euclid(DAY));
        }
        waiting.append(&mut names.events.lock());
        while !waiting.is_empty() {
            let some = waiting.len().min(ROWS);
            match write(&store, waiting.get(..some).unwrap_or(&[])).await {
                Ok(()) => {
                    waiting.drain(..some);
                    if std::mem::take(&mut failing) {
                        tracing::info!("names are written down again");
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "names cannot be written down; next attempt follows"
                        );
                    }
                    waiting.truncate(super::MAX_EVENTS);
                    break;
                }
            }
        }
    }
}

async fn write(store: &Store, events: &[Event]) -> Result<(), HistoryError> {
    let batch = {
        let mut rows = Vec::with_capacity(events.len());
        events.iter().for_each(|event| rows_of(event, &mut rows));
        batch(&rows)?
    };
    if batch.num_rows() == 0 {
        return Ok(());
    }
    let mut ipc = StreamWriter::try_new(Vec::new(), &batch.schema())?;
    ipc.write(&batch)?;
    let part = Part { table: "names", ipc: ipc.into_inner()?.into(), batches: vec![batch] };
    store.append(Entry { source: None, parts: vec![part] }).await?;
    Ok(())
}

/// Address and port of a row, as far as it has them.
type ToldPlace = (Option<Address>, Option<(u16, Protocol)>);

/// The rows of one object as they were told together.
#[derive(Debug, Default)]
struct Told {
    time: Option<i64>,
    start: i64,
    until: Option<i64>,
    namespace: String,
    name: String,
    workload: String,
    workload_kind: String,
    node: String,
    zone: String,
    region: String,
    containers: String,
    labels: String,
    domains: Vec<String>,
    places: Vec<ToldPlace>,
}

impl Names {
    /// Takes back what [`SEED`] gave, in the order of time: the names that were known before this start.
    ///
    /// # Errors
    /// When it has other columns than the table.
    pub fn seed(&self, batches: &[RecordBatch]) -> Result<(), HistoryError> {
        let mut told: HashMap<(String, String), Told> = HashMap::new();
        for batch in batches {
            read(batch, &mut told)?;
        }
        let now = self.now();
        // In the order in which it happened, so that each tenure ends where the next begins.
        let mut steps: Vec<(i64, bool, &str, &Told)> = Vec::new();
        for ((kind, uid), object) in &told {
            let key = if kind == "pod" { uid } else { kind };
            steps.push((object.start, false, key, object));
            steps.extend(object.until.map(|until| (until, true, key.as_str(), object)));
        }
        steps.sort_by_key(|(at, ends, key, _)| (*at, *ends, *key));
        let mut map = self.map.write();
        for (at, ends, key, object) in steps {
            restore(&mut map, key, object, ends, at.min(now));
        }
        // It is written down already.
        map.take_events();
        Ok(())
    }
}

fn restore(map: &mut Map, key: &str, told: &Told, ends: bool, at: i64) {
    let since = Since { at: told.start, exact: true };
    let optional = |text: &String, map: &mut Map| (!text.is_empty()).then(|| map.texts.one(text));
    let is_told_otherwise =
        |map: &Map| map.node(&told.name).is_some_and(|node| node.by != By::Rows);
    match key {
        // The user's file says it as it is now.
        "node" if is_told_otherwise(map) => {}
        "node" if ends => map.delete_node(&told.name, at),
        "node" => {
            let addresses = told.places.iter().filter_map(|(address, _)| *address).collect();
            let place = (optional(&told.zone, map), optional(&told.region, map));
            let name = map.texts.one(&told.name);
            map.apply_node(Node::new(name, place, addresses, since, By::Rows), at);
        }
        "service" if ends => map.delete_service(&format!("{}/{}", told.namespace, told.name), at),
        "service" => {
            let places = told.places.iter().filter_map(|(address, port)| {
                let (port, protocol) = (*port)?;
                Some(((*address)?, port, protocol))
            });
            let node_ports = told.places.iter().filter(|(address, _)| address.is_none());
            let service = Service {
                namespace: map.texts.one(&told.namespace),
                name: told.name.as_str().into(),
                full_name: format!("{}/{}", told.namespace, told.name).into(),
                places: places.collect(),
                node_ports: node_ports.filter_map(|(_, port)| *port).collect(),
                external_names: told.domains.iter().map(|name| name.as_str().into()).collect(),
                since,
            };
            map.apply_service(service, at);
        }
        uid => {
            let Some(uid) = Uid::parse(uid) else { return };
            if ends {
                return map.delete_pod(uid, at);
            }
            let containers = told.containers.split(' ').filter_map(|pair| {
                let (id, name) = pair.split_once('=')?;
                Some((ContainerId::parse(id)?, map.texts.one(name)))
            });
            let containers = containers.collect();
            let own = told.places.iter().filter(|(_, port)| port.is_none());
            let places = told.places.iter().filter_map(|(address, port)| {
                let (port, protocol) = (*port)?;
                Some(((*address)?, port, protocol))
            });
            let pod = Pod {
                uid,
                hash: None,
                namespace: map.texts.one(&told.namespace),
                name: told.name.as_str().into(),
                node: map.texts.one(&told.node),
                owner: Owner {
                    kind: map.texts.one(&told.workload_kind),
                    name: map.texts.one(&told.workload),
                    uid: None,
                    deployment: None,
                },
                labels: restored(&told.labels, &mut map.texts),
                seat: Arc::default(),
                spot: Arc::default(),
                addresses: own.filter_map(|(address, _)| *address).collect(),
                places: places.collect(),
                containers,
                since,
                until: None,
            };
            map.apply_pod(pod, at);
        }
    }
}

fn read(batch: &RecordBatch, told: &mut HashMap<(String, String), Told>) -> Result<(), ArrowError> {
    let column = |name: &str| -> Result<ArrayRef, ArrowError> {
        let column = batch.column_by_name(name).ok_or_else(|| {
            ArrowError::SchemaError(format!("table `names` has no column `{name}`"))
        })?;
        Ok(Arc::clone(column))
    };
    let labels = |name: &str| -> Result<StringArray, ArrowError> {
        let texts = arrow::compute::cast(&column(name)?, &DataType::Utf8)?;
        Ok(texts.as_string::<i32>().clone())
    };
    let times = |name: &str| -> Result<TimestampMicrosecondArray, ArrowError> {
        let times = arrow::compute::cast(&column(name)?, &time_type())?;
        Ok(times.as_primitive::<TimestampMicrosecondType>().clone())
    };
    let (time, start, until) = (times("time")?, times("start")?, times("until")?);
    let mut texts = HashMap::new();
    for name in LABELS {
        texts.insert(name, labels(name)?);
    }
    let ports = arrow::compute::cast(&column("port")?, &DataType::Int32)?;
    let ports = ports.as_primitive::<Int32Type>();
    for row in 0..batch.num_rows() {
        let text = |name: &str| {
            let column = texts.get(name).filter(|column| column.is_valid(row));
            column.map_or("", |column| column.value(row))
        };
        let id = match text("kind") {
            "pod" => text("uid").to_owned(),
            "node" => text("name").to_owned(),
            _ => format!("{}/{}", text("namespace"), text("name")),
        };
        let known = told.entry((text("kind").to_owned(), id)).or_default();
        if known.time != Some(time.value(row)) {
            let own = |name: &str| text(name).to_owned();
            *known = Told {
                time: Some(time.value(row)),
                start: start.value(row),
                until: until.is_valid(row).then(|| until.value(row)),
                namespace: own("namespace"),
                name: own("name"),
                workload: own("workload"),
                workload_kind: own("workload_kind"),
                node: own("node"),
                zone: own("zone"),
                region: own("region"),
                containers: own("containers"),
                labels: own("labels"),
                ..Told::default()
            };
        }
        // It may have changed and ended in one moment.
        if until.is_valid(row) {
            known.until = Some(until.value(row));
        }
        let ip = text("address").parse().ok().map(address);
        let port = ports.is_valid(row).then(|| u16::try_from(ports.value(row)).ok()).flatten();
        let port = port.zip(Protocol::parse(text("protocol")));
        if !text("domain").is_empty() {
            known.domains.push(text("domain").to_owned());
        } else if ip.is_some() || port.is_some() {
            known.places.push((ip, port));
        }
    }
    Ok(())
}

//! Which pod the local end of a row is, and what both ends are looked up with.
//!
//! The local end is the pod whose uid the agent read off the cgroup, else the pod that had the address. A name is the one
//! of the row's interval ([`crate::names`]); peers are in [`super::peers`].

use std::collections::HashMap;
use std::hash::Hash;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;
use foldhash::fast::RandomState;

use weir_wire::chosen::chosen;

use super::column::{Column, Number, Over, replace};
use super::everyone::{Everyone, Whose};
use super::intervals::Intervals;
use super::peers::Peers;
use super::questions::Questions;
use crate::names::{Lookup, Names, Spot};

/// Pods and addresses of a batch that ought to have a name and have none yet.
#[derive(Debug, Default)]
pub(crate) struct Unknown {
    /// Uids of pods.
    pub(crate) pods: Vec<String>,
    /// Addresses that may be somebody's.
    pub(crate) addresses: Vec<String>,
}

/// Asks once for each key.
pub(super) struct Once<K, V> {
    known: HashMap<K, V, RandomState>,
    last: Option<(K, V)>,
}

impl<K: Copy + Eq + Hash, V: Copy> Once<K, V> {
    pub(super) fn new() -> Self {
        Self { known: HashMap::default(), last: None }
    }

    pub(super) fn get(&mut self, key: K, ask: impl FnOnce() -> V) -> V {
        if let Some((last, value)) = self.last
            && last == key
        {
            return value;
        }
        let value = *self.known.entry(key).or_insert_with(ask);
        self.last = Some((key, value));
        value
    }
}

/// Ports of a batch's rows.
pub(super) struct Ports<'a>(Option<&'a arrow::array::Int32Array>);

impl<'a> Ports<'a> {
    pub(super) fn of(batch: &'a RecordBatch, name: &str) -> Self {
        Self(batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<Int32Type>()))
    }

    pub(super) fn get(&self, row: usize) -> u16 {
        let port = self.0.filter(|ports| ports.is_valid(row)).map(|ports| ports.value(row));
        port.and_then(|port| u16::try_from(port).ok()).unwrap_or(0)
    }
}

impl Names {
    /// Names both ends of each row.
    pub(super) fn enrich(
        &self,
        batch: RecordBatch,
        unknown: &mut Unknown,
    ) -> Result<RecordBatch, ArrowError> {
        let Some(lookup) = self.lookup() else { return Ok(batch) };
        let intervals = Intervals::of(&batch);
        let mut replaced = local(&batch, &lookup, &intervals, unknown)?;
        replaced
            .extend(Peers { batch: &batch, lookup: &lookup, intervals: &intervals }.name(unknown)?);
        drop(lookup);
        replace(batch, replaced)
    }
}

pub(super) type Columns = Vec<(&'static str, ArrayRef)>;

/// Uids of a column of pods.
pub(super) fn by_uid<'a>(
    column: Option<Column<'_>>,
    lookup: &'a Lookup<'_>,
    everyone: &mut Everyone<'a>,
    unknown: &mut Unknown,
) -> Vec<Whose> {
    let Some(column) = column else { return Vec::new() };
    let texts = || (0..column.texts()).map(|number| column.text(number));
    let found = lookup.pods(texts());
    let whose = texts().zip(found).map(|(text, who)| match (text, who) {
        (_, Some(who)) => everyone.add(who, false),
        (Some(text), None) if lookup.is_uid(text) => {
            unknown.pods.push(text.to_owned());
            0
        }
        _ => 0,
    });
    whose.collect()
}

/// Names of containers by the ids that agents tell.
pub(super) fn containers<'a>(
    batch: &'a RecordBatch,
    name: &'static str,
    lookup: &'a Lookup<'_>,
) -> Result<Option<(&'static str, ArrayRef)>, ArrowError> {
    let Some(ids) = Column::of(batch, name) else { return Ok(None) };
    let names = ids.each(|id| lookup.container(id));
    if names.iter().all(Option::is_none) {
        return Ok(None);
    }
    let mut over = Over::new(batch, name);
    let numbers: Vec<Number> = names.iter().map(|name| over.number(name.unwrap_or(""))).collect();
    let number = |row| ids.key(row).and_then(|key| numbers.get(key).copied());
    let column = over.write(batch.num_rows(), |row| number(row).unwrap_or(Number::NOTHING))?;
    Ok(Some((name, column)))
}

fn zone(spot: &Spot) -> &str {
    &spot.zone
}

fn region(spot: &Spot) -> &str {
    &spot.region
}

fn local<'a>(
    batch: &'a RecordBatch,
    lookup: &'a Lookup<'_>,
    intervals: &Intervals,
    unknown: &mut Unknown,
) -> Result<Columns, ArrowError> {
    let rows = batch.num_rows();
    let mut everyone = Everyone::new();
    let pods = Column::of(batch, "pod");
    let addresses = Column::of(batch, "address");
    let by_uid = by_uid(pods, lookup, &mut everyone, unknown);
    let named = Column::of(batch, "namespace").filter(|named| !named.is_empty());
    let is_named = |row: usize| named.is_some_and(|named| named.get(row).is_some());
    let mut whose: Vec<Whose> = (0..rows)
        .map(|row| {
            let uid = || pods.and_then(|pods| by_uid.get(pods.key(row)?).copied()).unwrap_or(0);
            if is_named(row) { 0 } else { uid() }
        })
        .collect();
    let questions = Questions::of(addresses, intervals, rows, |row| {
        whose.get(row) == Some(&0) && !is_named(row)
    });
    if !questions.all().is_empty() {
        let asked = questions.all().iter();
        let asked = asked.map(|(text, (start, end))| Some((lookup.address(text)?, *start, *end)));
        let found = lookup.pods_at(asked).into_iter();
        let found: Vec<Whose> =
            found.map(|who| who.map_or(0, |who| everyone.add(who, false))).collect();
        for (row, whose) in whose.iter_mut().enumerate() {
            if let Some(found) = questions.answer(row, &found) {
                *whose = *found;
            }
        }
    }
    let mut columns = Vec::new();
    if !everyone.is_nobody() {
        let mut write = |name, numbers: &dyn Fn(&mut Over<'a>) -> Vec<Number>| {
            let mut over = Over::new(batch, name);
            let numbers = numbers(&mut over);
            let number = |row: usize| {
                let whose = whose.get(row).map_or(0, |whose| *whose as usize);
                numbers.get(whose).copied().unwrap_or(Number::NOTHING)
            };
            columns.push((name, over.write(rows, number)?));
            Ok::<_, ArrowError>(())
        };
        write("namespace", &|over| everyone.seats(over, |seat| &seat.namespace))?;
        write("workload", &|over| everyone.seats(over, |seat| &seat.workload))?;
        write("workload_kind", &|over| everyone.seats(over, |seat| &seat.workload_kind))?;
        write("pod", &|over| everyone.pods(over))?;
        for (number, chosen) in chosen().iter().enumerate() {
            write(chosen.column, &|over| everyone.seats(over, |seat| seat.label(number)))?;
        }
    }
    columns.extend(containers(batch, "container", lookup)?);
    // Where the node is, its agent need not know.
    if let Some(nodes) = Column::of(batch, "node") {
        let places = nodes.each(|name| lookup.node(name));
        for (name, text) in [("zone", zone as fn(&Spot) -> &str), ("region", region)] {
            if places.iter().flatten().all(|who| text(who.spot).is_empty()) {
                continue;
            }
            let mut over = Over::new(batch, name);
            let texts = places.iter().map(|who| who.map_or("", |who| text(who.spot)));
            let numbers: Vec<Number> = texts.map(|text| over.number(text)).collect();
            let number = |row| nodes.key(row).and_then(|key| numbers.get(key).copied());
            let column = over.fill(rows, |row| number(row).unwrap_or(Number::NOTHING))?;
            columns.push((name, column));
        }
    }
    Ok(columns)
}

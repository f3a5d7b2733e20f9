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

use super::column::{Column, Number, Over, replace};
use super::intervals::{Interval, Intervals};
use super::peers::Peers;
use crate::names::{Lookup, Names, Who};

/// Pods and addresses of a batch that ought to have a name and have none yet.
#[derive(Debug, Default)]
pub(crate) struct Unknown {
    /// Uids of pods.
    pub(crate) pods: Vec<String>,
    /// Addresses that may be somebody's.
    pub(crate) addresses: Vec<String>,
}

/// Whose name a row gets; 0 stands for nobody's.
pub(super) type Whose = u32;

/// Those of a batch.
pub(super) struct Everyone<'a> {
    whose: Vec<Who<'a>>,
    /// Their names count only where the agent has none.
    weak: Vec<bool>,
}

impl<'a> Everyone<'a> {
    pub(super) fn new() -> Self {
        Self { whose: vec![Who::default()], weak: vec![false] }
    }

    pub(super) fn add(&mut self, who: Option<Who<'a>>, weak: bool) -> Whose {
        let Some(who) = who else { return 0 };
        self.whose.push(who);
        self.weak.push(weak);
        Whose::try_from(self.whose.len() - 1).unwrap_or(0)
    }

    pub(super) fn is_nobody(&self) -> bool {
        self.whose.len() == 1
    }

    pub(super) fn is_weak(&self, whose: Whose) -> bool {
        self.weak.get(whose as usize).is_some_and(|weak| *weak)
    }

    pub(super) fn numbers(
        &self,
        over: &mut Over<'a>,
        text: impl Fn(&Who<'a>) -> &'a str,
    ) -> Vec<Number> {
        self.whose.iter().map(|who| over.number(text(who))).collect()
    }
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

/// What each row's text of a column means in the row's interval: asked once for each text that a row has, and
/// interval.
pub(super) fn by_row<'a, T: Copy>(
    column: Option<Column<'a>>,
    intervals: &Intervals,
    rows: usize,
    mut of: impl FnMut(&'a str, Interval) -> Option<T>,
) -> Vec<Option<T>> {
    let Some(column) = column else { return Vec::new() };
    let mut once = Once::new();
    (0..rows)
        .map(|row| {
            let key = column.key(row)?;
            once.get((key, intervals.number(row)), || of(column.text(key)?, intervals.get(row)))
        })
        .collect()
}

/// Uids of a column of pods.
pub(super) fn by_uid<'a>(
    column: Option<Column<'_>>,
    lookup: &'a Lookup<'_>,
    everyone: &mut Everyone<'a>,
    unknown: &mut Unknown,
) -> Vec<Whose> {
    let Some(column) = column else { return Vec::new() };
    (0..column.texts())
        .map(|number| {
            let Some(text) = column.text(number) else { return 0 };
            let who = lookup.pod(text);
            if who.is_none() && lookup.is_uid(text) {
                unknown.pods.push(text.to_owned());
            }
            everyone.add(who, false)
        })
        .collect()
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
    let mut rest = whose.iter().enumerate().filter(|(_, whose)| **whose == 0);
    if rest.any(|(row, _)| !is_named(row)) {
        let by_address = by_row(addresses, intervals, rows, |text, (start, end)| {
            Some(everyone.add(Some(lookup.pod_at(text, start, end)?), false))
        });
        for (row, whose) in whose.iter_mut().enumerate() {
            if *whose == 0 && !is_named(row) {
                *whose = by_address.get(row).copied().flatten().unwrap_or(0);
            }
        }
    }
    let mut columns = Vec::new();
    if !everyone.is_nobody() {
        let mut write = |name, text: fn(&Who<'a>) -> &'a str| -> Result<(), ArrowError> {
            let mut over = Over::new(batch, name);
            let numbers = everyone.numbers(&mut over, text);
            let number = |row: usize| {
                let whose = whose.get(row).map_or(0, |whose| *whose as usize);
                numbers.get(whose).copied().unwrap_or(Number::NOTHING)
            };
            columns.push((name, over.write(rows, number)?));
            Ok(())
        };
        write("namespace", |who| who.namespace)?;
        write("workload", |who| who.workload)?;
        write("workload_kind", |who| who.workload_kind)?;
        write("pod", |who| who.pod)?;
    }
    columns.extend(containers(batch, "container", lookup)?);
    // Where the node is, its agent need not know.
    if let Some(nodes) = Column::of(batch, "node") {
        let places = nodes.each(|name| lookup.node(name));
        for (name, text) in
            [("zone", (|who| who.zone) as fn(&Who<'a>) -> &'a str), ("region", |who| who.region)]
        {
            if places.iter().flatten().all(|who| text(who).is_empty()) {
                continue;
            }
            let mut over = Over::new(batch, name);
            let texts = places.iter().map(|who| who.as_ref().map_or("", text));
            let numbers: Vec<Number> = texts.map(|text| over.number(text)).collect();
            let number = |row| nodes.key(row).and_then(|key| numbers.get(key).copied());
            let column = over.fill(rows, |row| number(row).unwrap_or(Number::NOTHING))?;
            columns.push((name, column));
        }
    }
    Ok(columns)
}

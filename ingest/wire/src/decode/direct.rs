//! The usual batch of flows, read in one pass.
//!
//! What agents send is one record batch whose columns are some of [`FLOW_COLUMNS`], of just their
//! types and in their order, with buffers that are not compressed one by one. Such a stream is walked
//! once: the columns of the table are slices of it, checked as they are made, and what it leaves out
//! is null. Arrow's own reader takes ten times as long for a batch of a hundred rows, most of it for
//! the schema and for arrays that are made several times over.
//!
//! Whatever is unusual or wrong gives `None`, and the general reader decides, which has the words for
//! what is wrong. So every bound is held here too, and nothing is accepted that the general reader
//! would refuse.

mod columns;

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_buffer::Buffer;
use arrow_ipc::{Endianness, Message as Ipc, MessageHeader, Schema, Type, root_as_message};
use arrow_schema::{DataType, TimeUnit};

use self::columns::Body;
use super::{Limits, Message, next_frame};
use crate::header::Header;
use crate::schema::{Column, FLOW_COLUMNS, FLOWS};

/// Reads a stream of the usual shape, whose columns are then those of [`FLOWS`].
pub(super) fn read(stream: &Buffer, limits: &Limits) -> Option<Message> {
    let mut walk = Walk { stream, at: 0, bytes: 0, limits };
    let (message, _) = walk.next()?;
    let schema = message.header_as_schema()?;
    let mut header = HashMap::new();
    for entry in schema.custom_metadata()?.iter() {
        header.insert(entry.key()?.to_owned(), entry.value()?.to_owned());
    }
    let header = Header::from_metadata(&header).ok()?;
    let sent = sent(&schema)?;
    let mut dictionaries = Dictionaries::of(&sent);
    loop {
        let (message, body) = walk.next()?;
        match message.header_type() {
            MessageHeader::DictionaryBatch => {
                let dictionary = message.header_as_dictionary_batch()?;
                if dictionary.isDelta() {
                    return None;
                }
                let batch = dictionary.data()?;
                let rows = walk.count(&batch, &body)?;
                let values = body.columns(&batch)?.texts(rows)?;
                dictionaries.set(dictionary.id(), values)?;
            }
            MessageHeader::RecordBatch => {
                let batch = message.header_as_record_batch()?;
                let rows = walk.count(&batch, &body)?;
                let columns = columns(&sent, &dictionaries, body.columns(&batch)?, rows)?;
                if !walk.is_at_end() {
                    return None;
                }
                let options = RecordBatchOptions::new().with_row_count(Some(rows));
                // It refuses nulls where the table has none.
                let batch =
                    RecordBatch::try_new_with_options(FLOWS.clone(), columns, &options).ok()?;
                return Some(Message { header, schema: FLOWS.clone(), batches: vec![batch] });
            }
            _ => return None,
        }
    }
}

/// The messages of a stream, and what they come to.
struct Walk<'a> {
    stream: &'a Buffer,
    at: usize,
    /// Bytes of all buffers so far.
    bytes: u64,
    limits: &'a Limits,
}

impl<'a> Walk<'a> {
    /// The next message and its body.
    fn next(&mut self) -> Option<(Ipc<'a>, Body<'a>)> {
        let frame = next_frame(self.stream, self.at).ok()??;
        let message = root_as_message(frame.metadata).ok()?;
        let length = usize::try_from(message.bodyLength()).ok()?;
        let end = frame.body.checked_add(length)?;
        let body = Body::new(self.stream, frame.body..end)?;
        self.at = end;
        Some((message, body))
    }

    /// Whether only the end-of-stream marker follows.
    fn is_at_end(&self) -> bool {
        matches!(next_frame(self.stream, self.at), Ok(None))
    }

    /// Holds a batch to the limits; returns its rows.
    fn count(&mut self, batch: &arrow_ipc::RecordBatch<'_>, body: &Body<'_>) -> Option<usize> {
        let rows = u64::try_from(batch.length()).ok()?;
        self.bytes = self.bytes.checked_add(body.claimed(batch)?)?;
        let within = rows <= self.limits.rows && self.bytes <= self.limits.decompressed_bytes;
        // A batch without rows is as rare as it is cheap.
        if within && rows > 0 { usize::try_from(rows).ok() } else { None }
    }
}

/// A column that the stream has.
struct Sent {
    /// Its place in [`FLOW_COLUMNS`].
    place: usize,
    /// Its dictionary's number in the stream; labels have one.
    dictionary: Option<i64>,
    /// Whether the stream says that it may have nulls.
    nullable: bool,
}

/// The columns of a stream, if they are what the table wants.
fn sent(schema: &Schema<'_>) -> Option<Vec<Sent>> {
    if schema.endianness() != Endianness::Little {
        return None;
    }
    let mut sent = Vec::with_capacity(FLOW_COLUMNS.len());
    let mut rest = FLOW_COLUMNS.iter().enumerate();
    for field in schema.fields()?.iter() {
        let name = field.name()?;
        let (place, column) = loop {
            let (place, column) = rest.next()?;
            if column.name == name {
                break (place, column);
            }
            if column.required {
                return None;
            }
        };
        if !is_of_type(&field, column) {
            return None;
        }
        let dictionary = field.dictionary().map(|d| d.id());
        sent.push(Sent { place, dictionary, nullable: field.nullable() });
    }
    if rest.any(|(_, column)| column.required) { None } else { Some(sent) }
}

fn is_of_type(field: &arrow_ipc::Field<'_>, column: &Column) -> bool {
    let is_int = |field: &arrow_ipc::Field<'_>, width| {
        field.type_as_int().is_some_and(|int| int.is_signed() && int.bitWidth() == width)
    };
    let children = field.children();
    let has_children = children.is_some_and(|c| !c.is_empty());
    match (&column.data_type, field.dictionary()) {
        (DataType::Dictionary(..), Some(dictionary)) => {
            // Left out it stands for 32 bits too, but the general reader cannot read that.
            let key = dictionary.indexType();
            field.type_type() == Type::Utf8
                && !has_children
                && key.is_some_and(|key| key.is_signed() && key.bitWidth() == 32)
        }
        (DataType::Int64, None) => is_int(field, 64) && !has_children,
        (DataType::Int32, None) => is_int(field, 32) && !has_children,
        (DataType::Timestamp(TimeUnit::Microsecond, _), None) => {
            field.type_as_timestamp().is_some_and(|time| {
                time.unit() == arrow_ipc::TimeUnit::MICROSECOND && time.timezone() == Some("UTC")
            }) && !has_children
        }
        (DataType::List(_), None) => {
            let Some(children) = children.filter(|c| c.len() == 1) else { return false };
            let item = children.get(0);
            field.type_type() == Type::List
                && is_int(&item, 64)
                && item.dictionary().is_none()
                && item.children().is_none_or(|c| c.is_empty())
        }
        _ => false,
    }
}

/// The dictionaries that columns refer to, by their numbers.
struct Dictionaries(Vec<(i64, Option<ArrayRef>)>);

impl Dictionaries {
    fn of(sent: &[Sent]) -> Self {
        let mut all: Vec<_> = sent.iter().filter_map(|s| Some((s.dictionary?, None))).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all.dedup_by_key(|(id, _)| *id);
        Self(all)
    }

    fn find(&self, id: i64) -> Option<usize> {
        self.0.binary_search_by_key(&id, |(id, _)| *id).ok()
    }

    /// Notes the values of one that is referred to and has none yet.
    fn set(&mut self, id: i64, values: ArrayRef) -> Option<()> {
        let at = self.find(id)?;
        let (_, slot) = self.0.get_mut(at)?;
        if slot.is_some() {
            return None;
        }
        *slot = Some(values);
        Some(())
    }

    fn get(&self, id: i64) -> Option<&ArrayRef> {
        self.0.get(self.find(id)?)?.1.as_ref()
    }
}

/// The columns of the table: what was sent, and nulls.
fn columns(
    sent: &[Sent],
    dictionaries: &Dictionaries,
    mut body: columns::Columns<'_>,
    rows: usize,
) -> Option<Vec<ArrayRef>> {
    let mut columns = Vec::with_capacity(FLOW_COLUMNS.len());
    let mut sent = sent.iter().peekable();
    for (place, column) in FLOW_COLUMNS.iter().enumerate() {
        let Some(sent) = sent.next_if(|sent| sent.place == place) else {
            columns.push(columns::nulls(place, &column.data_type, rows));
            continue;
        };
        let array = match &column.data_type {
            DataType::Dictionary(..) => {
                let values = dictionaries.get(sent.dictionary?)?;
                Arc::new(body.labels(values, rows)?) as ArrayRef
            }
            DataType::Int64 => Arc::new(body.numbers::<arrow_array::types::Int64Type>(rows)?),
            DataType::Int32 => Arc::new(body.numbers::<arrow_array::types::Int32Type>(rows)?),
            DataType::Timestamp(..) => Arc::new(
                body.numbers::<arrow_array::types::TimestampMicrosecondType>(rows)?
                    .with_data_type(column.data_type.clone()),
            ),
            DataType::List(item) => Arc::new(body.lists(item, rows)?),
            _ => return None,
        };
        if array.null_count() > 0 && !sent.nullable {
            return None;
        }
        columns.push(array);
    }
    body.is_read().then_some(columns)
}

#[cfg(test)]
mod tests;

//! Labels of peers by their addresses: looked up once for each distinct address of a batch, not for each row.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int32Array, RecordBatch, StringArray,
};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;

use super::Places;

/// What the agent calls a peer that it does not know.
const EXTERNAL: &str = "external";
const CLOUD: &str = "cloud";

/// Writes a label column: texts by number, each once.
#[derive(Default)]
struct Labels<'a> {
    numbers: HashMap<&'a str, i32>,
    texts: Vec<&'a str>,
    keys: Vec<Option<i32>>,
}

impl<'a> Labels<'a> {
    fn number(&mut self, text: &'a str) -> i32 {
        *self.numbers.entry(text).or_insert_with(|| {
            self.texts.push(text);
            i32::try_from(self.texts.len() - 1).unwrap_or(i32::MAX)
        })
    }

    fn finish(self) -> Result<ArrayRef, ArrowError> {
        let texts = Arc::new(StringArray::from(self.texts));
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(Int32Array::from(self.keys), texts)?))
    }
}

/// A label column as it came.
struct Column<'a> {
    keys: &'a Int32Array,
    texts: &'a StringArray,
}

impl<'a> Column<'a> {
    fn of(batch: &'a RecordBatch, name: &str) -> Option<Self> {
        let column = batch.column_by_name(name)?.as_dictionary_opt::<Int32Type>()?;
        Some(Self { keys: column.keys(), texts: column.values().as_string_opt::<i32>()? })
    }

    /// Number of a row's text.
    fn key(&self, row: usize) -> Option<usize> {
        if self.keys.is_null(row) { None } else { usize::try_from(self.keys.value(row)).ok() }
    }

    fn text(&self, number: usize) -> Option<&'a str> {
        self.texts.is_valid(number).then(|| self.texts.value(number))
    }

    /// A row's text; nothing for one that is empty.
    fn get(&self, row: usize) -> Option<&'a str> {
        self.text(self.key(row)?).filter(|text| !text.is_empty())
    }
}

/// What is known of one address.
#[derive(Clone, Copy, Default)]
struct Known<'a> {
    cloud: Option<(&'a str, &'a str)>,
    network: Option<&'a str>,
}

impl Places {
    /// Fills in what the sender of a batch, which has the columns of `flows`, has left out.
    ///
    /// # Errors
    /// When Arrow refuses the columns: a defect of this crate.
    pub(crate) fn enrich(&self, batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
        let Some(addresses) = Column::of(&batch, "peer_address") else { return Ok(batch) };
        let known: Vec<Known<'_>> = (0..addresses.texts.len())
            .map(|number| match addresses.text(number).map(str::parse) {
                Some(Ok(address)) => {
                    Known { cloud: self.cloud(address), network: self.network(address) }
                }
                _ => Known::default(),
            })
            .collect();
        let at = |row: usize| addresses.key(row).and_then(|number| known.get(number).copied());
        let mut replaced = Vec::new();
        if known.iter().any(|known| known.cloud.is_some()) {
            replaced.extend(clouds(&batch, at)?);
        }
        if known.iter().any(|known| known.network.is_some()) {
            let network = |row| at(row).and_then(|known| known.network);
            replaced.push(("peer_network", filled(&batch, "peer_network", network)?));
        }
        if replaced.is_empty() {
            return Ok(batch);
        }
        let (schema, mut columns, _) = batch.into_parts();
        for (name, column) in replaced {
            if let Some(place) = columns.get_mut(schema.index_of(name)?) {
                *place = column;
            }
        }
        RecordBatch::try_new(schema, columns)
    }
}

/// Scope, service and region of the rows whose peer is external and in a cloud.
fn clouds<'a>(
    batch: &'a RecordBatch,
    at: impl Fn(usize) -> Option<Known<'a>>,
) -> Result<[(&'static str, ArrayRef); 3], ArrowError> {
    let scope = Column::of(batch, "peer_scope");
    let in_cloud = |row: usize| {
        let scope = scope.as_ref().and_then(|scope| scope.get(row));
        let cloud = at(row)?.cloud;
        if scope.is_none_or(|scope| scope == EXTERNAL || scope == CLOUD) { cloud } else { None }
    };
    let mut scopes = Labels::default();
    for row in 0..batch.num_rows() {
        let text = match in_cloud(row) {
            Some(_) => Some(CLOUD),
            None => scope.as_ref().and_then(|scope| scope.get(row)),
        };
        let number = text.map(|text| scopes.number(text));
        scopes.keys.push(number);
    }
    let service = |row| in_cloud(row).map(|(service, _)| service);
    let region = |row| in_cloud(row).map(|(_, region)| region);
    Ok([
        ("peer_scope", scopes.finish()?),
        ("peer_cloud_service", filled(batch, "peer_cloud_service", service)?),
        ("peer_region", filled(batch, "peer_region", region)?),
    ])
}

/// A column with `text` where it has none.
fn filled<'a>(
    batch: &'a RecordBatch,
    name: &str,
    text: impl Fn(usize) -> Option<&'a str>,
) -> Result<ArrayRef, ArrowError> {
    let before = Column::of(batch, name);
    let mut labels = Labels::default();
    for row in 0..batch.num_rows() {
        let known = before.as_ref().and_then(|column| column.get(row));
        let known = known.or_else(|| text(row)).filter(|text| !text.is_empty());
        let number = known.map(|text| labels.number(text));
        labels.keys.push(number);
    }
    labels.finish()
}

#[cfg(test)]
mod tests {
    use arrow::array::TimestampMicrosecondArray;
    use arrow::datatypes::{DataType, Field, Schema};
    use weir_storage::conform;

    use super::*;
    use crate::tables::flows_table;

    fn batch(rows: &[(&str, &str, &str, &str)]) -> RecordBatch {
        let count = rows.len();
        let label = |of: &dyn Fn(usize) -> String| -> ArrayRef {
            let texts = (0..count).map(|row| Some(of(row)).filter(|text| !text.is_empty()));
            Arc::new(texts.collect::<StringArray>())
        };
        let time: ArrayRef =
            Arc::new(TimestampMicrosecondArray::from(vec![1; count]).with_timezone("UTC"));
        let columns = vec![
            ("start", time.clone()),
            ("end", time),
            ("node", label(&|_| "n".into())),
            ("workload", label(&|_| "w".into())),
            ("protocol", label(&|_| "tcp".into())),
            ("role", label(&|_| "client".into())),
            ("peer_address", label(&|row| rows[row].0.into())),
            ("peer_scope", label(&|row| rows[row].1.into())),
            ("peer_cloud_service", label(&|row| rows[row].2.into())),
            ("peer_network", label(&|row| rows[row].3.into())),
        ];
        let fields: Vec<Field> = columns
            .iter()
            .map(|(name, column)| {
                let nullable = !matches!(column.data_type(), DataType::Timestamp(..));
                Field::new(*name, column.data_type().clone(), nullable)
            })
            .collect();
        let columns = columns.into_iter().map(|(_, column)| column).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        conform(&flows_table(), &batch).unwrap()
    }

    fn labels(batch: &RecordBatch, row: usize) -> [Option<&str>; 4] {
        ["peer_scope", "peer_cloud_service", "peer_region", "peer_network"]
            .map(|name| Column::of(batch, name).and_then(|column| column.get(row)))
    }

    #[test]
    fn external_peers_get_their_places_and_nobody_else_does() {
        let batch = batch(&[
            ("3.5.140.1", "external", "", ""),
            ("203.0.113.1", "external", "", ""),
            ("10.1.2.3", "external", "", ""),
            ("3.5.140.1", "cluster", "", ""),
            ("3.5.140.1", "external", "mine", "own"),
            ("", "external", "", ""),
            ("other", "", "", ""),
        ]);
        let enriched = Places::shipped().enrich(batch).unwrap();
        assert_eq!(enriched.schema(), flows_table().schema);
        let region = Some("ap-northeast-2");
        let expected = [
            [Some("cloud"), Some("S3"), region, None],
            [Some("external"), None, None, None],
            [Some("external"), None, None, Some("private")],
            [Some("cluster"), None, None, None],
            [Some("cloud"), Some("mine"), region, Some("own")],
            [Some("external"), None, None, None],
            [None, None, None, None],
        ];
        for (row, expected) in expected.into_iter().enumerate() {
            assert_eq!(labels(&enriched, row), expected, "{row}");
        }
    }
}

//! Peers in clouds, named networks, autonomous systems and countries.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;

use super::column::{Column, Number, Over, replace};
use crate::places::{Origin, Places};

/// What the agent calls a peer that it does not know.
pub(super) const EXTERNAL: &str = "external";
pub(super) const CLOUD: &str = "cloud";

/// What is known of one address.
#[derive(Clone, Copy, Default)]
struct Known<'a> {
    cloud: Option<(&'a str, &'a str)>,
    network: Option<&'a str>,
    origin: Origin<'a>,
}

impl<'a> Known<'a> {
    fn country(&self) -> &'a str {
        self.origin.country.unwrap_or("")
    }

    fn network_name(&self) -> &'a str {
        self.network.unwrap_or("")
    }
}

impl Places {
    /// Fills in what is known of peers' addresses.
    pub(super) fn enrich(&self, batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
        let Some(addresses) = Column::of(&batch, "peer_address") else { return Ok(batch) };
        let known = addresses.each(|text| {
            let address = text.parse().ok()?;
            Some(Known {
                cloud: self.cloud(address),
                network: self.network(address),
                origin: self.origin(address),
            })
        });
        let mut replaced = Vec::new();
        if known.iter().flatten().any(|known| known.cloud.is_some()) {
            replaced.extend(clouds(&batch, addresses, &known)?);
        }
        if known.iter().flatten().any(|known| known.network.is_some()) {
            let name = Known::network_name;
            let column = filled(&batch, "peer_network", addresses, &known, |_| true, name)?;
            replaced.push(("peer_network", column));
        }
        if known.iter().flatten().any(|known| known.origin.country.is_some()) {
            let country = Known::country;
            let column = filled(&batch, "peer_country", addresses, &known, |_| true, country)?;
            replaced.push(("peer_country", column));
        }
        if known.iter().flatten().any(|known| known.origin.asn.is_some()) {
            let asn = |row| addresses.key(row).and_then(|key| (*known.get(key)?)?.origin.asn);
            let before = batch.column_by_name("peer_asn");
            let before = before.and_then(|c| c.as_primitive_opt::<Int64Type>());
            let said = |row| before.filter(|c| c.is_valid(row)).map(|c| c.value(row));
            let rows = 0..batch.num_rows();
            let numbers: Int64Array =
                rows.map(|row| said(row).or_else(|| asn(row).map(i64::from))).collect();
            replaced.push(("peer_asn", Arc::new(numbers)));
        }
        replace(batch, replaced)
    }
}

/// A column with what is known of the addresses of the rows that are `wanted`, where there was nothing.
fn filled<'a>(
    batch: &'a RecordBatch,
    name: &str,
    addresses: Column<'_>,
    known: &[Option<Known<'a>>],
    wanted: impl Fn(usize) -> bool,
    text: impl Fn(&Known<'a>) -> &'a str,
) -> Result<ArrayRef, ArrowError> {
    let mut over = Over::new(batch, name);
    let numbers = known.iter().map(|known| over.number(known.as_ref().map_or("", &text)));
    let numbers: Vec<Number> = numbers.collect();
    over.fill(batch.num_rows(), |row| {
        let number = addresses.key(row).and_then(|key| numbers.get(key).copied());
        number.filter(|_| wanted(row)).unwrap_or(Number::NOTHING)
    })
}

/// Scope, service and region of the rows whose peer is external and in a cloud.
fn clouds<'a>(
    batch: &'a RecordBatch,
    addresses: Column<'_>,
    known: &[Option<Known<'a>>],
) -> Result<[(&'static str, ArrayRef); 3], ArrowError> {
    let scope = Column::of(batch, "peer_scope");
    let outside = scope.map(|scope| scope.each(|text| Some(text == EXTERNAL || text == CLOUD)));
    let wanted = |row: usize| {
        let key = scope.and_then(|scope| scope.key(row));
        let outside = key.zip(outside.as_ref()).and_then(|(key, outside)| *outside.get(key)?);
        outside.unwrap_or(true)
    };
    let service = |known: &Known<'a>| known.cloud.map_or("", |(service, _)| service);
    let region = |known: &Known<'a>| known.cloud.map_or("", |(_, region)| region);
    let mut scopes = Over::new(batch, "peer_scope");
    let cloud = scopes.number(CLOUD);
    let in_cloud = known.iter().map(|known| known.is_some_and(|known| known.cloud.is_some()));
    let in_cloud: Vec<bool> = in_cloud.collect();
    let scopes = scopes.write(batch.num_rows(), |row| {
        let is = addresses.key(row).and_then(|key| in_cloud.get(key)).is_some_and(|is| *is);
        if is && wanted(row) { cloud } else { Number::NOTHING }
    })?;
    Ok([
        ("peer_scope", scopes),
        (
            "peer_cloud_service",
            filled(batch, "peer_cloud_service", addresses, known, wanted, service)?,
        ),
        ("peer_region", filled(batch, "peer_region", addresses, known, wanted, region)?),
    ])
}

#[cfg(test)]
mod tests {
    use arrow::array::{StringArray, TimestampMicrosecondArray};
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

    #[test]
    fn databases_tell_of_autonomous_systems_and_countries() {
        let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/asn-country.mmdb");
        let settings = crate::places::PlaceSettings {
            databases: vec![fixture.into()],
            ..crate::places::PlaceSettings::default()
        };
        let places = crate::places::LivePlaces::open(&settings).unwrap().now();
        let batch = batch(&[
            ("203.0.113.1", "external", "", ""),
            ("198.51.100.1", "external", "", ""),
            ("10.0.0.1", "external", "", ""),
        ]);
        let enriched = places.enrich(batch).unwrap();
        assert_eq!(enriched.schema(), flows_table().schema);
        let numbers = enriched.column_by_name("peer_asn").unwrap().as_primitive::<Int64Type>();
        assert_eq!(numbers.iter().collect::<Vec<_>>(), [Some(64500), Some(64501), None]);
        let countries = Column::of(&enriched, "peer_country").unwrap();
        assert_eq!(
            (0..3).map(|row| countries.get(row)).collect::<Vec<_>>(),
            [Some("DE"), None, None]
        );
    }
}

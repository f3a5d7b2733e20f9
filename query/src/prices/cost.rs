//! `flow_cost(crossing, peer_cloud_service, tx_bytes, rx_bytes)`: what a row's traffic costs, null if no price speaks
//! of it.
//!
//! For the metric `flow_cost_total` there is the same in billionths, as whole numbers: sums of them are exact and the
//! same from every tier. A billionth for a byte is one for 10^9 bytes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Builder, Int64Builder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::Prices;

/// Name of the function of SQL.
const NAME: &str = "flow_cost";
/// Name of the one in billionths.
pub(crate) const COST: &str = "flow_cost_billionths";
const BILLION: f64 = 1e9;

/// The function of SQL.
pub(crate) fn cost(prices: &Arc<Prices>) -> ScalarUDF {
    udf(prices, false)
}

/// The same in billionths.
pub(crate) fn cost_in_billionths(prices: &Arc<Prices>) -> ScalarUDF {
    udf(prices, true)
}

fn udf(prices: &Arc<Prices>, billionths: bool) -> ScalarUDF {
    let arguments = vec![DataType::Utf8View, DataType::Utf8View, DataType::Int64, DataType::Int64];
    let signature = Signature::exact(arguments, Volatility::Immutable);
    ScalarUDF::from(Cost { signature, prices: Shared(Arc::clone(prices)), billionths })
}

/// Crossing and service, and the price for them.
type Asked<'a> = (&'a str, &'a str, Option<(f64, f64)>);

/// Prices that are the same if they are the same copy.
#[derive(Debug, Clone)]
struct Shared(Arc<Prices>);

impl PartialEq for Shared {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Shared {}

impl std::hash::Hash for Shared {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Cost {
    signature: Signature,
    prices: Shared,
    billionths: bool,
}

impl ScalarUDFImpl for Cost {
    fn name(&self) -> &str {
        if self.billionths { COST } else { NAME }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(if self.billionths { DataType::Int64 } else { DataType::Float64 })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let types = [DataType::Utf8View, DataType::Utf8View, DataType::Int64, DataType::Int64];
        let mut arrays = Vec::with_capacity(types.len());
        for (arg, data_type) in args.args.into_iter().zip(types) {
            arrays.push(cast(&arg.into_array(rows)?, &data_type)?);
        }
        let [crossings, services, sent, received] = arrays.as_slice() else {
            return exec_err!("{NAME} takes crossing, service, bytes sent and bytes received");
        };
        let (crossings, services) = (crossings.as_string_view(), services.as_string_view());
        let bytes = |column: &ArrayRef, row: usize| {
            let column = column.as_primitive::<Int64Type>();
            if column.is_null(row) { 0.0 } else { column.value(row) as f64 }
        };
        let Shared(prices) = &self.prices;
        // Rows of one kind lie side by side.
        let mut last: Option<Asked<'_>> = None;
        let mut costs = Vec::with_capacity(rows);
        for row in 0..rows {
            let text = |column: &'_ arrow::array::StringViewArray| column.is_valid(row);
            let crossing = if text(crossings) { crossings.value(row) } else { "" };
            let service = if text(services) { services.value(row) } else { "" };
            let price = match last {
                _ if prices.is_empty() => None,
                Some((c, s, price)) if (c, s) == (crossing, service) => price,
                _ => prices.of(crossing, service),
            };
            last = Some((crossing, service, price));
            costs.push(
                price.map(|(out, back)| out * bytes(sent, row) + back * bytes(received, row)),
            );
        }
        Ok(ColumnarValue::Array(if self.billionths {
            let mut values = Int64Builder::with_capacity(rows);
            costs.into_iter().for_each(|cost| {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "it is rounded, and bounded by i64"
                )]
                values.append_option(cost.map(|cost| cost.round() as i64));
            });
            Arc::new(values.finish())
        } else {
            let mut values = Float64Builder::with_capacity(rows);
            costs
                .into_iter()
                .for_each(|cost| values.append_option(cost.map(|cost| cost / BILLION)));
            Arc::new(values.finish())
        }))
    }
}

//! The function `label(labels, name)` of SQL: the value of one label, null if the series has none.

use std::sync::Arc;

use arrow::array::{Array, AsArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use weir_storage::series::labels::text_labels;

/// Its name.
pub(super) const LABEL: &str = "label";

/// The function.
pub(crate) fn label() -> ScalarUDF {
    let text = || vec![DataType::Utf8View, DataType::Utf8View];
    ScalarUDF::from(Label { signature: Signature::exact(text(), Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Label {
    signature: Signature,
}

impl ScalarUDFImpl for Label {
    fn name(&self) -> &str {
        LABEL
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let mut arrays = Vec::with_capacity(2);
        for arg in args.args {
            arrays.push(cast(&arg.into_array(rows)?, &DataType::Utf8View)?);
        }
        let [texts, names] = arrays.as_slice() else {
            return exec_err!("{LABEL} takes labels and a name");
        };
        let (texts, names) = (texts.as_string_view(), names.as_string_view());
        let mut values = StringViewBuilder::with_capacity(rows);
        // Points of a series lie side by side.
        let mut last: Option<(&str, &str, Option<String>)> = None;
        for row in 0..texts.len().min(names.len()) {
            if texts.is_null(row) || names.is_null(row) {
                values.append_null();
                continue;
            }
            let (text, name) = (texts.value(row), names.value(row));
            let value = match &last {
                Some((t, n, value)) if (*t, *n) == (text, name) => value.clone(),
                _ => {
                    let mut labels = text_labels(text).filter_map(std::result::Result::ok);
                    labels.find(|(n, _)| n == name).map(|(_, value)| value.into_owned())
                }
            };
            values.append_option(value.as_deref());
            last = Some((text, name, value));
        }
        Ok(ColumnarValue::Array(Arc::new(values.finish())))
    }
}

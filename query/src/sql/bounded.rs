//! Functions of SQL whose results may not grow beyond a bound.
//!
//! What an expression makes of a batch of rows is in no memory budget. A function such as `concat`
//! makes twice of what it is given, and a short statement can nest it forty times. So each function
//! that makes text or lists, the operator `||` among them, is asked before it runs how large its
//! arguments are: what one value can become ([`MAX_VALUE`]), and what a batch can ([`MAX_BATCH`]). No
//! function that is left makes more than some tens of bytes of each byte that it is given.
//!
//! The functions are put behind their guard after a statement was planned, before it is optimized, so
//! it counts for constants too: they become columns later and are counted for a full batch.

use std::sync::Arc;

use arrow::array::{Array, AsArray, GenericByteArray, OffsetSizeTrait};
use arrow::datatypes::{ByteArrayType, DataType, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, plan_err, resources_err};
use datafusion::logical_expr::expr::{ScalarFunction, WindowFunctionDefinition};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, Operator, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// Most bytes of all arguments of a function in one row: labels have 1 KiB at most.
const MAX_VALUE: usize = 64 << 10;
/// Most bytes of all arguments of a function in one batch of rows.
const MAX_BATCH: usize = 32 << 20;
/// Most bytes of one operand of `||` in one row; a statement has some eighty of them at most
/// ([`super::measure`]).
const MAX_OPERAND: usize = 4 << 10;
/// Most bytes of one operand of `||` in one batch of rows.
const MAX_OPERAND_BATCH: usize = 4 << 20;
/// Rows of a full batch.
const BATCH_ROWS: usize = 8192;
/// Functions whose work is the product of the sizes of two arguments: without a bound one call could keep its
/// thread for hours, and a call cannot be ended.
const QUADRATIC: [&str; 3] = ["array_has_all", "array_has_any", "levenshtein"];
/// Most bytes of all arguments of such a function in one row, and in one batch of rows.
const MAX_QUADRATIC: Size = Size { widest: 4 << 10, total: 1 << 20 };
/// Functions that make no more than they are given, and must be free to work on the long lists that
/// aggregates make; and those that never run, but become other expressions.
const EXEMPT: [&str; 28] = [
    "array_any_value",
    "array_compact",
    "array_distinct",
    "array_element",
    "array_except",
    "array_first",
    "array_intersect",
    "array_max",
    "array_min",
    "array_pop_back",
    "array_pop_front",
    "array_remove",
    "array_remove_all",
    "array_remove_n",
    "array_reverse",
    "array_slice",
    "array_sort",
    "cast_to_type",
    "coalesce",
    "flatten",
    "get_field",
    "greatest",
    "label",
    "least",
    "nullif",
    "nvl",
    "nvl2",
    "try_cast_to_type",
];
/// Aggregates whose state is all that they were given: over a window, one for each row.
const COLLECTING: [&str; 2] = ["array_agg", "string_agg"];

/// Puts functions behind their guard.
#[derive(Debug)]
pub(crate) struct Bounded;

impl FunctionRewrite for Bounded {
    fn name(&self) -> &'static str {
        "bounded_functions"
    }

    fn rewrite(
        &self,
        expr: Expr,
        schema: &DFSchema,
        _config: &ConfigOptions,
    ) -> Result<Transformed<Expr>> {
        match expr {
            Expr::ScalarFunction(call) if !EXEMPT.contains(&call.func.name()) => {
                let is_slow = QUADRATIC.contains(&call.func.name());
                let expr = Expr::ScalarFunction(call);
                // What has no type yet may become text.
                if !is_slow && expr.get_type(schema).is_ok_and(|t| !varies(&t)) {
                    return Ok(Transformed::no(expr));
                }
                let Expr::ScalarFunction(ScalarFunction { func, args }) = expr else {
                    return Ok(Transformed::no(expr));
                };
                let guarded = ScalarUDF::new_from_impl(Guarded(func));
                Ok(Transformed::yes(guarded.call(args)))
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::StringConcat, right }) => {
                // A chain gets no deeper by it: a plan can be walked as deep as the statement is.
                let guarded = |side: Box<Expr>| match *side {
                    Expr::BinaryExpr(BinaryExpr { op: Operator::StringConcat, .. }) => side,
                    operand => {
                        let guard = ScalarUDF::new_from_impl(Within::default());
                        Box::new(guard.call(vec![operand]))
                    }
                };
                Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr {
                    left: guarded(left),
                    op: Operator::StringConcat,
                    right: guarded(right),
                })))
            }
            Expr::WindowFunction(call) => {
                if let WindowFunctionDefinition::AggregateUDF(aggregate) = &call.fun
                    && COLLECTING.contains(&aggregate.name())
                {
                    return plan_err!(
                        "{} over a window would make a list for each row; use it with GROUP BY",
                        aggregate.name()
                    );
                }
                Ok(Transformed::no(Expr::WindowFunction(call)))
            }
            other => Ok(Transformed::no(other)),
        }
    }
}

/// Whether values of this type can be of any size.
fn varies(data_type: &DataType) -> bool {
    let fixed = data_type.is_primitive()
        || matches!(data_type, DataType::Null | DataType::Boolean | DataType::FixedSizeBinary(_));
    !fixed
}

/// How large values are.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    /// Bytes of the largest, at most.
    widest: usize,
    /// Bytes of all.
    total: usize,
}

impl Size {
    fn plus(self, other: Self) -> Self {
        Self {
            widest: self.widest.saturating_add(other.widest),
            total: self.total.saturating_add(other.total),
        }
    }

    fn of(array: &dyn Array) -> Self {
        let same = |width: usize| Self { widest: width, total: width.saturating_mul(array.len()) };
        match array.data_type() {
            DataType::Utf8 => bytes(array.as_string::<i32>()),
            DataType::LargeUtf8 => bytes(array.as_string::<i64>()),
            DataType::Binary => bytes(array.as_binary::<i32>()),
            DataType::LargeBinary => bytes(array.as_binary::<i64>()),
            DataType::Utf8View => lengths(array.as_string_view().lengths()),
            DataType::BinaryView => lengths(array.as_binary_view().lengths()),
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                elements(list.offsets(), list.values().as_ref())
            }
            DataType::LargeList(_) => {
                let list = array.as_list::<i64>();
                elements(list.offsets(), list.values().as_ref())
            }
            DataType::Struct(_) => array
                .as_struct()
                .columns()
                .iter()
                .fold(Self::default(), |size, column| size.plus(Self::of(column.as_ref()))),
            DataType::Dictionary(..) => same(Self::of(array.as_any_dictionary().values()).widest),
            other => match other.primitive_width() {
                Some(width) => same(width),
                // Never less than what it is.
                None if varies(other) => {
                    let all = array.get_array_memory_size();
                    Self { widest: all, total: all }
                }
                None => same(1),
            },
        }
    }

    /// Of arguments, for a batch of so many rows.
    fn of_arguments(arguments: &[ColumnarValue], rows: usize) -> Result<Self> {
        let constant = arguments.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if constant { rows.max(BATCH_ROWS) } else { rows };
        arguments.iter().try_fold(Self::default(), |size, argument| {
            Ok(size.plus(match argument {
                ColumnarValue::Array(array) => Self::of(array.as_ref()),
                ColumnarValue::Scalar(value) => {
                    let widest = Self::of(value.to_array()?.as_ref()).widest;
                    Self { widest, total: widest.saturating_mul(rows) }
                }
            }))
        })
    }

    /// Refuses what is too large for a function.
    fn check(self, function: &str, most: Self) -> Result<()> {
        if self.widest > most.widest {
            return resources_err!(
                "{function} is given values of {} bytes, more than {}",
                self.widest,
                most.widest
            );
        }
        if self.total > most.total {
            return resources_err!(
                "{function} is given {} bytes for one batch of rows, more than {}",
                self.total,
                most.total
            );
        }
        Ok(())
    }
}

fn bytes<T: ByteArrayType>(array: &GenericByteArray<T>) -> Size {
    lengths(array.offsets().lengths())
}

fn lengths<L: TryInto<usize>>(lengths: impl Iterator<Item = L>) -> Size {
    lengths.fold(Size::default(), |size, length| {
        let length = length.try_into().unwrap_or(usize::MAX);
        Size { widest: size.widest.max(length), total: size.total.saturating_add(length) }
    })
}

fn elements<O: OffsetSizeTrait>(
    offsets: &arrow::buffer::OffsetBuffer<O>,
    values: &dyn Array,
) -> Size {
    let count = lengths(offsets.lengths());
    let value = Size::of(values);
    // The values may be those of a longer list; none has more than the widest.
    Size {
        widest: count.widest.saturating_mul(value.widest),
        total: count.total.saturating_mul(value.widest).min(value.total),
    }
}

/// A function behind its guard.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Guarded(Arc<ScalarUDF>);

impl ScalarUDFImpl for Guarded {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        self.0.schema_name(arguments)
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.0.return_type(types)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        self.0.return_field_from_args(arguments)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.0.coerce_types(types)
    }

    fn short_circuits(&self) -> bool {
        self.0.short_circuits()
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let most = match QUADRATIC.contains(&self.name()) {
            true => MAX_QUADRATIC,
            false => Size { widest: MAX_VALUE, total: MAX_BATCH },
        };
        Size::of_arguments(&call.args, call.number_rows)?.check(self.name(), most)?;
        self.0.invoke_with_args(call)
    }
}

/// Gives what it is given, unless that is too large.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Within {
    signature: Signature,
}

impl Default for Within {
    fn default() -> Self {
        Self { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Within {
    fn name(&self) -> &'static str {
        "within_bounds"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types.first().cloned().unwrap_or(DataType::Null))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        match arguments.arg_fields.first() {
            Some(field) => Ok(field.clone()),
            None => plan_err!("within_bounds has one argument"),
        }
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(operand) = call.args.into_iter().next() else {
            return plan_err!("within_bounds has one argument");
        };
        let size = match &operand {
            ColumnarValue::Array(array) => Size::of(array.as_ref()),
            // How many constants there are is bounded by the length of the statement.
            ColumnarValue::Scalar(value) => {
                Size { total: 0, ..Size::of(value.to_array()?.as_ref()) }
            }
        };
        size.check("operator ||", Size { widest: MAX_OPERAND, total: MAX_OPERAND_BATCH })?;
        Ok(operand)
    }
}

#[cfg(test)]
mod tests;

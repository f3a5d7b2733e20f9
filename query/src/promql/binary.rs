//! Binary operations between scalars and vectors.

use super::error::Error;
use super::expr::{Binary, BinaryOp};
use super::number::go;
use super::source::StepSeries;
use super::vector::{self, Data};

mod matching;
mod set;

/// Applies an operation to its evaluated operands.
///
/// # Errors
/// [`Error::Execution`] when series do not match as the operation says.
pub(crate) fn apply(operation: &Binary, lhs: Data, rhs: Data, steps: usize) -> Result<Data, Error> {
    match (lhs, rhs) {
        (Data::Scalar(lhs), Data::Scalar(rhs)) => Ok(Data::Scalar(
            lhs.into_iter().zip(rhs).map(|(l, r)| scalar(operation.op, l, r)).collect(),
        )),
        (Data::Vector(series), Data::Scalar(scalars)) => {
            with_scalar(operation, series, &scalars, false)
        }
        (Data::Scalar(scalars), Data::Vector(series)) => {
            with_scalar(operation, series, &scalars, true)
        }
        (Data::Vector(lhs), Data::Vector(rhs)) if operation.op.is_set() => {
            Ok(Data::Vector(set::apply(operation.op, &operation.matching, lhs, rhs, steps)?))
        }
        (Data::Vector(lhs), Data::Vector(rhs)) => {
            Ok(Data::Vector(matching::apply(operation, &lhs, &rhs, steps)?))
        }
        _ => Err(Error::BadData(
            "binary expression must contain only scalar and instant vector types".to_owned(),
        )),
    }
}

fn scalar(op: BinaryOp, lhs: f64, rhs: f64) -> f64 {
    if op.is_comparison() {
        f64::from(u8::from(compare(op, lhs, rhs)))
    } else {
        compute(op, lhs, rhs)
    }
}

fn with_scalar(
    operation: &Binary,
    mut series: Vec<StepSeries>,
    scalars: &[f64],
    scalar_first: bool,
) -> Result<Data, Error> {
    let drops_name = drops_name(operation);
    for one in &mut series {
        if drops_name {
            one.labels = one.labels.nameless();
        }
        one.values.update(|step, of_series| {
            let scalar = *scalars.get(step)?;
            let (l, r) = if scalar_first { (scalar, of_series) } else { (of_series, scalar) };
            // A filter keeps the series' own value, on whichever side it stands.
            element(operation, l, r).map(|result| {
                if operation.op.is_comparison() && !operation.returns_bool {
                    of_series
                } else {
                    result
                }
            })
        });
    }
    vector::drop_empty(&mut series);
    Ok(Data::Vector(vector::joined(series)?))
}

/// Whether the result of an operation is no longer the metric it was.
fn drops_name(operation: &Binary) -> bool {
    operation.returns_bool || !operation.op.is_comparison()
}

/// The result for one pair of values; none if a filter rejects it.
fn element(operation: &Binary, lhs: f64, rhs: f64) -> Option<f64> {
    if !operation.op.is_comparison() {
        return Some(compute(operation.op, lhs, rhs));
    }
    match (compare(operation.op, lhs, rhs), operation.returns_bool) {
        (holds, true) => Some(f64::from(u8::from(holds))),
        (true, false) => Some(lhs),
        (false, false) => None,
    }
}

#[expect(clippy::float_cmp, reason = "PromQL compares exactly")]
fn compare(op: BinaryOp, lhs: f64, rhs: f64) -> bool {
    match op {
        BinaryOp::Equal => lhs == rhs,
        BinaryOp::NotEqual => lhs != rhs,
        BinaryOp::Less => lhs < rhs,
        BinaryOp::LessOrEqual => lhs <= rhs,
        BinaryOp::Greater => lhs > rhs,
        BinaryOp::GreaterOrEqual => lhs >= rhs,
        _ => false,
    }
}

fn compute(op: BinaryOp, lhs: f64, rhs: f64) -> f64 {
    match op {
        BinaryOp::Add => lhs + rhs,
        BinaryOp::Sub => lhs - rhs,
        BinaryOp::Mul => lhs * rhs,
        BinaryOp::Div => lhs / rhs,
        BinaryOp::Mod => lhs % rhs,
        BinaryOp::Pow => go::pow(lhs, rhs),
        BinaryOp::Atan2 => lhs.atan2(rhs),
        _ => f64::NAN,
    }
}

//! What answers are made of, as JSON and as the API's document describes it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{Object, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::measure::Measure;
use super::question::Column;
use crate::flows::catalog::Period;
use crate::flows::tiers::Span;
use crate::openapi::Shape;

/// Seconds since 1970 of a time in microseconds.
pub(crate) fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

/// A label's text; nothing where it is absent.
pub(crate) fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// The value of a measure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Number {
    /// Of what counts.
    Whole(i64),
    /// Of ratios, durations and costs.
    Fraction(f64),
}

impl PartialSchema for Number {
    fn schema() -> RefOr<Schema> {
        typed([Type::Number]).description(Some("The value of a measure, in its unit.")).into()
    }
}

impl ToSchema for Number {}

impl Number {
    /// Its value; fractions of a whole number beyond 2^53 are lost.
    pub(crate) fn value(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Fraction(fraction) => fraction,
        }
    }
}

/// A value in a row: a label's text or a measure's number; null where it is absent or not known.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Cell {
    Label(Option<String>),
    Measure(Option<Number>),
}

impl PartialSchema for Cell {
    fn schema() -> RefOr<Schema> {
        let about = "A label's text or a measure's number; null where it is absent or not known.";
        typed([Type::String, Type::Number, Type::Null]).description(Some(about)).into()
    }
}

impl ToSchema for Cell {}

/// A schema of values of any of these types.
fn typed(types: impl IntoIterator<Item = Type>) -> ObjectBuilder {
    let types: Vec<Type> = types.into_iter().collect();
    let types = match types.as_slice() {
        [one] => SchemaType::Type(one.clone()),
        _ => SchemaType::Array(types),
    };
    ObjectBuilder::from(Object::with_type(types))
}

/// Measures by their names; which there are is told by `of`, so the document lists the same as answers.
pub(crate) fn measures_schema(of: impl Iterator<Item = &'static Measure>) -> RefOr<Schema> {
    let mut object = ObjectBuilder::new();
    for measure in of {
        let number = typed([Type::Number, Type::Null]).description(Some(measure.unit));
        object = object.property(measure.name, number).required(measure.name);
    }
    object.into()
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ColumnKind {
    Label,
    Measure,
}

/// A column of an answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Column)]
pub(crate) struct Described {
    /// The name of the label or measure.
    name: &'static str,
    kind: ColumnKind,
    /// `bytes`, `packets`, `segments`, `timeouts`, `connections`, `seconds`, `ratio` or `currency`; empty for labels.
    unit: &'static str,
}

/// The columns of an answer, described.
pub(crate) fn describe(columns: &[Column]) -> Vec<Described> {
    let one = |column: &Column| match column {
        Column::Label(name) => Described { name, kind: ColumnKind::Label, unit: "" },
        Column::Measure(measure) => {
            Described { name: measure.name, kind: ColumnKind::Measure, unit: measure.unit }
        }
    };
    columns.iter().map(one).collect()
}

/// A part of the period, and the table that answered it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TierPart {
    /// `flows`, `flows_5m` or `flows_1h`.
    table: &'static str,
    /// Seconds since 1970; not included.
    start: f64,
    /// Seconds since 1970; included.
    end: f64,
}

/// What the agents said of the period.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CompletenessShort)]
pub(crate) struct Short {
    /// Share of the batches that agents sent, or would have, which arrived; null where no agent was heard.
    pub(crate) ratio: Option<f64>,
    /// Agents that were heard.
    pub(crate) agents: usize,
    /// Agents that had fallen silent by the end.
    pub(crate) silent: usize,
    /// What agents counted as lost, by reason, in units of their own.
    pub(crate) losses: BTreeMap<String, i64>,
}

/// What an answer stands on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Standing {
    /// Begin of the period, seconds since 1970; not included.
    start: f64,
    /// End of the period, seconds since 1970; included.
    end: f64,
    /// Length of the period.
    seconds: f64,
    /// What is to be known about the answer.
    notes: BTreeSet<String>,
    /// Which table answered which part of the period.
    tiers: Vec<TierPart>,
    completeness: Short,
}

impl Standing {
    /// Of an answer over these parts of the period.
    pub(crate) fn new(
        period: Period,
        spans: &[Span],
        notes: BTreeSet<String>,
        completeness: Short,
    ) -> Self {
        let tier = |span: &Span| TierPart {
            table: span.table,
            start: seconds(span.after),
            end: seconds(span.until),
        };
        Self {
            start: seconds(period.after),
            end: seconds(period.until),
            seconds: seconds(period.until - period.after),
            notes,
            tiers: spans.iter().map(tier).collect(),
            completeness,
        }
    }
}

/// An answer and what it stands on, in one object.
#[derive(Debug, Serialize)]
pub(crate) struct Told<T> {
    #[serde(flatten)]
    pub(crate) answer: T,
    #[serde(flatten)]
    pub(crate) standing: Standing,
}

impl<T: ToSchema> Told<T> {
    /// What it looks like.
    pub(crate) fn shape() -> Shape {
        Shape::of::<T>().and(Shape::of::<Standing>())
    }
}

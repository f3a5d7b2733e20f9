//! Parameters: their names, and what their values may be. [`super::params::Params`] reads by these descriptions, and the
//! API's document lists them.

use serde_json::{Value, json};

use crate::openapi::Input;

/// What the values of a parameter are.
pub(super) trait Kind {
    /// JSON Schema of its value, or of the list of its values.
    fn schema(&self) -> Value;

    /// Values are separated by commas.
    fn has_commas(&self) -> bool {
        false
    }
}

/// A parameter.
pub(super) struct Parameter<K> {
    pub(super) name: &'static str,
    pub(super) kind: K,
    about: &'static str,
    is_required: bool,
    example: Option<&'static str>,
}

impl<K> Parameter<K> {
    /// One that may be left out. `about` is a sentence.
    pub(super) const fn new(name: &'static str, kind: K, about: &'static str) -> Self {
        Self { name, kind, about, is_required: false, example: None }
    }
}

impl<K: Copy> Parameter<K> {
    /// The same, which has to be there.
    pub(super) const fn required(self) -> Self {
        let Self { name, kind, about, example, .. } = self;
        Self { name, kind, about, is_required: true, example }
    }

    /// The same with an example.
    pub(super) const fn example(self, example: &'static str) -> Self {
        let Self { name, kind, about, is_required, .. } = self;
        Self { name, kind, about, is_required, example: Some(example) }
    }
}

/// What the document needs to know of a parameter.
pub(super) trait Described: Sync {
    /// As the document has it.
    fn input(&self) -> Input;
}

impl<K: Kind + Sync> Described for Parameter<K> {
    fn input(&self) -> Input {
        Input {
            name: self.name,
            about: self.about,
            is_required: self.is_required,
            schema: self.kind.schema(),
            has_commas: self.kind.has_commas(),
            example: self.example,
        }
    }
}

/// The parameters of an endpoint.
pub(super) type Parameters = &'static [&'static dyn Described];

/// Any text.
#[derive(Clone, Copy)]
pub(super) struct Text;

impl Kind for Text {
    fn schema(&self) -> Value {
        json!({ "type": "string" })
    }
}

/// A PromQL expression.
#[derive(Clone, Copy)]
pub(super) struct Expression;

impl Kind for Expression {
    fn schema(&self) -> Value {
        json!({ "type": "string", "minLength": 1 })
    }
}

/// Selectors, each as a parameter of its own.
#[derive(Clone, Copy)]
pub(super) struct Selectors;

impl Kind for Selectors {
    fn schema(&self) -> Value {
        json!({ "type": "array", "items": { "type": "string" } })
    }
}

/// Texts, each as a parameter of its own.
#[derive(Clone, Copy)]
pub(super) struct Texts;

impl Kind for Texts {
    fn schema(&self) -> Value {
        json!({ "type": "array", "items": { "type": "string" } })
    }
}

/// A time: seconds since 1970, or RFC 3339.
#[derive(Clone, Copy)]
pub(super) struct Time;

impl Time {
    /// Beyond this, in seconds, a double no longer counts milliseconds; Prometheus' own bounds lie there too.
    pub(super) const BOUND: f64 = 9.0e12;
}

impl Kind for Time {
    fn schema(&self) -> Value {
        json!({ "anyOf": [
            { "type": "number", "exclusiveMinimum": -Self::BOUND, "exclusiveMaximum": Self::BOUND },
            { "type": "string", "format": "date-time" },
        ] })
    }
}

/// A duration: a number of seconds, or such as `1h30m`.
#[derive(Clone, Copy)]
pub(super) struct Duration;

impl Duration {
    /// Seconds that a duration may have at most: Prometheus counts nanoseconds in 63 bits.
    const BOUND: u64 = 9_223_372_036;

    /// With units, from long to short and each at most once.
    fn with_units() -> Value {
        let unit = |unit: &str| format!("([0-9]{{1,2}}{unit})?");
        let units: String = ["y", "w", "d", "h", "m", "s", "ms"].map(unit).concat();
        json!({ "type": "string", "pattern": format!("^{units}$"), "minLength": 2 })
    }
}

impl Kind for Duration {
    fn schema(&self) -> Value {
        let seconds = json!({
            "type": "number",
            "minimum": -(Self::BOUND as f64),
            "maximum": Self::BOUND,
        });
        json!({ "anyOf": [seconds, Self::with_units()] })
    }
}

/// A duration that is not negative.
#[derive(Clone, Copy)]
pub(super) struct Timeout;

impl Kind for Timeout {
    fn schema(&self) -> Value {
        let seconds = json!({ "type": "number", "minimum": 0, "maximum": Duration::BOUND });
        json!({ "anyOf": [seconds, Duration::with_units()] })
    }
}

/// How many are given, at most so many. 0 is the same as none, where the largest that may be asked for is not known.
#[derive(Clone, Copy)]
pub(super) struct Limit(pub(super) Option<usize>);

impl Kind for Limit {
    fn schema(&self) -> Value {
        match self.0 {
            None => json!({ "type": "integer", "minimum": 0, "maximum": i64::MAX }),
            Some(most) => json!({ "type": "integer", "minimum": 0, "maximum": most }),
        }
    }
}

/// A bound of lists: negative for all.
#[derive(Clone, Copy)]
pub(super) struct Bound;

impl Kind for Bound {
    fn schema(&self) -> Value {
        json!({ "type": "integer", "minimum": i64::MIN, "maximum": i64::MAX })
    }
}

/// A whole number within these bounds, both included.
#[derive(Clone, Copy)]
pub(super) struct Count {
    pub(super) least: usize,
    pub(super) most: usize,
}

impl Kind for Count {
    fn schema(&self) -> Value {
        json!({ "type": "integer", "minimum": self.least, "maximum": self.most })
    }
}

/// One of several words, each with what it stands for.
#[derive(Clone, Copy)]
pub(super) struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: 'static> Choice<T> {
    /// The words.
    pub(super) fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|(name, _)| *name).collect()
    }
}

impl<T: 'static> Kind for Choice<T> {
    fn schema(&self) -> Value {
        json!({ "type": "string", "enum": self.names() })
    }
}

/// One of the names that a function gives.
#[derive(Clone, Copy)]
pub(super) struct Name(pub(super) fn() -> Vec<&'static str>);

impl Kind for Name {
    fn schema(&self) -> Value {
        json!({ "type": "string", "enum": self.0() })
    }
}

/// Several of them, separated by commas.
#[derive(Clone, Copy)]
pub(super) struct Names(pub(super) fn() -> Vec<&'static str>);

impl Kind for Names {
    fn schema(&self) -> Value {
        json!({ "type": "array", "items": { "type": "string", "enum": self.0() } })
    }

    fn has_commas(&self) -> bool {
        true
    }
}

/// Of several endpoints.
pub(super) const START: Parameter<Time> = Parameter::new("start", Time, "Begin of the period.");
pub(super) const END: Parameter<Time> = Parameter::new("end", Time, "End of the period.");
pub(super) const TIMEOUT: Parameter<Timeout> = Parameter::new(
    "timeout",
    Timeout,
    "How long the answer may take; it can only shorten the server's own two minutes.",
);
pub(super) const LIMIT: Parameter<Limit> =
    Parameter::new("limit", Limit(None), "How many are given at most; 0 for all.");
pub(super) const QUERY: Parameter<Expression> =
    Parameter::new("query", Expression, "A PromQL expression.")
        .required()
        .example("sum by (workload) (rate(flow_tx_bytes_total[5m]))");
pub(super) const MATCH: Parameter<Selectors> =
    Parameter::new("match[]", Selectors, "Selectors of series; several are alternatives.");

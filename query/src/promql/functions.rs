//! Functions: the table of names, and application to evaluated arguments.

use parking_lot::Mutex;

use super::error::Error;
use super::expr::{Call, Kind};
use super::notes::Notes;
use super::number::{go, seconds};
use super::source::{Labels, StepSeries, Steps};
use super::values::Values;
use super::vector::{self, Data};
use super::window::View;

mod date;
mod histogram;
mod label;
mod math;
mod over_time;
mod presence;
mod rate;
mod regression;
mod sort;
mod windowed;

pub(crate) use windowed::{Placed, Windowed};

/// What a window function makes of a window and its scalar arguments at that evaluation time.
type OverWindow = fn(View<'_>, &[f64]) -> Option<f64>;

/// What a function does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Function {
    /// `increase`, `rate`.
    Increase {
        /// `rate`.
        per_second: bool,
    },
    /// Reduces each window to a value.
    Window {
        /// How.
        f: OverWindow,
        /// Whether the result is still the metric it was.
        keeps_name: bool,
        /// Whether the evaluation time itself counts, beside the window.
        reads_clock: bool,
    },
    /// Maps each value.
    Map(fn(f64) -> f64),
    /// Maps each value with scalar arguments at that evaluation time; none removes it.
    MapWith(fn(f64, &[f64]) -> Option<f64>),
    /// Maps seconds since the Unix epoch; without argument the evaluation time.
    Date(fn(i64) -> f64),
    /// Functions of native histograms: samples here are plain numbers, which these ignore.
    NativeHistogram,
    /// `histogram_quantile` over classic buckets.
    HistogramQuantile,
    /// `histogram_fraction` over classic buckets.
    HistogramFraction,
    /// `absent`, `absent_over_time`.
    Absent,
    /// `label_replace`
    LabelReplace,
    /// `label_join`
    LabelJoin,
    /// `info`, which reads series of its own: see [`super::info`].
    Info,
    /// `sort`, `sort_desc`
    Sort {
        /// `sort_desc`
        descending: bool,
    },
    /// `sort_by_label`, `sort_by_label_desc`
    SortByLabel {
        /// `sort_by_label_desc`
        descending: bool,
    },
    /// `scalar`
    Scalar,
    /// `vector`
    Vector,
    /// `time`
    Time,
    /// `timestamp`
    Timestamp,
    /// `pi`
    Pi,
}

impl Function {
    /// What the function yields.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Scalar | Self::Time | Self::Pi => Kind::Scalar,
            _ => Kind::Vector,
        }
    }

    /// Whether the result depends on the evaluation time beyond what its arguments do.
    pub(crate) fn reads_clock(&self, args: usize) -> bool {
        match self {
            Self::Time | Self::Timestamp => true,
            Self::Date(_) => args == 0,
            Self::Window { reads_clock, .. } => *reads_clock,
            _ => false,
        }
    }
}

const fn window(f: OverWindow) -> Function {
    Function::Window { f, keeps_name: false, reads_clock: false }
}

/// Every function by name.
const TABLE: &[(&str, Function)] = &[
    ("abs", Function::Map(f64::abs)),
    ("absent", Function::Absent),
    ("absent_over_time", Function::Absent),
    ("acos", Function::Map(f64::acos)),
    ("acosh", Function::Map(go::acosh)),
    ("asin", Function::Map(f64::asin)),
    ("asinh", Function::Map(go::asinh)),
    ("atan", Function::Map(f64::atan)),
    ("atanh", Function::Map(f64::atanh)),
    ("avg_over_time", window(over_time::avg)),
    ("ceil", Function::Map(f64::ceil)),
    ("changes", window(over_time::changes)),
    ("clamp", Function::MapWith(math::clamp)),
    ("clamp_max", Function::MapWith(math::clamp_max)),
    ("clamp_min", Function::MapWith(math::clamp_min)),
    ("cos", Function::Map(f64::cos)),
    ("cosh", Function::Map(f64::cosh)),
    ("count_over_time", window(over_time::count)),
    ("day_of_month", Function::Date(date::day_of_month)),
    ("day_of_week", Function::Date(date::day_of_week)),
    ("day_of_year", Function::Date(date::day_of_year)),
    ("days_in_month", Function::Date(date::days_in_month)),
    ("deg", Function::Map(math::deg)),
    ("delta", window(rate::delta)),
    ("deriv", window(regression::deriv)),
    ("double_exponential_smoothing", window(regression::smooth)),
    ("exp", Function::Map(f64::exp)),
    (
        "first_over_time",
        Function::Window { f: over_time::first, keeps_name: true, reads_clock: false },
    ),
    ("floor", Function::Map(f64::floor)),
    ("histogram_avg", Function::NativeHistogram),
    ("histogram_count", Function::NativeHistogram),
    ("histogram_fraction", Function::HistogramFraction),
    ("histogram_quantile", Function::HistogramQuantile),
    ("histogram_stddev", Function::NativeHistogram),
    ("histogram_stdvar", Function::NativeHistogram),
    ("histogram_sum", Function::NativeHistogram),
    ("hour", Function::Date(date::hour)),
    ("idelta", window(rate::idelta)),
    ("increase", Function::Increase { per_second: false }),
    ("info", Function::Info),
    ("irate", window(rate::irate)),
    ("label_join", Function::LabelJoin),
    ("label_replace", Function::LabelReplace),
    (
        "last_over_time",
        Function::Window { f: over_time::last, keeps_name: true, reads_clock: false },
    ),
    ("ln", Function::Map(f64::ln)),
    ("log10", Function::Map(go::log10)),
    ("log2", Function::Map(go::log2)),
    ("mad_over_time", window(over_time::mad)),
    ("max_over_time", window(over_time::max)),
    ("min_over_time", window(over_time::min)),
    ("minute", Function::Date(date::minute)),
    ("month", Function::Date(date::month)),
    ("pi", Function::Pi),
    (
        "predict_linear",
        Function::Window { f: regression::predict, keeps_name: false, reads_clock: true },
    ),
    ("present_over_time", window(over_time::present)),
    ("quantile_over_time", window(over_time::quantile)),
    ("rad", Function::Map(math::rad)),
    ("rate", Function::Increase { per_second: true }),
    ("resets", window(over_time::resets)),
    ("round", Function::MapWith(math::round)),
    ("scalar", Function::Scalar),
    ("sgn", Function::Map(math::sgn)),
    ("sin", Function::Map(f64::sin)),
    ("sinh", Function::Map(f64::sinh)),
    ("sort", Function::Sort { descending: false }),
    ("sort_by_label", Function::SortByLabel { descending: false }),
    ("sort_by_label_desc", Function::SortByLabel { descending: true }),
    ("sort_desc", Function::Sort { descending: true }),
    ("sqrt", Function::Map(f64::sqrt)),
    ("stddev_over_time", window(over_time::stddev)),
    ("stdvar_over_time", window(over_time::stdvar)),
    ("sum_over_time", window(over_time::sum)),
    ("tan", Function::Map(f64::tan)),
    ("tanh", Function::Map(f64::tanh)),
    ("time", Function::Time),
    ("timestamp", Function::Timestamp),
    ("ts_of_first_over_time", window(over_time::ts_of_first)),
    ("ts_of_last_over_time", window(over_time::ts_of_last)),
    ("ts_of_max_over_time", window(over_time::ts_of_max)),
    ("ts_of_min_over_time", window(over_time::ts_of_min)),
    ("vector", Function::Vector),
    ("year", Function::Date(date::year)),
];

/// Finds a function.
pub(crate) fn lookup(name: &str) -> Option<(&'static str, Function)> {
    TABLE.iter().find(|(known, _)| *known == name).copied()
}

/// The names of all functions.
pub fn function_names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

/// The arguments that a function takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signature {
    /// Their kinds.
    pub(crate) kinds: &'static [Kind],
    /// The last may be left out.
    pub(crate) optional: bool,
    /// The last may be left out, and may be there more than once.
    pub(crate) repeats: bool,
}

/// The arguments that a function of the table takes.
pub(crate) fn signature(name: &str, function: Function) -> Signature {
    use Kind::{Matrix as M, Scalar as S, Text as T, Vector as V};
    let kinds: &'static [Kind] = match (name, function) {
        ("absent_over_time", _) => &[M],
        ("clamp", _) => &[V, S, S],
        ("clamp_max" | "clamp_min" | "round", _) => &[V, S],
        ("double_exponential_smoothing", _) => &[M, S, S],
        ("predict_linear", _) => &[M, S],
        ("quantile_over_time", _) => &[S, M],
        (_, Function::HistogramFraction) => &[S, S, V],
        (_, Function::HistogramQuantile) => &[S, V],
        (_, Function::LabelReplace) => &[V, T, T, T, T],
        (_, Function::LabelJoin) => &[V, T, T, T],
        (_, Function::SortByLabel { .. }) => &[V, T],
        (_, Function::Info) => &[V, V],
        (_, Function::Time | Function::Pi) => &[],
        (_, Function::Vector) => &[S],
        (_, Function::Window { .. } | Function::Increase { .. }) => &[M],
        _ => &[V],
    };
    Signature {
        kinds,
        optional: name == "round" || matches!(function, Function::Date(_) | Function::Info),
        repeats: matches!(function, Function::LabelJoin | Function::SortByLabel { .. }),
    }
}

/// Counts values made against the query's limit, and refuses those beyond it.
pub(crate) type Charge<'a> = &'a (dyn Fn(usize) -> Result<(), Error> + Sync);

/// Applies a function to its evaluated arguments.
///
/// # Errors
/// [`Error::Execution`] for arguments out of range and results with equal labels.
pub(crate) fn apply(
    call: &Call,
    args: Vec<Data>,
    steps: &Steps,
    notes: &Mutex<Notes>,
    charge: Charge<'_>,
) -> Result<Data, Error> {
    let args = Args::sort(args);
    let series = match call.function {
        Function::Increase { per_second } => {
            let windows = args.matrix(call)?;
            let value = |_: usize, view: View<'_>| rate::extrapolated(view, true, per_second);
            let note = |metric: &str| rate::note_name(metric, call.place(0), notes);
            windows.map_noting(steps, false, value, note)?
        }
        Function::Window { f, keeps_name, .. } => {
            let windows = args.matrix(call)?;
            let mut bad = None;
            let series = windows.map(steps, keeps_name, |step, view| {
                let scalars = args.scalars_at(step);
                if let Err(error) = check_window_args(call, &scalars, notes) {
                    bad.get_or_insert(error);
                }
                f(view, &scalars)
            })?;
            bad.map_or(Ok(series), Err)?
        }
        Function::Map(f) => vector::map(args.vector(call)?, |_, value| Some(f(value)))?,
        Function::MapWith(f) => {
            let scalars = args.clone_scalars();
            vector::map(args.vector(call)?, |step, value| f(value, &scalars.at(step)))?
        }
        Function::Date(f) if call.args.is_empty() => {
            vec![unlabelled(steps.iter().map(|time| Some(f(time.div_euclid(1000)))).collect())]
        }
        Function::Date(f) => {
            vector::map(args.vector(call)?, |_, value| Some(date::of_value(f, value)))?
        }
        Function::NativeHistogram => Vec::new(),
        Function::HistogramQuantile => {
            let scalars = args.clone_scalars();
            histogram::quantile(args.vector(call)?, &scalars, steps.len(), call, notes)?
        }
        Function::HistogramFraction => {
            let scalars = args.clone_scalars();
            histogram::fraction(args.vector(call)?, &scalars, steps.len(), call, notes)?
        }
        Function::Absent => presence::absent(call, &args, steps),
        Function::LabelReplace => {
            let texts = args.texts.clone();
            label::replace(args.vector(call)?, &texts, charge)?
        }
        Function::LabelJoin => {
            let texts = args.texts.clone();
            label::join(args.vector(call)?, &texts, charge)?
        }
        Function::Info => return Err(wrong_kind(call)),
        Function::Sort { descending } => sort::by_value(args.vector(call)?, descending),
        Function::SortByLabel { descending } => {
            let texts = args.texts.clone();
            sort::by_label(args.vector(call)?, &texts, descending)
        }
        Function::Scalar => return Ok(Data::Scalar(only_value(&args.vector(call)?, steps.len()))),
        Function::Vector => {
            let values =
                (0..steps.len()).map(|step| args.scalars_at(step).first().copied()).collect();
            vec![unlabelled(values)]
        }
        Function::Time => return Ok(Data::Scalar(steps.iter().map(seconds).collect())),
        Function::Timestamp => {
            let times: Vec<f64> = steps.iter().map(seconds).collect();
            vector::map(args.vector(call)?, |step, _| times.get(step).copied())?
        }
        Function::Pi => return Ok(Data::Scalar(vec![std::f64::consts::PI; steps.len()])),
    };
    Ok(Data::Vector(series))
}

fn unlabelled(values: Values) -> StepSeries {
    StepSeries { labels: Labels::default(), values }
}

/// At each step the value of the only series that has one, else NaN.
fn only_value(series: &[StepSeries], steps: usize) -> Vec<f64> {
    (0..steps)
        .map(|step| {
            let mut present = series.iter().filter_map(|one| one.values.get(step));
            match (present.next(), present.next()) {
                (Some(value), None) => value,
                _ => f64::NAN,
            }
        })
        .collect()
}

/// Window functions whose scalar arguments have bounds; asked where there is a window.
fn check_window_args(call: &Call, scalars: &[f64], notes: &Mutex<Notes>) -> Result<(), Error> {
    match call.name {
        "quantile_over_time" => {
            for q in scalars {
                super::aggregate::note_quantile(*q, call.place(0), notes);
            }
        }
        "double_exponential_smoothing" => {
            for (name, factor) in ["smoothing", "trend"].iter().zip(scalars) {
                // NaN passes, as it does there.
                if *factor <= 0.0 || *factor >= 1.0 {
                    let letter = name.get(..1).unwrap_or_default();
                    return Err(Error::Execution(format!(
                        "invalid {name} factor. Expected: 0 < {letter}f < 1, got: {}",
                        go::fixed(*factor)
                    )));
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// Scalar arguments, each with a value for each step.
#[derive(Debug, Clone, Default)]
struct Scalars(Vec<Vec<f64>>);

impl Scalars {
    /// Their values at a step.
    fn at(&self, step: usize) -> Vec<f64> {
        self.0.iter().filter_map(|values| values.get(step).copied()).collect()
    }
}

/// Evaluated arguments by kind: no function has two vectors.
#[derive(Debug, Default)]
struct Args {
    scalars: Scalars,
    texts: Vec<String>,
    vector: Option<Vec<StepSeries>>,
    windows: Option<super::window::Windows>,
}

impl Args {
    fn sort(args: Vec<Data>) -> Self {
        let mut sorted = Self::default();
        for arg in args {
            match arg {
                Data::Scalar(values) => sorted.scalars.0.push(values),
                Data::Text(text) => sorted.texts.push(text),
                Data::Vector(series) => sorted.vector = Some(series),
                Data::Matrix(windows) => sorted.windows = Some(windows),
            }
        }
        sorted
    }

    fn scalars_at(&self, step: usize) -> Vec<f64> {
        self.scalars.at(step)
    }

    fn clone_scalars(&self) -> Scalars {
        self.scalars.clone()
    }

    fn matrix(&self, call: &Call) -> Result<&super::window::Windows, Error> {
        self.windows.as_ref().ok_or_else(|| wrong_kind(call))
    }

    fn vector(self, call: &Call) -> Result<Vec<StepSeries>, Error> {
        self.vector.ok_or_else(|| wrong_kind(call))
    }
}

fn wrong_kind(call: &Call) -> Error {
    Error::Internal(format!("wrong kind of argument for \"{}\"", call.name))
}

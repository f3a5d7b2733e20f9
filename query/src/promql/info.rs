//! `info`: adds labels of info metrics, such as `target_info`, to the series that they describe.
//!
//! ```text
//! base series           -> values of instance and job
//! info series with them -> at each step the newest of each metric, instance and job
//! base + its info       -> base labels and the info series' others
//! ```
//!
//! As Prometheus 3.5 has it (`promql/info.go` there), but for one thing: it mixes series up at steps at
//! which some of them have no sample.

use std::collections::{BTreeSet, HashMap};

use regex::Regex;

use super::error::Error;
use super::eval::Evaluator;
use super::expr::{Call, Expr, Pick};
use super::labels::METRIC_NAME;
use super::source::{Labels, MatchOp, Matcher, Selector, StepSeries, Steps};
use super::vector::{Collector, Data};
use super::window::{Frame, Windows, is_stale};

/// Labels that tell whom an info series describes.
const IDENTIFYING: [&str; 2] = ["instance", "job"];
/// The info metric that is read when none is named.
const TARGET_INFO: &str = "target_info";

/// An info series at each step: the time of its sample.
#[derive(Debug)]
struct Info {
    labels: Labels,
    times: Vec<Option<i64>>,
}

/// Evaluates a call of `info`.
///
/// # Errors
/// [`Error::Execution`] if two info series, or two of their labels, contradict each other, and what the
/// source returns.
pub(super) async fn evaluate(
    evaluator: &Evaluator<'_>,
    call: &Call,
    steps: Steps,
) -> Result<Data, Error> {
    let (arg, wanted) = match call.args.as_slice() {
        [arg] => (arg, None),
        [arg, Expr::Instant(pick)] => (arg, Some(&pick.selector)),
        _ => return Err(Error::Internal("wrong arguments of info".to_owned())),
    };
    let Data::Vector(base) = evaluator.eval(arg, steps).await? else {
        return Err(Error::Internal("info of something but a vector".to_owned()));
    };
    let described: Vec<bool> = base.iter().map(|one| !is_info(wanted, &one.labels)).collect();
    let mut demands = Demands::of(wanted);
    let infos = match selector(wanted, base.iter().zip(&described).filter(|(_, d)| **d)) {
        Some(selector) => {
            // The name has done its work, but only where series were looked for.
            demands.matchers.retain(|matcher| &*matcher.name != METRIC_NAME);
            read(evaluator, &selector, arg, &steps).await?
        }
        None => Vec::new(),
    };
    combine(&base, &described, &infos, &demands, &steps).map(Data::Vector)
}

/// What the second argument demands of labels.
#[derive(Debug)]
struct Demands {
    matchers: Vec<Matcher>,
}

impl Demands {
    fn of(wanted: Option<&Selector>) -> Self {
        let Some(selector) = wanted else { return Self { matchers: Vec::new() } };
        let named = |op: MatchOp| Matcher { name: METRIC_NAME.into(), op };
        let metric = selector.metric.clone().map(|name| named(MatchOp::Equal(name)));
        let names = selector.name_matchers.iter().cloned().map(named);
        let labels = selector.matchers.iter().cloned();
        Self { matchers: metric.into_iter().chain(names).chain(labels).collect() }
    }

    /// Whether a label of an info series is asked for.
    fn wants(&self, name: &str) -> bool {
        self.matchers.is_empty() || self.matchers.iter().any(|matcher| &*matcher.name == name)
    }

    /// Whether series without any info are what was asked for too.
    fn allow_none(&self) -> bool {
        self.matchers.iter().all(|matcher| matcher.op.accepts(""))
    }
}

/// Whether a series is itself one of the info series, which are left as they are.
fn is_info(wanted: Option<&Selector>, labels: &Labels) -> bool {
    let name = labels.metric();
    match wanted {
        None => name == TARGET_INFO,
        Some(selector) => {
            selector.metric.as_deref() == Some(name)
                || selector.name_matchers.iter().any(|op| op.accepts(name))
        }
    }
}

/// Selects the info series of some base series; none if these have no identifying label.
fn selector<'a>(
    wanted: Option<&Selector>,
    base: impl Iterator<Item = (&'a StepSeries, &'a bool)> + Clone,
) -> Option<Selector> {
    let mut selector = wanted.cloned().unwrap_or(Selector {
        metric: None,
        name_matchers: Vec::new(),
        matchers: Vec::new(),
    });
    if selector.metric.is_none() && selector.name_matchers.is_empty() {
        selector.metric = Some(TARGET_INFO.into());
    }
    let mut found = false;
    for name in IDENTIFYING {
        let values: BTreeSet<&str> =
            base.clone().filter_map(|(one, _)| one.labels.get(name)).collect();
        if values.is_empty() {
            continue;
        }
        found = true;
        let any: Vec<String> = values.into_iter().map(regex::escape).collect();
        // A list of plain texts is a pattern, unless it is too large.
        let op = MatchOp::Matches(Regex::new(&format!("^(?s:{})$", any.join("|"))).ok()?);
        selector.matchers.push(Matcher { name: name.into(), op });
    }
    found.then_some(selector)
}

/// Reads info series as they stand at each step. What is read goes back in time with the argument's
/// `offset` and `@`, when it is looked at does not.
async fn read(
    evaluator: &Evaluator<'_>,
    selector: &Selector,
    arg: &Expr,
    steps: &Steps,
) -> Result<Vec<Info>, Error> {
    let (offset, at) = match first_selector(arg) {
        Some(pick) => (pick.when.offset, evaluator.at(pick.when)),
        None => (0, None),
    };
    let read = Frame { range: evaluator.lookback, offset, at };
    let series = evaluator.load(selector, read, steps).await?;
    let frame = Frame { range: evaluator.lookback, offset: 0, at: None };
    let windows = Windows { series, frame, stop: evaluator.stop.clone() };
    let mut out = Vec::with_capacity(windows.series.len());
    for series in &windows.series {
        let mut times = vec![None; steps.len()];
        windows.each(series, steps, |step, view| {
            let last = view.samples.last().filter(|(_, value)| !is_stale(*value));
            if let (Some(place), Some((time, _))) = (times.get_mut(step), last) {
                *place = Some(*time);
            }
        });
        out.push(Info { labels: series.labels.clone(), times });
    }
    evaluator.stop.check()?;
    Ok(out)
}

/// The first selector of an expression in the order in which it was written.
fn first_selector(expr: &Expr) -> Option<&Pick> {
    match expr {
        Expr::Number(_) | Expr::Text(_) => None,
        Expr::Instant(pick) | Expr::Range(pick, _) => Some(pick),
        Expr::Subquery(subquery) => first_selector(&subquery.expr),
        Expr::Negate(inner) | Expr::Keep(inner) => first_selector(inner),
        Expr::Binary(binary) => first_selector(&binary.lhs).or_else(|| first_selector(&binary.rhs)),
        Expr::Aggregate(aggregate) => first_selector(&aggregate.expr)
            .or_else(|| aggregate.param.as_ref().and_then(first_selector)),
        Expr::Call(call) => call.args.iter().find_map(first_selector),
    }
}

/// What a series has in common with the info series that describe it.
fn identity(labels: &Labels) -> Vec<Option<&str>> {
    IDENTIFYING.iter().map(|name| labels.get(name)).collect()
}

fn combine(
    base: &[StepSeries],
    described: &[bool],
    infos: &[Info],
    demands: &Demands,
    steps: &Steps,
) -> Result<Vec<StepSeries>, Error> {
    let mut out = Collector::new(steps.len());
    for step in 0..steps.len() {
        let present = |one: &StepSeries| one.values.get(step);
        if base.iter().all(|one| present(one).is_none()) {
            continue;
        }
        let newest = newest(infos, step)?;
        for (one, described) in base.iter().zip(described) {
            let Some(value) = present(one) else { continue };
            let mut labels = one.labels.clone();
            if *described {
                let added = added(&one.labels, newest.get(&identity(&one.labels)), demands)?;
                if added.0.is_empty() && !demands.allow_none() {
                    continue;
                }
                for (name, value) in &added.0 {
                    labels.set(name, value);
                }
            }
            let slot = out.slot(labels);
            if !out.put(slot, step, value) {
                return Err(Error::Execution(
                    "vector cannot contain metrics with the same labelset".to_owned(),
                ));
            }
        }
    }
    Ok(out.finish())
}

/// Info series by whom they describe.
type Described<'a> = HashMap<Vec<Option<&'a str>>, Vec<&'a Info>>;

/// The newest info series of each metric and identity at a step.
fn newest(infos: &[Info], step: usize) -> Result<Described<'_>, Error> {
    let mut newest: Described<'_> = HashMap::new();
    for info in infos {
        let time = |info: &Info| info.times.get(step).copied().flatten();
        let Some(own) = time(info) else { continue };
        let rivals = newest.entry(identity(&info.labels)).or_default();
        let metric = info.labels.metric();
        match rivals.iter_mut().find(|rival| rival.labels.metric() == metric) {
            None => rivals.push(info),
            Some(rival) => match time(rival).map(|other| own.cmp(&other)) {
                Some(std::cmp::Ordering::Less) => {}
                Some(std::cmp::Ordering::Equal) => {
                    return Err(Error::Execution(format!(
                        "found duplicate series for info metric {metric}"
                    )));
                }
                _ => *rival = info,
            },
        }
    }
    Ok(newest)
}

/// The labels that info series add to a series.
fn added(base: &Labels, infos: Option<&Vec<&Info>>, demands: &Demands) -> Result<Labels, Error> {
    let mut added = Labels::default();
    for info in infos.into_iter().flatten() {
        for (name, value) in &info.labels.0 {
            if &**name == METRIC_NAME || !demands.wants(name) {
                continue;
            }
            if added.get(name).is_some_and(|other| other != &**value) {
                return Err(Error::Execution(format!("conflicting label: {name}")));
            }
            if base.get(name).is_none() {
                added.set(name, value);
            }
        }
    }
    Ok(added)
}

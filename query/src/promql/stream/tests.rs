//! What a series leaves behind must not show in the next one.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::promql::expr::{Call, Expr};
use crate::promql::parse::parse;
use crate::promql::source::{EachSeries, Labels};
use crate::promql::window::STALE;

/// Series in memory, with the numbers of their times.
struct Given(Vec<(Vec<i64>, Vec<f64>, u64)>);

impl Block for Given {
    fn read(self: Box<Self>, each: EachSeries<'_>) -> Result<(), Error> {
        self.0.into_iter().enumerate().try_for_each(|(i, (times, values, times_number))| {
            let labels = Labels(vec![("i".into(), i.to_string().into())]);
            each(labels, Points { times: &times, values: &values, times_number })
        })
    }
}

fn call(text: &str) -> Call {
    match parse(text).expect("an expression") {
        Expr::Call(call) => call,
        other => panic!("{text} is no call: {other:?}"),
    }
}

#[test]
fn windows_are_those_of_the_series_own_times() {
    let mut rng = StdRng::seed_from_u64(41);
    let asks = || {
        let function =
            |text| Ask::Function(Windowed::of(&call(text), Vec::new()).expect("a function"));
        [
            Ask::Latest { what: Yield::Value, seen: None },
            Ask::Latest { what: Yield::Time, seen: Some((20_000, 70_000)) },
            function("rate(m[1m])"),
            function("increase(m[1m])"),
            function("max_over_time(m[1m])"),
        ]
    };
    for _ in 0..100 {
        let random = |rng: &mut StdRng| -> Vec<i64> {
            (0..400).filter(|_| rng.random_bool(0.1)).map(|at| at * 250).collect()
        };
        let targets: Vec<Vec<i64>> = (0..3).map(|_| random(&mut rng)).collect();
        let mut series: Vec<(Vec<i64>, Vec<f64>, u64)> = Vec::new();
        for _ in 0..rng.random_range(1..8) {
            // Of one of the targets, or of its own.
            let number: usize = rng.random_range(0..4);
            let times = match number.checked_sub(1) {
                Some(target) => targets[target].clone(),
                None => random(&mut rng),
            };
            let marks = if rng.random_bool(0.3) { 0.3 } else { 0.0 };
            let value = |_: &i64| match rng.random_bool(marks) {
                true => f64::from_bits(STALE),
                false => f64::from(rng.random_range(0..50)),
            };
            let values = times.iter().map(value).collect();
            // A series without points is not given to anybody.
            if !times.is_empty() {
                series.push((times, values, number as u64));
            }
        }
        let frame = Frame { range: rng.random_range(1..40_000), offset: 0, at: None };
        let steps = Steps { start: 0, end: 100_000, step: rng.random_range(1_000..30_000) };
        for ask in asks() {
            let work = Work { ask, frame, steps, stop: Stop::default() };
            let run = |series| {
                let done = work.block(Box::new(Given(series))).expect("it is read");
                let values = done.series.iter().map(|s| (s.labels.clone(), bits(&s.values)));
                (values.collect::<Vec<_>>(), done.windows)
            };
            let forgetful =
                series.iter().map(|(times, values, _)| (times.clone(), values.clone(), 0));
            assert_eq!(run(series.clone()), run(forgetful.collect()), "{work:?}");
        }
    }
}

fn bits(values: &Values) -> Vec<Option<u64>> {
    values.iter().map(|value| value.map(f64::to_bits)).collect()
}

//! Tables of what was measured, and which goals are met.

use std::time::Duration;

use super::ask::{Asked, Question, difference};
use super::system::Kind;

const MIB: f64 = (1 << 20) as f64;

/// What one system did of one set.
pub(crate) struct Loaded {
    pub(crate) kind: Kind,
    pub(crate) samples: u64,
    pub(crate) elapsed: Duration,
    pub(crate) cpu: Duration,
    pub(crate) peak: u64,
    /// Bytes on disk once it has settled.
    pub(crate) disk: u64,
    pub(crate) asked: Vec<Asked>,
}

/// Goals, and whether each was met.
#[derive(Default)]
pub(crate) struct Goals(Vec<(String, bool)>);

impl Goals {
    pub(crate) fn note(&mut self, goal: String, is_met: bool) {
        self.0.push((goal, is_met));
    }

    pub(crate) fn print(&self) {
        println!("\nGoals");
        for (goal, is_met) in &self.0 {
            println!("  {} {goal}", if *is_met { "met   " } else { "MISSED" });
        }
    }
}

fn of(all: &[Loaded], kind: Kind) -> Option<&Loaded> {
    all.iter().find(|loaded| loaded.kind == kind)
}

/// Sizes of a set.
pub(crate) fn print_sizes(all: &[Loaded], set: &str, goals: &mut Goals) {
    println!("  system            bytes a sample   loaded at      CPU s per million   peak MiB");
    let per_sample = |loaded: &Loaded| loaded.disk as f64 / loaded.samples as f64;
    for loaded in all {
        let million = loaded.samples as f64 / 1e6;
        println!(
            "  {:<17} {:>14.3}   {:>6.2} M/s   {:>16.3}   {:>8.0}",
            loaded.kind.name(),
            per_sample(loaded),
            million / loaded.elapsed.as_secs_f64(),
            loaded.cpu.as_secs_f64() / million,
            loaded.peak as f64 / MIB,
        );
    }
    let Some(weir) = of(all, Kind::Weir) else { return };
    let most = per_sample(weir);
    goals.note(format!("{set}: at most 1 byte a sample: {most:.3}"), most <= 1.0);
    for peer in all.iter().filter(|l| l.kind != Kind::Weir) {
        let (name, theirs) = (peer.kind.name(), per_sample(peer));
        goals.note(format!("{set}: smaller than {name}: {most:.3} to {theirs:.3}"), most < theirs);
    }
}

/// Times and memory of the questions to a set.
pub(crate) fn print_questions(
    all: &[Loaded],
    set: &str,
    questions: &[Question],
    goals: &mut Goals,
) {
    println!(
        "\n  query                       range   series   median ms (least, most)        \
         peak MiB (without files)   answer"
    );
    for (number, question) in questions.iter().enumerate() {
        let asked = |kind| of(all, kind).and_then(|l| l.asked.get(number));
        let model = asked(Kind::Prometheus);
        for kind in Kind::ALL {
            let Some(own) = asked(kind) else { continue };
            let is_first = Some(kind) == all.first().map(|l| l.kind);
            let (name, range) =
                if is_first { (question.name, question.range.as_str()) } else { ("", "") };
            let ms = |time: Duration| time.as_secs_f64() * 1000.0;
            println!(
                "  {name:<27} {range:>5} {:>8}   {:<15} {:>8.1} ({:.1}, {:.1})   {:>6.0} ({:.0})   {}",
                own.answer.len(),
                kind.name(),
                ms(own.median()),
                own.times.first().map_or(0.0, |t| ms(*t)),
                own.times.last().map_or(0.0, |t| ms(*t)),
                own.peak as f64 / MIB,
                own.anonymous as f64 / MIB,
                verdict(kind, own, model),
            );
        }
        let Some(weir) = asked(Kind::Weir) else { continue };
        let what = format!("{set}: {} over {}", question.name, question.range);
        for kind in [Kind::Prometheus, Kind::Victoria] {
            let Some(peer) = asked(kind) else { continue };
            let ratio = peer.median().as_secs_f64() / weir.median().as_secs_f64();
            let goal = if kind == Kind::Prometheus { question.goal } else { 1.0 };
            let name = kind.name();
            goals.note(
                format!("{what}: {goal:.0} times as fast as {name} or more: {ratio:.2}"),
                ratio >= goal,
            );
        }
        if let Some(model) = model {
            let ratio = weir.peak as f64 / model.peak as f64;
            goals.note(
                format!("{what}: at most half of the peak memory of Prometheus: {ratio:.2}"),
                ratio <= 0.5,
            );
            let difference = difference(&model.answer, &weir.answer);
            if let Some(difference) = difference {
                goals.note(format!("{what}: the answer of Prometheus: {difference}"), false);
            }
        }
    }
}

fn verdict(kind: Kind, own: &Asked, model: Option<&Asked>) -> String {
    let Some(model) = model else { return String::new() };
    match kind {
        Kind::Prometheus => String::new(),
        Kind::Victoria if difference(&model.answer, &own.answer).is_none() => "equal".into(),
        // It does not extrapolate, so its rates are others by intention.
        Kind::Victoria if own.answer.len() == model.answer.len() => "as many series".into(),
        Kind::Victoria => format!("{} series, not {}", own.answer.len(), model.answer.len()),
        Kind::Weir => {
            difference(&model.answer, &own.answer).map_or("equal".into(), |_| "DIFFERS".into())
        }
    }
}

/// What one system did at taking samples in as they are scraped.
pub(crate) struct TakenIn {
    pub(crate) kind: Kind,
    pub(crate) samples: u64,
    pub(crate) wire: u64,
    pub(crate) elapsed: Duration,
    pub(crate) cpu: Duration,
    pub(crate) peak: u64,
    pub(crate) refused: u64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl TakenIn {
    fn per_core(&self) -> f64 {
        self.samples as f64 / self.cpu.as_secs_f64()
    }
}

pub(crate) fn print_ingest(all: &[TakenIn], goals: &mut Goals) {
    println!(
        "  system            samples/s    samples/CPU s    acknowledged p50, p99      peak MiB   refused, durable"
    );
    for one in all {
        println!(
            "  {:<17} {:>9.0}    {:>13.0}    {:>8.1?}, {:>8.1?}   {:>10.0}   {}, {}",
            one.kind.name(),
            one.samples as f64 / one.elapsed.as_secs_f64(),
            one.per_core(),
            one.p50,
            one.p99,
            one.peak as f64 / MIB,
            one.refused,
            if one.kind == Kind::Weir { "yes" } else { "no" },
        );
    }
    if let Some(one) = all.first() {
        println!(
            "  {} samples, {:.1} bytes each on the wire",
            one.samples,
            one.wire as f64 / one.samples as f64
        );
    }
    let of = |kind| all.iter().find(|one| one.kind == kind);
    if let (Some(weir), Some(victoria)) = (of(Kind::Weir), of(Kind::Victoria)) {
        let ratio = weir.per_core() / victoria.per_core();
        goals.note(
            format!(
                "ingest: 1.5 times VictoriaMetrics' samples per CPU second or more: {ratio:.2}"
            ),
            ratio >= 1.5,
        );
    }
}

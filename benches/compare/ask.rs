//! Asking range queries: time, memory, and what the answer is.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::cost::memory_of;
use super::system::{Kind, System};

/// A range query.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// For the table.
    pub(crate) name: &'static str,
    pub(crate) range: String,
    pub(crate) expression: String,
    /// Seconds.
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) step: i64,
    /// At least so many times as fast as Prometheus is the goal.
    pub(crate) goal: f64,
}

/// Points of an answer by labels, times in milliseconds.
pub(crate) type Answer = BTreeMap<String, Vec<(i64, f64)>>;

/// What asking came to.
pub(crate) struct Asked {
    /// Sorted.
    pub(crate) times: Vec<Duration>,
    /// Largest resident set while it was answered, files that are mapped included: median.
    pub(crate) peak: u64,
    /// The same without files.
    pub(crate) anonymous: u64,
    pub(crate) answer: Answer,
}

impl Asked {
    pub(crate) fn median(&self) -> Duration {
        self.times[self.times.len() / 2]
    }
}

/// Asks once to warm up, then `runs` times.
pub(crate) fn ask(system: &System, question: &Question, runs: usize) -> Asked {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(600))).build().into();
    once(&agent, system, question);
    let (mut times, mut peaks, mut anonymous) = (Vec::new(), Vec::new(), Vec::new());
    let mut body = Vec::new();
    for _ in 0..runs {
        system.forget_peak();
        let (took, most);
        (body, took, most) = watched(&agent, system, question);
        times.push(took);
        peaks.push(system.memory("VmHWM"));
        anonymous.push(most);
    }
    times.sort_unstable();
    let median = |mut all: Vec<u64>| {
        all.sort_unstable();
        all[all.len() / 2]
    };
    Asked { times, peak: median(peaks), anonymous: median(anonymous), answer: read(&body) }
}

/// Asks once while another thread looks at the memory.
fn watched(agent: &ureq::Agent, system: &System, question: &Question) -> (Vec<u8>, Duration, u64) {
    let (done, pid) = (AtomicBool::new(false), system.pid());
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut most = 0;
            loop {
                most = most.max(memory_of(pid, "RssAnon"));
                if done.load(Ordering::Relaxed) {
                    return most;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let begin = Instant::now();
        let body = once(agent, system, question);
        let took = begin.elapsed();
        done.store(true, Ordering::Relaxed);
        (body, took, watcher.join().expect("watcher"))
    })
}

fn once(agent: &ureq::Agent, system: &System, question: &Question) -> Vec<u8> {
    let mut form = vec![
        ("query", question.expression.clone()),
        ("start", question.start.to_string()),
        ("end", question.end.to_string()),
        ("step", question.step.to_string()),
        ("timeout", "600s".to_owned()),
    ];
    if system.kind == Kind::Victoria {
        // Neither the answers of earlier queries nor times that it has moved.
        form.push(("nocache", "1".to_owned()));
    }
    let name = system.kind.name();
    let answer = agent.post(system.url("/api/v1/query_range")).send_form(form);
    let mut answer = answer.unwrap_or_else(|e| panic!("{name}: {}: {e}", question.expression));
    let body = answer.body_mut().with_config().limit(u64::MAX).read_to_vec();
    body.unwrap_or_else(|e| panic!("{name}: {}: {e}", question.expression))
}

fn read(body: &[u8]) -> Answer {
    let value: Value = serde_json::from_slice(body).expect("JSON");
    let result = value["data"]["result"].as_array().expect("a result");
    let series = result.iter().map(|series| {
        let labels: BTreeMap<&String, &Value> =
            series["metric"].as_object().expect("labels").iter().collect();
        let points = series["values"].as_array().expect("values").iter();
        let points = points.map(|point| {
            let time = (point[0].as_f64().expect("a time") * 1000.0).round() as i64;
            let value = point[1].as_str().and_then(|v| v.parse().ok());
            (time, value.expect("a number"))
        });
        (format!("{labels:?}"), points.collect())
    });
    series.collect()
}

/// How two answers differ, if they do; values may by a part in 10^9.
pub(crate) fn difference(a: &Answer, b: &Answer) -> Option<String> {
    if a.len() != b.len() {
        return Some(format!("{} and {} series", a.len(), b.len()));
    }
    for ((labels, x), (others, y)) in a.iter().zip(b) {
        if labels != others {
            return Some(format!("{labels} and {others}"));
        }
        if x.len() != y.len() {
            return Some(format!("{} and {} points of {labels}", x.len(), y.len()));
        }
        let close = |x: f64, y: f64| {
            x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= 1e-9 * x.abs().max(y.abs())
        };
        let pair = x.iter().zip(y).find(|((t, x), (u, y))| t != u || !close(*x, *y));
        if let Some((x, y)) = pair {
            return Some(format!("{x:?} and {y:?} of {labels}"));
        }
    }
    None
}

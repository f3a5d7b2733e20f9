//! The sets of data, and what is asked of each.

use super::ask::Question;
use super::remote_write::{Body, Lane, backfilled, scraped};
use super::targets::{START, Target, host, pods};

const SECOND: i64 = 1000;
const HOUR: i64 = 3600 * SECOND;
/// Data of one backfilling request.
const TOGETHER: i64 = 10 * 60 * SECOND;

/// Connections that send.
pub(crate) const CONNECTIONS: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Hosts,
    Pods,
}

/// Series, and for how long they go on.
#[derive(Debug, Clone)]
pub(crate) struct Set {
    pub(crate) name: &'static str,
    pub(crate) about: String,
    source: Source,
    targets: u64,
    interval: i64,
    span: i64,
}

impl Set {
    /// Hosts, scraped every 15 s.
    pub(crate) fn hosts(hosts: u64, hours: u64) -> Self {
        let about = format!("{hosts} hosts, {hours} h, every 15 s");
        Self {
            name: "hosts",
            about,
            source: Source::Hosts,
            targets: hosts,
            interval: 15 * SECOND,
            span: hours as i64 * HOUR,
        }
    }

    /// One metric of many pods for an hour, every 15 s; ten series a pod.
    pub(crate) fn pods(pods: u64) -> Self {
        Self {
            name: "pods",
            about: format!("one metric of {pods} pods, 1 h, every 15 s"),
            source: Source::Pods,
            targets: pods.div_ceil(25),
            interval: 15 * SECOND,
            span: HOUR,
        }
    }

    /// Two hosts, scraped every minute.
    pub(crate) fn month(days: u64) -> Self {
        Self {
            name: "month",
            about: format!("2 hosts, {days} days, every 60 s"),
            source: Source::Hosts,
            targets: 2,
            interval: 60 * SECOND,
            span: days as i64 * 24 * HOUR,
        }
    }

    fn scrapes(&self) -> usize {
        (self.span / self.interval) as usize
    }

    fn target(&self, number: u64) -> Target {
        match self.source {
            Source::Hosts => host(number, self.interval),
            Source::Pods => pods(number, self.interval),
        }
    }

    fn lanes(&self) -> Vec<Vec<Target>> {
        let lanes = CONNECTIONS.min(self.targets as usize);
        let lane = |lane: usize| (lane as u64..self.targets).step_by(lanes);
        (0..lanes).map(|n| lane(n).map(|number| self.target(number)).collect()).collect()
    }

    /// All of it, ten minutes of a target in a request. Made while it is sent.
    pub(crate) fn backfill(&self) -> Vec<Lane> {
        let together = (TOGETHER / self.interval) as usize;
        let lanes = self.lanes().into_iter();
        lanes.map(|targets| backfilled(targets, self.scrapes(), together)).collect()
    }

    /// The first scrapes as they would come from a Prometheus, 2,000 samples a request.
    pub(crate) fn scraped(&self, scrapes: usize) -> Vec<Vec<Body>> {
        let lanes = self.lanes();
        std::thread::scope(|scope| {
            let makers: Vec<_> = lanes
                .into_iter()
                .map(|targets| scope.spawn(move || scraped(targets, scrapes, 2000)))
                .collect();
            makers.into_iter().map(|m| m.join().expect("bodies are made")).collect()
        })
    }

    /// What is asked of it.
    pub(crate) fn questions(&self) -> Vec<Question> {
        let end = (START + self.span) / SECOND;
        let ask = |name, hours: i64, step, goal, expression: String| Question {
            name,
            range: if hours < 48 { format!("{hours} h") } else { format!("{} d", hours / 24) },
            expression,
            start: end - hours * 3600,
            end,
            step,
            goal,
        };
        let hours = self.span / HOUR;
        // Range, step and window of rates.
        let ranges = match (self.source, self.interval) {
            (Source::Pods, _) => {
                let with = |pods: &str| format!("http_requests_total{{pod=~{pods:?}}}");
                let half =
                    format!("sum by (namespace) (rate({}[5m]))", with("(api|web|cart|mail)-.*"));
                let few =
                    format!("sum by (namespace) (rate({}[5m]))", with(".*-[0-9a-f]+-00[0-9a-f]+"));
                return vec![
                    ask("regex, half of the series", 1, 15, 1.0, half),
                    ask("regex, one pod in 256", 1, 15, 1.0, few),
                ];
            }
            (Source::Hosts, 60_000) => vec![(hours, 1800, "1h")],
            (Source::Hosts, _) if hours == 1 => vec![(1, 15, "5m")],
            (Source::Hosts, _) => vec![(1, 15, "5m"), (hours, 60, "5m")],
        };
        let mut all = Vec::new();
        for (hours, step, window) in ranges {
            let sum_goal = if hours == 24 { 5.0 } else { 1.0 };
            all.extend([
                ask("raw selector", hours, step, 1.0, "node_network_receive_bytes_total".into()),
                ask("rate", hours, step, 1.0, format!("rate(node_network_receive_bytes_total[{window}])")),
                ask(
                    "sum by (rate)",
                    hours,
                    step,
                    sum_goal,
                    format!("sum by (mode) (rate(node_cpu_seconds_total[{window}]))"),
                ),
                ask(
                    "histogram_quantile",
                    hours,
                    step,
                    1.0,
                    format!(
                        "histogram_quantile(0.99, sum by (le, handler) \
                         (rate(http_request_duration_seconds_bucket[{window}])))"
                    ),
                ),
                ask(
                    "regex",
                    hours,
                    step,
                    1.0,
                    "sum by (instance) ({__name__=~\"node_memory_.+_bytes\",instance=~\"host-0.[02468].*\"})"
                        .into(),
                ),
            ]);
        }
        all
    }
}

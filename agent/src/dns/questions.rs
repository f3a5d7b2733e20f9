//! Questions and their answers, counted by workload.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::attribution::Workload;

/// A question without an answer for so long is one that timed out, as resolvers see it (resolv.conf(5)).
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a workload stays that neither asks nor is answered, as its other metrics do.
const KEEP: Duration = Duration::from_secs(15 * 60);
/// Questions that wait for their answers.
const MAX_PENDING: usize = 65_536;
/// Workloads that are told apart; what others ask is counted as that of `other`.
const MAX_WORKLOADS: usize = 10_000;

/// Upper bounds of the latency histogram, seconds.
pub(crate) const LATENCY_BOUNDS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// What became of a workload's questions since it was first heard of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcomes {
    /// Questions by the type that was asked for.
    pub(crate) questions: BTreeMap<&'static str, u64>,
    /// Answers by their code.
    pub(crate) answers: BTreeMap<&'static str, u64>,
    pub(crate) timeouts: u64,
    /// Answers by the first of [`LATENCY_BOUNDS`] that their latency is not above; one more is above all.
    pub(crate) latencies: [u64; LATENCY_BOUNDS.len() + 1],
    /// Sum of the latencies, microseconds.
    pub(crate) latency_us: u64,
    /// When it last asked or was answered, `CLOCK_MONOTONIC`.
    heard_ns: u64,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    /// By socket and message id: who asked, and when.
    pending: HashMap<(u64, u16), (Arc<Workload>, u64)>,
    outcomes: HashMap<Arc<Workload>, Outcomes>,
}

impl Questions {
    pub(super) fn asked(
        &mut self,
        workload: &Arc<Workload>,
        cookie: u64,
        id: u16,
        kind: &'static str,
        at_ns: u64,
    ) {
        let outcomes = self.of(workload, at_ns);
        *outcomes.questions.entry(kind).or_insert(0) += 1;
        if self.pending.len() < MAX_PENDING {
            // A repetition of the question counts from there on.
            self.pending.insert((cookie, id), (Arc::clone(workload), at_ns));
        }
    }

    pub(super) fn answered(
        &mut self,
        workload: &Arc<Workload>,
        cookie: u64,
        id: u16,
        code: &'static str,
        at_ns: u64,
    ) {
        let asked = self.pending.remove(&(cookie, id)).map(|(_, asked_ns)| asked_ns);
        let outcomes = self.of(workload, at_ns);
        *outcomes.answers.entry(code).or_insert(0) += 1;
        let Some(asked_ns) = asked else { return };
        let us = at_ns.saturating_sub(asked_ns) / 1000;
        let seconds = Duration::from_micros(us).as_secs_f64();
        let slot = LATENCY_BOUNDS.partition_point(|bound| *bound < seconds);
        if let Some(count) = outcomes.latencies.get_mut(slot) {
            *count += 1;
        }
        outcomes.latency_us += us;
    }

    /// Counts the questions that nobody answered, and lets go of who asks no more; `now_ns` is `CLOCK_MONOTONIC`.
    pub(super) fn time_out(&mut self, now_ns: u64) {
        let outcomes = &mut self.outcomes;
        self.pending.retain(|_, (workload, asked_ns)| {
            let waits = Duration::from_nanos(now_ns.saturating_sub(*asked_ns)) < TIMEOUT;
            if !waits {
                let whose = whose(outcomes, workload);
                outcomes.entry(whose).or_default().timeouts += 1;
            }
            waits
        });
        let is_heard = |outcomes: &Outcomes| {
            Duration::from_nanos(now_ns.saturating_sub(outcomes.heard_ns)) < KEEP
        };
        self.outcomes.retain(|_, outcomes| is_heard(outcomes));
    }

    /// Workloads that asked.
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = (&Arc<Workload>, &Outcomes)> {
        self.outcomes.iter()
    }

    fn of(&mut self, workload: &Arc<Workload>, at_ns: u64) -> &mut Outcomes {
        let outcomes = {
            let whose = whose(&self.outcomes, workload);
            self.outcomes.entry(whose).or_default()
        };
        outcomes.heard_ns = outcomes.heard_ns.max(at_ns);
        outcomes
    }
}

/// The workload that what this one does is counted for.
fn whose(outcomes: &HashMap<Arc<Workload>, Outcomes>, workload: &Arc<Workload>) -> Arc<Workload> {
    let has_room = outcomes.len() < MAX_WORKLOADS || outcomes.contains_key(workload);
    if has_room { Arc::clone(workload) } else { Workload::other() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribution::Workload;

    #[test]
    fn who_is_not_heard_of_for_long_is_let_go_of() {
        let named = |name: &str| {
            let (kind, container, pod) = ("Process", None, None);
            Arc::new(Workload { name: name.into(), kind, container, pod })
        };
        let at = |seconds: u64| seconds * 1_000_000_000;
        let mut questions = Questions::default();
        questions.asked(&named("job"), 1, 1, "A", at(0));
        questions.asked(&named("shop"), 2, 1, "A", at(0));
        questions.answered(&named("shop"), 2, 1, "NOERROR", at(600));
        let known = |questions: &Questions| {
            let mut names: Vec<_> = questions.outcomes().map(|(w, _)| w.name.clone()).collect();
            names.sort();
            names
        };
        questions.time_out(at(899));
        assert_eq!(known(&questions), ["job", "shop"]);
        questions.time_out(at(901));
        assert_eq!(known(&questions), ["shop"]);
    }
    #[test]
    fn questions_of_workloads_without_room_are_those_of_other() {
        let named = |name: String| Arc::new(Workload { name, ..(*Workload::other()).clone() });
        let mut questions = Questions::default();
        let count = u64::try_from(MAX_WORKLOADS).unwrap();
        for cookie in 0..count + 5 {
            questions.asked(&named(cookie.to_string()), cookie, 1, "A", 0);
        }
        let late = named(count.to_string());
        questions.answered(&late, count, 1, "NOERROR", 1_000_000);
        questions.time_out(6_000_000_000);
        let all: u64 = questions.outcomes().map(|(_, o)| o.questions["A"]).sum();
        assert_eq!(all, count + 5);
        assert_eq!(questions.outcomes.len(), MAX_WORKLOADS + 1);
        let other = &questions.outcomes[&Workload::other()];
        assert_eq!((other.questions["A"], other.answers["NOERROR"], other.timeouts), (5, 1, 4));
        assert_eq!(other.latencies.iter().sum::<u64>(), 1);
    }
}

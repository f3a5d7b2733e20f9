//! Names: which name a workload asked for before it spoke to an address, and how its questions fared.
//!
//! ```text
//! kernel        copies messages of UDP to and from port 53 (`weir-agent-ebpf`, `dns`)
//! [`message`]   question or answer, parsed when it comes
//! [`names`]     address -> name, of each workload, for as long as it may be used
//! [`questions`] questions and answers matched: counts, failures, latencies, of each workload
//! ```
//!
//! Not seen: DNS over TCP, TLS or HTTPS, and name servers on other ports. A message of more than 1024 bytes is
//! cut and counted as not read. Whose a socket is becomes known at the end of the interval; messages wait for
//! that, a bounded number of them.

mod message;
mod names;
mod questions;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use weir_agent_ebpf::DnsMessage;

use crate::attribution::{Attributed, Scope, Workload};
use message::{Answer, Parsed, Question};
use names::Names;
pub(crate) use questions::{LATENCY_BOUNDS, Outcomes, Questions};

/// Messages that wait for the end of the interval.
const MAX_WAITING: usize = 50_000;

/// A message, parsed.
#[derive(Debug)]
struct Event {
    cookie: u64,
    at_ns: u64,
    parsed: Parsed,
    /// For an interval, since nobody knew whose it was.
    waited: bool,
}

/// What workloads ask, and what they learn.
#[derive(Debug, Default)]
pub(crate) struct Dns {
    waiting: Vec<Event>,
    names: Names,
    questions: Questions,
    dropped: u64,
}

impl Dns {
    /// Takes a message in; what is no DNS, or cut, is counted as dropped.
    pub(crate) fn take(&mut self, message: &DnsMessage) {
        let length = usize::try_from(message.length).unwrap_or(usize::MAX);
        let parsed = message.bytes.get(..length).and_then(message::parse);
        match parsed {
            Some(parsed) if self.waiting.len() < MAX_WAITING => {
                let DnsMessage { cookie, at_ns, .. } = *message;
                self.waiting.push(Event { cookie, at_ns, parsed, waited: false });
            }
            _ => self.dropped += 1,
        }
    }

    /// Messages that could not be read or kept, since the last call.
    pub(crate) fn dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// Attributes the messages of an interval, and gives the flows of that interval the names of their peers.
    pub(crate) fn resolve(&mut self, flows: &mut [Attributed], now: Instant, now_ns: u64) {
        let whose: HashMap<u64, Arc<Workload>> =
            flows.iter().map(|f| (f.delta.socket.cookie, Arc::clone(&f.local))).collect();
        for mut event in std::mem::take(&mut self.waiting) {
            let Some(workload) = whose.get(&event.cookie) else {
                // Its socket began after the flows were collected: the next interval has it.
                if !std::mem::replace(&mut event.waited, true) {
                    self.waiting.push(event);
                } else {
                    self.dropped += 1;
                }
                continue;
            };
            let Event { cookie, at_ns, parsed, .. } = event;
            match parsed {
                Parsed::Question(Question { id, kind }) => {
                    self.questions.asked(workload, cookie, id, kind, at_ns);
                }
                Parsed::Answer(Answer { id, code, name, addresses, ttl }) => {
                    self.questions.answered(workload, cookie, id, code, at_ns);
                    for address in addresses {
                        self.names.learn(workload, address, &name, ttl, now);
                    }
                }
            }
        }
        self.questions.time_out(now_ns);
        for flow in flows.iter_mut() {
            if flow.peer_scope == Scope::External {
                flow.domain = self.names.of_flow(flow, now);
            }
        }
        self.names.end_interval(now);
    }

    /// How questions fared, since the start.
    pub(crate) fn questions(&self) -> &Questions {
        &self.questions
    }
}

#[cfg(test)]
mod tests;

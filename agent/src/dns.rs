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
//! cut and counted as not read. A message brings who made its socket along; where that does not
//! tell whose it is, it waits until the socket has been met, with a bounded number of others.

mod message;
mod names;
mod questions;

use std::sync::Arc;
use std::time::Instant;

use weir_agent_ebpf::DnsMessage;

use crate::attribution::{Attributed, Scope, Workload};
use crate::socket::Owner;
use message::{Answer, Parsed, Question};
use names::Names;
pub(crate) use questions::{LATENCY_BOUNDS, Outcomes, Questions};

/// Messages that wait to be attributed.
const MAX_WAITING: usize = 50_000;

/// A message, parsed.
#[derive(Debug)]
struct Event {
    cookie: u64,
    owner: Owner,
    at_ns: u64,
    parsed: Parsed,
    /// Collections in which nobody knew whose it was.
    waited: u8,
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
                let DnsMessage { cookie, at_ns, owner, .. } = *message;
                let owner = Owner { cgroup: owner.cgroup, tgid: owner.tgid, comm: owner.comm };
                self.waiting.push(Event { cookie, owner, at_ns, parsed, waited: 0 });
            }
            _ => self.dropped += 1,
        }
    }

    /// Messages that could not be read or kept, since the last call.
    pub(crate) fn dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// Learns from the messages that came, of those of which `whose` tells whose their socket is.
    pub(crate) fn learn(
        &mut self,
        mut whose: impl FnMut(u64, &Owner) -> Option<Arc<Workload>>,
        now: Instant,
    ) {
        for event in std::mem::take(&mut self.waiting) {
            let Some(workload) = whose(event.cookie, &event.owner) else {
                self.waiting.push(event);
                continue;
            };
            let Event { cookie, at_ns, parsed, .. } = event;
            match parsed {
                Parsed::Question(Question { id, kind }) => {
                    self.questions.asked(&workload, cookie, id, kind, at_ns);
                }
                Parsed::Answer(Answer { id, code, name, addresses, ttl }) => {
                    self.questions.answered(&workload, cookie, id, code, at_ns);
                    for address in addresses {
                        self.names.learn(&workload, address, &name, ttl, now);
                    }
                }
            }
        }
    }

    /// The name of a flow's peer.
    pub(crate) fn name(&mut self, flow: &Attributed, now: Instant) -> Option<Arc<str>> {
        (flow.peer_scope == Scope::External).then(|| self.names.of_flow(flow, now)).flatten()
    }

    /// A collection is over, all its sockets have been met.
    pub(crate) fn end_collection(&mut self, now: Instant, now_ns: u64) {
        self.questions.time_out(now_ns);
        self.names.end_interval(now);
        let before = self.waiting.len();
        // A socket that began after the others were met is met by the next collection.
        self.waiting.retain_mut(|event| std::mem::replace(&mut event.waited, 1) == 0);
        self.dropped += (before - self.waiting.len()) as u64;
    }

    /// How questions fared, since the start.
    pub(crate) fn questions(&self) -> &Questions {
        &self.questions
    }
}

#[cfg(test)]
mod tests;

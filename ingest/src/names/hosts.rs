//! Hosts and what runs on them, as their own rows tell: where an agent measures, every address has an owner, and every
//! port somebody who listens. So a fleet without a cluster's API is named as well, and in a cluster what runs on
//! the nodes themselves.
//!
//! ```text
//! a row of host H:  address A, no pod                    ->  A is H's
//!                   role server, port P, workload W      ->  whoever talks to A:P talks to W
//!                   role client, workload W, peer B:P    ->  whoever serves A at B:P serves W
//! ```
//!
//! Of the last, several workloads of one host may do the same in one interval; then none of them is named, but the host
//! is. An address that two hosts claim by turns (a bridge that every host has, or one behind which they all are) is
//! nobody's.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::record::{Address, Place, Seat, Spot};
use super::tenure::{Since, Tenures};
use super::text::Text;

/// What is remembered of each kind, at most.
const MAX: usize = 200_000;
/// How long two claims of one address, or two clients of one place, are held against each other. Microseconds.
const MEMORY: i64 = 600_000_000;

/// What runs on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Worker {
    pub(super) seat: Arc<Seat>,
    /// The host; of its zone and region, the host itself knows better.
    pub(super) spot: Arc<Spot>,
}

/// Which host claims an address.
#[derive(Debug, Clone)]
struct Claim {
    host: Text,
    /// Who had it before, and until when.
    before: Option<(Text, i64)>,
    /// Until when it is nobody's.
    disputed: i64,
    last: i64,
}

/// Who talks to a place from an address.
#[derive(Debug, Clone)]
struct Caller {
    whose: Arc<Worker>,
    /// Another one did so too, last then.
    other: Option<i64>,
    last: i64,
}

#[derive(Debug)]
struct Server {
    tenures: Tenures<Worker>,
    last: i64,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    claims: HashMap<Address, Claim, RandomState>,
    servers: HashMap<Place, Server, RandomState>,
    callers: HashMap<(Address, Place), Caller, RandomState>,
}

/// What came of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claimed {
    /// It is the host's now, and was not before.
    New,
    /// Nothing is different.
    Same,
    /// Two hosts claim it: it is nobody's now.
    Disputed,
}

/// Makes room for one more.
fn make_room<K: Eq + Hash, V>(map: &mut HashMap<K, V, RandomState>, now: i64, last: fn(&V) -> i64) {
    if map.len() < MAX {
        return;
    }
    let mut age = MEMORY;
    while map.len() >= MAX && age > 0 {
        map.retain(|_, value| now - last(value) < age);
        age /= 2;
    }
    if map.len() >= MAX {
        map.clear();
    }
}

impl Hosts {
    /// A row of a host has this address.
    pub(super) fn claim(&mut self, address: Address, host: &Text, at: i64) -> Claimed {
        make_room(&mut self.claims, at, |claim| claim.last);
        let Some(claim) = self.claims.get_mut(&address) else {
            let host = Arc::clone(host);
            self.claims.insert(address, Claim { host, before: None, disputed: i64::MIN, last: at });
            return Claimed::New;
        };
        if claim.host == *host {
            claim.last = claim.last.max(at);
            return Claimed::Same;
        }
        // Late rows of the one before are no claim.
        if claim.before.as_ref().is_some_and(|(before, until)| before == host && at <= *until) {
            return Claimed::Same;
        }
        let is_back = claim.before.as_ref().is_some_and(|(before, _)| before == host);
        let is_soon = at - claim.last < MEMORY;
        let is_at_once = at <= claim.last;
        let before = std::mem::replace(&mut claim.host, Arc::clone(host));
        claim.before = Some((before, at));
        claim.last = claim.last.max(at);
        if (is_back || is_at_once) && is_soon {
            claim.disputed = at + MEMORY;
        }
        if at < claim.disputed { Claimed::Disputed } else { Claimed::New }
    }

    /// An address is claimed by this host and nobody else, as far as is known.
    pub(super) fn is_claimed(&self, address: Address, host: &str, at: i64) -> bool {
        self.claims
            .get(&address)
            .is_some_and(|claim| &*claim.host == host && claim.last >= at - MEMORY / 10)
    }

    /// Somebody serves at a place. True if that was not known.
    pub(super) fn serve(&mut self, place: Place, worker: &Arc<Worker>, at: i64) -> bool {
        if let Some(server) = self.servers.get_mut(&place) {
            server.last = server.last.max(at);
            if server.tenures.current().is_some_and(|current| **current == **worker) {
                return false;
            }
            server.tenures.begin(Arc::clone(worker), Since { at, exact: true }, at);
            return true;
        }
        make_room(&mut self.servers, at, |server| server.last);
        let tenures = Tenures::new(Arc::clone(worker), Since { at, exact: true });
        self.servers.insert(place, Server { tenures, last: at });
        true
    }

    /// Somebody talks from an address to a place. True if that was not known.
    pub(super) fn call(&mut self, from: Address, to: Place, worker: &Arc<Worker>, at: i64) -> bool {
        if let Some(caller) = self.callers.get_mut(&(from, to)) {
            if *caller.whose == **worker {
                caller.last = caller.last.max(at);
                return false;
            }
            if at - caller.last >= MEMORY {
                *caller = Caller { whose: Arc::clone(worker), other: None, last: at };
                return true;
            }
            caller.other = Some(at.max(caller.other.unwrap_or(at)));
            return false;
        }
        make_room(&mut self.callers, at, |caller| caller.last);
        let caller = Caller { whose: Arc::clone(worker), other: None, last: at };
        self.callers.insert((from, to), caller);
        true
    }

    /// Who served at a place.
    pub(super) fn server(&self, place: Place, start: i64, end: i64) -> Option<&Worker> {
        self.servers.get(&place)?.tenures.at(start, end).map(AsRef::as_ref)
    }

    /// Who talked from an address to a place, if it was one.
    pub(super) fn caller(&self, from: Address, to: Place, start: i64) -> Option<&Worker> {
        let caller = self.callers.get(&(from, to))?;
        let is_one = caller.other.is_none_or(|other| start - other >= MEMORY);
        (is_one && start - caller.last < MEMORY).then_some(&*caller.whose)
    }

    /// It is known, and not from long ago, who talks from an address to a place: this workload, or several.
    pub(super) fn has_called(&self, from: Address, to: Place, workload: &str, at: i64) -> bool {
        let is_fresh = |last: i64| at - last < MEMORY / 10;
        self.callers.get(&(from, to)).is_some_and(|caller| {
            let last = if &*caller.whose.seat.workload == workload {
                Some(caller.last)
            } else {
                caller.other
            };
            last.is_some_and(is_fresh)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::record::Protocol;

    const MINUTE: i64 = 60_000_000;

    fn worker(name: &str) -> Arc<Worker> {
        let seat = Seat { workload: name.into(), ..Seat::default() };
        Arc::new(Worker { seat: Arc::new(seat), spot: Arc::default() })
    }

    #[test]
    fn an_address_moves_but_is_not_shared() {
        let mut hosts = Hosts::default();
        let (a, b): (Text, Text) = ("a".into(), "b".into());
        assert_eq!(hosts.claim(1, &a, 10 * MINUTE), Claimed::New);
        assert_eq!(hosts.claim(1, &a, 11 * MINUTE), Claimed::Same);
        assert_eq!(hosts.claim(1, &b, 12 * MINUTE), Claimed::New, "it moved");
        assert_eq!(hosts.claim(1, &a, 11 * MINUTE), Claimed::Same, "a late row");
        assert_eq!(hosts.claim(1, &a, 13 * MINUTE), Claimed::Disputed, "both say it is theirs");
        assert_eq!(hosts.claim(1, &b, 14 * MINUTE), Claimed::Disputed);
        assert_eq!(hosts.claim(1, &b, 40 * MINUTE), Claimed::Same);
        assert_eq!(hosts.claim(1, &a, 60 * MINUTE), Claimed::New, "long after");
        assert_eq!(hosts.claim(2, &a, 60 * MINUTE), Claimed::New);
        assert_eq!(hosts.claim(2, &b, 60 * MINUTE), Claimed::Disputed, "in the same interval");
    }

    #[test]
    fn one_who_calls_is_named_and_several_are_not() {
        let mut hosts = Hosts::default();
        let to = (2, 80, Protocol::Tcp);
        assert!(hosts.call(1, to, &worker("web"), MINUTE));
        assert_eq!(hosts.caller(1, to, MINUTE).map(|w| &*w.seat.workload), Some("web"));
        assert!(!hosts.call(1, to, &worker("cron"), 2 * MINUTE));
        assert_eq!(hosts.caller(1, to, 2 * MINUTE), None);
        hosts.call(1, to, &worker("web"), 13 * MINUTE);
        assert_eq!(
            hosts.caller(1, to, 13 * MINUTE).map(|w| &*w.seat.workload),
            Some("web"),
            "the other is long gone"
        );
        assert!(hosts.serve(to, &worker("nginx"), MINUTE));
        assert!(!hosts.serve(to, &worker("nginx"), 2 * MINUTE));
        assert!(hosts.serve(to, &worker("caddy"), 5 * MINUTE));
        let at = |minute: i64| {
            hosts.server(to, minute * MINUTE, minute * MINUTE + 1).map(|w| &*w.seat.workload)
        };
        assert_eq!((at(3), at(6)), (Some("nginx"), Some("caddy")));
    }

    #[test]
    fn memory_is_bounded() {
        let mut hosts = Hosts::default();
        let host: Text = "a".into();
        for address in 0..MAX as u128 + 10 {
            hosts.claim(address, &host, address as i64 * 1000);
        }
        assert!(hosts.claims.len() <= MAX);
    }
}

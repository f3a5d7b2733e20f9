//! What rows in memory would have a name for, and which of it has come.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use foldhash::fast::RandomState;

use super::record::{Address, Pod, Uid};

/// What is remembered at most.
const MAX: usize = 100_000;
/// For how long, microseconds: longer than rows are in memory.
const KEEP: i64 = 900_000_000;
/// After a name has come, rows that were on their way get it too. Microseconds.
const REPEAT: i64 = 5_000_000;

/// With 10 bits of prefix.
const CARRIERS: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 0);

/// What a row is named by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Pod(Uid),
    Address(Address),
}

impl Key {
    /// It is a pod, or an address that nobody routes.
    fn is_inside(self) -> bool {
        let Self::Address(address) = self else { return true };
        match IpAddr::V6(Ipv6Addr::from_bits(address)).to_canonical() {
            // RFC 1918 and RFC 6598.
            IpAddr::V4(ip) => {
                ip.is_private() || Ipv4Addr::from_bits(ip.to_bits() & 0xffc0_0000) == CARRIERS
            }
            IpAddr::V6(ip) => ip.is_unique_local(),
        }
    }
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Since when.
    wanted: HashMap<Key, i64, RandomState>,
    /// Not before, those that are too old are looked for.
    sweep: i64,
    /// When it came.
    found: HashMap<Key, i64, RandomState>,
}

/// Names that have come, as rows write what they are names of.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Uids of pods and addresses.
    keys: HashSet<Key, RandomState>,
    /// There is reason to look once more.
    pub(crate) again: bool,
}

impl Found {
    /// Nothing has come.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// A pod's uid is among them.
    pub(crate) fn has_pod(&self, text: &str) -> bool {
        Uid::parse(text).is_some_and(|uid| self.keys.contains(&Key::Pod(uid)))
    }

    /// An address is among them.
    pub(crate) fn has_address(&self, text: &str) -> bool {
        let address = text.parse().ok().map(super::record::address);
        address.is_some_and(|address| self.keys.contains(&Key::Address(address)))
    }
}

impl Wanted {
    /// Something is wanted; true if it was not before.
    pub(super) fn add(&mut self, key: Key, now: i64) -> bool {
        if self.wanted.contains_key(&key) {
            return false;
        }
        if self.wanted.len() >= MAX / 2 && now >= self.sweep {
            self.sweep = now + KEEP / 10;
            self.wanted.retain(|_, since| now - *since < KEEP);
        }
        // Most of the internet's addresses are nobody's for ever.
        let most = if key.is_inside() { MAX } else { MAX / 2 };
        if self.wanted.len() >= most {
            return false;
        }
        self.wanted.insert(key, now);
        true
    }

    /// A pod has become known; true if it was wanted.
    pub(super) fn found(&mut self, pod: &Pod, now: i64) -> bool {
        if self.wanted.is_empty() {
            return false;
        }
        let uids = [Some(pod.uid), pod.hash].into_iter().flatten().map(Key::Pod);
        let keys = uids.chain(pod.addresses.iter().map(|address| Key::Address(*address)));
        keys.filter(|key| self.came(*key, now)).count() > 0
    }

    /// An address has become somebody's, or its holder known better; true if that was wanted.
    pub(super) fn came(&mut self, key: Key, now: i64) -> bool {
        let was = self.wanted.remove(&key).is_some();
        if was {
            self.found.insert(key, now);
        }
        was
    }

    /// What has come; each for a few seconds, as rows may be on their way.
    pub(super) fn take_found(&mut self, now: i64) -> Found {
        let keys = self.found.keys().copied().collect();
        self.found.retain(|_, at| now - *at < REPEAT && now >= *at);
        Found { keys, again: !self.found.is_empty() }
    }
}

//! Prefixes of addresses, and which of many is the longest that an address is in.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;

/// A text that names no range of addresses.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum NetworkError {
    /// Not `NAME=ADDRESS/LENGTH`.
    #[error("`{0}` is not NAME=ADDRESS/LENGTH, as in office=192.0.2.0/24")]
    Form(String),
    /// Not the name of a network.
    #[error("network name {0:?} is empty, over 200 bytes or has control characters")]
    Name(String),
    /// Not `ADDRESS/LENGTH`.
    #[error("`{0}` is not ADDRESS/LENGTH, as in 192.0.2.0/24 or 2001:db8::/32")]
    Prefix(String),
    /// Bits of the address beyond the length are set.
    #[error("`{0}` has bits set beyond its length; the network would be {1}")]
    Host(String, Prefix),
}

/// A range of addresses that share their first bits (RFC 4632). IPv4 is within `::ffff:0:0/96`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    first: u128,
    /// Of 128 bits.
    length: u8,
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl Prefix {
    fn last(self) -> u128 {
        self.first | u128::MAX.checked_shr(self.length.into()).unwrap_or(0)
    }

    /// 4 or 6, and the bits that all of its addresses share, as they are written.
    pub(super) fn family_and_length(self) -> (u8, u8) {
        match Ipv6Addr::from_bits(self.first).to_ipv4_mapped() {
            Some(_) if self.length >= 96 => (4, self.length - 96),
            _ => (6, self.length),
        }
    }

    /// An address within it.
    pub(super) fn contains(self, other: Self) -> bool {
        self.length <= other.length && (self.first..=self.last()).contains(&other.first)
    }
}

impl FromStr for Prefix {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || NetworkError::Prefix(text.to_owned());
        let (address, length) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let length: u8 = length.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        if length > most {
            return Err(wrong());
        }
        let length = 128 - most + length;
        let mask = u128::MAX.checked_shl(u32::from(128 - length)).unwrap_or(0);
        let first = number(address);
        let prefix = Self { first: first & mask, length };
        if prefix.first == first {
            Ok(prefix)
        } else {
            Err(NetworkError::Host(text.to_owned(), prefix))
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = Ipv6Addr::from_bits(self.first);
        match address.to_ipv4_mapped() {
            Some(v4) if self.length >= 96 => write!(f, "{v4}/{}", self.length - 96),
            _ => write!(f, "{address}/{}", self.length),
        }
    }
}

/// What is known of addresses: ranges that do not overlap, so that finding one is one search.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    /// First address of each range, ascending.
    starts: Vec<u128>,
    /// What is known of the addresses from there on, up to the next.
    values: Vec<Option<u32>>,
}

impl Ranges {
    /// Of prefixes, in any order; of equal ones the last counts.
    pub(super) fn new(mut prefixes: Vec<(Prefix, u32)>) -> Self {
        // Stable, so that of equal prefixes the last comes last.
        prefixes.sort_by_key(|(prefix, _)| (prefix.first, prefix.length));
        let mut ranges = Self::default();
        let mut around: Vec<(u128, u32)> = Vec::new();
        for (prefix, value) in prefixes {
            ranges.leave(&mut around, Some(prefix.first));
            ranges.begin(prefix.first, Some(value));
            around.push((prefix.last(), value));
        }
        ranges.leave(&mut around, None);
        ranges
    }

    /// What is known of an address.
    pub(super) fn get(&self, address: IpAddr) -> Option<u32> {
        let address = number(address);
        let place = self.starts.partition_point(|start| *start <= address).checked_sub(1)?;
        *self.values.get(place)?
    }

    /// Ends the prefixes that end before an address: what is around them goes on.
    fn leave(&mut self, around: &mut Vec<(u128, u32)>, before: Option<u128>) {
        while let Some((last, _)) = around.last().copied() {
            if before.is_some_and(|before| last >= before) {
                return;
            }
            around.pop();
            if let Some(next) = last.checked_add(1) {
                self.begin(next, around.last().map(|(_, value)| *value));
            }
        }
    }

    fn begin(&mut self, start: u128, value: Option<u32>) {
        if self.starts.last() == Some(&start) {
            self.values.pop();
            self.starts.pop();
        }
        if self.values.last().copied().flatten() != value || self.values.is_empty() {
            self.starts.push(start);
            self.values.push(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefix(first: u128, length: u8) -> Prefix {
        let mask = u128::MAX.checked_shl(u32::from(128 - length)).unwrap_or(0);
        Prefix { first: first & mask, length }
    }

    #[test]
    fn prefixes_are_read_and_written() {
        for text in ["0.0.0.0/0", "192.0.2.0/24", "203.0.113.9/32", "::/0", "2001:db8::/32"] {
            assert_eq!(text.parse::<Prefix>().unwrap().to_string(), text);
        }
        let error = "192.0.2.7/24".parse::<Prefix>().unwrap_err().to_string();
        assert!(error.contains("192.0.2.0/24"), "{error}");
    }

    #[test]
    fn all_addresses_of_one_family_are_not_those_of_the_other() {
        let ranges = Ranges::new(vec![("0.0.0.0/0".parse().unwrap(), 4)]);
        assert_eq!(ranges.get("255.255.255.255".parse().unwrap()), Some(4));
        assert_eq!(ranges.get("::1".parse().unwrap()), None);
        let all = Ranges::new(vec![("::/0".parse().unwrap(), 6)]);
        assert_eq!(all.get("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap()), Some(6));
    }

    proptest! {
        /// Few bits, so that prefixes lie in one another.
        #[test]
        fn the_longest_prefix_wins(
            prefixes in prop::collection::vec((0u128..256, 120u8..=128, 0u32..5), 0..40)
        ) {
            let prefixes: Vec<_> =
                prefixes.into_iter().map(|(a, l, v)| (prefix(a, l), v)).collect();
            let ranges = Ranges::new(prefixes.clone());
            for address in 0..300u128 {
                let within = prefixes.iter().filter(|(p, _)| p.contains(prefix(address, 128)));
                let longest = within.max_by_key(|(p, _)| p.length).map(|(_, value)| *value);
                let found = ranges.get(IpAddr::V6(Ipv6Addr::from_bits(address)));
                prop_assert_eq!(found, longest);
            }
            prop_assert!(ranges.starts.is_sorted());
        }
    }
}

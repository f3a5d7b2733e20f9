//! The addresses that cloud providers publish.
//!
//! ```text
//! [`published`]  a provider's own list, as it publishes it     [`compact`]  the lists that are shipped
//! [`plausible`]  whether a fresh list can take the place of the one before
//! ```
//!
//! A list that is fresh is used instead of the shipped one of the same kind.

mod compact;
mod plausible;
mod published;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;

pub use compact::compact;
pub use published::{CloudError, MAX_LIST, Published};
use published::{Entry, Provider};

use super::ranges::Ranges;

/// Ranges of all providers.
#[derive(Debug)]
pub(super) struct Clouds {
    ranges: Ranges,
    /// Service and region.
    places: Vec<(String, String)>,
    /// Who has which regions.
    regions: HashMap<String, Vec<Provider>>,
}

impl Clouds {
    /// Fresh lists, and of other kinds those that are shipped.
    pub(super) fn with<'a>(fresh: impl IntoIterator<Item = &'a Published>) -> Self {
        let fresh: Vec<&Published> = fresh.into_iter().collect();
        let shipped = compact::shipped();
        let is_fresh = |list: &Published| fresh.iter().any(|other| other.kind() == list.kind());
        let mut by_provider: HashMap<Provider, Vec<&Published>> = HashMap::new();
        for list in shipped.iter().filter(|list| !is_fresh(list)).chain(fresh.iter().copied()) {
            by_provider.entry(list.kind().provider()).or_default().push(list);
        }
        let merged = Provider::ALL.into_iter().filter_map(|provider| {
            let lists = by_provider.remove(&provider)?;
            Some((provider, Published::merged(&lists)))
        });
        Self::of(merged)
    }

    /// Of entries that are pruned.
    fn of(all: impl Iterator<Item = (Provider, Vec<Entry>)>) -> Self {
        let mut places: Vec<(String, String)> = Vec::new();
        let mut numbers: HashMap<(String, String), u32> = HashMap::new();
        let mut prefixes = Vec::new();
        let mut regions: HashMap<String, Vec<Provider>> = HashMap::new();
        let all =
            all.flat_map(|(provider, entries)| entries.into_iter().map(move |e| (provider, e)));
        for (provider, Entry { prefix, service, region }) in all {
            if !region.is_empty() && !region.eq_ignore_ascii_case("global") {
                let providers = regions.entry(region.clone()).or_default();
                if !providers.contains(&provider) {
                    providers.push(provider);
                }
            }
            let place = (service, region);
            let number = match numbers.get(&place) {
                Some(number) => *number,
                None => {
                    let number = u32::try_from(places.len()).unwrap_or(u32::MAX);
                    places.push(place.clone());
                    numbers.insert(place, number);
                    number
                }
            };
            prefixes.push((prefix, number));
        }
        Self { ranges: Ranges::new(prefixes), places, regions }
    }

    /// One provider has both regions.
    pub(super) fn have_one_provider(&self, a: &str, b: &str) -> bool {
        let both = self.regions.get(a).zip(self.regions.get(b));
        both.is_some_and(|(a, b)| a.iter().any(|provider| b.contains(provider)))
    }

    /// Service and region of an address.
    pub(super) fn get(&self, address: IpAddr) -> Option<(&str, &str)> {
        let number = usize::try_from(self.ranges.get(address)?).ok()?;
        self.places.get(number).map(|(service, region)| (&**service, &**region))
    }
}

//! Whether a list can be what its provider publishes: by itself, and beside the one that it would replace.
//!
//! Of the lists of 2025 and 2026, the widest ranges are an IPv4 /11 (AWS) and an IPv6 /32, and AWS has most addresses,
//! a fortieth of IPv4. Registries give nobody more than an IPv6 /19.

use super::compact;
use super::published::{CloudError, Entry, Published};

/// Shortest prefixes, in bits.
const WIDEST: [(u8, u8); 2] = [(4, 8), (6, 19)];
/// Most IPv4 addresses of one list.
const MOST_ADDRESSES: u64 = 1 << 29;
/// What comes from a source has at least one range for so many that came from it before.
const OF_THE_SAME: usize = 2;
/// The first list of a source, for so many of the shipped one: providers publish others beside the great one, as
/// Azure does for governments.
const OF_THE_SHIPPED: usize = 10;

/// Ranges that no provider has.
///
/// # Errors
/// One is too wide, they are too many addresses together, or there are none.
pub(super) fn by_itself(entries: &[Entry]) -> Result<(), CloudError> {
    if entries.is_empty() {
        return Err(CloudError::Empty);
    }
    let mut addresses = 0u64;
    let mut around: Option<&Entry> = None;
    for entry in entries {
        let (family, length) = entry.prefix.family_and_length();
        if WIDEST.iter().any(|(of, shortest)| *of == family && length < *shortest) {
            let service = entry.service.clone();
            return Err(CloudError::Wide { service, prefix: entry.prefix });
        }
        // In order, so that what is within another comes right after it.
        if around.is_some_and(|outer| outer.prefix.contains(entry.prefix)) {
            continue;
        }
        around = Some(entry);
        if family == 4 {
            addresses += 1u64 << 32u8.saturating_sub(length);
        }
    }
    if addresses > MOST_ADDRESSES { Err(CloudError::Sum { addresses }) } else { Ok(()) }
}

impl Published {
    /// Whether it can take the place of what came from the same source before, or if nothing did, of the shipped list.
    ///
    /// # Errors
    /// It is of another kind, or has far fewer ranges.
    pub(crate) fn can_replace(&self, before: Option<&Self>) -> Result<(), CloudError> {
        let (before, times) = match before {
            Some(before) if before.kind() != self.kind() => {
                let (before, now) = (before.kind().name(), self.kind().name());
                return Err(CloudError::Other { before, now });
            }
            Some(before) => (before.ranges(), OF_THE_SAME),
            None => {
                let shipped = compact::shipped();
                let same = shipped.iter().find(|list| list.kind() == self.kind());
                (same.map_or(0, Self::ranges), OF_THE_SHIPPED)
            }
        };
        let now = self.ranges();
        if now.saturating_mul(times) < before {
            return Err(CloudError::Fewer { before, now });
        }
        Ok(())
    }
}

//! Room for sockets: how large the maps are, and what happens when they fill.
//!
//! While less than three quarters of the socket map are taken, every new socket is entered. Beyond, one in two
//! is, then one in four, down to one in 256 in the last thirty-second of the map: a socket that is entered says
//! for how many it stands, and the others are counted. So a map that is too small blurs the picture instead of
//! cutting off what came last.

use std::fs;
use std::time::{Duration, Instant};

use aya::maps::{Array, MapData, PerCpuArray};
use weir_agent_ebpf::{Count, MAX_DATAGRAMS, MAX_SOCKETS, maps};

use super::BpfError;

/// Halvings at most.
const MOST: u64 = 8;
/// How long there has to be room for one halving less.
const CALM: Duration = Duration::from_secs(1);

/// Sockets and flows of datagrams that the maps hold: as many as a hundredth of the machine's memory has room for
/// when all of them are there, within bounds.
pub(super) fn from_memory() -> (u32, u32) {
    let Some(bytes) = memory() else { return (MAX_SOCKETS, MAX_DATAGRAMS) };
    let within = |part: u64, size: u64, least: u32, most: u32| {
        u32::try_from(bytes / part / size).unwrap_or(u32::MAX).clamp(least, most)
    };
    (within(110, 700, 65_536, 1 << 20), within(1100, 250, 16_384, 1 << 18))
}

/// Of the machine, bytes (proc(5), `meminfo`).
fn memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Watches how full the socket map is.
pub(super) struct Room {
    sampling: Array<MapData, u32>,
    counts: PerCpuArray<MapData, u64>,
    capacity: u64,
    /// Entries that the agent itself took out.
    taken: u64,
    halvings: u64,
    calm_since: Option<Instant>,
}

impl Room {
    pub(super) fn new(
        sampling: Array<MapData, u32>,
        counts: PerCpuArray<MapData, u64>,
        capacity: u32,
    ) -> Self {
        let capacity = capacity.into();
        Self { sampling, counts, capacity, taken: 0, halvings: 0, calm_since: None }
    }

    /// Entries that were made or have left, since the start.
    pub(super) fn count(&self, count: Count) -> Result<u64, BpfError> {
        let each = self
            .counts
            .get(&(count as u32), 0)
            .map_err(|source| BpfError::Map { map: maps::COUNTS, source })?;
        Ok(each.iter().sum())
    }

    /// The agent took an entry out of the socket map.
    pub(super) fn took_one(&mut self) {
        self.taken += 1;
    }

    /// Sees to it that new sockets find room. To be called several times a second.
    pub(super) fn adjust(&mut self, now: Instant) -> Result<(), BpfError> {
        let left = self.count(Count::SocketsLeft)? + self.taken;
        let held = self.count(Count::SocketsEntered)?.saturating_sub(left);
        let halvings = self.next(held, now);
        if halvings != self.halvings {
            let value = u32::try_from(halvings).unwrap_or(0);
            self.sampling
                .set(0, value, 0)
                .map_err(|source| BpfError::Map { map: maps::SAMPLING, source })?;
            if self.halvings == 0 {
                tracing::warn!(sockets = held, room = self.capacity, "new sockets are sampled");
            } else if halvings == 0 {
                tracing::info!("all new sockets are measured again");
            }
            self.halvings = halvings;
        }
        Ok(())
    }

    fn next(&mut self, held: u64, now: Instant) -> u64 {
        let wanted = halvings(held, self.capacity);
        if wanted >= self.halvings {
            self.calm_since = None;
            return wanted;
        }
        let calm = *self.calm_since.get_or_insert(now);
        if now.duration_since(calm) < CALM {
            return self.halvings;
        }
        self.calm_since = None;
        self.halvings - 1
    }
}

/// For so many entries.
fn halvings(held: u64, capacity: u64) -> u64 {
    let free_above = capacity / 4 * 3;
    let Some(above) = held.checked_sub(free_above).filter(|above| *above > 0) else { return 0 };
    (1 + above * MOST / (capacity - free_above).max(1)).min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fuller_the_fewer() {
        let of = |held| halvings(held, 1024);
        assert_eq!([0, 700, 768].map(of), [0, 0, 0]);
        assert_eq!([769, 799, 800, 832, 1000, 1024, 2000].map(of), [1, 1, 2, 3, 8, 8, 8]);
    }

    #[test]
    fn maps_fit_the_machine() {
        let (sockets, flows) = from_memory();
        assert!((65_536..=1 << 20).contains(&sockets) && (16_384..=1 << 18).contains(&flows));
        assert!(memory().is_some_and(|bytes| bytes > 64 << 20));
    }
}

//! Which files to rewrite as one. No I/O.
//!
//! Only files of one window and one part are put together. Their size class is the logarithm of their
//! rows to the base [`FAN_IN`].
//!
//! - While rows still arrive in a window, files of one class wait until there are [`FAN_IN`] of them.
//!   The outcome is in a higher class, so a row is rewritten once a class, and a window and part has
//!   at most `(FAN_IN - 1) * classes` files that are not full.
//! - Files of which [`MAX_FAN_IN`] make a full one have no class any more: they wait until they fill
//!   one, whatever their rows, and are rewritten only once.
//! - A window that has settled (its time is over, and nothing was added for [`SETTLE`]) is put
//!   together as far as the target size allows: one file, or few.
//! - Files of at least half the target size are full: putting them together gains little. They are
//!   rewritten only to drop rows that nobody may see any more.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::part::PartId;
use crate::window::Window;

/// Files of one class that are put together, and the base of the classes.
pub(crate) const FAN_IN: usize = 8;
/// Most files that one job reads: each takes memory.
pub(crate) const MAX_FAN_IN: usize = 16;
/// The same, to divide bytes by.
const MAX_FAN_IN_BYTES: u64 = MAX_FAN_IN as u64;
/// After a window's end, and after the last rows that arrived in it, it counts as settled.
pub(crate) const SETTLE: Duration = Duration::from_secs(15 * 60);

/// What the plan needs to know of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Number of the window that all rows of the file are in.
    pub(crate) window: i64,
    /// Number of the part that all rows of the file are in.
    pub(crate) part: PartId,
    /// Bytes.
    pub(crate) size: u64,
    pub(crate) rows: u64,
    /// When rows in it were last new to the table, microseconds since the Unix epoch.
    pub(crate) committed: i64,
    /// Whether it holds rows that should go from disk.
    pub(crate) rewrite: bool,
}

/// How files of a table are put together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    /// Windows of the table.
    pub(crate) window: Window,
    /// Bytes of input that make a full file.
    pub(crate) target: u64,
}

/// The next files to rewrite as one, as positions in `files`: those where a job removes most files,
/// and among those the smallest. `None` when all is as it should be.
pub(crate) fn next(policy: &Policy, files: &[Candidate], now: i64) -> Option<Vec<usize>> {
    let mut places: BTreeMap<(i64, PartId), Vec<usize>> = BTreeMap::new();
    for (position, file) in files.iter().enumerate() {
        places.entry((file.window, file.part)).or_default().push(position);
    }
    let file = |position: &usize| files.get(*position);
    let bytes = |group: &[usize]| -> u64 { group.iter().filter_map(file).map(|f| f.size).sum() };
    let mut best: Option<(usize, u64, Vec<usize>)> = None;
    for positions in places.values() {
        let Some(group) = of_place(policy, files, positions, now) else { continue };
        let (count, size) = (group.len(), bytes(&group));
        let better =
            |(n, bytes, _): &(usize, u64, Vec<usize>)| count > *n || (count == *n && size < *bytes);
        if best.as_ref().is_none_or(better) {
            best = Some((count, size, group));
        }
    }
    best.map(|(_, _, group)| group)
}

/// The next group of one window and part.
fn of_place(
    policy: &Policy,
    files: &[Candidate],
    positions: &[usize],
    now: i64,
) -> Option<Vec<usize>> {
    let mut members: Vec<(usize, Candidate)> =
        positions.iter().filter_map(|p| Some((*p, *files.get(*p)?))).collect();
    members.sort_by_key(|(_, file)| (file.size, file.rows));
    let small: Vec<(usize, Candidate)> =
        members.iter().filter(|(_, file)| file.size < policy.target / 2).copied().collect();
    let group = if settled(policy, &members, now) {
        fill(policy, &small)
    } else {
        let mut classes: BTreeMap<u32, Vec<(usize, Candidate)>> = BTreeMap::new();
        let mut large = Vec::new();
        for member in small {
            if member.1.size >= policy.target / MAX_FAN_IN_BYTES {
                large.push(member);
            } else {
                classes.entry(class(member.1.rows)).or_default().push(member);
            }
        }
        let full = |large: &Vec<_>| large.len() >= MAX_FAN_IN || sum(large) >= policy.target;
        classes
            .values()
            .filter(|class| class.len() >= FAN_IN || sum(class) >= policy.target)
            .chain(Some(&large).filter(|large| full(large)))
            .find_map(|class| fill(policy, class))
    };
    group.or_else(|| members.iter().find(|(_, file)| file.rewrite).map(|(at, _)| vec![*at]))
}

/// The smallest of `members` (which come in order of size) that together make at most a full file.
fn fill(policy: &Policy, members: &[(usize, Candidate)]) -> Option<Vec<usize>> {
    let mut bytes = 0u64;
    let group: Vec<usize> = members
        .iter()
        .take(MAX_FAN_IN)
        .take_while(|(_, file)| {
            bytes = bytes.saturating_add(file.size);
            bytes <= policy.target
        })
        .map(|(position, _)| *position)
        .collect();
    (group.len() > 1).then_some(group)
}

fn settled(policy: &Policy, members: &[(usize, Candidate)], now: i64) -> bool {
    members.iter().all(|(_, file)| {
        is_quiet(policy.window.end(file.window), now) && is_quiet(file.committed, now)
    })
}

/// Whether nothing has happened for [`SETTLE`].
pub(crate) fn is_quiet(since: i64, now: i64) -> bool {
    now.saturating_sub(since) >= i64::try_from(SETTLE.as_micros()).unwrap_or(i64::MAX)
}

fn class(rows: u64) -> u32 {
    rows.max(1).ilog(FAN_IN as u64)
}

fn sum(members: &[(usize, Candidate)]) -> u64 {
    members.iter().map(|(_, file)| file.size).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests;

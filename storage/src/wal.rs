//! The write-ahead log: what is acknowledged is here until a table commit covers it.
//!
//! 1. [`writer`]: one thread gathers the appends that wait, writes them as one frame, syncs the file
//!    once, and only then makes them visible and acknowledges them.
//! 2. [`format`]: the bytes of segments, frames and entries.
//! 3. [`recovery`]: reads the segments back at open; tells a torn tail from damage.
//! 4. [`segments`]: which segments commits cover, so that their files can go.

pub(crate) mod format;
pub(crate) mod recovery;
pub(crate) mod segments;
pub(crate) mod writer;

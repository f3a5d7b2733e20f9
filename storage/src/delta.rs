//! Tables as Delta Lake tables: which files belong to a table is what its `_delta_log` says.
//!
//! Protocol: <https://github.com/delta-io/delta/blob/master/PROTOCOL.md>. Each flush and each expiry
//! is one commit. A commit carries the application transaction [`crate::place::WAL_APP`], whose version is the
//! LSN up to which the table's rows are in files: rows and position become visible together.
//!
//! Every [`log::CHECKPOINT_EVERY`] commits the state is written as a checkpoint, and log files older
//! than [`log::KEEP_LOG`] that a checkpoint makes superfluous are removed, so that opening a table
//! reads a bounded number of files. Checkpoints forget removed files after the same time. Older
//! versions of a table cannot be read (no time travel): the files of removed rows are deleted, not
//! kept.

pub(crate) mod log;
pub(crate) mod schema;

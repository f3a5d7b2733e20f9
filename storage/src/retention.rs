//! What is kept, and for how long. No I/O.
//!
//! - [`policy`]: the rules as they are configured, and what they mean for one table;
//! - [`age`]: which files are over age as a whole, and which of their rows are;
//! - [`size`]: which files go when all of them together are too large;
//! - [`trust`]: how far the clock is believed;
//! - [`graveyard`]: files that are no longer part of a table and may still be read.

pub(crate) mod age;
pub(crate) mod graveyard;
pub(crate) mod policy;
pub(crate) mod size;
pub(crate) mod trust;

pub use self::policy::{Retention, RetentionRule};

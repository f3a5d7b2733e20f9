//! The node agent: measures every flow of this host and ships it.

pub mod socket;

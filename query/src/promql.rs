//! PromQL: parsing, planning and evaluation, independent of where the data lies.

pub mod error;
pub mod source;

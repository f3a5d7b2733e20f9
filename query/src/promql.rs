//! PromQL: parsing, planning and evaluation, independent of where the data lies.
//!
//! ```text
//! text -> parse -> expr -> eval -> answer
//!                   |       |
//!                   |       +- stream: selectors, read block by block
//!                   |       +- functions, aggregate, binary: plain computation
//!                   +- plan: which parts the store answers as sums of deltas
//! ```
//!
//! The semantics are those of Prometheus 3: windows are left-open, a stale marker ends a series, rates
//! are extrapolated as there, except where the [`source::Source`] knows exact sums.

pub mod engine;
pub mod error;
pub mod source;

mod aggregate;
mod binary;
mod eval;
mod expr;
mod functions;
pub(crate) mod histogram;
mod info;
mod labels;
mod notes;
mod number;
mod parse;
mod plan;
mod stop;
mod stream;
mod time;
mod values;
mod vector;
mod window;

pub use engine::{Answer, Engine, Parsed, Query, Value};
pub use functions::function_names;
pub use number::format_value;
pub(crate) use number::go::shortest as format_shortest;
pub(crate) use number::{format_plain, write_value};
pub(crate) use parse::parse_labels;
pub use parse::{formatted, parse_selector, syntax_tree};
pub use stop::Stop;
pub(crate) use stop::TIMED_OUT;
pub use time::parse_duration;
pub use values::Values;
pub use window::is_stale;

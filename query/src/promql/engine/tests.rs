//! The engine against series in memory.

mod golden;
mod memory;
mod pushdown;
mod queries;

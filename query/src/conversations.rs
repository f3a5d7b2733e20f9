//! Who talked to whom: the flow table, the service map, and the change between two periods.
//!
//! ```text
//! [`question`]   what is asked: view, period, filters, labels to group by, measures
//! [`ends`]       which rows count, and how rows of the server's end are turned round
//! [`measure`]    the numbers of an answer, and what each is made of
//! [`gather`]     asks the tiers that answer each part of the period exactly
//! [`rows`]       rows of a period, read once
//! [`groups`]     sums by group        [`keys`]      which group a row is of        [`texts`]     labels as numbers
//! [`counts`]     their histograms
//! [`table`]      rows in order, totals, and what is not shown
//! [`spark`]      a measure over time, for the rows that are shown
//! [`statement`]  the same question in PromQL and SQL
//! [`map`]        nodes and edges; [`node_graph`]  the same for Grafana
//! [`compare`]    two periods
//! [`completeness`]  what the answer stands on
//! [`answer`]     what all answers are made of
//! ```
//!
//! **Each byte once.** A conversation between two measured hosts is two rows. Here a row is told from the end that opened it:
//! rows whose role is `server` are the other end's word for the same, and stand beside it (`server_*`, `lost_*`). Rows of
//! peers in clouds and outside are of one end alone, and count whatever their role. A row of role `unknown` counts
//! like the client's, unless only the local port is known, which a server has; where both ends of such a conversation
//! are measured and neither port was folded, it counts at both.

pub(crate) mod answer;
pub(crate) mod compare;
pub(crate) mod completeness;
mod counts;
mod ends;
pub(crate) mod gather;
mod groups;
mod keys;
pub(crate) mod map;
pub(crate) mod measure;
pub(crate) mod node_graph;
pub(crate) mod question;
mod rows;
pub(crate) mod spark;
mod statement;
pub(crate) mod table;
mod texts;

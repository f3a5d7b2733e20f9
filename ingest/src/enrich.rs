//! The names of both ends of each row, from what the server knows of addresses: see [`crate::names`] and
//! [`crate::places`].
//!
//! ```text
//! [`places`]     peers in clouds and named networks
//! [`ends`]       which pod the local end is
//! [`peers`]      which pod, node or host the peer is    [`services`]   which service was dialled
//! [`questions`]  what rows ask, each once               [`everyone`]   those who are found
//! [`learn`]      what rows tell of the hosts that they come from
//! [`crossing`]   how far apart the two ends are
//! ```
//!
//! What a sender says itself is left as it is. Everything is looked up once for each distinct value of a batch, not
//! for each row; of rows only the numbers of their texts are touched.

mod column;
mod crossing;
mod ends;
mod everyone;
mod intervals;
mod learn;
mod peers;
mod places;
mod questions;
mod services;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;

pub(crate) use ends::Unknown;

use crate::names::Names;
use crate::places::LivePlaces;

/// One of the texts of a label column is such.
pub(crate) fn any_text(batch: &RecordBatch, name: &str, is: &dyn Fn(&str) -> bool) -> bool {
    let Some(column) = column::Column::of(batch, name) else { return false };
    (0..column.texts()).any(|number| column.text(number).is_some_and(is))
}

/// All that the server knows of addresses.
#[derive(Debug, Clone)]
pub struct Enrichment {
    /// Clouds and networks.
    pub places: Arc<LivePlaces>,
    /// Pods, nodes and services.
    pub names: Arc<Names>,
}

impl Enrichment {
    /// What every server knows: the shipped places, and no names.
    #[must_use]
    pub fn shipped() -> Self {
        Self { places: LivePlaces::shipped(), names: Names::nobody() }
    }

    /// Fills in what the sender of a batch, which has the columns of `flows`, has left out. `unknown` is told which
    /// addresses and pods ought to have a name and have none yet.
    ///
    /// # Errors
    /// When Arrow refuses the columns: a defect of this crate.
    pub(crate) fn enrich(
        &self,
        batch: RecordBatch,
        unknown: &mut Unknown,
    ) -> Result<RecordBatch, ArrowError> {
        let places = self.places.now();
        let batch = places.enrich(batch)?;
        let batch = self.names.enrich(batch, unknown)?;
        crossing::enrich(batch, &places)
    }

    /// Takes over what rows that have been enriched tell of the hosts that they come from.
    pub(crate) fn learn(&self, batch: &RecordBatch) {
        self.names.learn(batch);
    }
}

#[cfg(test)]
mod tests;

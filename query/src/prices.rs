//! What traffic costs: the user's own prices, applied to rows when they are asked about.
//!
//! ```toml
//! currency = "USD"
//!
//! [[price]]                    # the first that matches a row counts
//! crossing = "cross-zone"      # any, unless given
//! service = "S3"               # of a cloud provider; any, unless given
//! sent = 0.01                  # for 10^9 bytes of payload; 0 unless given
//! received = 0.01
//! ```
//!
//! Rows are of one end, and so are prices: `sent` is for what the local end of a row sends. Providers charge each end
//! of a conversation for itself, so the sum over all rows is the bill, of both ends if both are measured. Bytes are those
//! of payload, without headers and what was sent again, which providers do charge.

mod cost;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use parking_lot::RwLock;
use serde::Deserialize;
use thiserror::Error;

pub(crate) use cost::{COST, cost, cost_in_billionths};

/// Crossings that rows have: see the column of that name.
const CROSSINGS: [&str; 5] = ["same-zone", "cross-zone", "same-region", "cross-region", "internet"];

/// What one kind of traffic costs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Price {
    crossing: Option<String>,
    service: Option<String>,
    #[serde(default)]
    sent: f64,
    #[serde(default)]
    received: f64,
}

/// Prices, in the order in which they are tried.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// For people; nothing is converted.
    #[serde(default)]
    currency: String,
    #[serde(default)]
    price: Vec<Price>,
}

/// Prices that can change: a query takes those of the moment, and keeps them to its end.
#[derive(Debug, Clone, Default)]
pub struct LivePrices(Arc<RwLock<Arc<Prices>>>);

impl LivePrices {
    /// Those of a file.
    ///
    /// # Errors
    /// See [`Prices::read`].
    pub fn read(path: &Path) -> Result<Self, PricesError> {
        let prices = Self::default();
        prices.reread(path)?;
        Ok(prices)
    }

    /// Reads the file again, for queries that begin from now on.
    ///
    /// # Errors
    /// See [`Prices::read`]; the prices stay as they are.
    pub fn reread(&self, path: &Path) -> Result<(), PricesError> {
        let prices = Prices::read(path)?;
        *self.0.write() = Arc::new(prices);
        Ok(())
    }

    /// The prices of now.
    pub(crate) fn now(&self) -> Arc<Prices> {
        Arc::clone(&self.0.read())
    }
}

/// A file of prices that cannot be used.
#[derive(Debug, Error)]
pub enum PricesError {
    /// It cannot be read.
    #[error("cannot read prices {path}")]
    Read {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is not as documented.
    #[error("prices {path}: {source}")]
    Form {
        /// Its path.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A price cannot be right.
    #[error("prices {path}, price {number}: {fault}")]
    Price {
        /// Its path.
        path: PathBuf,
        /// Counted from 1.
        number: usize,
        /// What is wrong with it.
        fault: String,
    },
}

impl Prices {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read or is not as documented, with the place.
    pub fn read(path: &Path) -> Result<Self, PricesError> {
        let own = || path.to_owned();
        let text =
            fs::read_to_string(path).map_err(|source| PricesError::Read { path: own(), source })?;
        let prices: Self = toml::from_str(&text)
            .map_err(|source| PricesError::Form { path: own(), source: source.into() })?;
        for (price, number) in prices.price.iter().zip(1..) {
            let wrong = |fault| Err(PricesError::Price { path: own(), number, fault });
            if let Some(crossing) = &price.crossing
                && !CROSSINGS.contains(&crossing.as_str())
            {
                let known = CROSSINGS.join(", ");
                return wrong(format!("there is no crossing `{crossing}`; there are {known}"));
            }
            // A billionth of it for each byte has to fit into a sum.
            if !(0.0..=1e6).contains(&price.sent) || !(0.0..=1e6).contains(&price.received) {
                return wrong("`sent` and `received` lie between 0 and 1000000".to_owned());
            }
        }
        Ok(prices)
    }

    /// The currency, as the file has it.
    #[must_use]
    pub fn currency(&self) -> &str {
        &self.currency
    }

    /// There are none.
    fn is_empty(&self) -> bool {
        self.price.is_empty()
    }

    /// For 10^9 bytes sent and received; nothing for traffic of which no price speaks.
    fn of(&self, crossing: &str, service: &str) -> Option<(f64, f64)> {
        let is = |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|w| w == value);
        let mut prices = self.price.iter();
        let price =
            prices.find(|price| is(&price.crossing, crossing) && is(&price.service, service));
        price.map(|price| (price.sent, price.received))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Prices, PricesError> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), text).expect("it is written");
        Prices::read(file.path())
    }

    #[test]
    fn the_first_price_that_matches_counts() {
        let prices = read(
            "currency = \"USD\"\n\
             [[price]]\ncrossing = \"same-region\"\nservice = \"S3\"\n\
             [[price]]\ncrossing = \"cross-zone\"\nsent = 0.01\nreceived = 0.01\n\
             [[price]]\ncrossing = \"internet\"\nsent = 0.09\n",
        )
        .unwrap();
        assert_eq!(prices.currency(), "USD");
        assert_eq!(prices.of("same-region", "S3"), Some((0.0, 0.0)));
        assert_eq!(prices.of("same-region", "EC2"), None);
        assert_eq!(prices.of("cross-zone", ""), Some((0.01, 0.01)));
        assert_eq!(prices.of("internet", "CLOUDFRONT"), Some((0.09, 0.0)));
        assert_eq!(prices.of("", ""), None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("[[price]]\ncrossing = \"moon\"", "price 1: there is no crossing `moon`"),
            ("[[price]]\nsent = -1", "price 1"),
            ("[[price]]\nsend = 1", "unknown field `send`"),
            ("[[prices]]", "unknown field `prices`"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        let error = Prices::read(Path::new("/nonexistent/prices.toml")).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/prices.toml"), "{error}");
    }
}

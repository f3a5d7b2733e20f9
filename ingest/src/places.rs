//! Where a peer is: in which cloud provider's service and region, and in which network of the user's.
//!
//! ```text
//! [`ranges`]   addresses -> what is known of them; the longest prefix wins
//! [`databases`] AS numbers and countries, from files that the user has
//! [`clouds`]   the ranges that providers publish, as shipped and as they come from [`source`]s
//! [`live`]     the places of now, while files and lists change
//! ```
//!
//! An address that the agent calls `external` becomes `cloud` if a provider publishes it, with the service
//! (`S3`) and the region (`eu-west-1`). A more specific service beats the provider's name for all of its addresses.
//! `peer_network` is the user's own name for a range, or `private` for those that nobody routes.

mod clouds;
mod databases;
mod live;
mod ranges;
mod source;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use thiserror::Error;

use clouds::Clouds;
pub use clouds::{CloudError, MAX_LIST, Published, compact};
use databases::Databases;
pub(crate) use databases::Origin;
pub use live::LivePlaces;
use ranges::Ranges;
pub use ranges::{NetworkError, Prefix};
pub use source::{CloudSource, SourceError};

/// What nobody routes: RFC 1918, RFC 6598 (shared by carriers), RFC 3927 and RFC 4291 (of one link), RFC 4193.
const PRIVATE: [&str; 7] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "fe80::/10",
    "fc00::/7",
];

/// A name of the user's for a range of addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Value of the column `peer_network`.
    pub name: String,
    /// Its addresses.
    pub prefix: Prefix,
}

/// A name may be the value of a label: batches with others would be refused.
pub(crate) fn is_label(name: &str) -> bool {
    name.len() <= 200 && !name.chars().any(char::is_control)
}

impl Network {
    /// # Errors
    /// The name is empty, longer than 200 bytes or has control characters.
    pub fn new(name: &str, prefix: Prefix) -> Result<Self, NetworkError> {
        if name.is_empty() || !is_label(name) {
            return Err(NetworkError::Name(name.to_owned()));
        }
        Ok(Self { name: name.to_owned(), prefix })
    }
}

impl std::str::FromStr for Network {
    type Err = NetworkError;

    /// `NAME=ADDRESS/LENGTH`
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || NetworkError::Form(text.to_owned());
        let (name, prefix) = text.rsplit_once('=').ok_or_else(wrong)?;
        Self::new(name, prefix.parse()?)
    }
}

/// What the server is told of places.
#[derive(Debug, Clone, Default)]
pub struct PlaceSettings {
    /// Lists as AWS, Google and Azure publish them. With any, the shipped one of the same kind is not used.
    pub cloud_ranges: Vec<CloudSource>,
    /// Databases in MaxMind's format; the first that knows an address counts.
    pub databases: Vec<PathBuf>,
    /// Named ranges; the longest prefix wins.
    pub networks: Vec<Network>,
}

/// A file of ranges cannot be used.
#[derive(Debug, Error)]
pub enum PlaceError {
    /// It cannot be read.
    #[error("cannot read cloud ranges {path}")]
    Read {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is no list of ranges.
    #[error("cloud ranges {path}")]
    Clouds {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        source: CloudError,
    },
    /// A database cannot be read.
    #[error("cannot read database {path}")]
    Database {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is none in MaxMind's format.
    #[error("{path} is no database in MaxMind's format, or is damaged")]
    Form {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        source: maxminddb::MaxMindDbError,
    },
}

/// Knows places.
#[derive(Debug, Clone)]
pub struct Places {
    clouds: Arc<Clouds>,
    databases: Arc<Databases>,
    networks: Arc<Networks>,
}

/// The user's networks and the private ones.
#[derive(Debug)]
struct Networks {
    ranges: Ranges,
    names: Vec<String>,
}

impl Networks {
    fn new(networks: &[Network]) -> Self {
        let mut names: Vec<String> = Vec::new();
        let mut numbers: HashMap<&str, u32> = HashMap::new();
        let mut prefixes: Vec<(Prefix, u32)> = Vec::new();
        // The user's come last: of equal prefixes, the last one counts.
        let private = PRIVATE.iter().filter_map(|text| Some(("private", text.parse().ok()?)));
        let named = networks.iter().map(|network| (network.name.as_str(), network.prefix));
        for (name, prefix) in private.chain(named) {
            let number = *numbers.entry(name).or_insert_with(|| {
                names.push(name.to_owned());
                u32::try_from(names.len() - 1).unwrap_or(u32::MAX)
            });
            prefixes.push((prefix, number));
        }
        Self { ranges: Ranges::new(prefixes), names }
    }
}

/// The shipped ranges, and no networks but private ones.
static SHIPPED: LazyLock<Arc<Places>> = LazyLock::new(|| {
    Arc::new(Places {
        clouds: Arc::new(Clouds::with([])),
        databases: Arc::default(),
        networks: Arc::new(Networks::new(&[])),
    })
});

impl Places {
    /// Those that every server knows.
    #[must_use]
    pub fn shipped() -> Arc<Self> {
        Arc::clone(&SHIPPED)
    }

    /// Service and region of a provider's address.
    #[must_use]
    pub fn cloud(&self, address: IpAddr) -> Option<(&str, &str)> {
        self.clouds.get(address)
    }

    /// AS number and country of an address.
    pub(crate) fn origin(&self, address: IpAddr) -> Origin<'_> {
        self.databases.get(address)
    }

    /// One provider has both regions.
    pub(crate) fn have_one_provider(&self, a: &str, b: &str) -> bool {
        self.clouds.have_one_provider(a, b)
    }

    /// The name of the network that an address is in.
    #[must_use]
    pub fn network(&self, address: IpAddr) -> Option<&str> {
        let number = usize::try_from(self.networks.ranges.get(address)?).ok()?;
        self.networks.names.get(number).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(places: &Places, address: &str) -> (Option<(String, String)>, Option<String>) {
        let address = address.parse().unwrap();
        let cloud = places.cloud(address).map(|(s, r)| (s.to_owned(), r.to_owned()));
        (cloud, places.network(address).map(str::to_owned))
    }

    #[test]
    fn private_ranges_have_a_name_and_the_users_names_beat_it() {
        let networks = ["office=10.7.0.0/16", "lab=10.7.8.0/24", "all=10.0.0.0/8"];
        let networks: Vec<Network> = networks.iter().map(|text| text.parse().unwrap()).collect();
        let networks = Arc::new(Networks::new(&networks));
        let places = Places { networks, ..Places::clone(&Places::shipped()) };
        let name = |address| at(&places, address).1;
        assert_eq!(name("10.7.1.1").as_deref(), Some("office"));
        assert_eq!(name("10.7.8.1").as_deref(), Some("lab"));
        assert_eq!(name("10.8.0.1").as_deref(), Some("all"), "the same prefix, named");
        assert_eq!(name("172.31.255.255").as_deref(), Some("private"));
        assert_eq!(name("172.32.0.0"), None);
        assert_eq!(name("fd12::1").as_deref(), Some("private"));
        assert_eq!(name("2001:db8::1"), None);
    }

    #[test]
    fn networks_are_read_or_refused_by_name() {
        let network: Network = "a=b=192.0.2.0/24".parse().unwrap();
        assert_eq!(network.name, "a=b");
        for text in ["", "x", "=10.0.0.0/8", "x=10.0.0.0", "x=10.0.0.0/33", "x=10.0.0.1/8", "x=y/8"]
        {
            let error = text.parse::<Network>().unwrap_err().to_string();
            let part =
                if text.starts_with('=') { "name" } else { text.rsplit('=').next().unwrap() };
            assert!(error.contains(part), "{error}");
        }
        let error = "a\tb=10.0.0.0/8".parse::<Network>().unwrap_err();
        assert_eq!(error, NetworkError::Name("a\tb".into()));
    }

    #[test]
    fn the_shipped_ranges_know_the_great_services() {
        let places = Places::shipped();
        for (address, service, region) in
            [("3.5.140.1", "S3", "ap-northeast-2"), ("52.94.5.1", "DYNAMODB", "eu-west-1")]
        {
            let expected = Some((service.to_owned(), region.to_owned()));
            assert_eq!(at(&places, address).0, expected, "{address}");
        }
        assert_eq!(at(&places, "203.0.113.1"), (None, None));
    }
}

//! AS numbers and countries of addresses, from databases in MaxMind's format that the user supplies
//! (<https://maxmind.github.io/MaxMind-DB/>): GeoLite2-ASN, GeoLite2-Country, and whatever has the same fields.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use maxminddb::{MaxMindDbError, Reader};
use serde::Deserialize;

use super::{PlaceError, is_label};

/// What is read of a record.
#[derive(Debug, Deserialize)]
struct Record<'a> {
    autonomous_system_number: Option<u32>,
    #[serde(borrow)]
    country: Option<Country<'a>>,
}

#[derive(Debug, Deserialize)]
struct Country<'a> {
    /// ISO 3166-1 alpha-2.
    iso_code: Option<&'a str>,
}

/// What is known of an address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Origin<'a> {
    pub(crate) asn: Option<u32>,
    pub(crate) country: Option<&'a str>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Databases(Vec<Reader<Vec<u8>>>);

impl Databases {
    /// Reads the files into memory.
    ///
    /// # Errors
    /// One of them cannot be read, or is no such database.
    pub(super) fn read(paths: &[impl AsRef<Path>]) -> Result<Self, PlaceError> {
        let read = |path: &Path| {
            let own = || path.to_owned();
            let bytes =
                fs::read(path).map_err(|source| PlaceError::Database { path: own(), source })?;
            let wrong = |source: MaxMindDbError| PlaceError::Form { path: own(), source };
            let reader = Reader::from_source(bytes).map_err(wrong)?;
            // A damaged one would fail address by address.
            reader.verify().map_err(wrong)?;
            Ok(reader)
        };
        paths.iter().map(|path| read(path.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// What the first database that knows says.
    pub(super) fn get(&self, address: IpAddr) -> Origin<'_> {
        let mut origin = Origin::default();
        for reader in &self.0 {
            let found =
                reader.lookup(address).ok().and_then(|found| found.decode::<Record<'_>>().ok()?);
            let Some(record) = found else { continue };
            origin.asn = origin.asn.or(record.autonomous_system_number);
            let country = record.country.and_then(|country| country.iso_code);
            origin.country = origin.country.or(country.filter(|code| is_label(code)));
        }
        origin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/asn-country.mmdb");

    #[test]
    fn numbers_and_countries_are_found() {
        let databases = Databases::read(&[FIXTURE]).unwrap();
        let get = |address: &str| databases.get(address.parse().unwrap());
        assert_eq!(get("203.0.113.9"), Origin { asn: Some(64500), country: Some("DE") });
        assert_eq!(get("198.51.100.1"), Origin { asn: Some(64501), country: None });
        assert_eq!(get("198.51.100.200"), Origin::default());
        assert_eq!(get("2001:db8::1"), Origin { asn: None, country: Some("FR") });
        assert_eq!(get("10.0.0.1"), Origin::default());
    }

    #[test]
    fn what_is_no_database_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let absent = folder.path().join("absent.mmdb");
        let error = Databases::read(&[&absent]).unwrap_err().to_string();
        assert!(error.contains("absent.mmdb"), "{error}");
        let wrong = folder.path().join("wrong.mmdb");
        let mut bytes = std::fs::read(FIXTURE).unwrap();
        bytes.truncate(bytes.len() / 2);
        std::fs::write(&wrong, bytes).unwrap();
        let error = Databases::read(&[&wrong]).unwrap_err().to_string();
        assert!(error.contains("wrong.mmdb"), "{error}");
    }
}

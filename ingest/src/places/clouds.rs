//! The addresses that cloud providers publish.
//!
//! - AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/aws-ip-ranges.html>
//! - Google Cloud: <https://cloud.google.com/compute/docs/faq> (`cloud.json`)
//! - Azure: "Azure IP Ranges and Service Tags"
//!
//! What is shipped is a text of lines `provider service region prefix`, separated by tabs, after a line
//! with its magic and version, in one zstd frame with a checksum. `cargo run -p weir-ingest --example
//! compact-clouds FILE...` makes it out of the providers' files.

use std::collections::HashMap;
use std::io::Read as _;
use std::net::IpAddr;

use serde::Deserialize;
use thiserror::Error;

use super::is_label;
use super::ranges::{NetworkError, Prefix, Ranges};

/// Made on 2026-11-26 of the lists of 2026-08 (AWS) and 2025-07 (Google Cloud, Azure).
static SHIPPED: &[u8] = include_bytes!("clouds.zst");

const MAGIC: &str = "weir-clouds 1";
/// Most bytes of a text of ranges.
const MAX_TEXT: u64 = 64 << 20;

/// A list of ranges that cannot be used.
#[derive(Debug, Error)]
pub enum CloudError {
    /// It is not JSON of a form that is known.
    #[error("is none of the lists that AWS, Google Cloud and Azure publish")]
    Form,
    /// It is JSON of another form.
    #[error("is not as its provider documents it")]
    Json(#[from] serde_json::Error),
    /// One of its ranges is none.
    #[error("`{service}` has a range `{prefix}`")]
    Range {
        /// The service that it is said to be of.
        service: String,
        /// As it stands there.
        prefix: String,
        /// What is wrong with it.
        source: Box<NetworkError>,
    },
    /// A name that cannot be a label.
    #[error("has the name {0:?}, which is over 200 bytes or has control characters")]
    Name(String),
    /// There is nothing in it.
    #[error("has no ranges")]
    Empty,
}

/// Who publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Provider {
    Aws,
    Google,
    Azure,
}

const PROVIDERS: [(Provider, &str); 3] =
    [(Provider::Aws, "aws"), (Provider::Google, "google"), (Provider::Azure, "azure")];

/// One range.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    prefix: Prefix,
    service: String,
    region: String,
}

/// What one provider publishes.
#[derive(Debug)]
pub(super) struct Published {
    provider: Provider,
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct AwsList {
    prefixes: Vec<AwsPrefix>,
    #[serde(default)]
    ipv6_prefixes: Vec<AwsPrefix>,
}

#[derive(Deserialize)]
struct AwsPrefix {
    #[serde(alias = "ipv6_prefix")]
    ip_prefix: String,
    region: String,
    service: String,
}

#[derive(Deserialize)]
struct GoogleList {
    prefixes: Vec<GooglePrefix>,
}

#[derive(Deserialize)]
struct GooglePrefix {
    #[serde(alias = "ipv6Prefix", rename = "ipv4Prefix")]
    prefix: String,
    service: String,
    scope: String,
}

#[derive(Deserialize)]
struct AzureList {
    values: Vec<AzureTag>,
}

#[derive(Deserialize)]
struct AzureTag {
    name: String,
    properties: AzureProperties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AzureProperties {
    #[serde(default)]
    region: String,
    address_prefixes: Vec<String>,
}

impl Published {
    /// Reads a provider's own list.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, CloudError> {
        let json: serde_json::Value = serde_json::from_slice(bytes)?;
        let first = json.get("prefixes").and_then(|list| list.get(0));
        let published = if json.get("values").is_some() {
            let list: AzureList = serde_json::from_value(json)?;
            let entries = list.values.iter().flat_map(tagged).collect::<Result<_, _>>()?;
            Self { provider: Provider::Azure, entries }
        } else if first.is_some_and(|one| one.get("ip_prefix").is_some()) {
            let list: AwsList = serde_json::from_value(json)?;
            let all = list.prefixes.into_iter().chain(list.ipv6_prefixes);
            let entries = all.map(|p| entry(&p.ip_prefix, p.service, p.region));
            Self { provider: Provider::Aws, entries: entries.collect::<Result<_, _>>()? }
        } else if first.is_some() {
            let list: GoogleList = serde_json::from_value(json)?;
            let all = list.prefixes.into_iter();
            let entries = all.map(|p| entry(&p.prefix, p.service, p.scope));
            Self { provider: Provider::Google, entries: entries.collect::<Result<_, _>>()? }
        } else {
            return Err(CloudError::Form);
        };
        if published.entries.is_empty() { Err(CloudError::Empty) } else { Ok(published) }
    }

    /// The same, each prefix once and none that says what the one around it says.
    fn pruned(mut self) -> Self {
        let key = |e: &Entry| (e.prefix, rank(e), e.region.clone(), e.service.clone());
        self.entries.sort_by_cached_key(key);
        // Of equal prefixes the best comes last.
        self.entries.reverse();
        self.entries.dedup_by_key(|entry| entry.prefix);
        self.entries.sort_by_key(|entry| entry.prefix);
        let mut around: Vec<Entry> = Vec::new();
        self.entries.retain(|entry| {
            while around.last().is_some_and(|outer| !outer.prefix.contains(entry.prefix)) {
                around.pop();
            }
            let said = around.last().is_some_and(|outer| {
                (&outer.service, &outer.region) == (&entry.service, &entry.region)
            });
            around.push(entry.clone());
            !said
        });
        self
    }
}

/// Azure lists a tag's addresses once for all regions and once for each.
fn tagged(tag: &AzureTag) -> impl Iterator<Item = Result<Entry, CloudError>> + '_ {
    let service = tag.name.split('.').next().unwrap_or_default();
    let region = &tag.properties.region;
    let prefixes = tag.properties.address_prefixes.iter();
    prefixes.map(move |prefix| entry(prefix, service.to_owned(), region.clone()))
}

fn entry(prefix: &str, service: String, region: String) -> Result<Entry, CloudError> {
    if let Some(name) = [&service, &region].into_iter().find(|name| !is_label(name)) {
        return Err(CloudError::Name(name.clone()));
    }
    match prefix.parse() {
        Ok(prefix) => Ok(Entry { prefix, service, region }),
        Err(source) => {
            let source = Box::new(source);
            Err(CloudError::Range { service, prefix: prefix.to_owned(), source })
        }
    }
}

/// How much an entry says, compared with others of the same prefix: a service more than virtual machines, these
/// more than all that a provider has; a region more than none.
fn rank(entry: &Entry) -> (u8, bool) {
    let service = match entry.service.as_str() {
        "AMAZON" | "AzureCloud" | "Google Cloud" => 0,
        "EC2" => 1,
        _ => 2,
    };
    (service, !entry.region.is_empty() && entry.region != "GLOBAL")
}

/// The shipped form of lists as providers publish them.
///
/// # Errors
/// One of them is no such list.
pub fn compact(lists: &[Vec<u8>]) -> Result<String, CloudError> {
    let mut text = format!("{MAGIC}\n");
    for list in lists {
        let published = Published::parse(list)?.pruned();
        let named = PROVIDERS.iter().find(|(provider, _)| *provider == published.provider);
        let name = named.map_or("", |(_, name)| name);
        for Entry { prefix, service, region } in &published.entries {
            text.push_str(&format!("{name}\t{service}\t{region}\t{prefix}\n"));
        }
    }
    Ok(text)
}

/// Ranges of all providers.
#[derive(Debug)]
pub(super) struct Clouds {
    ranges: Ranges,
    /// Service and region.
    places: Vec<(String, String)>,
    /// Who has which regions.
    regions: HashMap<String, Vec<Provider>>,
}

impl Clouds {
    /// Those that are shipped.
    pub(super) fn shipped() -> Self {
        Self::of(shipped())
    }

    /// Fresh ones, and of other providers those that are shipped.
    pub(super) fn with(fresh: Vec<Published>) -> Self {
        let is_fresh = |provider| fresh.iter().any(|published| published.provider == provider);
        let mut all = shipped();
        all.retain(|published| !is_fresh(published.provider));
        all.extend(fresh.into_iter().map(Published::pruned));
        Self::of(all)
    }

    fn of(all: Vec<Published>) -> Self {
        let mut places: Vec<(String, String)> = Vec::new();
        let mut numbers: HashMap<(String, String), u32> = HashMap::new();
        let mut prefixes = Vec::new();
        let mut regions: HashMap<String, Vec<Provider>> = HashMap::new();
        let all = all.into_iter().flat_map(|p| p.entries.into_iter().map(move |e| (p.provider, e)));
        for (provider, Entry { prefix, service, region }) in all {
            if !region.is_empty() && !region.eq_ignore_ascii_case("global") {
                let providers = regions.entry(region.clone()).or_default();
                if !providers.contains(&provider) {
                    providers.push(provider);
                }
            }
            let place = (service, region);
            let number = match numbers.get(&place) {
                Some(number) => *number,
                None => {
                    let number = u32::try_from(places.len()).unwrap_or(u32::MAX);
                    places.push(place.clone());
                    numbers.insert(place, number);
                    number
                }
            };
            prefixes.push((prefix, number));
        }
        Self { ranges: Ranges::new(prefixes), places, regions }
    }

    /// One provider has both regions.
    pub(super) fn have_one_provider(&self, a: &str, b: &str) -> bool {
        let both = self.regions.get(a).zip(self.regions.get(b));
        both.is_some_and(|(a, b)| a.iter().any(|provider| b.contains(provider)))
    }

    /// Service and region of an address.
    pub(super) fn get(&self, address: IpAddr) -> Option<(&str, &str)> {
        let number = usize::try_from(self.ranges.get(address)?).ok()?;
        self.places.get(number).map(|(service, region)| (&**service, &**region))
    }
}

/// The embedded ranges; a defect of the build if they cannot be read.
fn shipped() -> Vec<Published> {
    let read = decompressed(SHIPPED).and_then(|text| parse_compact(&text));
    read.unwrap_or_else(|| {
        tracing::error!(
            "the shipped ranges of cloud providers cannot be read: peers in clouds are external"
        );
        Vec::new()
    })
}

fn decompressed(bytes: &[u8]) -> Option<String> {
    let mut text = String::new();
    let reader = zstd::stream::read::Decoder::new(bytes).ok()?;
    reader.take(MAX_TEXT).read_to_string(&mut text).ok()?;
    Some(text)
}

fn parse_compact(text: &str) -> Option<Vec<Published>> {
    let mut lines = text.lines();
    if lines.next()? != MAGIC {
        return None;
    }
    let mut all: Vec<Published> = Vec::new();
    for line in lines {
        let mut words = line.split('\t');
        let name = words.next()?;
        let (provider, _) = *PROVIDERS.iter().find(|(_, known)| *known == name)?;
        let (service, region) = (words.next()?.to_owned(), words.next()?.to_owned());
        let entry = Entry { prefix: words.next()?.parse().ok()?, service, region };
        match all.iter_mut().find(|published| published.provider == provider) {
            Some(published) => published.entries.push(entry),
            None => all.push(Published { provider, entries: vec![entry] }),
        }
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AWS: &str = r#"{"syncToken": "1", "prefixes": [
        {"ip_prefix": "192.0.2.0/24", "region": "eu-west-1", "service": "AMAZON"},
        {"ip_prefix": "192.0.2.0/24", "region": "eu-west-1", "service": "S3"},
        {"ip_prefix": "192.0.2.0/24", "region": "eu-west-1", "service": "EC2"},
        {"ip_prefix": "192.0.2.128/25", "region": "eu-west-1", "service": "AMAZON"},
        {"ip_prefix": "192.0.2.128/25", "region": "eu-west-1", "service": "DYNAMODB"},
        {"ip_prefix": "192.0.2.130/32", "region": "eu-west-1", "service": "DYNAMODB"}],
        "ipv6_prefixes": [{"ipv6_prefix": "2001:db8::/32", "region": "us-east-1", "service": "AMAZON"}]}"#;
    const GOOGLE: &str = r#"{"prefixes": [
        {"ipv4Prefix": "198.51.100.0/24", "service": "Google Cloud", "scope": "europe-west1"},
        {"ipv6Prefix": "2001:db8:1::/48", "service": "Google Cloud", "scope": "asia-east1"}]}"#;
    const AZURE: &str = r#"{"cloud": "Public", "values": [
        {"name": "AzureCloud", "properties": {"region": "", "addressPrefixes": ["203.0.113.0/24"]}},
        {"name": "Storage", "properties": {"region": "", "addressPrefixes": ["203.0.113.0/25"]}},
        {"name": "Storage.WestEurope", "properties":
            {"region": "westeurope", "addressPrefixes": ["203.0.113.0/25"]}}]}"#;

    fn examples() -> Clouds {
        let lists = [AWS, GOOGLE, AZURE].map(|text| Published::parse(text.as_bytes()).unwrap());
        Clouds::with(lists.into())
    }

    #[test]
    fn a_service_beats_virtual_machines_and_these_beat_the_provider() {
        let clouds = examples();
        for (address, service, region) in [
            ("192.0.2.1", "S3", "eu-west-1"),
            ("192.0.2.130", "DYNAMODB", "eu-west-1"),
            ("2001:db8::1", "AMAZON", "us-east-1"),
            ("198.51.100.7", "Google Cloud", "europe-west1"),
            ("2001:db8:1::1", "Google Cloud", "asia-east1"),
            ("203.0.113.1", "Storage", "westeurope"),
            ("203.0.113.200", "AzureCloud", ""),
        ] {
            assert_eq!(clouds.get(address.parse().unwrap()), Some((service, region)), "{address}");
        }
    }

    #[test]
    fn the_compact_form_says_the_same_in_fewer_lines() {
        let lists = [AWS, GOOGLE, AZURE].map(|text| text.as_bytes().to_vec());
        let text = compact(&lists).unwrap();
        assert_eq!(text.lines().count(), 1 + 3 + 2 + 2, "{text}");
        let clouds = Clouds::of(parse_compact(&text).unwrap());
        let published = examples();
        for address in ["192.0.2.1", "192.0.2.130", "198.51.100.7", "203.0.113.1", "2001:db8::1"] {
            let address = address.parse().unwrap();
            assert_eq!(clouds.get(address), published.get(address));
        }
    }

    #[test]
    fn what_is_no_list_is_refused_by_what_it_is() {
        for text in ["", "[]", "{}", r#"{"prefixes": []}"#, r#"{"prefixes": [{"ip_prefix": 1}]}"#] {
            assert!(Published::parse(text.as_bytes()).is_err(), "{text}");
        }
        let azure = |name: &str, prefixes: &str| {
            let tag =
                format!(r#"{{"name": "{name}", "properties": {{"addressPrefixes": {prefixes}}}}}"#);
            Published::parse(format!(r#"{{"values": [{tag}]}}"#).as_bytes()).map(|_| ())
        };
        assert!(matches!(azure("x", "[]"), Err(CloudError::Empty)));
        // Nothing is left out without a word.
        let error = azure("Storage", r#"["192.0.2.0/24", "192.0.2.0/40"]"#).unwrap_err();
        assert_eq!(error.to_string(), "`Storage` has a range `192.0.2.0/40`");
        assert!(matches!(azure(r"a\tb", r#"["192.0.2.0/24"]"#), Err(CloudError::Name(_))));
        assert!(parse_compact("weir-clouds 2\n").is_none());
    }

    /// The form of version 1 is read as it was written first.
    #[test]
    fn the_shipped_file_is_whole() {
        let text = decompressed(SHIPPED).unwrap();
        let all = parse_compact(&text).unwrap();
        let counts: Vec<_> = all.iter().map(|p| (p.provider, p.entries.len() > 500)).collect();
        assert_eq!(counts, PROVIDERS.map(|(provider, _)| (provider, true)));
        let mut damaged = SHIPPED.to_vec();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        assert!(decompressed(&damaged).is_none());
    }
}

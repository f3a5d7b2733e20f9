//! A list of ranges as its provider publishes it.
//!
//! ```text
//! aws     ip-ranges.json    https://docs.aws.amazon.com/vpc/latest/userguide/aws-ip-ranges.html
//! google  cloud.json        https://cloud.google.com/compute/docs/faq: what customers have, with regions
//! goog    goog.json         all that Google has, without services and regions
//! azure   ServiceTags_*.json  "Azure IP Ranges and Service Tags"
//! ```
//!
//! Lists come from outside: what kind one is, is found by reading past all of it, and it is then read straight into
//! its entries, so that no list of [`MAX_LIST`] takes memory of many times its size.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use thiserror::Error;

use super::super::is_label;
use super::super::ranges::{NetworkError, Prefix};
use super::plausible;

/// Most bytes of a list; the largest, Azure's, has four million.
pub const MAX_LIST: u64 = 32 << 20;

/// The service of addresses of which Google tells none.
const GOOGLE: &str = "Google";

/// A list of ranges that cannot be used.
#[derive(Debug, Error)]
pub enum CloudError {
    /// It is not JSON of a form that is known.
    #[error("is none of the lists that AWS, Google Cloud and Azure publish")]
    Form,
    /// It is JSON of another form.
    #[error("is not as its provider documents it")]
    Json(#[from] serde_json::Error),
    /// It is longer than any provider's.
    #[error("has over {MAX_LIST} bytes")]
    Size,
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
    /// No provider has so many addresses.
    #[error("`{service}` is said to have all of {prefix}")]
    Wide {
        /// The service that it is said to be of.
        service: String,
        /// The range.
        prefix: Prefix,
    },
    /// Nor so many together.
    #[error("claims {addresses} IPv4 addresses, over an eighth of all")]
    Sum {
        /// In all of its ranges.
        addresses: u64,
    },
    /// Another list came from the same source before.
    #[error("is the list `{now}`, and was `{before}` before")]
    Other {
        /// What it was.
        before: &'static str,
        /// What it is.
        now: &'static str,
    },
    /// Far fewer ranges than before.
    #[error("has {now} ranges, and the one that it would replace has {before}")]
    Fewer {
        /// Of the one in use.
        before: usize,
        /// Of this one.
        now: usize,
    },
}

/// Whose addresses they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Provider {
    Aws,
    Google,
    Azure,
}

impl Provider {
    pub(super) const ALL: [Self; 3] = [Self::Aws, Self::Google, Self::Azure];
}

/// Which of the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Aws,
    GoogleCloud,
    Google,
    Azure,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Aws, Self::GoogleCloud, Self::Google, Self::Azure];

    /// As the shipped form has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::GoogleCloud => "google",
            Self::Google => "goog",
            Self::Azure => "azure",
        }
    }

    pub(super) fn provider(self) -> Provider {
        match self {
            Self::Aws => Provider::Aws,
            Self::GoogleCloud | Self::Google => Provider::Google,
            Self::Azure => Provider::Azure,
        }
    }
}

/// One range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) prefix: Prefix,
    pub(super) service: String,
    pub(super) region: String,
}

/// What one provider publishes: each prefix once, and none that says what the one around it says.
#[derive(Debug, Clone)]
pub struct Published {
    kind: Kind,
    entries: Vec<Entry>,
}

/// What tells of which kind a list is.
#[derive(Deserialize)]
struct Probe {
    values: Option<IgnoredAny>,
    prefixes: Option<First<Keys>>,
}

#[derive(Deserialize)]
struct Keys {
    ip_prefix: Option<IgnoredAny>,
}

/// The first of a list; the others are read past.
struct First<T>(Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for First<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct List<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
            type Value = First<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<First<T>, A::Error> {
                let first = list.next_element()?;
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(First(first))
            }
        }
        from.deserialize_seq(List(PhantomData))
    }
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
    /// Neither is in `goog.json`.
    service: Option<String>,
    scope: Option<String>,
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
    ///
    /// # Errors
    /// It is none, or has ranges that no provider can have.
    pub fn parse(bytes: &[u8]) -> Result<Self, CloudError> {
        if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_LIST) {
            return Err(CloudError::Size);
        }
        let Probe { values, prefixes } = serde_json::from_slice(bytes)?;
        let first = prefixes.and_then(|First(first)| first);
        let (kind, entries) = if values.is_some() {
            let list: AzureList = serde_json::from_slice(bytes)?;
            let entries = list.values.iter().flat_map(tagged).collect::<Result<_, _>>()?;
            (Kind::Azure, entries)
        } else if first.as_ref().is_some_and(|first| first.ip_prefix.is_some()) {
            let list: AwsList = serde_json::from_slice(bytes)?;
            let all = list.prefixes.into_iter().chain(list.ipv6_prefixes);
            let entries = all.map(|p| entry(&p.ip_prefix, p.service, p.region));
            (Kind::Aws, entries.collect::<Result<_, _>>()?)
        } else if first.is_some() {
            let list: GoogleList = serde_json::from_slice(bytes)?;
            let is_cloud = list.prefixes.iter().any(|prefix| prefix.service.is_some());
            let entries = list.prefixes.into_iter().map(|p| {
                let service = p.service.unwrap_or_else(|| GOOGLE.to_owned());
                entry(&p.prefix, service, p.scope.unwrap_or_default())
            });
            let kind = if is_cloud { Kind::GoogleCloud } else { Kind::Google };
            (kind, entries.collect::<Result<_, _>>()?)
        } else {
            return Err(CloudError::Form);
        };
        let published = Self { kind, entries: pruned(entries) };
        plausible::by_itself(&published.entries)?;
        Ok(published)
    }

    /// Of the shipped form.
    pub(super) fn shipped(kind: Kind, entries: Vec<Entry>) -> Self {
        Self { kind, entries }
    }

    /// What several lists of one provider say together.
    pub(super) fn merged(lists: &[&Self]) -> Vec<Entry> {
        match lists {
            [list] => list.entries.clone(),
            _ => pruned(lists.iter().flat_map(|list| list.entries.iter().cloned()).collect()),
        }
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Its ranges, those left out that say nothing of their own.
    #[must_use]
    pub fn ranges(&self) -> usize {
        self.entries.len()
    }
}

/// Each prefix once and none that says what the one around it says.
fn pruned(mut entries: Vec<Entry>) -> Vec<Entry> {
    let key = |e: &Entry| (e.prefix, rank(e), e.region.clone(), e.service.clone());
    entries.sort_by_cached_key(key);
    // Of equal prefixes the best comes last.
    entries.reverse();
    entries.dedup_by_key(|entry| entry.prefix);
    entries.sort_by_key(|entry| entry.prefix);
    let mut around: Vec<Entry> = Vec::new();
    entries.retain(|entry| {
        while around.last().is_some_and(|outer| !outer.prefix.contains(entry.prefix)) {
            around.pop();
        }
        let said = around.last().is_some_and(|outer| {
            // That it is Google's as well is no news about an address of its cloud.
            (&outer.service, &outer.region) == (&entry.service, &entry.region)
                || entry.service == GOOGLE
        });
        if !said {
            around.push(entry.clone());
        }
        !said
    });
    entries
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
        "AMAZON" | "AzureCloud" | GOOGLE => 0,
        "EC2" | "Google Cloud" => 1,
        _ => 2,
    };
    (service, !entry.region.is_empty() && entry.region != "GLOBAL")
}

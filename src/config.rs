//! The configuration file, and what it and the command line amount to together.
//!
//! ```toml
//! listen = "0.0.0.0:9470"
//! data = "/var/lib/weir"
//! token_file = "/etc/weir/tokens"
//! admin_api = false
//! flush_interval = "5m"
//! memtable = "128MiB"
//! keep = "30d"               # rows that nothing below speaks of; "off" keeps everything
//! samples_window = "2h"      # older samples are refused when they arrive; "off" refuses none
//! kubernetes = true          # names from the cluster that the server runs in
//! kubeconfig = "/etc/weir/kubeconfig"                 # or from the one that this file names
//! labels = ["app.kubernetes.io/part-of"]              # of pods, as columns of flows
//! cloud_ranges = ["/etc/weir/aws-ip-ranges.json"]     # instead of the shipped ones; also http:// and https://
//! cloud_ranges_interval = "24h"                       # how often URLs are fetched
//! cloud_ranges_ca = "/etc/weir/mirror-ca.pem"         # whom to trust there, instead of the public authorities
//! hosts = "/etc/weir/hosts"  # names of hosts that have no agent
//! prices = "/etc/weir/prices.toml"                    # what traffic costs
//! mmdb = ["/var/lib/GeoIP/GeoLite2-ASN.mmdb"]         # AS numbers and countries
//! max_bytes = "200GiB"       # of all data files; the oldest of the finest tier go first
//!
//! [tiers]
//! raw = "7d"
//! 5m = "90d"
//! 1h = "2y"
//!
//! [[retention]]              # the first that matches a row counts
//! match = '{namespace="dev"}'
//! keep = "3d"
//! tier = "raw"               # every tier that has the labels, unless given
//!
//! [networks]                 # names of peers' addresses; those of the command line come beside
//! office = "192.0.2.0/24"
//! branches = ["198.51.100.0/24", "2001:db8:7::/48"]
//! ```
//!
//! An option of the command line wins over the same one here. Of this file, `[networks]` is read again when it changes;
//! for everything else the server has to start again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde::{Deserialize, Deserializer};
use weir_ingest::SampleSettings;
use weir_ingest::places::{CloudSource, Network, NetworkError, PlaceSettings};
use weir_query::About;
use weir_storage::{Retention, RetentionRule};

use crate::cli::{self, DEFAULT_LISTEN, ServerOptions};

/// Tiers as people name them, and their tables.
const TIERS: [(&str, &str); 3] = [("raw", "flows"), ("5m", "flows_5m"), ("1h", "flows_1h")];
/// What is kept if nobody says anything.
const DEFAULT_KEEP: Duration = Duration::from_secs(30 * 24 * 3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: Option<SocketAddr>,
    data: Option<PathBuf>,
    token_file: Option<PathBuf>,
    insecure: Option<bool>,
    admin_api: Option<bool>,
    flush_interval: Option<Span>,
    memtable: Option<Bytes>,
    keep: Option<Keep>,
    samples_window: Option<Keep>,
    max_bytes: Option<Bytes>,
    #[serde(default)]
    cloud_ranges: Vec<Source>,
    cloud_ranges_interval: Option<Span>,
    cloud_ranges_ca: Option<PathBuf>,
    prices: Option<PathBuf>,
    #[serde(default)]
    mmdb: Vec<PathBuf>,
    hosts: Option<PathBuf>,
    kubernetes: Option<bool>,
    kubeconfig: Option<PathBuf>,
    #[serde(default)]
    labels: Vec<String>,
    #[serde(default)]
    networks: BTreeMap<String, OneOrMany>,
    #[serde(default)]
    tiers: Tiers,
    #[serde(default)]
    retention: Vec<Rule>,
}

/// A range, or several of one name.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tiers {
    raw: Option<Keep>,
    #[serde(rename = "5m")]
    five_minutes: Option<Keep>,
    #[serde(rename = "1h")]
    hour: Option<Keep>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    #[serde(rename = "match")]
    selector: toml::Spanned<String>,
    keep: Keep,
    tier: Option<toml::Spanned<String>>,
}

/// Reads a value by the function that reads it on the command line.
macro_rules! read_by {
    ($name:ident, $value:ty, $read:path) => {
        #[derive(Debug, Clone, Copy)]
        struct $name($value);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                $read(&text).map(Self).map_err(serde::de::Error::custom)
            }
        }
    };
}

read_by!(Span, Duration, cli::parse_duration);
read_by!(Keep, cli::Retention, cli::parse_retention);
read_by!(Bytes, u64, cli::parse_bytes);

/// A list of ranges, as on the command line.
#[derive(Debug)]
struct Source(CloudSource);

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// A file, and its text.
fn read(path: &Path) -> anyhow::Result<(File, String)> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("configuration file {} cannot be read", path.display()))?;
    let file =
        toml::from_str(&text).map_err(|e| anyhow!("configuration file {}: {e}", path.display()))?;
    Ok((file, text))
}

/// Networks of a file, and beside them those of the command line.
fn networks_in(
    named: &BTreeMap<String, OneOrMany>,
    path: &Path,
    given: &[Network],
) -> anyhow::Result<Vec<Network>> {
    let mut all =
        networks(named).map_err(|e| anyhow!("configuration file {}: {e}", path.display()))?;
    all.extend(given.iter().cloned());
    Ok(all)
}

/// The same of a file as it is now.
///
/// # Errors
/// When it cannot be read or says something that is not understood, wherever.
pub(crate) fn networks_of(path: &Path, given: &[Network]) -> anyhow::Result<Vec<Network>> {
    networks_in(&read(path)?.0.networks, path, given)
}

/// How a cluster's API is reached.
#[derive(Debug, Clone)]
pub(crate) struct Kubernetes {
    /// Or else as the service account of a pod.
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// What the server is to do.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    /// Only the file's; a folder on the command line is known to whoever asks.
    pub(crate) data: Option<PathBuf>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) insecure: bool,
    pub(crate) admin_api: bool,
    pub(crate) flush_interval: Duration,
    pub(crate) memtable_bytes: usize,
    pub(crate) retention: Retention,
    pub(crate) samples: SampleSettings,
    pub(crate) places: PlaceSettings,
    /// How often lists that are fetched are fetched.
    pub(crate) cloud_ranges_interval: Duration,
    /// Authorities of their servers, unless the public ones.
    pub(crate) cloud_ranges_ca: Option<PathBuf>,
    /// Networks of the command line, which stay when the file's change.
    pub(crate) given_networks: Vec<Network>,
    /// The file that this was read from.
    pub(crate) file: Option<PathBuf>,
    pub(crate) prices: Option<PathBuf>,
    pub(crate) hosts: Option<PathBuf>,
    /// The cluster that is followed, if any.
    pub(crate) kubernetes: Option<Kubernetes>,
    /// Labels of pods that are columns, as given.
    pub(crate) labels: Vec<String>,
    pub(crate) store: Option<String>,
    pub(crate) cache_mib: u64,
    pub(crate) query_memory_mib: usize,
    pub(crate) query_spill_mib: u64,
    pub(crate) query_max_samples: usize,
}

impl Settings {
    /// Reads the file that the options name, if any, and puts the options over it.
    ///
    /// # Errors
    /// When the file cannot be read or says something that is not understood: with file and line.
    pub(crate) fn new(options: &ServerOptions) -> anyhow::Result<Self> {
        let (file, text, path) = match &options.config {
            None => (File::default(), String::new(), Path::new("")),
            Some(path) => {
                let (file, text) = read(path)?;
                (file, text, path.as_path())
            }
        };
        let rules = file.retention.iter().map(|rule| {
            rule.read().map_err(|(at, why)| {
                let line = text.get(..at).map_or(1, |before| before.matches('\n').count() + 1);
                anyhow!("configuration file {}, line {line}: {why}", path.display())
            })
        });
        let memtable = match options.memtable_mib {
            Some(mib) => Some(u64::try_from(mib).unwrap_or(u64::MAX).saturating_mul(1 << 20)),
            None => file.memtable.map(|bytes| bytes.0),
        };
        let retention = Retention {
            default: options
                .retention
                .or(file.keep.map(|k| k.0))
                .map_or(Some(DEFAULT_KEEP), |keep| keep.0),
            tables: tiers(options, &file.tiers),
            rules: rules.collect::<anyhow::Result<_>>()?,
            max_bytes: options.max_bytes.or(file.max_bytes.map(|bytes| bytes.0)),
        };
        let mut places = PlaceSettings {
            cloud_ranges: options.cloud_ranges.clone(),
            databases: Vec::new(),
            networks: networks_in(&file.networks, path, &options.network)?,
        };
        if places.cloud_ranges.is_empty() {
            places.cloud_ranges = file.cloud_ranges.into_iter().map(|source| source.0).collect();
        }
        places.databases.clone_from(&options.mmdb);
        if places.databases.is_empty() {
            places.databases = file.mmdb;
        }
        let kubeconfig = options.kubeconfig.clone().or(file.kubeconfig);
        let kubernetes =
            options.kubernetes || file.kubernetes.unwrap_or(false) || kubeconfig.is_some();
        let window = options.samples_window.or(file.samples_window.map(|w| w.0));
        Ok(Self {
            samples: SampleSettings { window: samples_window(window, &retention) },
            retention,
            places,
            cloud_ranges_interval: options
                .cloud_ranges_interval
                .or(file.cloud_ranges_interval.map(|span| span.0))
                .unwrap_or(DAY),
            cloud_ranges_ca: options.cloud_ranges_ca.clone().or(file.cloud_ranges_ca),
            given_networks: options.network.clone(),
            file: options.config.clone(),
            hosts: options.hosts.clone().or(file.hosts),
            prices: options.prices.clone().or(file.prices),
            kubernetes: kubernetes.then_some(Kubernetes { kubeconfig }),
            labels: if options.label.is_empty() { file.labels } else { options.label.clone() },
            store: options.store.clone(),
            cache_mib: options.cache_mib,
            query_memory_mib: options.query_memory_mib,
            query_spill_mib: options.query_spill_mib,
            query_max_samples: options.query_max_samples,
            listen: match options.listen.or(file.listen) {
                Some(listen) => listen,
                None => DEFAULT_LISTEN.parse()?,
            },
            data: file.data,
            token_file: options.token_file.clone().or(file.token_file),
            insecure: options.insecure || file.insecure.unwrap_or(false),
            admin_api: options.admin_api || file.admin_api.unwrap_or(false),
            flush_interval: options
                .flush_interval
                .or(file.flush_interval.map(|span| span.0))
                .unwrap_or(Duration::from_secs(300)),
            memtable_bytes: usize::try_from(memtable.unwrap_or(128 << 20))
                .unwrap_or(usize::MAX)
                .max(1 << 20),
        })
    }

    /// What the status endpoints tell.
    pub(crate) fn about(&self) -> About {
        let keep = |keep: &Option<Duration>| match keep {
            None => "off".to_owned(),
            Some(age) => format!("{}s", age.as_secs()),
        };
        let retention = keep(&self.retention.default);
        let mut flags = BTreeMap::from([
            ("admin-api", self.admin_api.to_string()),
            ("cache-mib", self.cache_mib.to_string()),
            ("flush-interval", format!("{}s", self.flush_interval.as_secs())),
            ("insecure", self.insecure.to_string()),
            ("listen", self.listen.to_string()),
            ("memtable-mib", (self.memtable_bytes >> 20).to_string()),
            ("query-max-samples", self.query_max_samples.to_string()),
            ("query-memory-mib", self.query_memory_mib.to_string()),
            ("query-spill-mib", self.query_spill_mib.to_string()),
            ("retention", retention.clone()),
        ]);
        if let Some(bytes) = self.retention.max_bytes {
            flags.insert("max-bytes", bytes.to_string());
        }
        for (table, age) in &self.retention.tables {
            let tier = TIERS.iter().find(|(_, name)| name == table);
            let flag = match tier {
                Some(("raw", _)) => "retention-raw",
                Some(("5m", _)) => "retention-5m",
                _ => "retention-1h",
            };
            flags.insert(flag, keep(age));
        }
        let config = flags.iter().map(|(name, value)| format!("{name}: \"{value}\"\n")).collect();
        let flags = flags.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        About { flags, config, retention }
    }

    /// The folder of the history: the command line's, or else the file's.
    ///
    /// # Errors
    /// When neither says.
    pub(crate) fn folder(&self, given: Option<&PathBuf>) -> anyhow::Result<PathBuf> {
        match given.or(self.data.as_ref()) {
            Some(folder) => Ok(folder.clone()),
            None => bail!(
                "no folder for the history: give --data DIR, or data = \"DIR\" in the configuration file"
            ),
        }
    }
}

/// How old samples may be when they arrive: no older than the window, and not so old that they would
/// be removed at once.
fn samples_window(window: Option<cli::Retention>, retention: &Retention) -> Option<Duration> {
    // A rule may keep some of them longer than the rest.
    let rules = retention.rules.iter().filter(|rule| rule.table.is_none()).map(|rule| rule.keep);
    let kept = rules.fold(retention.default, |longest, keep| Some(longest?.max(keep?)));
    window.and_then(|window| window.0).into_iter().chain(kept).min()
}

fn networks(named: &BTreeMap<String, OneOrMany>) -> Result<Vec<Network>, NetworkError> {
    let ranges = named.iter().flat_map(|(name, ranges)| {
        let ranges = match ranges {
            OneOrMany::One(range) => std::slice::from_ref(range),
            OneOrMany::Many(ranges) => ranges,
        };
        ranges.iter().map(move |range| (name, range))
    });
    ranges.map(|(name, range)| Network::new(name, range.parse()?)).collect()
}

fn tiers(options: &ServerOptions, file: &Tiers) -> Vec<(String, Option<Duration>)> {
    let keeps = [
        options.retention_raw.or(file.raw.map(|k| k.0)),
        options.retention_5m.or(file.five_minutes.map(|k| k.0)),
        options.retention_1h.or(file.hour.map(|k| k.0)),
    ];
    let named = TIERS.iter().zip(keeps);
    named.filter_map(|((_, table), keep)| Some(((*table).to_owned(), keep?.0))).collect()
}

impl Rule {
    /// The rule, or where in the file it goes wrong and why.
    fn read(&self) -> Result<RetentionRule, (usize, String)> {
        let selector = &self.selector;
        let matchers = weir_query::row_matchers(selector.get_ref()).map_err(|e| {
            (selector.span().start, format!("match = {:?}: {e}", selector.get_ref()))
        })?;
        let table = self.tier.as_ref().map(|tier| {
            let known = TIERS.iter().find(|(name, _)| name == tier.get_ref());
            known.map(|(_, table)| (*table).to_owned()).ok_or_else(|| {
                let why = format!("there is no tier {:?}, but raw, 5m and 1h", tier.get_ref());
                (tier.span().start, why)
            })
        });
        Ok(RetentionRule { matchers, keep: self.keep.0.0, table: table.transpose()? })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn settings(text: &str, options: &[&str]) -> anyhow::Result<Settings> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weir.toml");
        std::fs::write(&path, text).unwrap();
        let file = path.to_str().unwrap();
        let args = ["weir", "serve", "--config", file].into_iter().chain(options.iter().copied());
        let Command::Serve(serve) = Cli::try_parse_from(args).unwrap().command else { panic!() };
        Settings::new(&serve.server)
    }

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn the_file_says_and_the_command_line_wins() {
        let text = r#"
            listen = "127.0.0.1:1234"
            data = "/srv/weir"
            keep = "60d"
            max_bytes = "200GiB"
            memtable = "64MiB"
            [tiers]
            raw = "7d"
            5m = "90d"
            1h = "2y"
            [[retention]]
            match = '{namespace="dev"}'
            keep = "3d"
            [[retention]]
            match = '{namespace="audit"}'
            keep = "off"
            tier = "1h"
        "#;
        let read = settings(text, &[]).unwrap();
        assert_eq!(read.listen.port(), 1234);
        assert_eq!(read.folder(None).unwrap(), Path::new("/srv/weir"));
        assert_eq!(read.memtable_bytes, 64 << 20);
        let retention = &read.retention;
        assert_eq!((retention.default, retention.max_bytes), (Some(60 * DAY), Some(200 << 30)));
        assert_eq!(
            retention.tables,
            [
                ("flows".to_owned(), Some(7 * DAY)),
                ("flows_5m".to_owned(), Some(90 * DAY)),
                ("flows_1h".to_owned(), Some(730 * DAY)),
            ]
        );
        let rules: Vec<_> = retention.rules.iter().map(|r| (r.keep, r.table.as_deref())).collect();
        assert_eq!(rules, [(Some(3 * DAY), None), (None, Some("flows_1h"))]);

        let options = [
            "--data",
            "/tmp/x",
            "--retention",
            "off",
            "--retention-5m",
            "1d",
            "--max-bytes",
            "1GiB",
        ];
        let over = settings(text, &options).unwrap();
        assert_eq!((over.retention.default, over.retention.max_bytes), (None, Some(1 << 30)));
        assert_eq!(over.retention.tables[1].1, Some(DAY));
        assert_eq!(over.retention.tables[0].1, Some(7 * DAY));
        let nothing = settings("", &[]).unwrap();
        assert_eq!(nothing.retention, Retention::age(Some(DEFAULT_KEEP)));
        assert!(nothing.folder(None).is_err());
    }

    #[test]
    fn what_is_not_understood_is_named_with_its_line() {
        for (text, expected) in [
            ("keep = \"3d\"\nkeeep = \"3d\"", vec!["line 2", "keeep", "max_bytes"]),
            ("\nmax_bytes = \"12 parsecs\"", vec!["line 2", "max_bytes", "200GiB"]),
            ("[tiers]\n2m = \"3d\"", vec!["line 2", "2m", "1h"]),
            ("[[retention]]\nmatch = '{a='\nkeep = \"1d\"", vec!["line 2", "{a="]),
            (
                "[[retention]]\nmatch = 'flow_tx_bytes_total'\nkeep = \"1d\"",
                vec!["line 2", "columns of one row"],
            ),
            (
                "[[retention]]\nmatch = '{a=\"b\"}'\nkeep = \"1d\"\ntier = \"9h\"",
                vec!["line 4", "raw, 5m and 1h"],
            ),
            ("[[retention]]\nkeep = \"1d\"", vec!["line 1", "match"]),
        ] {
            let error = format!("{:#}", settings(text, &[]).unwrap_err());
            for part in expected.iter().chain(&["weir.toml"]) {
                assert!(error.contains(part), "{part}: {error}");
            }
        }
    }
}

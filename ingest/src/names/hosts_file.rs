//! A file of hosts that have no agent: appliances, databases of others, load balancers.
//!
//! ```text
//! # address        name         zone     region
//! 192.0.2.10       mainframe
//! 192.0.2.20       storage-1    zone-a   region-1
//! 2001:db8::20     storage-1    zone-a   region-1
//! ```
//!
//! A host may have several lines, one for each address. What a cluster's API says of a node of the same name counts for
//! more. When the file is read again, what is new or different holds from then on, and hosts that it has no longer are
//! gone.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::{fs, io};

use thiserror::Error;

use super::Names;
use super::record::{By, Node, address};
use super::tenure::Since;
use crate::places::is_label;

/// A file of hosts that cannot be used.
#[derive(Debug, Error)]
pub enum HostsError {
    /// It cannot be read.
    #[error("cannot read hosts {path}")]
    Read {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A line is not as documented.
    #[error("hosts {path}, line {line}: {fault}; a line is ADDRESS NAME [ZONE [REGION]]")]
    Line {
        /// Its path.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        fault: String,
    },
}

/// Zone, region and addresses of a host.
type Host<'a> = (Option<&'a str>, Option<&'a str>, Vec<IpAddr>);

fn parse(text: &str) -> Result<BTreeMap<&str, Host<'_>>, (usize, String)> {
    let mut hosts: BTreeMap<&str, Host<'_>> = BTreeMap::new();
    for (line, number) in text.lines().zip(1..) {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(first) = words.next() else { continue };
        let ip: IpAddr = first.parse().map_err(|_| (number, format!("`{first}` is no address")))?;
        let name = words.next().ok_or_else(|| (number, "there is no name".to_owned()))?;
        let (zone, region) = (words.next(), words.next());
        if let Some(word) = [Some(name), zone, region].into_iter().flatten().find(|w| !is_label(w))
        {
            return Err((number, format!("{word:?} is over 200 bytes or has control characters")));
        }
        if let Some(word) = words.next() {
            return Err((number, format!("`{word}` is one word too many")));
        }
        let host = hosts.entry(name).or_default();
        (host.0, host.1) = (zone.or(host.0), region.or(host.1));
        host.2.push(ip);
    }
    Ok(hosts)
}

impl Names {
    /// Reads a file of hosts.
    ///
    /// # Errors
    /// It cannot be read, or a line is not as documented.
    pub fn read_hosts(&self, path: &Path) -> Result<(), HostsError> {
        // Rows from before the start are named as well.
        self.take_hosts(path, Since { at: 0, exact: false })
    }

    /// Reads it again.
    ///
    /// # Errors
    /// As before; nothing changes then.
    pub fn reread_hosts(&self, path: &Path) -> Result<(), HostsError> {
        self.take_hosts(path, Since { at: self.now(), exact: false })
    }

    fn take_hosts(&self, path: &Path, since: Since) -> Result<(), HostsError> {
        let own = || path.to_owned();
        let text =
            fs::read_to_string(path).map_err(|source| HostsError::Read { path: own(), source })?;
        let hosts =
            parse(&text).map_err(|(line, fault)| HostsError::Line { path: own(), line, fault })?;
        let now = self.now();
        self.change(|map| {
            let there: HashSet<_> = hosts.keys().map(|name| map.texts.one(name)).collect();
            // First, so that its address can be another's.
            map.retain_nodes(By::File, &there, now);
            for (name, (zone, region, addresses)) in hosts {
                let mut text = |text: Option<&str>| text.map(|text| map.texts.one(text));
                let place = (text(zone), text(region));
                let addresses = addresses.into_iter().map(address).collect();
                let name = map.texts.one(name);
                map.apply_file_host(Node::new(name, place, addresses, since, By::File), now);
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_or_refused_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            let names = Names::new();
            names.read_hosts(&path).map(|()| names)
        };
        let names =
            read("# ours\n192.0.2.10 mainframe\n\n192.0.2.20 db z r # two\n2001:db8::20 db\n")
                .unwrap();
        let lookup = names.lookup().unwrap();
        let at = |ip: &str| {
            let who = lookup.node_at(ip, 1, 2)?;
            Some((&*who.seat.workload, &*who.spot.zone, &*who.spot.region))
        };
        assert_eq!(at("192.0.2.10"), Some(("mainframe", "", "")));
        assert_eq!(at("2001:db8::20"), Some(("db", "z", "r")));
        assert_eq!(at("192.0.2.30"), None);
        for (text, part) in [
            ("x y", "line 1: `x` is no address"),
            ("\n192.0.2.1", "line 2: there is no name"),
            ("192.0.2.1 a b c d", "`d` is one word too many"),
            ("192.0.2.1 a\u{1}b", "control characters"),
        ] {
            let error = read(text).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        let error = Names::new().read_hosts(&folder.path().join("absent")).unwrap_err().to_string();
        assert!(error.contains("absent"), "{error}");
    }
    #[test]
    fn a_file_that_changes_holds_from_then_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        let names = Names::new();
        let at = |ip: &str, start: i64| {
            let lookup = names.lookup().unwrap();
            let who = lookup.node_at(ip, start, start + 1)?;
            Some((who.seat.workload.to_string(), who.spot.zone.to_string()))
        };
        let is = |name: &str, zone: &str| Some((name.to_owned(), zone.to_owned()));
        fs::write(&path, "192.0.2.1 old\n192.0.2.2 moved\n192.0.2.3 stays z\n").unwrap();
        names.read_hosts(&path).unwrap();
        let before = names.now();
        fs::write(&path, "192.0.2.2 new\n192.0.2.4 moved\n192.0.2.3 stays y\n").unwrap();
        names.reread_hosts(&path).unwrap();
        // Those that are gone are remembered for rows that are late.
        let later = names.now() + 3_600_000_000;
        for (ip, then, now) in [
            ("192.0.2.1", is("old", ""), None),
            ("192.0.2.2", is("moved", ""), is("new", "")),
            ("192.0.2.3", is("stays", "y"), is("stays", "y")),
            ("192.0.2.4", None, is("moved", "")),
        ] {
            assert_eq!(at(ip, before - 10_000_000), then, "{ip}, then");
            assert_eq!(at(ip, later), now, "{ip}, now");
        }
        fs::write(&path, "192.0.2.2").unwrap();
        assert!(names.reread_hosts(&path).is_err());
        assert_eq!(at("192.0.2.2", later), is("new", ""));
    }
}

//! Places while files and lists change: whoever names rows takes the places of the moment, and keeps them for a batch.
//!
//! New ones are made beside those in use and then put in their place, so nobody waits for them.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::clouds::{CloudError, Clouds, MAX_LIST, Published};
use super::databases::Databases;
use super::{CloudSource, Network, Networks, PlaceError, PlaceSettings, Places};

/// See the module's text.
#[derive(Debug)]
pub struct LivePlaces {
    now: RwLock<Arc<Places>>,
    /// What came last from each source of ranges; locked while places are made, so that one is made at a time.
    lists: Mutex<Vec<(CloudSource, Option<Published>)>>,
    databases: Vec<PathBuf>,
}

impl LivePlaces {
    /// Those that every server knows.
    #[must_use]
    pub fn shipped() -> Arc<Self> {
        let (lists, databases) = Default::default();
        Arc::new(Self { now: RwLock::new(Places::shipped()), lists, databases })
    }

    /// Reads what the settings name. Of URLs nothing is known yet.
    ///
    /// # Errors
    /// A file cannot be read, or is no list of ranges.
    pub fn open(settings: &PlaceSettings) -> Result<Arc<Self>, PlaceError> {
        let lists = settings.cloud_ranges.iter().map(|source| {
            let list = match source {
                CloudSource::File(path) => Some(read(path)?),
                CloudSource::Url(_) => None,
            };
            Ok((source.clone(), list))
        });
        let lists: Vec<_> = lists.collect::<Result<_, _>>()?;
        let places = Places {
            clouds: clouds(&lists),
            databases: Arc::new(Databases::read(&settings.databases)?),
            networks: Arc::new(Networks::new(&settings.networks)),
        };
        let databases = settings.databases.clone();
        Ok(Arc::new(Self {
            now: RwLock::new(Arc::new(places)),
            lists: Mutex::new(lists),
            databases,
        }))
    }

    /// The places of now.
    #[must_use]
    pub fn now(&self) -> Arc<Places> {
        Arc::clone(&self.now.read())
    }

    /// Uses a list that came from one of the sources.
    ///
    /// # Errors
    /// It cannot be what the source published after the list in use, which is kept.
    pub fn offer(&self, source: &CloudSource, list: Published) -> Result<(), CloudError> {
        let mut lists = self.lists.lock();
        let Some((_, before)) = lists.iter_mut().find(|(known, _)| known == source) else {
            return Ok(());
        };
        list.can_replace(before.as_ref())?;
        *before = Some(list);
        let clouds = clouds(&lists);
        self.change(|places| places.clouds = clouds);
        Ok(())
    }

    /// Reads a file of ranges again.
    ///
    /// # Errors
    /// It cannot be read, or cannot be what took the place of the one before. That stays in use.
    pub fn reread(&self, path: &Path) -> Result<(), PlaceError> {
        let source = CloudSource::File(path.to_owned());
        let wrong = |source| PlaceError::Clouds { path: path.to_owned(), source };
        self.offer(&source, read(path)?).map_err(wrong)
    }

    /// Reads the databases again.
    ///
    /// # Errors
    /// One cannot be read or is damaged. All stay as they are then.
    pub fn reread_databases(&self) -> Result<(), PlaceError> {
        let databases = Arc::new(Databases::read(&self.databases)?);
        self.change(|places| places.databases = databases);
        Ok(())
    }

    /// Uses other names of networks.
    pub fn rename(&self, networks: &[Network]) {
        let networks = Arc::new(Networks::new(networks));
        self.change(|places| places.networks = networks);
    }

    fn change(&self, change: impl FnOnce(&mut Places)) {
        let mut now = self.now.write();
        let mut places = Places::clone(&now);
        change(&mut places);
        *now = Arc::new(places);
    }
}

fn clouds(lists: &[(CloudSource, Option<Published>)]) -> Arc<Clouds> {
    Arc::new(Clouds::with(lists.iter().filter_map(|(_, list)| list.as_ref())))
}

fn read(path: &Path) -> Result<Published, PlaceError> {
    let unread = |source| PlaceError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unread)?;
    // One more, by which a file that is too long is known.
    file.take(MAX_LIST + 1).read_to_end(&mut bytes).map_err(unread)?;
    let wrong = |source| PlaceError::Clouds { path: path.to_owned(), source };
    Published::parse(&bytes).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(count: usize, service: &str) -> String {
        let prefixes = (0..count).map(|n| {
            let prefix = format!("203.{}.{}.0/24", n / 256, n % 256);
            format!(r#"{{"ip_prefix": "{prefix}", "region": "moon-1", "service": "{service}"}}"#)
        });
        format!(r#"{{"prefixes": [{}]}}"#, prefixes.collect::<Vec<_>>().join(","))
    }

    #[test]
    fn a_good_list_is_used_and_a_bad_one_leaves_the_last_good_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("aws.json");
        std::fs::write(&path, list(3, "S3")).unwrap();
        let url: CloudSource = "https://192.0.2.1/azure.json".parse().unwrap();
        let settings = PlaceSettings {
            cloud_ranges: vec![CloudSource::File(path.clone()), url.clone()],
            networks: vec!["office=198.51.100.0/24".parse().unwrap()],
            ..PlaceSettings::default()
        };
        let places = LivePlaces::open(&settings).unwrap();
        let service = |address: &str| {
            let now = places.now();
            now.cloud(address.parse().unwrap()).map(|(service, _)| service.to_owned())
        };
        let before = places.now();
        assert_eq!(service("203.0.0.1").as_deref(), Some("S3"));
        std::fs::write(&path, list(2, "DYNAMODB")).unwrap();
        places.reread(&path).unwrap();
        assert_eq!(service("203.0.0.1").as_deref(), Some("DYNAMODB"));
        assert_eq!(service("203.0.2.1"), None);
        // Whoever took them before has them as they were.
        assert_eq!(before.cloud("203.0.2.1".parse().unwrap()), Some(("S3", "moon-1")));
        for bad in ["", "<html>", &list(3, "S3")[..40], &list(0, "S3"), r#"{"values": []}"#] {
            std::fs::write(&path, bad).unwrap();
            assert!(places.reread(&path).is_err(), "{bad}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(places.reread(&path).is_err());
        assert_eq!(service("203.0.0.1").as_deref(), Some("DYNAMODB"));
        // Azure's list is the shipped one until one comes from its URL.
        let azure = Published::parse(list(3000, "S3").as_bytes()).unwrap();
        places.offer(&url, azure).unwrap();
        assert_eq!(service("203.1.0.1").as_deref(), Some("S3"), "lists of one kind add up");
        places.rename(&["lab=198.51.100.0/24".parse().unwrap()]);
        assert_eq!(places.now().network("198.51.100.1".parse().unwrap()), Some("lab"));
        assert_eq!(service("203.1.0.1").as_deref(), Some("S3"));
    }
}

//! Names of this node's pods, as the kubelet writes them into the names of its folders of logs.
//!
//! ```text
//! /var/log/pods/<namespace>_<pod>_<uid>/<container>/0.log
//! ```
//!
//! A cgroup tells a pod's uid alone. The kubelet makes the folder before it starts the pod's first container
//! (`BuildPodLogsDirectory` of pkg/kubelet/kuberuntime); of a static pod the uid is the hash of its manifest, there as in
//! its cgroup. Only names of folders are read, never what is in them.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Least time between two looks into the folder.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Entries read in one look. A node runs some hundred pods at most.
const MAX_ENTRIES: usize = 20_000;

/// A pod as its cluster knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodName {
    pub(super) namespace: String,
    pub(super) name: String,
}

/// Names by uid, of the pods that are spoken of.
#[derive(Debug, Default)]
pub(crate) struct PodNames {
    folder: Option<PathBuf>,
    known: HashMap<String, PodName>,
    looked: Option<Instant>,
}

impl PodNames {
    /// Of the pods with a folder in this one; `None` names nobody.
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Self { folder, ..Self::default() }
    }

    /// Keeps the names of these pods, which stay named when their folders go, and forgets all others. Looks into the
    /// folder if there is one without a name, at most once a second.
    pub(super) fn follow(&mut self, uids: &HashSet<&str>, now: Instant) {
        if let Some(look) = self.wanted(uids, now) {
            self.learn(look.read());
        }
    }

    /// The same in steps, for whoever must not wait for the folder: what there is to look for.
    pub(super) fn wanted(&mut self, uids: &HashSet<&str>, now: Instant) -> Option<Look> {
        self.known.retain(|uid, _| uids.contains(uid.as_str()));
        let early = self.looked.is_some_and(|at| now.duration_since(at) < LOOK_EVERY);
        let folder = self.folder.clone().filter(|_| uids.len() > self.known.len() && !early)?;
        self.looked = Some(now);
        Some(Look { folder, uids: uids.iter().map(|uid| (*uid).to_owned()).collect() })
    }

    /// Takes over what was found.
    pub(super) fn learn(&mut self, found: HashMap<String, PodName>) {
        for (uid, name) in found {
            self.known.entry(uid).or_insert(name);
        }
    }

    /// The labels that tell which pod it is: `namespace` and `pod`, or its uid in `pod` while it has no name.
    pub(super) fn labels(&self, uid: &str) -> Vec<(&'static str, String)> {
        match self.known.get(uid) {
            Some(pod) => vec![("namespace", pod.namespace.clone()), ("pod", pod.name.clone())],
            None => vec![("pod", uid.to_owned())],
        }
    }
}

/// A look into the folder that is due.
#[derive(Debug)]
pub(super) struct Look {
    folder: PathBuf,
    uids: HashSet<String>,
}

impl Look {
    /// Names of those that have a folder.
    pub(super) fn read(&self) -> HashMap<String, PodName> {
        let Self { folder, uids } = self;
        let mut found = HashMap::new();
        let looked = fs::read_dir(folder).and_then(|entries| {
            entries.take(MAX_ENTRIES).try_for_each(|entry| {
                let entry = entry?;
                let name = entry.file_name();
                let Some((uid, name)) = name.to_str().and_then(parse) else { return Ok(()) };
                if uids.contains(uid) && entry.file_type()?.is_dir() {
                    // A uid is that of one pod: who has two names has none.
                    let one = found.entry(uid.to_owned()).or_insert_with(|| Some(name.clone()));
                    one.take_if(|known| *known != name);
                }
                io::Result::Ok(())
            })
        });
        if let Err(error) = looked {
            tracing::debug!(%error, folder = %folder.display(), "pods are told by uid, not by name");
        }
        found.into_iter().filter_map(|(uid, name)| Some((uid, name?))).collect()
    }
}

/// Uid and name of `<namespace>_<pod>_<uid>`. No part of it can have an underscore; what Kubernetes would not take as
/// a name is none.
fn parse(folder: &str) -> Option<(&str, PodName)> {
    let mut parts = folder.split('_');
    let (namespace, name, uid) = (parts.next()?, parts.next()?, parts.next()?);
    let is_uid =
        (32..=64).contains(&uid.len()) && uid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    let is_name = namespace.len() <= 63
        && is_label(namespace)
        && name.len() <= 253
        && name.split('.').all(is_label);
    let pod = || PodName { namespace: namespace.to_owned(), name: name.to_owned() };
    (parts.next().is_none() && is_uid && is_name).then(|| (uid, pod()))
}

/// A label of RFC 1123, in lower case as Kubernetes wants it. Parts of a pod's name may be longer than 63.
fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    text.bytes().all(inner) && !text.is_empty() && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "12345678-1234-1234-1234-123456789abc";
    const STATIC: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn names_of_folders() {
        let named =
            |folder: &str| parse(folder).map(|(uid, p)| (uid.to_owned(), p.namespace, p.name));
        let is = |uid: &str, ns: &str, pod: &str| Some((uid.into(), ns.into(), pod.into()));
        assert_eq!(named(&format!("shop_cart-6f_{A}")), is(A, "shop", "cart-6f"));
        assert_eq!(
            named(&format!("kube-system_etcd-n1.x_{STATIC}")),
            is(STATIC, "kube-system", "etcd-n1.x")
        );
        let long = "a".repeat(64);
        for wrong in [
            String::new(),
            "_".into(),
            "__".into(),
            A.into(),
            format!("shop_{A}"),
            format!("_cart_{A}"),
            format!("shop__{A}"),
            "shop_cart_".into(),
            "shop_cart_1234".into(),
            format!("shop_cart_{A}_"),
            format!("shop_cart_x_{A}"),
            format!("Shop_cart_{A}"),
            format!("shop_-cart_{A}"),
            format!("shop_cart._{A}"),
            format!("sh.op_cart_{A}"),
            format!("shop_ca\"rt\n_{A}"),
            format!("shop_cärt_{A}"),
            format!("{long}_cart_{A}"),
            format!("shop_{}_{A}", "a".repeat(254)),
            format!("shop_cart_{}", "a".repeat(65)),
        ] {
            assert_eq!(named(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn pods_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let folder = |name: String| dir.path().join(name);
        let mut names = PodNames::new(Some(dir.path().join("pods")));
        let mut now = Instant::now();
        let uids = HashSet::from([A]);
        let by_uid = vec![("pod", A.to_owned())];
        let by_name = vec![("namespace", "shop".to_owned()), ("pod", "cart".to_owned())];
        names.follow(&uids, now);
        assert_eq!(names.labels(A), by_uid, "no folder, no error");

        let one = folder(format!("pods/shop_cart_{A}"));
        fs::create_dir_all(&one).unwrap();
        now += LOOK_EVERY / 2;
        names.follow(&uids, now);
        assert_eq!(names.labels(A), by_uid, "not looked at again within a second");
        now += LOOK_EVERY / 2;
        names.follow(&uids, now);
        assert_eq!(names.labels(A), by_name);

        fs::remove_dir(&one).unwrap();
        now += LOOK_EVERY;
        names.follow(&HashSet::from([A, STATIC]), now);
        assert_eq!(names.labels(A), by_name, "named as long as it is spoken of");
        names.follow(&HashSet::from([STATIC]), now);
        assert_eq!(names.labels(A), by_uid);
        assert!(names.known.is_empty());
    }

    #[test]
    fn files_and_two_names_of_one_uid_name_nobody() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(format!("shop_cart_{A}")), "").unwrap();
        for name in ["a_one", "b_two", "c_three"] {
            fs::create_dir(dir.path().join(format!("{name}_{STATIC}"))).unwrap();
        }
        let mut names = PodNames::new(Some(dir.path().into()));
        names.follow(&HashSet::from([A, STATIC]), Instant::now());
        assert!(names.known.is_empty(), "{:?}", names.known);
    }
}

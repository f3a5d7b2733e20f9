//! From a pod to the object that somebody wrote: the top of its chain of controllers.
//!
//! ReplicaSets and Jobs are looked up, since others own them (a Deployment or a rollout of another make, a CronJob);
//! every other controller is the top, by its own kind and name. A ReplicaSet that is not known yet is named after
//! its Deployment, a hyphen and the pod's `pod-template-hash`
//! (kubernetes/pkg/controller/deployment/sync.go), so that the Deployment's name is known before.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;

use super::record::Uid;
use super::text::Text;

/// ReplicaSets and Jobs that are gone and still remembered, at most.
const MAX_GONE: usize = 200_000;
/// Hops to the top at most: owners could go round in a circle.
const MAX_HOPS: usize = 8;

/// What controls an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) kind: Text,
    pub(super) name: Text,
    /// To look further up; `None` where there is nothing.
    pub(super) uid: Option<Uid>,
    /// The name of the Deployment, if it is a ReplicaSet named after one.
    pub(super) deployment: Option<Text>,
}

/// The controllers of ReplicaSets and Jobs.
#[derive(Debug, Default)]
pub(super) struct Owners {
    above: HashMap<Uid, Owner, RandomState>,
    gone: VecDeque<Uid>,
}

impl Owners {
    /// What controls an object; nobody does if it has no controller.
    pub(super) fn apply(&mut self, object: Uid, controller: Option<Owner>) {
        match controller {
            Some(owner) => drop(self.above.insert(object, owner)),
            None => drop(self.above.remove(&object)),
        }
    }

    /// An object is gone. Rows of its pods may come yet.
    pub(super) fn delete(&mut self, object: Uid) {
        self.gone.push_back(object);
        if self.gone.len() > MAX_GONE
            && let Some(oldest) = self.gone.pop_front()
        {
            self.above.remove(&oldest);
        }
    }

    /// Kind and name at the top of a chain.
    pub(super) fn top<'a>(&'a self, first: &'a Owner) -> (&'a str, &'a str) {
        let mut owner = first;
        for _ in 0..MAX_HOPS {
            match owner.uid.and_then(|uid| self.above.get(&uid)) {
                Some(above) => owner = above,
                None => break,
            }
        }
        match &owner.deployment {
            Some(name) if owner.kind.as_ref() == "ReplicaSet" => ("Deployment", name),
            _ => (&owner.kind, &owner.name),
        }
    }

    /// What controls an object is known.
    pub(super) fn knows(&self, object: Uid) -> bool {
        self.above.contains_key(&object)
    }

    /// Objects that are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.above.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(number: u128) -> Uid {
        Uid::parse(&format!("{number:032x}")).unwrap()
    }

    fn owner(kind: &str, name: &str, number: u128) -> Owner {
        Owner { kind: kind.into(), name: name.into(), uid: Some(uid(number)), deployment: None }
    }

    #[test]
    fn owners_are_followed_to_the_top() {
        let mut owners = Owners::default();
        let pod = Owner { deployment: Some("api".into()), ..owner("ReplicaSet", "api-5f9c", 1) };
        assert_eq!(owners.top(&pod), ("Deployment", "api"), "by its name");
        owners.apply(uid(1), Some(owner("Rollout", "api-green", 2)));
        assert_eq!(owners.top(&pod), ("Rollout", "api-green"), "as it is");
        owners.apply(uid(3), Some(owner("CronJob", "backup", 4)));
        assert_eq!(owners.top(&owner("Job", "backup-29", 3)), ("CronJob", "backup"));
        assert_eq!(owners.top(&owner("Job", "once", 5)), ("Job", "once"));
        owners.delete(uid(3));
        assert_eq!(
            owners.top(&owner("Job", "backup-29", 3)),
            ("CronJob", "backup"),
            "rows come late"
        );
        // A circle ends somewhere.
        owners.apply(uid(8), Some(owner("ReplicaSet", "b", 9)));
        owners.apply(uid(9), Some(owner("ReplicaSet", "a", 8)));
        assert_eq!(owners.top(&owner("ReplicaSet", "a", 8)).0, "ReplicaSet");
    }

    #[test]
    fn what_is_gone_is_forgotten_in_the_end() {
        let mut owners = Owners::default();
        for number in 0..MAX_GONE as u128 + 100 {
            owners.apply(uid(number), Some(owner("Deployment", "x", u128::MAX)));
            owners.delete(uid(number));
        }
        assert_eq!(owners.len(), MAX_GONE);
    }
}

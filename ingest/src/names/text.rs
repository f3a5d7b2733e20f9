//! Texts, and what is made of them, that many objects share, each once.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

/// A text that is shared.
pub(super) type Text = Arc<str>;

/// Those that are in use.
#[derive(Debug)]
pub(super) struct Shared<T: ?Sized> {
    all: HashSet<Arc<T>>,
    /// Number of them at which those that nobody uses any more are forgotten.
    full: usize,
}

/// The texts that are in use.
pub(super) type Texts = Shared<str>;

impl<T: ?Sized> Default for Shared<T> {
    fn default() -> Self {
        Self { all: HashSet::new(), full: 0 }
    }
}

impl<T: ?Sized + Eq + Hash> Shared<T> {
    /// The one copy of it, which has one place in memory for as long as anybody uses it.
    pub(super) fn copy_of<Q>(&mut self, value: Q) -> Arc<T>
    where
        Q: Borrow<T> + Into<Arc<T>>,
    {
        if let Some(known) = self.all.get(value.borrow()) {
            return Arc::clone(known);
        }
        if self.all.len() >= self.full {
            self.all.retain(|one| Arc::strong_count(one) > 1);
            self.full = (2 * self.all.len()).max(1024);
        }
        let value: Arc<T> = value.into();
        self.all.insert(Arc::clone(&value));
        value
    }
}

impl Texts {
    /// The one copy of a text.
    pub(super) fn one(&mut self, text: &str) -> Text {
        self.copy_of(text)
    }
}

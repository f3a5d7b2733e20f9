//! Texts that many objects share, each once.

use std::collections::HashSet;
use std::sync::Arc;

/// A text that is shared.
pub(super) type Text = Arc<str>;

/// The texts that are in use.
#[derive(Debug, Default)]
pub(super) struct Texts {
    texts: HashSet<Text>,
    /// Number of texts at which those that nobody uses any more are forgotten.
    full: usize,
}

impl Texts {
    /// The one copy of it.
    pub(super) fn one(&mut self, text: &str) -> Text {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        if self.texts.len() >= self.full {
            self.texts.retain(|text| Arc::strong_count(text) > 1);
            self.full = (2 * self.texts.len()).max(1024);
        }
        let text: Text = text.into();
        self.texts.insert(Arc::clone(&text));
        text
    }
}

//! Labels as text, as the column `labels` of a table has them.

use std::borrow::Cow;

use super::{LabelsError, METRIC_NAME, iter, write_canonical};

/// Appends the text of all labels but the metric's name.
///
/// The text is the same for equal labels, and only for them.
pub fn write_text(canonical: &[u8], out: &mut String) {
    out.push('{');
    let mut first = true;
    for (name, value) in iter(canonical).filter(|(name, _)| *name != METRIC_NAME) {
        if !std::mem::replace(&mut first, false) {
            out.push(',');
        }
        if is_plain(name) {
            out.push_str(name);
        } else {
            quote(name, out);
        }
        out.push('=');
        quote(value, out);
    }
    out.push('}');
}

/// Whether a name needs no quotes.
fn is_plain(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Appends a text in quotes.
pub(crate) fn quote(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '"', '\n']) {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        let mut after = special.chars();
        match after.next() {
            Some('\n') => out.push_str("\\n"),
            Some(c) => {
                out.push('\\');
                out.push(c);
            }
            None => {}
        }
        rest = after.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

/// A text without its quotes; `None` if it is not one text in quotes.
pub(crate) fn unquote(text: &str) -> Option<Cow<'_, str>> {
    let mut labels = text_labels(text);
    let unquoted = labels.quoted()?;
    labels.rest().is_empty().then_some(unquoted)
}

/// Appends the canonical labels of a row: its columns `name` (empty for none) and `labels`.
///
/// # Errors
/// [`LabelsError`] when the text is not one that [`write_text`] could have made of labels that are
/// ordered differently at most. `out` is as it was then.
pub fn from_text(name: &str, text: &str, out: &mut Vec<u8>) -> Result<(), LabelsError> {
    let mut labels = text_labels(text);
    let mut found: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::with_capacity(16);
    // Where the name belongs by the order of bytes, so that nothing has to be sorted.
    let mut named = name.is_empty();
    for label in labels.by_ref() {
        let (label, value) = label?;
        if !named && label.as_ref() > METRIC_NAME {
            found.push((METRIC_NAME.into(), name.into()));
            named = true;
        }
        found.push((label, value));
    }
    if !named {
        found.push((METRIC_NAME.into(), name.into()));
    }
    write_canonical(found.iter().map(|(name, value)| (name.as_ref(), value.as_ref())), out)
}

/// The labels in a text, in its order.
#[must_use]
pub fn text_labels(text: &str) -> TextLabels<'_> {
    TextLabels { text, at: 0, state: State::Begin }
}

/// Labels in a text. See [`text_labels`].
#[derive(Debug, Clone)]
pub struct TextLabels<'a> {
    text: &'a str,
    at: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Begin,
    Within,
    Ended,
}

impl<'a> TextLabels<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip(&mut self, byte: &str) -> bool {
        let is_there = self.rest().starts_with(byte);
        self.at += if is_there { byte.len() } else { 0 };
        is_there
    }

    /// What is in quotes from here on.
    fn quoted(&mut self) -> Option<Cow<'a, str>> {
        if !self.skip("\"") {
            return None;
        }
        let rest = self.rest();
        let end = rest.find(['"', '\\'])?;
        let (plain, special) = rest.split_at(end);
        if special.starts_with('"') {
            self.at += end + 1;
            return Some(Cow::Borrowed(plain));
        }
        let mut text = plain.to_owned();
        let mut chars = special.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += end + at + 1;
                    return Some(Cow::Owned(text));
                }
                '\\' => match chars.next()?.1 {
                    'n' => text.push('\n'),
                    c @ ('\\' | '"') => text.push(c),
                    _ => return None,
                },
                c => text.push(c),
            }
        }
        None
    }

    fn label(&mut self) -> Option<(Cow<'a, str>, Cow<'a, str>)> {
        let name = if self.rest().starts_with('"') {
            self.quoted()?
        } else {
            let name = self.rest().split('=').next()?;
            if !is_plain(name) {
                return None;
            }
            self.at += name.len();
            Cow::Borrowed(name)
        };
        if !self.skip("=") {
            return None;
        }
        Some((name, self.quoted()?))
    }

    fn step(&mut self) -> Option<Option<(Cow<'a, str>, Cow<'a, str>)>> {
        if self.state == State::Ended {
            return Some(None);
        }
        if self.state == State::Begin {
            if !self.skip("{") {
                return None;
            }
            if self.skip("}") {
                self.state = State::Ended;
                return self.rest().is_empty().then_some(None);
            }
        }
        let label = self.label()?;
        if self.skip(",") {
            self.state = State::Within;
        } else if self.skip("}") && self.rest().is_empty() {
            self.state = State::Ended;
        } else {
            return None;
        }
        Some(Some(label))
    }
}

impl<'a> Iterator for TextLabels<'a> {
    type Item = Result<(Cow<'a, str>, Cow<'a, str>), LabelsError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.step() {
            Some(label) => label.map(Ok),
            None => {
                self.state = State::Ended;
                Some(Err(LabelsError::Damaged { at: self.at }))
            }
        }
    }
}

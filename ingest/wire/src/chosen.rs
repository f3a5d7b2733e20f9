//! Labels of pods that the user has chosen to be columns of flows, for both ends.
//!
//! They are chosen once, before anything has looked at the columns: every part of a process sees the same ones. A process
//! that chooses none, as agents do, has none.

use std::sync::OnceLock;

use thiserror::Error;

use crate::schema::{is_usual_column, metric_labels};

/// Labels that may be chosen, at most: each is a column in every row, for both ends.
pub const MAX_CHOSEN: usize = 16;

/// A label of pods that is a column of flows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The label's key, as in `app.kubernetes.io/part-of`.
    pub key: String,
    /// The column for the local end.
    pub column: &'static str,
    /// The column for the peer.
    pub peer_column: &'static str,
}

/// A label cannot be a column.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ChooseError {
    /// There is no key, or it has a character that keys have not (Kubernetes: API concepts, labels).
    #[error("`{0}` is no key of a label: letters, digits, `-`, `_`, `.` and one `/`")]
    Key(String),
    /// What cannot be a name in PromQL and SQL.
    #[error(
        "`{0}` is no name of a column: lower-case letters, digits and `_`, no digit first, at most 63; \
         give it one, as in `team=example.com/team`"
    )]
    Name(String),
    /// There is such a column.
    #[error("column `{0}` is there already; give the label another name, as in `my_{0}=KEY`")]
    Taken(String),
    /// Each is a column of every row.
    #[error("{0} labels are chosen, and {MAX_CHOSEN} is the most")]
    Many(usize),
    /// Something has looked at the columns: a defect of the caller.
    #[error("labels cannot be chosen any more")]
    Late,
}

static CHOSEN: OnceLock<Vec<Chosen>> = OnceLock::new();

/// The labels that are columns of flows. From the first call on, no others can be chosen.
#[must_use]
pub fn chosen() -> &'static [Chosen] {
    CHOSEN.get_or_init(Vec::new)
}

/// Makes labels columns of flows: each is a key, or `NAME=KEY`. The column is `NAME`, otherwise `label_` and the key with
/// `_` for what names have not (as kube-state-metrics has it); the peer's has `peer_` before it.
///
/// # Errors
/// A key or name is none, a column is there already, or it is too late.
pub fn choose(labels: &[String]) -> Result<(), ChooseError> {
    let all = read(labels)?;
    CHOSEN.set(all).map_err(|_| ChooseError::Late)
}

fn read(labels: &[String]) -> Result<Vec<Chosen>, ChooseError> {
    if labels.len() > MAX_CHOSEN {
        return Err(ChooseError::Many(labels.len()));
    }
    let mut all: Vec<Chosen> = Vec::new();
    for text in labels {
        let (name, key) = match text.split_once('=') {
            Some((name, key)) => (name.to_owned(), key),
            None => (default_name(text), text.as_str()),
        };
        if !is_key(key) {
            return Err(ChooseError::Key(key.to_owned()));
        }
        if !is_name(&name) {
            return Err(ChooseError::Name(name));
        }
        let peer = format!("peer_{name}");
        let is_taken = |name: &str| {
            is_usual_column(name)
                || metric_labels().contains(&name)
                || all.iter().any(|other| [other.column, other.peer_column].contains(&name))
        };
        if let Some(taken) = [&name, &peer].into_iter().find(|name| is_taken(name)) {
            return Err(ChooseError::Taken(taken.clone()));
        }
        // For as long as the process lives, as the other columns' names are.
        let (column, peer_column) = (&*name.leak(), &*peer.leak());
        all.push(Chosen { key: key.to_owned(), column, peer_column });
    }
    Ok(all)
}

fn default_name(key: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    format!("label_{}", key.chars().map(plain).collect::<String>())
}

fn is_name(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    let begins = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    begins && name.len() <= 63 && name.bytes().all(is_plain)
}

fn is_key(key: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./".contains(&b);
    let parts = key.matches('/').count() <= 1 && key.split('/').all(|part| !part.is_empty());
    parts && key.len() <= 253 + 1 + 63 && key.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_become_columns_or_are_refused() {
        let read = |labels: &[&str]| {
            let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
            read(&labels)
        };
        let chosen = read(&["app.kubernetes.io/part-of", "team=example.com/Team"]).unwrap();
        let columns: Vec<_> = chosen.iter().map(|c| (&*c.key, c.column, c.peer_column)).collect();
        let part_of = "label_app_kubernetes_io_part_of";
        assert_eq!(
            columns,
            [
                ("app.kubernetes.io/part-of", part_of, "peer_label_app_kubernetes_io_part_of"),
                ("example.com/Team", "team", "peer_team"),
            ]
        );
        assert_eq!(read(&["a b"]), Err(ChooseError::Key("a b".into())));
        assert_eq!(read(&["x="]), Err(ChooseError::Key(String::new())));
        assert_eq!(read(&["Team=team"]), Err(ChooseError::Name("Team".into())));
        assert_eq!(read(&["pod=app"]), Err(ChooseError::Taken("pod".into())));
        assert_eq!(read(&["service=app"]), Err(ChooseError::Taken("peer_service".into())));
        assert_eq!(read(&["le=app"]), Err(ChooseError::Taken("le".into())));
        assert_eq!(read(&["a=x", "a=y"]), Err(ChooseError::Taken("a".into())));
        assert_eq!(read(&vec!["x"; 17]), Err(ChooseError::Many(17)));
    }
}

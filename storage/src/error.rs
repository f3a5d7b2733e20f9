//! The one error at the crate's face.

use std::fmt;

/// What a caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The batch does not fit the table. Repeating cannot help.
    Invalid,
    /// Memory is at its bound; repeating in a second can help.
    Busy,
    /// The disk is full or refuses writes; repeating helps once that is mended.
    Unavailable,
    /// The data directory cannot be used: held by another process, damaged, or of another version.
    Directory,
    /// The store is closed or closing.
    Closed,
}

/// An error of the store.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    pub(crate) fn with_source(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { kind, message: message.into(), source: Some(source.into()) }
    }

    /// What the caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut said = String::new();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            // Many errors repeat their cause in their own text.
            let text = error.to_string();
            if !said.ends_with(&text) {
                write!(f, ": {text}")?;
                said = text;
            }
            source = error.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::FileError;

    #[test]
    fn the_whole_chain_is_told_once() {
        let disk = FileError {
            action: "write",
            path: "/d/wal/1.wal".into(),
            source: std::io::Error::other("no space"),
        };
        let error = Error::with_source(ErrorKind::Unavailable, "rows are not durable", disk);
        assert_eq!(error.to_string(), "rows are not durable: cannot write /d/wal/1.wal: no space");
    }
}

//! Where ranges of cloud providers come from.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

/// A text that names no source.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{0}` is neither the path of a file nor http://HOST/... or https://HOST/...")]
pub struct SourceError(String);

/// A file, or a URL that is fetched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CloudSource {
    /// As a provider publishes it.
    File(PathBuf),
    /// Of `http` or `https`.
    Url(String),
}

impl FromStr for CloudSource {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self::File(text.into()));
        };
        let uri: Result<http::Uri, _> = text.parse();
        let is_whole = uri.is_ok_and(|uri| uri.host().is_some_and(|host| !host.is_empty()));
        if !["http", "https"].contains(&scheme) || rest.is_empty() || !is_whole {
            return Err(SourceError(text.to_owned()));
        }
        Ok(Self::Url(text.to_owned()))
    }
}

impl fmt::Display for CloudSource {
    /// For logs and labels: a URL without user, password and query, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Url(url) => {
                let Some((scheme, rest)) = url.split_once("://") else { return Ok(()) };
                let rest = rest.split(['?', '#']).next().unwrap_or_default();
                let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
                let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
                write!(f, "{scheme}://{host}/{path}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_paths_are_told_apart_and_secrets_are_not_shown() {
        for (text, shown) in [
            ("/etc/weir/aws.json", Some("/etc/weir/aws.json")),
            ("aws.json", Some("aws.json")),
            ("https://example.org/a/b.json", Some("https://example.org/a/b.json")),
            ("http://u:secret@[::1]:80/x?sig=secret#y", Some("http://[::1]:80/x")),
            ("https://example.org", Some("https://example.org/")),
            ("ftp://example.org/x", None),
            ("https://", None),
            ("https:///x", None),
        ] {
            let source = text.parse::<CloudSource>();
            assert_eq!(source.ok().map(|source| source.to_string()).as_deref(), shown, "{text}");
        }
    }
}

//! The bearer token of this agent.
//!
//! ```text
//! # either the token alone
//! 3f9c...
//!
//! # or the server's own file, whose first line for agents counts
//! agent  3f9c...
//! reader 77ab...
//! ```

/// Reads a token file; `None` when it is neither of the two.
pub(super) fn parse(text: &str) -> Option<String> {
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().split_whitespace().collect())
        .filter(|words: &Vec<&str>| !words.is_empty())
        .collect();
    let token = match lines.as_slice() {
        [only] if only.len() == 1 => only.first().copied(),
        lines => lines.iter().find_map(|words| match words.as_slice() {
            ["agent", token] => Some(*token),
            _ => None,
        }),
    }?;
    // It becomes part of a header line.
    token.bytes().all(|b| b.is_ascii_graphic()).then(|| token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_and_nothing_else() {
        for (text, token) in [
            ("abc\n", Some("abc")),
            ("# ours\n\n  abc  # yes\n", Some("abc")),
            ("reader r\nagent a1\nagent a2\n", Some("a1")),
            ("agent a1\n", Some("a1")),
            ("", None),
            ("# nothing\n", None),
            ("reader r\n", None),
            ("abc\ndef\n", None),
            ("\u{e9}\u{e9}", None),
        ] {
            assert_eq!(parse(text).as_deref(), token, "{text:?}");
        }
    }
}

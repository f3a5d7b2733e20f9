//! Regular expressions of Go's dialect, which label matchers are written in.
//!
//! The `regex` crate reads nearly the same language. What differs is rewritten: `\d`, `\s`, `\w` and `\b`
//! are about ASCII; a brace that starts no repetition, and within a class `[` and doubled operators,
//! stand for themselves; `\Q...\E` quotes.

use regex::{Regex, RegexBuilder};

use crate::promql::error::Error;

/// Compiled patterns larger than this are refused, bytes.
const MAX_PATTERN_SIZE: usize = 10 * 1024 * 1024;

/// Compiles a pattern as Prometheus does: matching the whole value, `.` matching newlines too.
///
/// # Errors
/// [`Error::BadData`] for what is no pattern, or one too large.
pub(crate) fn pattern(text: &str) -> Result<Regex, Error> {
    let wrapped = format!("^(?s:{})$", translated(text));
    RegexBuilder::new(&wrapped).size_limit(MAX_PATTERN_SIZE).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            Error::BadData(format!("regular expression \"{text}\" is too large"))
        }
        _ => Error::BadData(format!("error parsing regexp: \"{text}\"")),
    })
}

fn translated(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text;
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        let tail = rest.get(c.len_utf8()..).unwrap_or_default();
        rest = match c {
            '\\' => escape(tail, in_class, &mut out),
            '[' if !in_class => {
                in_class = true;
                open_class(tail, &mut out)
            }
            '[' => class_in_class(tail, &mut out),
            ']' if in_class => {
                in_class = false;
                out.push(c);
                tail
            }
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
                tail
            }
            '-' if in_class && tail.starts_with('-') => {
                out.push_str("\\-");
                tail
            }
            '{' if !in_class && !is_repetition(tail) => {
                out.push_str("\\{");
                tail
            }
            _ => {
                out.push(c);
                tail
            }
        };
    }
    out
}

/// Writes an escape sequence whose backslash was read; what follows it.
fn escape<'a>(tail: &'a str, in_class: bool, out: &mut String) -> &'a str {
    let Some(c) = tail.chars().next() else {
        out.push('\\');
        return tail;
    };
    let after = tail.get(c.len_utf8()..).unwrap_or_default();
    if c == 'Q' && !in_class {
        let (quoted, after) = after.split_once("\\E").unwrap_or((after, ""));
        out.push_str(&regex::escape(quoted));
        return after;
    }
    match c {
        'd' => out.push_str("[0-9]"),
        'D' => out.push_str("[^0-9]"),
        's' => out.push_str("[\\t\\n\\f\\r ]"),
        'S' => out.push_str("[^\\t\\n\\f\\r ]"),
        'w' => out.push_str("[0-9A-Za-z_]"),
        'W' => out.push_str("[^0-9A-Za-z_]"),
        'b' if !in_class => out.push_str("(?-u:\\b)"),
        '<' | '>' => out.push(c),
        _ => {
            out.push('\\');
            out.push(c);
        }
    }
    after
}

/// Writes the start of a class whose bracket was read, with a `]` that stands for itself at its start.
fn open_class<'a>(tail: &'a str, out: &mut String) -> &'a str {
    out.push('[');
    let mut rest = tail;
    if let Some(after) = rest.strip_prefix('^') {
        out.push('^');
        rest = after;
    }
    if let Some(after) = rest.strip_prefix(']') {
        out.push_str("\\]");
        rest = after;
    }
    rest
}

/// Within a class a bracket starts a named class such as `[:alpha:]`, or stands for itself.
fn class_in_class<'a>(tail: &'a str, out: &mut String) -> &'a str {
    if let Some((name, after)) = tail.strip_prefix(':').and_then(|tail| tail.split_once(":]"))
        && name.trim_start_matches('^').chars().all(|c| c.is_ascii_lowercase())
    {
        out.push_str("[:");
        out.push_str(name);
        out.push_str(":]");
        return after;
    }
    out.push_str("\\[");
    tail
}

/// Whether what follows a brace makes it a repetition: `2}`, `2,}`, `2,3}`.
fn is_repetition(tail: &str) -> bool {
    tail.split_once('}').is_some_and(|(inner, _)| {
        inner.starts_with(|c: char| c.is_ascii_digit())
            && inner.matches(',').count() <= 1
            && inner.chars().all(|c| c.is_ascii_digit() || c == ',')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        let matches = |text: &str, value: &str| pattern(text).unwrap().is_match(value);
        assert!(matches("a|b", "a") && !matches("a|b", "ab") && !matches("a", "xa"));
        assert!(matches("a.b", "a\nb"));
        assert!(matches("a{2}", "aa") && matches("{x}", "{x}") && matches("a{,2}", "a{,2}"));
        assert!(matches(r"\d+", "12") && !matches(r"\d", "٣") && !matches(r"\w", "é"));
        assert!(matches(r"\W", "é") && matches(r"[\d-]+", "1-2") && matches(r"[^\s]", "x"));
        assert!(matches("[[]", "[") && matches("[a[b]", "[") && matches("[]a]", "]"));
        assert!(matches("[[:digit:]x]+", "1x") && matches("[a&&b]", "&"));
        assert!(matches(r"\Qa.b\E.", "a.bc") && !matches(r"\Qa.b\E", "axb"));
        assert!(matches(r"\<a\>", "<a>") && matches(r"(?i)ä", "Ä"));
        assert!(pattern("(").is_err());
        assert!(pattern("((a{1000}){1000}){1000}").is_err());
    }
}

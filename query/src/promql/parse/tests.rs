use super::*;
use crate::promql::source::MatchOp;

fn message(text: &str) -> String {
    match parse(text) {
        Err(Error::BadData(message)) => message,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn errors_start_like_prometheus_errors() {
    for (text, part) in [
        ("", "no expression found in input"),
        ("   # comment", ""),
        ("sum(", ""),
        ("nosuch(m)", "unknown function"),
        ("m{a=~\"(\"}", ""),
        ("{}", "must contain at least one non-empty matcher"),
        ("{a=~\".*\"}", "must contain at least one non-empty matcher"),
        ("rate(m)", "expected type"),
        ("m offset 1e300", "out of range"),
        ("m + fill (1) m", "fill"),
        ("m{a=\"1\" or b=\"2\"}", "unexpected"),
        ("topk(m)", ""),
        ("m @ NaN", ""),
    ] {
        let message = message(text);
        assert!(
            message.starts_with("parse error: ") && message.contains(part),
            "{text}: {message}"
        );
    }
}

#[test]
fn depth_and_length_are_bounded() {
    let nested = |depth: usize| format!("{}1{}", "(".repeat(depth), ")".repeat(depth));
    assert!(parse(&nested(100)).is_ok());
    assert!(message(&nested(10_000)).contains("nested deeper"));
    assert!(message(&"-".repeat(10_000)).contains("operators"));
    assert!(message(&format!("1{}", " + 1".repeat(10_000))).contains("operators"));
    assert!(message(&format!("m{}", " or m".repeat(10_000))).contains("operators"));
    assert!(message(&"a".repeat(MAX_LENGTH + 1)).contains("longer than"));
    // Text in strings and braces is no operator.
    assert!(parse(&format!("m{{a=\"{}\"}}", "+(".repeat(1000))).is_ok());
    assert!(parse(&format!("sum(m{{{}}})", "a=\"1\",".repeat(1000))).is_ok());
}

#[test]
fn selectors_come_apart_into_name_and_matchers() {
    let selector = parse_selector("m{a=\"1\",b!~\"x.*\"}").unwrap();
    assert_eq!(selector.metric.as_deref(), Some("m"));
    assert_eq!(selector.matchers.len(), 2);
    let selector = parse_selector("{__name__=\"m\",__name__=~\"m.*\",a=\"1\"}").unwrap();
    assert_eq!(selector.metric.as_deref(), Some("m"));
    assert_eq!((selector.name_matchers.len(), selector.matchers.len()), (1, 1));
    for text in ["m[5m]", "m offset 5m", "m @ 5", "sum(m)", "1", "\"m\""] {
        assert!(parse_selector(text).is_err(), "{text}");
    }
}

#[test]
fn patterns_match_the_whole_value_and_newlines() {
    let matches = |pattern_text: &str, value: &str| {
        MatchOp::Matches(pattern(pattern_text).unwrap()).accepts(value)
    };
    assert!(matches("a|b", "a") && !matches("a|b", "ab") && !matches("a", "xa"));
    assert!(matches("a.b", "a\nb"));
    assert!(matches("a{2}", "aa") && matches("{x}", "{x}") && matches("a{,2}", "a{,2}"));
    assert!(pattern("(").is_err());
    assert!(pattern("((a{1000}){1000}){1000}").is_err());
}

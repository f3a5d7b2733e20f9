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

/// Texts in which 10,000 operators follow something that could be mistaken for their hiding place.
#[test]
fn operators_cannot_hide() {
    let call = |text: &str| format!("label_replace(m, \"a\", {text}, \"b\", \"c\")");
    for head in [
        "#\r1".to_owned(),
        "#\n1".to_owned(),
        "#\"\r1".to_owned(),
        "# {\r1".to_owned(),
        "#\u{2028}\u{85}\r1".to_owned(),
        "m{a=\"1\",#}\r}".to_owned(),
        "m{a=`}`}".to_owned(),
        "m{a=\"\\\"\"}".to_owned(),
        "m{a='\\''}".to_owned(),
        call("`\\\\`"),
        call("\"#\""),
        "max_over_time(m[5m:1m])".to_owned(),
    ] {
        assert!(read(&head).is_ok(), "{head}: {:?}", read(&head));
        for operator in
            ["+1", "\n+ 1", "*-1", "-\t1", "^1", "==bool 1", "aTan2 1", "\rOR vector(1)"]
        {
            let text = format!("{head}{}", format!(" {operator}").repeat(10_000));
            let message = message(&text);
            assert!(message.contains("operators"), "{head} {operator}: {message}");
        }
    }
    assert!(message(&format!("m{}", "[5m:]".repeat(10_000))).contains("operators"));
    assert!(message(&format!("#\r{}1", "(".repeat(10_000))).contains("nested deeper"));
    assert!(message(&format!("`\\``{}1", "-".repeat(10_000))).contains("operators"));
    // A comment hides what it holds, to the end of the text too.
    assert!(parse(&format!("1 #{}", "+1".repeat(10_000))).is_ok());
    assert!(parse(&format!("#{}\r1", "(".repeat(10_000))).is_ok());
}

proptest::proptest! {
    /// However pieces of text come together: what is read has no more operators than were counted.
    #[test]
    fn nothing_that_is_read_was_counted_short(
        pieces in proptest::collection::vec(
            proptest::sample::select(vec![
                "\"", "'", "`", "\\", "#", "\r", "\n", " ", "{", "}", "m", "a=", "1", ",", "(", ")",
            ]),
            0..12,
        ),
    ) {
        let text = format!("{} {}", pieces.concat(), "+1".repeat(MAX_OPERATORS + 1));
        if let Ok(tree) = read(&text) {
            proptest::prop_assert!(!tree.to_string().contains("+ 1 + 1"), "{:?}", text);
        }
    }
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

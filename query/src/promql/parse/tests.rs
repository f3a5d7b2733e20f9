use super::*;

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
        ("m + fill (1) m", "unexpected identifier \"m\""),
        ("m{a=\"1\" or b=\"2\"}", "unexpected identifier \"or\" in label matching"),
        ("topk(m)", "expected 2, got 1"),
        ("m @ NaN", "timestamp out of bounds"),
        ("m[(5m)]", "experimental duration expression is not enabled"),
        ("m[5m + 1m]", "experimental duration expression is not enabled"),
        ("m[0s]", "duration must be greater than 0"),
        ("m{__name__=\"x\"}", "must not be set twice"),
        ("1 + bool 2", "bool modifier can only be used on comparison operators"),
        ("1 == 2", "must use BOOL modifier"),
        ("1 and m", "not allowed in binary scalar expression"),
        ("m and on (a) group_left m", "no grouping allowed"),
        ("m * on (a) group_left (a) m", "must not occur in ON and GROUP clause at once"),
        ("sum(m[5m])", "expected type instant vector in aggregation expression"),
        ("(m)[5m]", "ranges only allowed for vector selectors"),
        ("abs(m,)", "trailing commas not allowed"),
        ("info(m, sum(x))", "expected label selectors only"),
        ("info(m, x{a=\"1\"})", "expected label selectors only"),
        ("\"a\\q\"", "error unquoting string"),
        ("1_", "bad number"),
        ("m offset 5m offset 1m", "may not be set multiple times"),
        ("first(m)", "unknown function with name \"first\""),
        ("round(m, 1, 2)", "expected at most 2 argument(s) in call to \"round\", got 3"),
        ("label_join(m, \"a\")", "expected at least 3 argument(s)"),
    ] {
        let message = message(text);
        assert!(message.contains("parse error: ") && message.contains(part), "{text}: {message}");
    }
}

#[test]
fn errors_name_their_place() {
    for (text, start) in [
        ("m m", "1:3: parse error: unexpected identifier \"m\""),
        ("sum(\n  rate(m))", "2:8: parse error: expected type range vector"),
        ("", "1:1: parse error: no expression found in input"),
        ("sum(m", "1:6: parse error: unclosed left parenthesis"),
        ("m{a=1}", "1:5: parse error: unexpected character inside braces: '1'"),
        (
            "sum by a (m)",
            "1:8: parse error: unexpected identifier \"a\" in grouping opts, expected \"(\"",
        ),
    ] {
        let message = message(text);
        assert!(message.starts_with(start), "{text}: {message}");
    }
}

#[test]
fn operators_bind_as_tightly_as_they_should() {
    // Each text, and the same with every parenthesis that its meaning needs.
    for (text, explicit) in [
        ("a + b * c ^ d", "a + (b * (c ^ d))"),
        ("a ^ b ^ c", "a ^ (b ^ c)"),
        ("a - b - c", "(a - b) - c"),
        ("-a ^ b", "-(a ^ b)"),
        ("-a * b", "(-a) * b"),
        ("a ^ -b * c", "(a ^ (-b)) * c"),
        ("a or b and c unless d", "a or ((b and c) unless d)"),
        ("a == b + c", "a == (b + c)"),
        ("a atan2 b + c", "(a atan2 b) + c"),
        ("-a offset 5m", "-(a offset 5m)"),
        ("a offset 5m * b", "(a offset 5m) * b"),
        ("a offset -2 ^ b", "(a offset -2s) ^ b"),
        ("rate(a[1m:] @ 5 offset 1m)", "rate((a)[60:] offset 60s @ 5.0)"),
    ] {
        let [text, explicit] = [text, explicit].map(|text| shape(&parse(text).unwrap()));
        assert_eq!(text, explicit);
    }
}

/// A tree without the places of its parts.
fn shape(expr: &Expr) -> String {
    let places = regex::Regex::new(r"places: \[[^\]]*\]|param_place: Place \{[^}]*\}").unwrap();
    places.replace_all(&format!("{expr:?}"), "").into_owned()
}

#[test]
fn literals_have_the_values_of_prometheus() {
    let value = |text: &str| match parse(text) {
        Ok(Expr::Number(value)) => value,
        other => panic!("{text}: {other:?}"),
    };
    for (text, expected) in [
        ("0x1F", 31.0),
        ("017", 15.0),
        ("08", 8.0),
        ("1_000", 1000.0),
        ("1_000.5", 1000.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-Inf", f64::NEG_INFINITY),
        ("+inF", f64::INFINITY),
        ("1h30m", 5400.0),
        ("100ms", 0.1),
        ("1y", 31_536_000.0),
    ] {
        assert_eq!(value(text), expected, "{text}");
    }
    assert!(value("NaN").is_nan());
    let text = |text: &str| match parse(text) {
        Ok(Expr::Text(value)) => value,
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(text(r#""\u00e9\x41\101\n\"'""#), "éAA\n\"'");
    assert_eq!(text(r"'a\'b'"), "a'b");
    assert_eq!(text(r"`a\n`"), r"a\n");
}

#[test]
fn names_may_stand_in_quotes() {
    let selector = parse_selector("{\"my metric\", 'a.b'=\"1\"}").unwrap();
    assert_eq!(selector.metric.as_deref(), Some("my metric"));
    assert_eq!(&*selector.matchers[0].name, "a.b");
    assert!(parse("sum by (\"a.b\", job) (m)").is_ok());
    // Keywords are names too where nothing else can stand.
    for text in [
        "sum by (by, sum, on, bool) (m)",
        "sum",
        "avg{a=\"1\"}",
        "offset + by",
        "end",
        "m{on=\"\"}",
    ] {
        assert!(parse(text).is_ok(), "{text}: {:?}", parse(text));
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
        "m{a=\"1\" #}\r}".to_owned(),
        "m{a=`}`}".to_owned(),
        "m{a=\"\\\"\"}".to_owned(),
        "m{a='\\''}".to_owned(),
        call("`\\`"),
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
    assert!(message(&format!("`\\`{}1", "-".repeat(10_000))).contains("operators"));
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
            let shown = format!("{tree:?}");
            proptest::prop_assert!(shown.matches("op: Add").count() <= MAX_OPERATORS, "{:?}", text);
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

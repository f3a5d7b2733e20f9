use proptest::prelude::*;

use super::*;

fn canonical(labels: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    write_canonical(labels.iter().copied(), &mut out).unwrap();
    out
}

fn text(canonical: &[u8]) -> String {
    let mut text = String::new();
    write_text(canonical, &mut text);
    text
}

#[test]
fn the_bytes_never_change() {
    let long = "x".repeat(200);
    let bytes = canonical(&[("__name__", "up"), ("a", &long), ("é", "ü")]);
    let mut expected = b"\x08__name__\x02up\x01a\xc8\x01".to_vec();
    expected.extend(long.bytes());
    expected.extend("\u{2}é\u{2}ü".bytes());
    assert_eq!(bytes, expected);
    check(&bytes).unwrap();
    assert_eq!(metric_name(&bytes), "up");
    assert_eq!(value(&bytes, "é"), "ü");
    assert_eq!(value(&bytes, "b"), "");
}

#[test]
fn order_and_empty_values_make_no_difference() {
    let wanted = canonical(&[("__name__", "m"), ("a", "1"), ("b", "2")]);
    for same in [
        [("b", "2"), ("__name__", "m"), ("a", "1"), ("c", "")],
        [("", ""), ("a", "1"), ("b", "2"), ("__name__", "m")],
        [("a", ""), ("__name__", "m"), ("a", "1"), ("b", "2")],
    ] {
        assert_eq!(canonical(&same), wanted);
    }
    assert_eq!(canonical(&[]), b"");
}

#[test]
fn what_is_no_label_set_is_refused() {
    let mut out = b"before".to_vec();
    let refused = write_canonical([("a", "1"), ("b", "2"), ("a", "1")], &mut out);
    assert_eq!(refused, Err(LabelsError::Twice { name: "a".into() }));
    let refused = write_canonical([("a", "1"), ("", "2")], &mut out);
    assert_eq!(refused, Err(LabelsError::NoName { value: "2".into() }));
    assert_eq!(out, b"before");
    let damaged = |bytes: &[u8]| check(bytes).unwrap_err();
    for (bytes, at) in [
        (b"\x01a".as_slice(), 0),
        (b"\x01a\x00", 0),
        (b"\x00\x01a", 0),
        (b"\x01b\x01x\x01a\x01x", 4),
        (b"\x01a\x01x\x01a\x01x", 4),
        (b"\x81\x00a\x01x", 0),
        (b"\x01a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x", 0),
        (b"\x01a\x01\xff", 0),
    ] {
        assert_eq!(damaged(bytes), LabelsError::Damaged { at }, "{bytes:?}");
    }
}

#[test]
fn the_text_is_what_prometheus_shows() {
    let bytes = canonical(&[
        ("__name__", "up"),
        ("instance", "h:9100"),
        ("path", "C:\\x\n\"y\""),
        ("my.label", "z"),
        ("Zone", "a"),
    ]);
    let expected = r#"{Zone="a",instance="h:9100","my.label"="z",path="C:\\x\n\"y\""}"#;
    assert_eq!(text(&bytes), expected);
    let mut back = Vec::new();
    from_text("up", expected, &mut back).unwrap();
    assert_eq!(back, bytes);
    assert_eq!(text(&canonical(&[("__name__", "up")])), "{}");
    back.clear();
    from_text("", "{}", &mut back).unwrap();
    assert_eq!(back, b"");
}

#[test]
fn other_texts_are_refused() {
    for bad in [
        "",
        "{",
        "}",
        "{a}",
        "{a=}",
        "{a=\"}",
        "{a=\"b\"",
        "{a=\"b\"}x",
        "{a=\"b\",}",
        "{,}",
        "{a=\"b\" }",
        "{a=\"\\x\"}",
        "{a-b=\"c\"}",
        "{a=\"b\"c=\"d\"}",
        "{\"a=\"b\"}",
        "{a=\"\\",
    ] {
        let mut out = b"before".to_vec();
        assert!(from_text("m", bad, &mut out).is_err(), "{bad}");
        assert_eq!(out, b"before");
    }
    assert!(from_text("m", "{__name__=\"x\"}", &mut Vec::new()).is_err());
}

proptest! {
    #[test]
    fn bytes_and_text_say_the_same(
        labels in proptest::collection::btree_map("[\\PC\\n\\\\\"a-c=,{}]{1,6}", "[\\PC\\n\\\\\"a-c=,{}]{1,200}", 0..6),
        name in "[a-c]{0,3}",
    ) {
        let all = labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).chain([(METRIC_NAME, name.as_str())]);
        let mut bytes = Vec::new();
        write_canonical(all, &mut bytes).unwrap();
        check(&bytes).unwrap();
        let others: Vec<_> = iter(&bytes).filter(|(n, _)| *n != METRIC_NAME).collect();
        prop_assert_eq!(others, labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect::<Vec<_>>());
        prop_assert_eq!(metric_name(&bytes), &name);
        let mut back = Vec::new();
        from_text(&name, &text(&bytes), &mut back).unwrap();
        prop_assert_eq!(back, bytes);
    }

    #[test]
    fn any_bytes_and_any_text_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..40), text in "[{}a=\",\\\\n]{0,20}") {
        let found = iter(&bytes).count();
        prop_assert!(found <= bytes.len());
        let mut out = Vec::new();
        if from_text("m", &text, &mut out).is_ok() {
            check(&out).unwrap();
        }
        if check(&bytes).is_ok() {
            let mut again = Vec::new();
            write_canonical(iter(&bytes), &mut again).unwrap();
            prop_assert_eq!(again, bytes);
        }
    }
}

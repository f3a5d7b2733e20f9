//! The model finds what it is there to find.

use super::deletions::Range;
use super::*;

const HOUR: i64 = 3_600_000_000;

/// One acknowledged entry with rows 3 (`web`) and 4 (`api`) of `flows`.
fn model() -> (Model, Seen) {
    let mut model = Model::default();
    let entry =
        model.send([vec![Row { n: 3, time: 1 }, Row { n: 4, time: 1 }], Vec::new(), Vec::new()]);
    model.acknowledged(entry, false).unwrap();
    (model, seen(&[3, 4], &[3, 4]))
}

fn seen(kept: &[i64], shown: &[i64]) -> Seen {
    let counts = |numbers: &[i64]| {
        [numbers.iter().map(|n| (*n, 1)).collect(), BTreeMap::new(), BTreeMap::new()]
    };
    Seen { kept: counts(kept), shown: counts(shown) }
}

#[test]
fn rows_that_are_deleted_must_not_be_seen_and_others_must() {
    let (mut model, all) = model();
    model.check(&all).unwrap();
    let range = Range { workload: 0, after: 0, until: HOUR };
    let deletion = model.erase(&[0, TABLES.len()], range);
    model.erasure(deletion, Fate::There);
    assert!(model.check(&all).unwrap_err().contains("was deleted, and is seen"));
    model.check(&seen(&[3, 4], &[4])).unwrap();
    model.check(&seen(&[4], &[4])).unwrap();
    assert!(model.check(&seen(&[3, 4], &[4])).unwrap_err().contains("came back"));
    assert!(model.check(&seen(&[4], &[])).unwrap_err().contains("is lost"));
    let cells = |sums: &[(&str, i64)]| {
        sums.iter().map(|(w, n)| ((300_000_000, (*w).to_owned()), *n)).collect()
    };
    model.check_tier(0, &cells(&[("api", 4)]), i64::MIN).unwrap();
    model.check_tier(0, &cells(&[("api", 4), ("web", 3)]), i64::MIN).unwrap_err();
}

#[test]
fn a_deletion_that_nobody_heard_of_happens_as_a_whole_or_not_at_all() {
    let range = Range { workload: 0, after: 0, until: HOUR };
    for (shown, right) in [(&[3, 4, 6][..], true), (&[4], true), (&[3, 4], false)] {
        let (mut model, _) = model();
        let entry = model.send([vec![Row { n: 6, time: 2 }], Vec::new(), Vec::new()]);
        model.acknowledged(entry, false).unwrap();
        model.erase(&[0], range);
        let checked = model.check(&seen(&[3, 4, 6], shown));
        assert_eq!(checked.is_ok(), right, "{shown:?}: {checked:?}");
    }
}

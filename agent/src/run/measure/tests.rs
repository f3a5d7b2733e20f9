use super::*;
use crate::bpf::Options;
use crate::source::Choice;

#[test]
fn losses_and_rows_of_a_batch_that_cannot_be_made_are_declared_by_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(directory.path(), 1 << 20, "n").unwrap();
    let source = Source::start(Choice::SockDiag, &Options::default()).unwrap();
    let observer = Observer { node: "n".into(), ..Observer::default() };
    let mut measure =
        Measure::new(source, Conntrack::start(), observer, spool.clone(), Metrics::default());
    let column = std::sync::Arc::new(arrow_array::Int64Array::from(vec![1, 2, 3]));
    let three = RecordBatch::try_from_iter([("n", column as arrow_array::ArrayRef)]).unwrap();
    let refusal = || ArrowError::InvalidArgumentError("no".into());

    measure.lost(Loss::RingDrops, 5);
    measure.encode = |_, _| Err(ArrowError::InvalidArgumentError("no".into()).into());
    measure.spool_rows(Ok(three.clone()), 3);
    measure.spool_rows(Err(refusal()), 10);
    assert_eq!(spool.len(), 0);
    measure.encode = weir_wire::encode;
    measure.spool_rows(Ok(three.clone()), 3);
    measure.spool_rows(Ok(three), 3);

    let first = spool.next(|| true).unwrap();
    let declared = [("ring_drops", 5), ("spool_batches", 2), ("spool_rows", 13)];
    assert_eq!(first.batch.losses, declared.map(|(r, n)| (r.to_owned(), n)).into());
    spool.delivered(&first);
    assert!(spool.next(|| true).unwrap().batch.losses.is_empty());
}

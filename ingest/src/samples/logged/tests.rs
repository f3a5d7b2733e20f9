use prost::Message as _;

use super::*;
use crate::samples::decode::tests::{Series, one, request1, request2, series_of};

const STALE: u64 = 0x7ff0_0000_0000_0002;

fn series() -> Vec<Series> {
    vec![
        one(&[("__name__", "up"), ("job", "a")], &[(1000, 1.0), (2000, f64::from_bits(STALE))]),
        one(&[("__name__", "up"), ("job", "é")], &[(3000, -0.1), (1000, f64::INFINITY)]),
    ]
}

fn points_of(series: &[Series]) -> RecordBatch {
    let mut points = Points::new(Limits::default(), Times::ALL);
    decode(Message::Write1, &request1(series).encode_to_vec(), &mut points).unwrap();
    points.finish().unwrap().0
}

#[test]
fn every_form_gives_the_same_points() {
    let series = series();
    for (message, plain) in [
        (Message::Write1, request1(&series).encode_to_vec()),
        (Message::Write2, request2(&series).encode_to_vec()),
    ] {
        for (coding, sent) in [
            (Coding::None, plain.clone()),
            (Coding::Snappy, snap::raw::Encoder::new().compress_vec(&plain).unwrap()),
            (Coding::Zstd, zstd::bulk::compress(&plain, 1).unwrap()),
        ] {
            let logged = body(message, coding, &sent).unwrap();
            let read = read(&logged).unwrap();
            assert_eq!(read, [points_of(&series)], "{message:?} {coding:?}");
        }
        assert!(body(message, Coding::Gzip, &plain).is_none());
    }
    assert_eq!(read(&points(&points_of(&series)).unwrap()).unwrap(), [points_of(&series)]);
}

#[test]
fn logs_of_version_1_are_read() {
    for bytes in [
        &include_bytes!("../../../tests/fixtures/samples-v1-write1-snappy.bin")[..],
        include_bytes!("../../../tests/fixtures/samples-v1-write2-zstd.bin"),
        include_bytes!("../../../tests/fixtures/samples-v1-points.bin"),
    ] {
        let batches = read(bytes).unwrap();
        let found: Vec<_> = batches.iter().flat_map(series_of).collect();
        assert_eq!(found, series());
    }
}

#[test]
fn what_no_version_wrote_is_refused() {
    let good = body(Message::Write1, Coding::None, &request1(&series()).encode_to_vec()).unwrap();
    let with = |at: usize, byte: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = byte;
        read(&bytes).unwrap_err().to_string()
    };
    assert!(with(0, b'X').contains("header"));
    assert!(with(4, 2).contains("version 2"));
    assert!(with(5, 9).contains("unknown form 9"));
    assert!(with(6, 9).contains("compression 9"));
    for end in 0..good.len() - 1 {
        // A cut between two series leaves a body that is whole.
        let read = read(good.get(..end).unwrap());
        assert!(read.is_err() || read.unwrap()[0].num_rows() < 2, "{end}");
    }
    // What would be refused when it arrives is not in a log as a body.
    let nameless = request1(&[one(&[("job", "a")], &[(1, 1.0)])]).encode_to_vec();
    let error = read(&body(Message::Write1, Coding::None, &nameless).unwrap()).unwrap_err();
    assert!(error.to_string().contains("no metric name"), "{error}");
}

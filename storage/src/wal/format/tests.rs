use proptest::prelude::*;

use super::*;

type Owned = (i64, Option<Source>, Vec<(String, Vec<u8>)>);

fn entry() -> impl Strategy<Value = Owned> {
    let source = (".{0,20}", ".{0,20}", any::<i64>()).prop_map(|(agent, boot, sequence)| Source {
        agent,
        boot,
        sequence,
    });
    let part = ("[a-z_]{0,12}", prop::collection::vec(any::<u8>(), 0..200));
    (any::<i64>(), prop::option::of(source), prop::collection::vec(part, 0..4))
}

fn stored((arrived, source, parts): &Owned) -> StoredEntry<'_> {
    StoredEntry {
        arrived: *arrived,
        source: source.clone(),
        parts: parts.iter().map(|(table, ipc)| StoredPart { table, ipc }).collect(),
    }
}

fn frame(salt: u64, lsn: u64, entries: &[Owned]) -> Vec<u8> {
    let mut payload = Vec::new();
    for entry in entries {
        encode_entry(&mut payload, &stored(entry)).unwrap();
    }
    let count = u32::try_from(entries.len()).unwrap();
    let mut out = encode_frame(salt, lsn, count, &payload).unwrap();
    out.extend(payload);
    out
}

#[test]
fn header_survives_and_refuses_damage() {
    let header = Header { salt: 0x0123_4567_89ab_cdef, first_lsn: 77 };
    let bytes = encode_header(header);
    assert_eq!(bytes.len(), HEADER);
    assert_eq!(decode_header(&bytes), Ok(header));
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(decode_header(&damaged).is_err(), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert!(decode_header(&bytes[..length]).is_err());
    }
}

#[test]
fn a_later_version_is_named() {
    let mut bytes = encode_header(Header { salt: 1, first_lsn: 1 });
    bytes[8] = 2;
    assert_eq!(decode_header(&bytes), Err(FormatError::Version(2)));
}

proptest! {
    #[test]
    fn frames_survive(
        salt: u64, lsn in 0..u64::MAX / 2, entries in prop::collection::vec(entry(), 1..5),
        after in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        let mut bytes = frame(salt, lsn, &entries);
        let size = bytes.len();
        bytes.extend(after);
        let back = decode_frame(salt, &bytes).unwrap();
        prop_assert_eq!(back.lsn, lsn);
        prop_assert_eq!(back.size(), size);
        let wanted: Vec<_> = entries.iter().map(stored).collect();
        prop_assert_eq!(decode_entries(&back).unwrap(), wanted);
    }

    #[test]
    fn truncation_is_a_torn_tail(
        salt: u64, entries in prop::collection::vec(entry(), 1..4), cut: prop::sample::Index,
    ) {
        let bytes = frame(salt, 5, &entries);
        let cut = &bytes[..cut.index(bytes.len())];
        prop_assert!(decode_frame(salt, cut).is_err());
        prop_assert!(is_torn_tail(salt, cut));
    }

    #[test]
    fn a_flipped_bit_never_passes(
        salt: u64, entries in prop::collection::vec(entry(), 1..4), bit: prop::sample::Index,
    ) {
        let mut bytes = frame(salt, 5, &entries);
        let next = frame(salt, 9, &entries);
        let size = bytes.len();
        let bit = bit.index(size * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(decode_frame(salt, &bytes).is_err());
        bytes.extend(next);
        prop_assert!(decode_frame(salt, &bytes).is_err());
        prop_assert!(!is_torn_tail(salt, &bytes), "a frame follows: this is damage");
    }

    #[test]
    fn a_sender_cannot_forge_a_frame(
        salt: u64, guess: u64, entries in prop::collection::vec(entry(), 1..3),
    ) {
        prop_assume!(salt != guess);
        let forged = frame(guess, 6, &entries);
        let mut bytes = frame(salt, 5, &[(0, None, vec![("t".into(), forged)])]);
        bytes[0] ^= 1;
        prop_assert!(is_torn_tail(salt, &bytes));
    }

    #[test]
    fn noise_never_panics(salt: u64, bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode_header(&bytes);
        let _ = is_torn_tail(salt, &bytes);
        prop_assert!(decode_frame(salt, &bytes).is_err());
        let _ = decode_entries(&Frame { lsn: 0, entries: 3, payload: &bytes });
    }
}

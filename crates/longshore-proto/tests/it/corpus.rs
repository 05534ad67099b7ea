//! Seeds for every entry point of the fuzzers, and what becomes of them bent and cut short.

use longshore_proto::fuzzing;
use proptest::prelude::*;

type Target = fn(&[u8]);

const TARGETS: [Target; 6] = [
    fuzzing::length_frame,
    fuzzing::tagged,
    fuzzing::lines,
    fuzzing::delimiter,
    fuzzing::fixed,
    fuzzing::longshore,
];

/// Steering bytes and a stream of good frames, for each target; the last frame is torn in some.
fn seeds() -> Vec<(Target, Vec<u8>)> {
    let long_line = [&[255, 3], &[b'x'; 1900][..], b"\r\ny\n"].concat();
    let long_frame = [&[255, 9, 0, 0, 1, 0, 5], &[b'x'; 255][..], &[0, 0, 0, 1, 6]].concat();
    let seeds: [(Target, &[u8]); 22] = [
        (fuzzing::length_frame, b"\x00\x80\x10\x01\x03abc\x00\x01d"),
        (fuzzing::length_frame, b"\x01\x80\x10\x02\0\x03abc\0\0\0\x01d"),
        (fuzzing::length_frame, b"\x01\x81\x10\x02\x03\0abc\0\0\x01\0d"),
        (fuzzing::length_frame, b"\x03\x80\x10\x03\0\0\0\x03abc\0\0\0\0\0\0\0\x01"),
        (fuzzing::length_frame, b"\x03\x60\xff\x03\0\0\0\x07abc\0\0\0\x04\0\0\0\x03"),
        (fuzzing::length_frame, b"\x07\x84\xff\x04##\0\0\0\0\0\0\0\x02ab##\xff\xff\xff\xff\xff"),
        (fuzzing::length_frame, b"\x07\xff\xff\x04#######\xff\xff\xff\xff\xff\xff\xff\xff"),
        (fuzzing::tagged, b"\x08\x05\0\0\0\x04\x07abc\0\0\0\x01\x08\0\0\0\0"),
        (fuzzing::tagged, b"\x08\x05\0\0\0\x09\x0712345678\0\0\0\x0a"),
        (fuzzing::tagged, &long_frame),
        (fuzzing::lines, b"\x04\x06one\ntwo\r\n\n\rthree\r\r\nlast"),
        (fuzzing::lines, b"\x04\x06gr\xc3\xbc\xc3\x9fe\nbad \xff\n"),
        (fuzzing::lines, b"\x01\x07sevenup\neight..\nnine"),
        (fuzzing::lines, &long_line),
        (fuzzing::delimiter, b"\x01\x04\x08--a-b--c----d-"),
        (fuzzing::delimiter, b"\x03\x04\x08\r\n\r\na\r\nb\r\n\r\n\r\r\n\r\nc\r\n\r\n"),
        (fuzzing::delimiter, b"\x00\x01\x09\0abcdefg\0abcdefgh\0"),
        (fuzzing::delimiter, b"\x02\x20\x0aaabaaabaabxaab"),
        (fuzzing::fixed, b"\x03\x0babcdefghij"),
        (fuzzing::longshore, b"\x10\x0cL\x01\x01\0\0\0\0\x02hiL\x01\x02\0\0\0\0\x03\x01\x02x"),
        (fuzzing::longshore, b"\x10\x0dL\x01\x03\0\0\0\0\x02pqL\x01\xc8\x05\0\0\0\x01?L\x01\x04\0"),
        (fuzzing::longshore, b"\x10\x0eL\x01\0\0\0\0\0\x08........L\x01\x01\0\0\0\0\x01\xffGET"),
    ];
    seeds.into_iter().map(|(target, data)| (target, data.to_vec())).collect()
}

#[test]
fn frames_do_not_depend_on_how_the_stream_is_cut() {
    for (target, data) in seeds() {
        target(&data);
    }
}

/// R26: a stream may end anywhere, and wherever it ends, all cuts of it agree.
#[test]
fn a_stream_may_end_at_every_byte() {
    for (target, data) in seeds() {
        for end in 0..data.len().min(100) {
            target(&data[..end]);
        }
    }
}

#[test]
fn any_byte_may_be_bent() {
    for (target, mut data) in seeds() {
        for at in 0..data.len().min(100) {
            let good = data[at];
            for bent in [0, 1, 127, 128, 255, good ^ 1, good ^ 128, b'\n', b'\r'] {
                data[at] = bent;
                target(&data);
            }
            data[at] = good;
        }
    }
}

/// Long enough for lines and frames that come in many pieces.
#[test]
fn a_seed_may_come_again_and_again() {
    for (target, data) in seeds() {
        let steering = data.len().min(4);
        for count in [2, 17, 100] {
            target(&[&data[..steering], &data[steering..].repeat(count)].concat());
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_cut_the_same_however_they_come(
        data in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        for target in TARGETS {
            target(&data);
        }
    }

    /// Few different bytes, so that there are line ends, delimiters and short lengths among them.
    #[test]
    fn telling_bytes_are_cut_the_same_however_they_come(
        data in prop::collection::vec(prop::sample::select(&b"\0\0\0\x01\x02\x08\r\n-aL\xff"[..]), 0..300),
    ) {
        for target in TARGETS {
            target(&data);
        }
    }
}

//! More frames of HTTP/2: what is odd and yet good, and what comes at the wrong time.

use crate::h2_wire::*;
use crate::http2_cases::Comes::*;
use crate::http2_cases::{
    AUTHORITY, Case, FRAME_SIZE_ERROR, METHOD, PATH, PROTOCOL_ERROR, SCHEME, STREAM_CLOSED, odd,
    of, open, setting,
};

/// Depends on nothing, with the greatest weight.
const FREE: [u8; 5] = [0, 0, 0, 0, 255];
const CANCEL: [u8; 4] = [0, 0, 0, 8];

pub(crate) fn cases() -> Vec<Case> {
    [good(), good_blocks(), untimely(), malformed()]
        .into_iter()
        .flatten()
        .collect()
}

fn good() -> Vec<Case> {
    let hello = asking("/hello", &[]);
    let (first, rest) = hello.split_at(5);
    let (second, third) = rest.split_at(5);
    let answered = |name, clause, frames: &[Vec<u8>]| {
        let bytes = frames.concat();
        Case(name, clause, Answered(200), bytes)
    };
    vec![
        answered(
            "PRIORITY on an idle stream",
            "9113 6.3",
            &[frame(PRIORITY, 0, 1, FREE), odd(&[])],
        ),
        answered(
            "PRIORITY on a later stream",
            "9113 6.3",
            &[frame(PRIORITY, 0, 3, [128, 0, 0, 1, 0]), odd(&[])],
        ),
        answered(
            "PRIORITY after the end",
            "9113 5.1",
            &[odd(&[]), frame(PRIORITY, 0, 1, FREE)],
        ),
        answered(
            "WINDOW_UPDATE after the end",
            "9113 5.1",
            &[odd(&[]), frame(WINDOW_UPDATE, 0, 1, [0, 0, 0, 1])],
        ),
        answered(
            "a head in three frames",
            "9113 6.10",
            &[
                frame(HEADERS, END_STREAM, 1, first),
                frame(CONTINUATION, 0, 1, second),
                frame(CONTINUATION, END_HEADERS, 1, third),
            ],
        ),
        answered(
            "the reserved bit",
            "9113 4.1",
            &[request(1 << 31 | 1, &hello)],
        ),
        answered(
            "padded content",
            "9113 6.1",
            &[
                open("/sink", &[("content-length", "2")]),
                frame(DATA, PADDED | END_STREAM, 1, b"\x03hi\0\0\0"),
            ],
        ),
        answered(
            "padding that is not of zeros",
            "9113 6.1",
            &[
                open("/sink", &[("content-length", "2")]),
                frame(DATA, PADDED | END_STREAM, 1, b"\x03hixyz"),
            ],
        ),
        answered(
            "as much content as a frame may have",
            "9113 4.2",
            &[
                open("/sink", &[("content-length", "16384")]),
                frame(DATA, END_STREAM, 1, vec![b'x'; 16 << 10]),
            ],
        ),
        answered(
            "every setting",
            "9113 6.5.2",
            &[
                setting(1, 0),
                setting(2, 1),
                setting(3, 100),
                setting(4, (1 << 31) - 1),
                setting(5, (1 << 24) - 1),
                setting(6, 100),
                odd(&[]),
            ],
        ),
    ]
}

fn good_blocks() -> Vec<Case> {
    let hello = asking("/hello", &[]);
    let before = |block: &[u8]| request(1, [block, &hello].concat());
    let after = |block: &[u8]| request(1, [&hello, block].concat());
    // As appendix C.4.3 of RFC 7541 has it.
    let huffman = b"\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf";
    let remembered = [&literal(0x40, "x", "y")[..], &[0xbe]].concat();
    let answered = |name, clause, bytes| Case(name, clause, Answered(200), bytes);
    vec![
        answered("an empty table", "7541 6.3", before(&[0x20])),
        answered(
            "an empty table, then a full one",
            "7541 4.2",
            before(&[0x20, 0x3f, 0xe1, 0x1f]),
        ),
        answered("a field of the table", "7541 6.1", after(&[0xba])),
        answered("a field of its own table", "7541 6.2.1", after(&remembered)),
        answered(
            "a field for no table",
            "7541 6.2.3",
            after(&literal(0x10, "x", "y")),
        ),
        answered(
            "Huffman's code",
            "7541 5.2",
            after(&[&[0x40], &huffman[..]].concat()),
        ),
        answered(
            "Huffman's code for no table",
            "7541 6.2.3",
            after(&[&[0x10], &huffman[..]].concat()),
        ),
    ]
}

fn untimely() -> Vec<Case> {
    let hello = asking("/hello", &[]);
    let part = frame(HEADERS, END_STREAM, 1, &hello[..9]);
    let rest = frame(CONTINUATION, END_HEADERS, 1, &hello[9..]);
    let reset = [open("/never", &[]), frame(RST_STREAM, 0, 1, CANCEL)].concat();
    let ends = |name, clause, frames: &[Vec<u8>]| {
        let bytes = frames.concat();
        Case(name, clause, GoAway(PROTOCOL_ERROR), bytes)
    };
    vec![
        Case(
            "PRIORITY that depends on itself",
            "7540 5.3.1",
            Reset(PROTOCOL_ERROR),
            frame(PRIORITY, 0, 1, [0, 0, 0, 1, 255]),
        ),
        ends(
            "PRIORITY within a head",
            "9113 6.2",
            &[part.clone(), frame(PRIORITY, 0, 1, FREE), rest.clone()],
        ),
        ends(
            "another head within a head",
            "9113 6.2",
            &[part.clone(), request(3, &hello), rest.clone()],
        ),
        ends(
            "DATA between CONTINUATIONs",
            "9113 6.10",
            &[
                part.clone(),
                frame(CONTINUATION, 0, 1, &hello[9..12]),
                frame(DATA, END_STREAM, 1, "x"),
            ],
        ),
        ends(
            "CONTINUATION on stream 0",
            "9113 6.10",
            &[part, frame(CONTINUATION, END_HEADERS, 0, &hello[9..])],
        ),
        ends(
            "CONTINUATION after the head's end",
            "9113 6.10",
            &[open("/never", &[]), rest.clone()],
        ),
        ends(
            "WINDOW_UPDATE of 0 on a stream",
            "9113 6.9",
            &[open("/never", &[]), frame(WINDOW_UPDATE, 0, 1, [0; 4])],
        ),
        Case(
            "a head of 20 KiB in one frame",
            "9113 4.2",
            GoAway(FRAME_SIZE_ERROR),
            request(1, vec![0; 20 << 10]),
        ),
        Case(
            "DATA after RST_STREAM",
            "9113 5.1",
            Reset(STREAM_CLOSED),
            [&reset[..], &frame(DATA, END_STREAM, 1, "x")].concat(),
        ),
        ends(
            "HEADERS after RST_STREAM",
            "9113 5.1",
            &[reset.clone(), request(1, &hello)],
        ),
        ends("CONTINUATION after RST_STREAM", "9113 5.1", &[reset, rest]),
    ]
}

fn malformed() -> Vec<Case> {
    let hello = asking("/hello", &[]);
    let bad = |block: &[u8]| request(1, [&hello, block].concat());
    let malformed = |name, clause, bytes| Case(name, clause, Reset(PROTOCOL_ERROR), bytes);
    let ends = |name, clause, bytes| Case(name, clause, GoAway(PROTOCOL_ERROR), bytes);
    vec![
        malformed(
            "two :scheme",
            "9113 8.3.1",
            of(&[METHOD, SCHEME, SCHEME, AUTHORITY, PATH]),
        ),
        malformed(
            "te of trailers and more",
            "9113 8.2.2",
            odd(&[("te", "trailers, deflate")]),
        ),
        malformed(
            "more content than the length, in pieces",
            "9113 8.1.1",
            [
                open("/never", &[("content-length", "5")]),
                frame(DATA, 0, 1, "test"),
                frame(DATA, END_STREAM, 1, "test"),
            ]
            .concat(),
        ),
        malformed(
            "a pseudo field among trailers that do not end it",
            "9113 8.1",
            [
                open("/never", &[]),
                frame(DATA, 0, 1, "test"),
                frame(HEADERS, END_HEADERS, 1, block(&[METHOD])),
            ]
            .concat(),
        ),
        ends(
            "a table larger than allowed by one",
            "7541 6.3",
            request(1, [&number(0x20, 5, 4097)[..], &hello].concat()),
        ),
        ends(
            "Huffman's code padded by zeros",
            "7541 5.2",
            bad(&[0, 0x81, 0xf2, 0]),
        ),
    ]
}

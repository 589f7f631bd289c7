//! Frames of HTTP/2, good and bad, by the clauses of RFC 9113 and RFC 7541, and what comes of them.
//!
//! Where the RFCs name a more specific code than PROTOCOL_ERROR, h2 answers some faults with that
//! one: the connection ends all the same, and nothing else depends on the code.

use crate::h2_wire::*;

pub(crate) const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
pub(crate) const STREAM_CLOSED: u32 = 5;
pub(crate) const FRAME_SIZE_ERROR: u32 = 6;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Comes {
    /// The connection ends, by GOAWAY with this code.
    GoAway(u32),
    /// The stream 1 is reset with this code.
    Reset(u32),
    /// The stream 1 is answered by the server itself.
    Refused(u16),
    /// The stream 1 is answered by the guest.
    Answered(u16),
}

use Comes::*;

pub(crate) fn cases() -> Vec<Case> {
    let streams = crate::http2_streams::cases();
    [good(), frames(), blocks(), fields(), streams]
        .into_iter()
        .flatten()
        .collect()
}

/// Its name, its clause, what comes of it, and what the client sends.
pub(crate) struct Case(
    pub(crate) &'static str,
    pub(crate) &'static str,
    pub(crate) Comes,
    pub(crate) Vec<u8>,
);

/// A request on stream 1 that has something odd about it.
pub(crate) fn odd(more: &[(&str, &str)]) -> Vec<u8> {
    request(1, asking("/hello", more))
}

pub(crate) fn of(fields: &[(&str, &str)]) -> Vec<u8> {
    request(1, block(fields))
}

pub(crate) const METHOD: (&str, &str) = (":method", "GET");
pub(crate) const SCHEME: (&str, &str) = (":scheme", "http");
pub(crate) const AUTHORITY: (&str, &str) = (":authority", "a");
pub(crate) const PATH: (&str, &str) = (":path", "/hello");

/// A request whose content is still to come.
pub(crate) fn open(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, 1, asking(path, more))
}

pub(crate) fn setting(id: u16, value: u32) -> Vec<u8> {
    let mut payload = id.to_be_bytes().to_vec();
    payload.extend(value.to_be_bytes());
    frame(SETTINGS, 0, 0, payload)
}

fn good() -> Vec<Case> {
    let hello = asking("/hello", &[]);
    let (first, second) = hello.split_at(9);
    let padded = [&[3], &hello[..], &[0; 3]].concat();
    let with_priority = [&[0, 0, 0, 0, 15], &hello[..]].concat();
    vec![
        Case("a request", "9113 8.1", Answered(200), odd(&[])),
        Case(
            "a head in two frames",
            "9113 6.10",
            Answered(200),
            [
                frame(HEADERS, END_STREAM, 1, first),
                frame(CONTINUATION, END_HEADERS, 1, second),
            ]
            .concat(),
        ),
        Case(
            "padding",
            "9113 6.2",
            Answered(200),
            frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, padded),
        ),
        Case(
            "a priority",
            "9113 6.2",
            Answered(200),
            frame(
                HEADERS,
                END_HEADERS | END_STREAM | WITH_PRIORITY,
                1,
                with_priority,
            ),
        ),
        Case(
            "an unknown frame",
            "9113 4.1",
            Answered(200),
            [frame(0xbe, 0xff, 7, "what"), odd(&[])].concat(),
        ),
        Case(
            "an unknown setting",
            "9113 6.5.2",
            Answered(200),
            [setting(0xbe, 1), odd(&[])].concat(),
        ),
        Case(
            "an unknown flag",
            "9113 4.1",
            Answered(200),
            frame(HEADERS, END_HEADERS | END_STREAM | 0x40, 1, &hello),
        ),
        Case(
            "te: trailers",
            "9113 8.2.2",
            Answered(200),
            odd(&[("te", "trailers")]),
        ),
        Case(
            "Host and :authority agree",
            "9113 8.3.1",
            Answered(200),
            odd(&[("host", "A:80")]),
        ),
        Case(
            "Host without :authority",
            "9113 8.3.1",
            Answered(200),
            of(&[METHOD, SCHEME, PATH, ("host", "a")]),
        ),
        Case(
            "OPTIONS *",
            "9113 8.3.1",
            Answered(200),
            of(&[(":method", "OPTIONS"), SCHEME, AUTHORITY, (":path", "*")]),
        ),
        Case(
            "cookies in crumbs",
            "9113 8.2.3",
            Answered(200),
            odd(&[("cookie", "a=b"), ("cookie", "c=d")]),
        ),
        Case(
            "a content as long as it says",
            "9113 8.1.1",
            Answered(200),
            [
                open("/sink", &[("content-length", "2")]),
                frame(DATA, END_STREAM, 1, "hi"),
            ]
            .concat(),
        ),
        Case(
            "trailers",
            "9113 8.1",
            Answered(200),
            [
                open("/sink", &[]),
                frame(DATA, 0, 1, "hi"),
                request(1, block(&[("x-sum", "1")])),
            ]
            .concat(),
        ),
    ]
}

fn frames() -> Vec<Case> {
    let hello = asking("/hello", &[]);
    let part = frame(HEADERS, END_STREAM, 1, &hello[..9]);
    let rest = frame(CONTINUATION, END_HEADERS, 1, &hello[9..]);
    vec![
        Case(
            "DATA on stream 0",
            "9113 6.1",
            GoAway(PROTOCOL_ERROR),
            frame(DATA, 0, 0, "x"),
        ),
        Case(
            "DATA on an idle stream",
            "9113 5.1",
            GoAway(PROTOCOL_ERROR),
            frame(DATA, 0, 1, "x"),
        ),
        Case(
            "DATA whose padding is all",
            "9113 6.1",
            GoAway(PROTOCOL_ERROR),
            [open("/sink", &[]), frame(DATA, PADDED, 1, [5, 0, 0])].concat(),
        ),
        Case(
            "HEADERS on stream 0",
            "9113 6.2",
            GoAway(PROTOCOL_ERROR),
            request(0, &hello),
        ),
        Case(
            "HEADERS on an even stream",
            "9113 5.1.1",
            GoAway(PROTOCOL_ERROR),
            request(2, &hello),
        ),
        Case(
            "a stream below the last",
            "9113 5.1.1",
            GoAway(PROTOCOL_ERROR),
            [request(5, asking("/never", &[])), request(3, &hello)].concat(),
        ),
        Case(
            "HEADERS whose padding is all",
            "9113 6.2",
            GoAway(PROTOCOL_ERROR),
            frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, [200, 0x82]),
        ),
        Case(
            "HEADERS that depend on themselves",
            "7540 5.3.1",
            Reset(PROTOCOL_ERROR),
            frame(
                HEADERS,
                END_HEADERS | END_STREAM | WITH_PRIORITY,
                1,
                [&[0, 0, 0, 1, 15], &hello[..]].concat(),
            ),
        ),
        Case(
            "a frame of 20 KiB",
            "9113 4.2",
            GoAway(FRAME_SIZE_ERROR),
            frame(DATA, 0, 1, vec![0; 20 << 10]),
        ),
        Case(
            "PRIORITY of four bytes",
            "9113 6.3",
            GoAway(PROTOCOL_ERROR),
            frame(PRIORITY, 0, 1, [0; 4]),
        ),
        Case(
            "PRIORITY on stream 0",
            "9113 6.3",
            GoAway(PROTOCOL_ERROR),
            frame(PRIORITY, 0, 0, [0; 5]),
        ),
        Case(
            "RST_STREAM on stream 0",
            "9113 6.4",
            GoAway(PROTOCOL_ERROR),
            frame(RST_STREAM, 0, 0, [0; 4]),
        ),
        Case(
            "RST_STREAM on an idle stream",
            "9113 6.4",
            GoAway(PROTOCOL_ERROR),
            frame(RST_STREAM, 0, 1, [0; 4]),
        ),
        Case(
            "RST_STREAM of three bytes",
            "9113 6.4",
            GoAway(PROTOCOL_ERROR),
            [open("/sink", &[]), frame(RST_STREAM, 0, 1, [0; 3])].concat(),
        ),
        Case(
            "SETTINGS on a stream",
            "9113 6.5",
            GoAway(PROTOCOL_ERROR),
            frame(SETTINGS, 0, 1, ""),
        ),
        Case(
            "SETTINGS of five bytes",
            "9113 6.5",
            GoAway(PROTOCOL_ERROR),
            frame(SETTINGS, 0, 0, [0; 5]),
        ),
        Case(
            "an acknowledgement with content",
            "9113 6.5",
            GoAway(PROTOCOL_ERROR),
            frame(SETTINGS, ACK, 0, [0; 6]),
        ),
        Case(
            "ENABLE_PUSH of 2",
            "9113 6.5.2",
            GoAway(PROTOCOL_ERROR),
            setting(2, 2),
        ),
        Case(
            "INITIAL_WINDOW_SIZE too large",
            "9113 6.5.2",
            GoAway(PROTOCOL_ERROR),
            setting(4, 1 << 31),
        ),
        Case(
            "MAX_FRAME_SIZE too small",
            "9113 6.5.2",
            GoAway(PROTOCOL_ERROR),
            setting(5, 100),
        ),
        Case(
            "MAX_FRAME_SIZE too large",
            "9113 6.5.2",
            GoAway(PROTOCOL_ERROR),
            setting(5, 1 << 24),
        ),
        Case(
            "PUSH_PROMISE",
            "9113 8.4",
            GoAway(PROTOCOL_ERROR),
            [
                open("/sink", &[]),
                frame(
                    PUSH_PROMISE,
                    END_HEADERS,
                    1,
                    [&[0, 0, 0, 2], &hello[..]].concat(),
                ),
            ]
            .concat(),
        ),
        Case(
            "PING of seven bytes",
            "9113 6.7",
            GoAway(PROTOCOL_ERROR),
            frame(PING, 0, 0, [0; 7]),
        ),
        Case(
            "PING on a stream",
            "9113 6.7",
            GoAway(PROTOCOL_ERROR),
            frame(PING, 0, 1, [0; 8]),
        ),
        Case(
            "GOAWAY on a stream",
            "9113 6.8",
            GoAway(PROTOCOL_ERROR),
            frame(GOAWAY, 0, 1, [0; 8]),
        ),
        Case(
            "WINDOW_UPDATE of 0",
            "9113 6.9",
            GoAway(PROTOCOL_ERROR),
            frame(WINDOW_UPDATE, 0, 0, [0; 4]),
        ),
        Case(
            "WINDOW_UPDATE of three bytes",
            "9113 6.9",
            GoAway(PROTOCOL_ERROR),
            frame(WINDOW_UPDATE, 0, 0, [0; 3]),
        ),
        Case(
            "WINDOW_UPDATE on an idle stream",
            "9113 5.1",
            GoAway(PROTOCOL_ERROR),
            frame(WINDOW_UPDATE, 0, 1, [0, 0, 0, 1]),
        ),
        Case(
            "a window beyond 31 bits",
            "9113 6.9.1",
            GoAway(FLOW_CONTROL_ERROR),
            frame(WINDOW_UPDATE, 0, 0, [0x7f, 0xff, 0xff, 0xff]),
        ),
        Case(
            "a stream's window beyond 31 bits",
            "9113 6.9.1",
            Reset(FLOW_CONTROL_ERROR),
            [
                open("/sink", &[]),
                frame(WINDOW_UPDATE, 0, 1, [0x7f, 0xff, 0xff, 0xff]),
            ]
            .concat(),
        ),
        Case(
            "CONTINUATION without HEADERS",
            "9113 6.10",
            GoAway(PROTOCOL_ERROR),
            frame(CONTINUATION, END_HEADERS, 1, &hello),
        ),
        Case(
            "CONTINUATION of another stream",
            "9113 6.10",
            GoAway(PROTOCOL_ERROR),
            [
                part.clone(),
                frame(CONTINUATION, END_HEADERS, 3, &hello[9..]),
            ]
            .concat(),
        ),
        Case(
            "DATA within a head",
            "9113 6.10",
            GoAway(PROTOCOL_ERROR),
            [part.clone(), frame(DATA, 0, 1, "x"), rest.clone()].concat(),
        ),
        Case(
            "PING within a head",
            "9113 6.10",
            GoAway(PROTOCOL_ERROR),
            [part.clone(), frame(PING, 0, 0, [0; 8]), rest.clone()].concat(),
        ),
        Case(
            "an unknown frame within a head",
            "9113 5.5",
            GoAway(PROTOCOL_ERROR),
            [part, frame(0xbe, 0, 1, "x"), rest].concat(),
        ),
        Case(
            "DATA after the end",
            "9113 5.1",
            GoAway(PROTOCOL_ERROR),
            [request(1, asking("/never", &[])), frame(DATA, 0, 1, "x")].concat(),
        ),
        Case(
            "HEADERS after the end",
            "9113 5.1",
            GoAway(PROTOCOL_ERROR),
            [
                request(1, asking("/never", &[])),
                request(1, block(&[("x", "y")])),
            ]
            .concat(),
        ),
    ]
}

fn blocks() -> Vec<Case> {
    let bad = |block: &[u8]| request(1, [&asking("/hello", &[])[..], block].concat());
    vec![
        Case(
            "an index of 0",
            "7541 6.1",
            GoAway(PROTOCOL_ERROR),
            bad(&[0x80]),
        ),
        Case(
            "an index beyond the table",
            "7541 2.3.3",
            GoAway(PROTOCOL_ERROR),
            bad(&number(0x80, 7, 70)),
        ),
        Case(
            "a number without an end",
            "7541 5.1",
            GoAway(PROTOCOL_ERROR),
            bad(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ),
        Case(
            "a text longer than the block",
            "7541 5.2",
            GoAway(PROTOCOL_ERROR),
            bad(&[0, 100, b'x']),
        ),
        Case(
            "Huffman's code with its own end",
            "7541 5.2",
            GoAway(PROTOCOL_ERROR),
            bad(&[0, 0x84, 0xff, 0xff, 0xff, 0xff, 0]),
        ),
        Case(
            "Huffman's code with long padding",
            "7541 5.2",
            GoAway(PROTOCOL_ERROR),
            bad(&[0, 0x82, 0x1f, 0xff, 0]),
        ),
        Case(
            "a table larger than allowed",
            "7541 6.3",
            GoAway(PROTOCOL_ERROR),
            request(
                1,
                [&number(0x20, 5, 1 << 20)[..], &asking("/hello", &[])].concat(),
            ),
        ),
        Case(
            "a table's size in the midst",
            "7541 4.2",
            GoAway(PROTOCOL_ERROR),
            bad(&[0x20]),
        ),
    ]
}

fn fields() -> Vec<Case> {
    let malformed = Reset(PROTOCOL_ERROR);
    // What h2's HPACK does not take ends the connection, which RFC 9113, section 5.4.2, allows.
    let ended = GoAway(PROTOCOL_ERROR);
    let large = "y".repeat(10 << 10);
    let many: Vec<_> = (0..8).map(|_| ("x", &*large)).collect();
    let head = asking("/hello", &many);
    let pieces = head.chunks(16 << 10).enumerate().map(|(number, piece)| {
        let flags = if piece.len() < 16 << 10 {
            END_HEADERS
        } else {
            0
        };
        match number {
            0 => frame(HEADERS, flags | END_STREAM, 1, piece),
            _ => frame(CONTINUATION, flags, 1, piece),
        }
    });
    vec![
        Case(
            "a name in capitals",
            "9113 8.2.1",
            ended,
            odd(&[("X-Y", "z")]),
        ),
        Case(
            "a blank in a name",
            "9113 8.2.1",
            ended,
            odd(&[("x y", "z")]),
        ),
        Case("a name of nothing", "9113 8.2.1", ended, odd(&[("", "z")])),
        Case(
            "a colon in a name",
            "9113 8.2.1",
            ended,
            odd(&[("x:y", "z")]),
        ),
        Case(
            "a line end in a value",
            "9113 8.2.1",
            ended,
            odd(&[("x", "y\r\nhost: b")]),
        ),
        Case(
            "a NUL in a value",
            "9113 8.2.1",
            ended,
            odd(&[("x", "y\0z")]),
        ),
        Case(
            "connection",
            "9113 8.2.2",
            malformed,
            odd(&[("connection", "close")]),
        ),
        Case(
            "keep-alive",
            "9113 8.2.2",
            malformed,
            odd(&[("keep-alive", "1")]),
        ),
        Case(
            "proxy-connection",
            "9113 8.2.2",
            malformed,
            odd(&[("proxy-connection", "close")]),
        ),
        Case(
            "transfer-encoding",
            "9113 8.2.2",
            malformed,
            odd(&[("transfer-encoding", "chunked")]),
        ),
        Case(
            "upgrade",
            "9113 8.2.2",
            malformed,
            odd(&[("upgrade", "websocket")]),
        ),
        Case(
            "te that is not trailers",
            "9113 8.2.2",
            malformed,
            odd(&[("te", "gzip")]),
        ),
        Case(
            "no :method",
            "9113 8.3.1",
            malformed,
            of(&[SCHEME, AUTHORITY, PATH]),
        ),
        Case(
            "no :scheme",
            "9113 8.3.1",
            malformed,
            of(&[METHOD, AUTHORITY, PATH]),
        ),
        Case(
            "no :path",
            "9113 8.3.1",
            malformed,
            of(&[METHOD, SCHEME, AUTHORITY]),
        ),
        Case(
            "an empty :path",
            "9113 8.3.1",
            malformed,
            of(&[METHOD, SCHEME, AUTHORITY, (":path", "")]),
        ),
        Case(
            "an empty :method",
            "9113 8.3.1",
            ended,
            of(&[(":method", ""), SCHEME, AUTHORITY, PATH]),
        ),
        Case(
            "two :method",
            "9113 8.3.1",
            malformed,
            of(&[METHOD, METHOD, SCHEME, AUTHORITY, PATH]),
        ),
        Case(
            "two :path",
            "9113 8.3.1",
            malformed,
            of(&[METHOD, SCHEME, AUTHORITY, PATH, PATH]),
        ),
        Case(
            "two :authority",
            "9113 8.3.1",
            malformed,
            of(&[METHOD, SCHEME, AUTHORITY, AUTHORITY, PATH]),
        ),
        Case(
            "an unknown pseudo field",
            "9113 8.3",
            ended,
            of(&[METHOD, SCHEME, AUTHORITY, PATH, (":x", "y")]),
        ),
        Case(
            ":status in a request",
            "9113 8.3",
            malformed,
            of(&[METHOD, SCHEME, AUTHORITY, PATH, (":status", "200")]),
        ),
        Case(
            ":path after a field",
            "9113 8.3",
            malformed,
            of(&[METHOD, SCHEME, AUTHORITY, ("x", "y"), PATH]),
        ),
        Case(
            "a pseudo field among trailers, which h2 drops",
            "9113 8.1",
            Answered(200),
            [open("/sink", &[]), request(1, block(&[PATH]))].concat(),
        ),
        Case(
            "trailers that do not end it",
            "9113 8.1",
            malformed,
            [
                open("/never", &[]),
                frame(HEADERS, END_HEADERS, 1, block(&[("x", "y")])),
            ]
            .concat(),
        ),
        Case(
            "a length that is none",
            "9110 8.6",
            malformed,
            odd(&[("content-length", "-1")]),
        ),
        Case(
            "a length without content",
            "9113 8.1.1",
            malformed,
            odd(&[("content-length", "5")]),
        ),
        Case(
            "more content than the length",
            "9113 8.1.1",
            malformed,
            [
                open("/never", &[("content-length", "2")]),
                frame(DATA, END_STREAM, 1, "hello"),
            ]
            .concat(),
        ),
        Case(
            "less content than the length",
            "9113 8.1.1",
            malformed,
            [
                open("/never", &[("content-length", "9")]),
                frame(DATA, END_STREAM, 1, "hello"),
            ]
            .concat(),
        ),
        Case(
            "two lengths",
            "9110 8.6",
            malformed,
            odd(&[("content-length", "0"), ("content-length", "5")]),
        ),
        Case(
            "a blank in :path",
            "9113 8.3.1",
            malformed,
            of(&[METHOD, SCHEME, AUTHORITY, (":path", "/a b")]),
        ),
        Case(
            "a relative :path",
            "9113 8.3.1",
            malformed,
            of(&[METHOD, SCHEME, AUTHORITY, (":path", "hello")]),
        ),
        Case(
            "an asterisk without OPTIONS",
            "9113 8.3.1",
            Refused(400),
            of(&[METHOD, SCHEME, AUTHORITY, (":path", "*")]),
        ),
        Case(
            "a fragment in :path, which h2 drops",
            "9113 8.3.1",
            Answered(200),
            of(&[METHOD, SCHEME, AUTHORITY, (":path", "/hello#x")]),
        ),
        Case(
            "UTF-8 in :path",
            "9113 8.3.1",
            Refused(400),
            of(&[METHOD, SCHEME, AUTHORITY, (":path", "/h\u{e4}")]),
        ),
        Case(
            "dot segments in :path",
            "3986 6.2.2.3",
            Refused(400),
            of(&[METHOD, SCHEME, AUTHORITY, (":path", "/a/../hello")]),
        ),
        Case(
            ":scheme of ftp",
            "9113 8.3.1",
            Refused(400),
            of(&[METHOD, (":scheme", "ftp"), AUTHORITY, PATH]),
        ),
        Case(
            "neither :authority nor Host",
            "9113 8.3.1",
            Refused(400),
            of(&[METHOD, SCHEME, PATH]),
        ),
        Case(
            "Host against :authority",
            "9113 8.3.1",
            Refused(400),
            odd(&[("host", "b")]),
        ),
        Case(
            "two Hosts",
            "9110 7.2",
            Refused(400),
            odd(&[("host", "a"), ("host", "a")]),
        ),
        Case(
            "a user in :authority",
            "9113 8.3.1",
            Refused(400),
            of(&[METHOD, SCHEME, (":authority", "me@a"), PATH]),
        ),
        Case(
            "a path in :authority",
            "9113 8.3.1",
            malformed,
            of(&[METHOD, SCHEME, (":authority", "a/b"), PATH]),
        ),
        Case(
            "CONNECT",
            "9113 8.5",
            Refused(405),
            of(&[(":method", "CONNECT"), (":authority", "a:443")]),
        ),
        Case(
            "CONNECT with :path",
            "9113 8.5",
            malformed,
            of(&[(":method", "CONNECT"), SCHEME, AUTHORITY, PATH]),
        ),
        Case(
            "extended CONNECT",
            "8441 3",
            malformed,
            of(&[
                (":method", "CONNECT"),
                (":protocol", "websocket"),
                SCHEME,
                AUTHORITY,
                PATH,
            ]),
        ),
        Case(
            "a head of 80 KiB",
            "9113 10.5.1",
            Refused(431),
            pieces.collect::<Vec<_>>().concat(),
        ),
    ]
}

//! HTTP/2 by hand: frames and header blocks to the byte, so that they can be wrong.

use std::net::SocketAddr;

use crate::up_client::Raw;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// Also the flag of an acknowledgement.
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const WITH_PRIORITY: u8 = 0x20;

/// A frame (RFC 9113, section 4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A number behind a prefix of `bits` bits whose other bits are `first` (RFC 7541, section 5.1).
pub(crate) fn number(first: u8, bits: u32, mut value: usize) -> Vec<u8> {
    let max = (1 << bits) - 1;
    if value < max {
        return vec![first | value as u8];
    }
    let mut bytes = vec![first | max as u8];
    value -= max;
    while value >= 128 {
        bytes.push(value as u8 | 128);
        value /= 128;
    }
    bytes.push(value as u8);
    bytes
}

/// A field as two plain texts; `first` says what becomes of it (RFC 7541, section 6.2).
pub(crate) fn literal(first: u8, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    let mut block = vec![first];
    for text in [name.as_ref(), value.as_ref()] {
        block.extend(number(0, 7, text.len()));
        block.extend(text);
    }
    block
}

/// A block of fields that no table remembers.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let fields = fields.iter();
    fields
        .flat_map(|(name, value)| literal(0, name, value))
        .collect()
}

/// The fields of a plain request, and others.
pub(crate) fn asking(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut fields = vec![
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "a"),
        (":path", path),
    ];
    fields.extend(more);
    block(&fields)
}

/// A whole request without content.
pub(crate) fn request(stream: u32, block: impl AsRef<[u8]>) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, block)
}

/// A frame that came.
#[derive(Debug)]
pub(crate) struct Came {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Came {
    /// The error code of RST_STREAM or GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    /// The status at the beginning of an answer's head.
    pub(crate) fn status(&self) -> u16 {
        let mut block = &self.payload[..];
        // A change of the table's size may come first.
        while block[0] & 0xe0 == 0x20 {
            let long = block[0] == 0x3f;
            let rest = block[1..].iter().take_while(|byte| **byte >= 128).count();
            block = &block[1 + usize::from(long) * (rest + 1)..];
        }
        match block[0] {
            0x88 => 200,
            0x89 => 204,
            0x8c => 400,
            0x8d => 404,
            0x8e => 500,
            _ => {
                let length = usize::from(block[1] & 127);
                let text = &block[2..2 + length];
                let text = if block[1] & 128 == 0 {
                    String::from_utf8(text.to_vec()).unwrap()
                } else {
                    digits(text)
                };
                text.parse().unwrap()
            }
        }
    }
}

/// Three digits in Huffman's code of RFC 7541, appendix B.
fn digits(bytes: &[u8]) -> String {
    let bits: Vec<u8> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1))
        .collect();
    let mut text = String::new();
    let mut at = 0;
    while text.len() < 3 {
        let take = |count: usize| {
            bits[at..at + count]
                .iter()
                .fold(0, |all, bit| all << 1 | bit)
        };
        let (digit, length) = match take(5) {
            digit @ 0..=2 => (digit, 5),
            _ => (take(6) - 0x19 + 3, 6),
        };
        text.push(char::from(b'0' + digit));
        at += length;
    }
    text
}

/// A connection that says hello.
pub(crate) async fn connect(addr: SocketAddr) -> Raw {
    let hello = [PREFACE, &frame(SETTINGS, 0, 0, "")].concat();
    Raw::send(addr, hello).await
}

/// The next frame; nothing at the connection's end.
pub(crate) async fn next(raw: &mut Raw) -> Option<Came> {
    let head = raw.maybe(9).await?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    Some(Came {
        kind: head[3],
        flags: head[4],
        stream: u32::from_be_bytes(head[5..9].try_into().unwrap()),
        payload: raw.maybe(length as usize).await?,
    })
}

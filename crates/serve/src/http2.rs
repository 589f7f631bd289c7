//! What of HTTP/2 is made a fault of its connection before h2 sees it.
//!
//! h2 forgets a stream once it is closed, and takes content that still comes on it for a fault of
//! that stream alone. It is the connection's (RFC 9113, section 5.1): who sends content after the
//! end of it has lost count of its own streams. As with HTTP/1, what is judged here is judged
//! before h2's own parser; what it gets instead is what it ends the connection for.

use std::collections::VecDeque;
use std::ops::Range;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;
/// Bytes of a frame before its payload: length, kind, flags and the stream's identifier.
const HEADER: usize = 9;
/// Where the stream's identifier begins.
const STREAM: usize = 5;
/// Ended streams that are remembered. Content on older ones h2 refuses in its own way.
const REMEMBERED: usize = 64;

/// Follows the frames that a client sends.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    header: [u8; HEADER],
    /// Bytes of the header that came.
    known: usize,
    /// Bytes of the payload that are to come.
    left: usize,
    /// The latest streams that the client ended.
    ended: VecDeque<u32>,
}

impl Frames {
    /// Looks at the next bytes. Where content comes on a stream that was ended, gives the place of
    /// that stream's identifier: as 0 it makes the frame one that ends the connection.
    pub(crate) fn follow(&mut self, bytes: &[u8]) -> Option<Range<usize>> {
        let mut at = 0;
        while at < bytes.len() {
            if self.left > 0 {
                let passed = self.left.min(bytes.len() - at);
                self.left -= passed;
                at += passed;
                continue;
            }
            // Of a header that began in an earlier read, what is gone cannot be changed.
            let gone = self.known;
            let taken = (HEADER - gone).min(bytes.len() - at);
            self.header[gone..gone + taken].copy_from_slice(&bytes[at..at + taken]);
            self.known += taken;
            at += taken;
            if self.known < HEADER {
                break;
            }
            self.known = 0;
            let [l0, l1, l2, kind, flags, stream @ ..] = self.header;
            self.left = u32::from_be_bytes([0, l0, l1, l2]) as usize;
            if !self.is_in_order(kind, flags, identifier(stream)) {
                let first = gone.max(STREAM);
                let mut changed = stream;
                changed[first - STREAM..].fill(0);
                // Where it cannot be changed any more, h2 makes of it what it can.
                if identifier(changed) == 0 {
                    return Some(at - (HEADER - first)..at);
                }
            }
        }
        None
    }

    fn is_in_order(&mut self, kind: u8, flags: u8, stream: u32) -> bool {
        if kind == DATA && self.ended.contains(&stream) {
            return false;
        }
        if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            if self.ended.len() == REMEMBERED {
                self.ended.pop_front();
            }
            self.ended.push_back(stream);
        }
        true
    }
}

/// Without the first bit, which means nothing (RFC 9113, section 4.1).
fn identifier(bytes: [u8; 4]) -> u32 {
    u32::from_be_bytes(bytes) & (u32::MAX >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    /// What h2 gets of `bytes` that come in pieces of this length.
    fn through(bytes: &[u8], piece: usize) -> Vec<u8> {
        let mut frames = Frames::default();
        let mut got = Vec::new();
        for piece in bytes.chunks(piece) {
            let mut piece = piece.to_vec();
            if let Some(stream) = frames.follow(&piece) {
                piece[stream].fill(0);
                got.extend(piece);
                break;
            }
            got.extend(piece);
        }
        got
    }

    #[test]
    fn content_after_the_end_is_the_connection_s_fault() {
        let ended = [
            frame(HEADERS, 4, 1, b"head"),
            frame(DATA, END_STREAM, 1, b"all of it"),
            // Frames of other kinds may still come.
            frame(8, 0, 1, &[0, 0, 0, 1]),
            frame(HEADERS, 4 | END_STREAM, 3, b"head"),
        ]
        .concat();
        for stream in [1, 3, 3 | 1 << 31] {
            let sent = [&ended[..], &frame(DATA, 0, stream, b"more")].concat();
            let wanted = [&ended[..], &frame(DATA, 0, 0, b"more")].concat();
            for piece in [sent.len(), 1, 2, 3, 5, 7, 11] {
                let got = through(&sent, piece);
                // What came in the same piece is not looked at, nor is what comes later.
                assert!(got.len() > ended.len() + STREAM, "pieces of {piece}");
                // A bit that was gone before it meant anything stays.
                let got: Vec<u8> = match stream >> 31 {
                    0 => got,
                    _ => [&got[..ended.len() + STREAM], &[0], &got[ended.len() + 6..]].concat(),
                };
                assert_eq!(got, wanted[..got.len()], "pieces of {piece}");
            }
        }
    }

    /// Half of the identifier was read before.
    #[test]
    fn what_follows_content_that_cannot_be_changed_is_understood() {
        let bad = frame(DATA, 0, 257, b"more");
        // What looks like such a frame, but is the content of another.
        let good = frame(8, 0, 0, &bad);
        let mut frames = Frames::default();
        assert_eq!(frames.follow(&frame(HEADERS, 5, 257, b"")), None);
        assert_eq!(frames.follow(&bad[..8]), None);
        assert_eq!(frames.follow(&[&bad[8..], &good[..]].concat()), None);
        assert_eq!(frames.follow(&bad), Some(5..9));
    }

    #[test]
    fn content_before_the_end_passes_as_it_is() {
        let mut sent = frame(4, 0, 0, &[0; 6]);
        for stream in (1..400).step_by(2) {
            sent.extend(frame(HEADERS, 4, stream, b"head"));
            sent.extend(frame(DATA, 0, stream, &[1; 300]));
            sent.extend(frame(DATA, END_STREAM, stream, b""));
        }
        for piece in [1, 10, 1000, sent.len()] {
            assert_eq!(through(&sent, piece), sent, "pieces of {piece}");
        }
    }

    #[test]
    fn so_many_ended_streams_are_remembered() {
        let mut frames = Frames::default();
        for stream in (1..=2 * REMEMBERED as u32 + 1).step_by(2) {
            assert_eq!(frames.follow(&frame(HEADERS, 5, stream, b"")), None);
        }
        assert_eq!(frames.ended.len(), REMEMBERED);
        assert_eq!(frames.follow(&frame(DATA, 0, 1, b"")), None, "forgotten");
        assert_eq!(frames.follow(&frame(DATA, 0, 3, b"")), Some(5..9));
    }
}

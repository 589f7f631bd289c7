//! The messages of a connection, one after the other.

use super::chunked::{Advance, Chunked};
use super::head::{Framing, HeadScan};
use super::refusal::Refusal;
use crate::request::Scheme;

/// Follows the framing of a client's bytes.
#[derive(Debug)]
pub(super) struct Messages {
    scheme: Scheme,
    /// Heads that may pass, so far.
    heads: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Head(HeadScan),
    Length(u64),
    Chunked(Box<Chunked>),
    Tunnel,
}

/// How far bytes may pass, and the verdict on the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) passed: usize,
    pub(super) verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// What is left, if anything, is the beginning of a head, of which more is needed, or
    /// another message.
    More,
    /// The next head is refused.
    Head(Refusal),
    /// The content of the latest head is refused.
    Content(Refusal),
}

impl Messages {
    pub(super) fn new(scheme: Scheme) -> Messages {
        Messages {
            scheme,
            heads: 0,
            state: State::Head(HeadScan::default()),
        }
    }

    /// The number of the latest message whose head passed, from 1.
    pub(super) fn latest(&self) -> u64 {
        self.heads
    }

    /// Whether the next byte is of another message than the latest: neither its content is under
    /// way, nor what follows CONNECT.
    pub(super) fn is_between(&self) -> bool {
        matches!(self.state, State::Head(_))
    }

    /// Looks at `bytes`, which begin after the last byte that passed, as far as they are of one
    /// message.
    pub(super) fn judge(&mut self, bytes: &[u8]) -> Judged {
        let mut passed = 0;
        let verdict = loop {
            let rest = &bytes[passed..];
            if passed > 0 && self.is_between() {
                break Verdict::More;
            }
            match &mut self.state {
                State::Head(scan) => match scan.advance(rest, self.scheme) {
                    Ok(Some(head)) => {
                        passed += head.length;
                        self.heads += 1;
                        self.state = match head.framing {
                            Framing::Length(0) => State::Head(HeadScan::default()),
                            Framing::Length(length) => State::Length(length),
                            Framing::Chunked => State::Chunked(Box::default()),
                            Framing::Tunnel => State::Tunnel,
                        };
                    }
                    Ok(None) => break Verdict::More,
                    Err(refusal) => break Verdict::Head(refusal),
                },
                State::Length(left) => {
                    let taken = (rest.len() as u64).min(*left);
                    *left -= taken;
                    passed += taken as usize;
                    if *left > 0 {
                        break Verdict::More;
                    }
                    self.state = State::Head(HeadScan::default());
                }
                State::Chunked(content) => {
                    let Advance {
                        passed: taken,
                        is_done,
                    } = content.advance(rest);
                    passed += taken;
                    match is_done {
                        Ok(true) => self.state = State::Head(HeadScan::default()),
                        Ok(false) => break Verdict::More,
                        Err(refusal) => break Verdict::Content(refusal),
                    }
                }
                State::Tunnel if rest.is_empty() => break Verdict::More,
                // Its answer is an error and the last one (RFC 9110, section 9.3.6).
                State::Tunnel => {
                    break Verdict::Head(Refusal::bad("there is no tunnel for this"));
                }
            }
        };
        Judged { passed, verdict }
    }
}

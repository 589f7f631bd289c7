//! What of HTTP/1 is let through to hyper's parser: only what RFC 9112 calls valid.
//!
//! hyper, as most parsers, is lenient where the RFC allows it to be, and so is what may stand
//! before us; where two parsers differ, requests are smuggled. A [`Gate`] follows the framing of
//! each connection, message by message, and judges every byte before hyper sees it. What it
//! refuses, and all that follows, never arrives: in the place of a bad head hyper gets a request
//! of ours, which is answered with the refusal once the requests before it have been answered;
//! a bad body breaks off, and its request is refused unless its answer has begun.
//!
//! A message is let through when the answer to the one before is done, so that hyper always sees a
//! client that leaves. One that has only ended its side may wait for its answers for a second.
//!
//! It is stricter than the RFC asks where leniency is known to have been used in attacks:
//! repeated `Content-Length` (even of one value), a `Host` that is not the target's authority,
//! and empty elements in `Transfer-Encoding` are refused.

mod bytes;
mod chunked;
mod ended;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod gate;
mod head;
mod ledger;
mod messages;
mod refusal;
#[cfg(test)]
mod tests;

pub(crate) use self::bytes::is_target;
pub(crate) use self::ended::Ended;
pub(crate) use self::gate::Gate;
pub(crate) use self::head::{FIELDS_MAX, METHOD_MAX, TARGET_MAX};
pub(crate) use self::ledger::Ledger;
pub(crate) use self::refusal::Refusal;

//! Ids of requests.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The id of one request: 128 bits, written as 32 hexadecimal digits; with it, the trace that the
/// request belongs to, whose id is the request's own unless a client began it.
///
/// Ids are a keyed hash (SipHash) of a counter, with keys that are random for each process: they
/// do not repeat, nobody outside can tell the next one, and making one costs no system call.
/// They name requests in logs; they are no secret to authorise with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    id: u128,
    trace: u128,
    span: u64,
    is_sampled: bool,
}

impl RequestId {
    /// Makes an id that no other request has.
    #[must_use]
    pub fn random() -> Self {
        static KEYS: OnceLock<(RandomState, RandomState)> = OnceLock::new();
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let (high, low) = KEYS.get_or_init(Default::default);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self::of(u128::from(high.hash_one(count)) << 64 | u128::from(low.hash_one(count)))
    }

    fn of(id: u128) -> Self {
        Self {
            id,
            trace: id,
            span: id as u64,
            is_sampled: false,
        }
    }

    /// The same id, of a request in the trace `trace`, whose spans are kept if `is_sampled`.
    pub(crate) fn in_trace(self, trace: u128, is_sampled: bool) -> Self {
        Self {
            trace,
            is_sampled,
            ..self
        }
    }

    /// Whether it is the id that stands for none.
    pub(crate) fn is_zero(self) -> bool {
        self.id == 0
    }

    /// The trace.
    pub(crate) fn trace(self) -> u128 {
        self.trace
    }

    /// The request's span.
    pub(crate) fn span(self) -> u64 {
        self.span
    }

    /// The same span and trace under the id that a proxy gave the request. Nobody vouches for
    /// that being given once only.
    pub(crate) fn known_as(self, given: RequestId) -> Self {
        Self {
            id: given.id,
            ..self
        }
    }

    /// Whether spans of the trace are kept.
    pub(crate) fn is_sampled(self) -> bool {
        self.is_sampled
    }

    /// The first eight digits, enough to find the rest.
    #[must_use]
    pub fn short(self) -> String {
        format!("{:08x}", self.id >> 96)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.id)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

/// The text is not a request id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a request id has 32 hexadecimal digits")]
pub struct ParseRequestIdError;

impl FromStr for RequestId {
    type Err = ParseRequestIdError;

    fn from_str(text: &str) -> Result<Self, ParseRequestIdError> {
        if text.len() != 32 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(ParseRequestIdError);
        }
        u128::from_str_radix(text, 16)
            .map(Self::of)
            .map_err(|_| ParseRequestIdError)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_differ_and_survive_text() {
        let ids: HashSet<_> = (0..1000).map(|_| RequestId::random()).collect();
        assert_eq!(ids.len(), 1000);
        let halves: HashSet<_> = ids
            .iter()
            .flat_map(|id| [id.id as u64, (id.id >> 64) as u64])
            .collect();
        assert_eq!(halves.len(), 2000, "the halves are keyed apart");
        for id in ids {
            assert_eq!(id.to_string().parse(), Ok(id));
            assert!(id.to_string().starts_with(&id.short()));
        }
    }

    #[test]
    fn other_text_is_no_id() {
        for text in [
            "",
            "7f3a",
            "+0000000000000000000000000000000",
            "zz000000000000000000000000000000",
        ] {
            assert_eq!(
                text.parse::<RequestId>(),
                Err(ParseRequestIdError),
                "{text}"
            );
        }
    }
}

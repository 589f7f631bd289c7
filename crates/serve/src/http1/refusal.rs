//! Why a request is refused before anybody acts on it.

use http::StatusCode;

/// A status and a line that says what was wrong, never with the client's own bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) text: &'static str,
}

impl Refusal {
    pub(crate) const fn new(status: StatusCode, text: &'static str) -> Refusal {
        Refusal { status, text }
    }

    /// 400: not HTTP as it is written down.
    pub(crate) const fn bad(text: &'static str) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, text)
    }

    /// 431: more of fields than is taken.
    pub(crate) const fn large(text: &'static str) -> Refusal {
        Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, text)
    }
}

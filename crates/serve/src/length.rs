//! How long a response body will be, as its head tells.

use http::header::CONTENT_LENGTH;
use http::{Response, StatusCode};

/// The length of a body, by `Content-Length`.
pub(crate) fn announced<B>(response: &Response<B>) -> Option<u64> {
    let value = response.headers().get(CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

/// Whether the response ends with its head (RFC 9110, section 6.4.1). One to HEAD does, too.
pub(crate) fn has_no_body<B>(response: &Response<B>) -> bool {
    matches!(
        response.status(),
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    )
}

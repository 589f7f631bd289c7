//! What a handler may return.

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};

use crate::{Body, Error, Response};

/// A value that becomes a response.
///
/// Implemented for responses with any body on [`http_body::Body`], for text
/// and bytes (`200` with their content type), for a status alone or with a
/// value, and for a `Result` of these.
///
/// ```
/// use wharf_sdk::{IntoResponse, http::StatusCode};
///
/// let response = (StatusCode::CREATED, "made").into_response();
/// assert_eq!(response.status(), StatusCode::CREATED);
/// assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
/// ```
pub trait IntoResponse {
    /// Makes the response.
    fn into_response(self) -> Response;
}

impl<B> IntoResponse for http::Response<B>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    #[inline(always)]
    fn into_response(self) -> Response {
        self.map(Body::wrap)
    }
}

impl<T: IntoResponse, E: Into<Error>> IntoResponse for Result<T, E> {
    #[inline(always)]
    fn into_response(self) -> Response {
        match self {
            Ok(value) => value.into_response(),
            Err(error) => error.into().into_response(),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self.status() {
            Some(status) => {
                let mut body = Body::from(self.to_string());
                body.content_type = Some(TEXT);
                let mut response = Response::new(body);
                *response.status_mut() = status;
                response
            }
            None => {
                crate::log::failure(&self);
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}

impl IntoResponse for StatusCode {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self;
        response
    }
}

impl<T: IntoResponse> IntoResponse for (StatusCode, T) {
    fn into_response(self) -> Response {
        let mut response = self.1.into_response();
        *response.status_mut() = self.0;
        response
    }
}

fn typed(body: Body, content_type: &'static str) -> Response {
    let mut response = Response::new(body);
    let value = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, value);
    response
}

const TEXT: &str = "text/plain; charset=utf-8";
const BINARY: &str = "application/octet-stream";

impl IntoResponse for &'static str {
    fn into_response(self) -> Response {
        typed(self.into(), TEXT)
    }
}

impl IntoResponse for String {
    fn into_response(self) -> Response {
        typed(self.into(), TEXT)
    }
}

impl IntoResponse for Vec<u8> {
    fn into_response(self) -> Response {
        typed(self.into(), BINARY)
    }
}

impl IntoResponse for Bytes {
    fn into_response(self) -> Response {
        typed(self.into(), BINARY)
    }
}

impl IntoResponse for Body {
    fn into_response(self) -> Response {
        Response::new(self)
    }
}

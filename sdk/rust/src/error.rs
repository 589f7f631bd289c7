//! The error of handlers and bodies.

use std::borrow::Cow;
use std::fmt;

use http::StatusCode;

/// The result that handlers and the SDK's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What went wrong in a handler.
///
/// Any type that implements [`std::error::Error`] becomes one by `?`. Returned
/// from a handler it is answered as a bare `500`, with its text written to the
/// log and never shown to the client; made by [`Error::with_status`] it is
/// answered with that status and its text as the body.
///
/// ```
/// use wharf_sdk::{Error, http::StatusCode};
///
/// let hidden: Error = "12x".parse::<u32>().unwrap_err().into();
/// assert_eq!(hidden.status(), None);
/// let shown = Error::with_status(StatusCode::NOT_FOUND, "no such guest");
/// assert_eq!(shown.status(), Some(StatusCode::NOT_FOUND));
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    status: Option<StatusCode>,
    cause: Cause,
}

enum Cause {
    Text(Cow<'static, str>),
    Source(BoxError),
}

impl Error {
    /// An error with a text for the log; the client sees a bare `500`.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Error(Box::new(Inner {
            status: None,
            cause: Cause::Text(text.into()),
        }))
    }

    /// An error that the client sees: the response has this status and text.
    pub fn with_status(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Self {
        Error(Box::new(Inner {
            status: Some(status),
            cause: Cause::Text(text.into()),
        }))
    }

    /// An error from a boxed one.
    pub fn from_boxed(source: BoxError) -> Self {
        match source.downcast::<Exposed>() {
            Ok(exposed) => exposed.0,
            Err(source) => Error(Box::new(Inner {
                status: None,
                cause: Cause::Source(source),
            })),
        }
    }

    /// The status to answer with, where the error was made with one.
    pub fn status(&self) -> Option<StatusCode> {
        self.0.status
    }

    /// The error that this one was made of, if it was.
    pub fn source(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        match &self.0.cause {
            Cause::Source(source) => Some(&**source),
            Cause::Text(_) => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.cause {
            Cause::Text(text) => out.write_str(text),
            Cause::Source(source) => source.fmt(out),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Error {
    fn from(source: E) -> Self {
        Error(Box::new(Inner {
            status: None,
            cause: Cause::Source(Box::new(source)),
        }))
    }
}

/// [`Error`] as a `std::error::Error`, which it cannot be itself beside the
/// blanket conversion above.
#[derive(Debug)]
struct Exposed(Error);

impl fmt::Display for Exposed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, out)
    }
}

impl std::error::Error for Exposed {}

impl From<Error> for BoxError {
    fn from(error: Error) -> Self {
        Box::new(Exposed(error))
    }
}

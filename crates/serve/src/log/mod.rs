//! Logs of requests and of what guests print, written off the request path.
//!
//! A [`Log`] is a handle to one bounded queue and one writer thread. Logging never waits: an event
//! that finds no room for its app is dropped and counted, and the writer says how many were. A
//! [`GuestLog`] turns a guest's output into lines under a budget of bytes for each request.
//!
//! Invariants: one event is one line (and, as text, one more for its error); nothing that a guest
//! or client sent reaches a terminal as a control character, in either format.
//!
//! Left out on purpose: rotation and files (standard error is the sink, its owner keeps it), and
//! levels to filter by.

mod format;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod guest;
mod lines;
mod queue;
mod request_id;
mod room;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use format::LogFormat;
pub(crate) use format::rfc3339;
pub use guest::{GuestLog, LogBudget};
pub use lines::LineSplitter;
pub(crate) use queue::LogLosses;
pub use queue::{Log, LogOptions};
pub use request_id::{ParseRequestIdError, RequestId};

/// Something worth a line.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A request that has ended.
    Request(RequestEvent),
    /// A line that a guest printed.
    GuestOutput(GuestLine),
    /// Something that the host says.
    Message(Message),
    /// A request that a guest sent, for traces; it makes no line.
    Outgoing(Box<OutgoingEvent>),
}

impl Event {
    /// The app whose room in the queue it takes; the node itself has room of its own.
    fn app(&self) -> Option<&Arc<str>> {
        match self {
            Event::Request(request) => Some(&request.app),
            Event::GuestOutput(line) => Some(&line.app),
            Event::Message(message) => message.app.as_ref(),
            Event::Outgoing(outgoing) => Some(&outgoing.app),
        }
    }
}

/// A request that a guest sent, and that was answered or failed.
#[derive(Debug, Clone, PartialEq)]
pub struct OutgoingEvent {
    /// When it left.
    pub started: SystemTime,
    /// Until the head of the answer, or the failure.
    pub duration: Duration,
    /// The trace.
    pub trace: u128,
    /// The span that it was sent in.
    pub parent_span: u64,
    /// Its own span.
    pub span: u64,
    /// The guest's app.
    pub app: Arc<str>,
    /// The guest.
    pub component: Arc<str>,
    /// The method.
    pub method: http::Method,
    /// Where to, without the query.
    pub uri: http::Uri,
    /// The answer's status, or why there is none.
    pub answer: Result<http::StatusCode, String>,
}

/// A request that has ended: its last byte was sent, or it failed, or its client left.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestEvent {
    /// When it ended.
    pub time: SystemTime,
    /// Its id.
    pub request_id: RequestId,
    /// The app that was asked.
    pub app: Arc<str>,
    /// The component that answered; none where files or the host did.
    pub component: Option<Arc<str>>,
    /// The method.
    pub method: http::Method,
    /// The path as it came, without the query.
    pub path: String,
    /// The status sent; none if the client left before.
    pub status: Option<http::StatusCode>,
    /// From the request's head to the answer's end.
    pub duration: Duration,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// What went wrong on our side or the guest's.
    pub error: Option<String>,
    /// The client's address.
    pub client: Option<std::net::IpAddr>,
    /// How it came.
    pub wire: Wire,
    /// The route that it took, as the manifest writes it.
    pub route: Option<Arc<str>>,
    /// The span of the client that it is part of.
    pub parent_span: Option<u64>,
}

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wire {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The version of HTTP.
    pub version: http::Version,
}

/// Sees every event that is written, on the writer's thread.
pub(crate) trait Observer: Send {
    fn observe(&mut self, event: &Event);
}

/// A line that a guest printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestLine {
    /// When the line was complete.
    pub time: SystemTime,
    /// The request it belongs to; none for output between requests.
    pub request_id: Option<RequestId>,
    /// The guest's app.
    pub app: Arc<str>,
    /// The guest.
    pub component: Arc<str>,
    /// Where it was printed.
    pub stream: GuestStream,
    /// The line without its end.
    pub line: String,
}

/// Where a guest printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GuestStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl GuestStream {
    /// `stdout` or `stderr`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Something that the host says.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// When.
    pub time: SystemTime,
    /// How bad it is.
    pub level: Level,
    /// The message: lower case, no full stop.
    pub text: String,
    /// The app that it is about. What an app makes the host say takes the app's room.
    pub app: Option<Arc<str>>,
    /// What more there is to know, by key. `time`, `level`, `msg` and `app` are taken.
    pub fields: Vec<(&'static str, Value)>,
}

impl Message {
    /// Makes a message of now, without fields.
    #[must_use]
    pub fn new(level: Level, text: impl Into<String>) -> Self {
        Self {
            time: SystemTime::now(),
            level,
            text: text.into(),
            app: None,
            fields: Vec::new(),
        }
    }

    /// Says that it is about `app`.
    #[must_use]
    pub fn about(mut self, app: &Arc<str>) -> Self {
        self.app = Some(Arc::clone(app));
        self
    }

    /// Adds a field.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((key, value.into()));
        self
    }
}

/// How bad a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// For whoever looks into it.
    Debug,
    /// All is well.
    Info,
    /// Someone should know.
    Warn,
    /// Something failed.
    Error,
}

impl Level {
    /// `debug`, `info`, `warn` or `error`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// The value of a message's field.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A count or size.
    Number(u64),
    /// The request that it is about.
    Request(RequestId),
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<RequestId> for Value {
    fn from(id: RequestId) -> Self {
        Self::Request(id)
    }
}

//! Where a guest's standard output and error go.

use std::fmt;
use std::io;
use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode, Uri};
use wasmtime::component::GuestTaskId;

use crate::write_through::WriteThrough;

/// Which of the two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Takes what a guest writes. Called inside the guest's run: it must not block.
pub trait GuestOutput: Send + Sync {
    /// Some bytes, in the order written; not whole lines.
    fn write(&self, stream: OutputStream, bytes: &[u8]);

    /// Where the output of a task goes, given it and its ancestors; `None` if that is not known.
    fn of_tasks(&self, tasks: &[GuestTaskId]) -> Option<Arc<dyn GuestOutput>>;

    /// A request is about to leave, which may be given headers of ours. `None` if nobody wants to
    /// know how it goes.
    fn outgoing(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &mut HeaderMap,
    ) -> Option<Box<dyn OutgoingCall>> {
        let _ = (method, uri, headers);
        None
    }
}

/// Learns how an outgoing request goes. Dropped without a word, the guest has given it up.
pub trait OutgoingCall: Send {
    /// The head of the answer is there, or `Err` says why there is none.
    fn ends(self: Box<Self>, answer: Result<StatusCode, String>);
}

/// A [`GuestOutput`] as the stream that WASI wants.
#[derive(Clone)]
pub(crate) struct Sink {
    pub(crate) output: Arc<dyn GuestOutput>,
    pub(crate) stream: OutputStream,
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink")
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

impl WriteThrough for Sink {
    const WRITE_BYTES_MAX: usize = 64 << 10;

    fn write_some(&self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(self.stream, bytes);
        Ok(bytes.len())
    }
}

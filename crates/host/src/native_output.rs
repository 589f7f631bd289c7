//! The process's own standard output and error, as a program that owns it sees them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use wasmtime_wasi::p2::StreamError;

use crate::output::OutputStream;
use crate::write_through::WriteThrough;

/// One of the two streams. Writes go straight through, as a native program's do.
#[derive(Debug, Clone)]
pub(crate) struct NativeOutput {
    pub(crate) stream: OutputStream,
    /// Set at the first byte.
    pub(crate) written: Arc<AtomicBool>,
    /// A pipe that nobody reads any more is told as the system's own error, which WASI 0.1 has a
    /// code for, rather than as a stream that was closed.
    pub(crate) tells_broken_pipe: bool,
}

impl WriteThrough for NativeOutput {
    const WRITE_BYTES_MAX: usize = 1 << 20;

    fn write_some(&self, bytes: &[u8]) -> io::Result<usize> {
        let fd = match self.stream {
            OutputStream::Stdout => rustix::stdio::stdout(),
            OutputStream::Stderr => rustix::stdio::stderr(),
        };
        self.written.store(true, Ordering::Relaxed);
        loop {
            match rustix::io::write(fd, bytes) {
                Err(Errno::INTR) => {}
                // The descriptor may be shared with a program that made it non-blocking.
                Err(Errno::AGAIN) => {
                    poll(&mut [PollFd::new(&fd, PollFlags::OUT)], None)?;
                }
                result => return result.map_err(io::Error::from),
            }
        }
    }

    fn is_terminal(&self) -> bool {
        match self.stream {
            OutputStream::Stdout => io::IsTerminal::is_terminal(&io::stdout()),
            OutputStream::Stderr => io::IsTerminal::is_terminal(&io::stderr()),
        }
    }

    fn stream_error(&self, error: io::Error) -> StreamError {
        if error.kind() == io::ErrorKind::BrokenPipe && !self.tells_broken_pipe {
            return StreamError::Closed;
        }
        StreamError::LastOperationFailed(error.into())
    }
}

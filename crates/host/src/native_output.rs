//! The process's own standard output and error, as a program that owns it sees them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream as P2OutputStream, Pollable, StreamError, StreamResult};

use crate::output::OutputStream;

/// Bytes that one write may bring.
const WRITE_BYTES_MAX: usize = 1 << 20;

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

impl NativeOutput {
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
}

impl IsTerminal for NativeOutput {
    fn is_terminal(&self) -> bool {
        match self.stream {
            OutputStream::Stdout => io::IsTerminal::is_terminal(&io::stdout()),
            OutputStream::Stderr => io::IsTerminal::is_terminal(&io::stderr()),
        }
    }
}

impl StdoutStream for NativeOutput {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn P2OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for NativeOutput {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(self.write_some(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl P2OutputStream for NativeOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match self.write_some(rest) {
                Ok(length) => rest = &rest[length..],
                Err(error)
                    if error.kind() == io::ErrorKind::BrokenPipe && !self.tells_broken_pipe =>
                {
                    return Err(StreamError::Closed);
                }
                Err(error) => return Err(StreamError::LastOperationFailed(error.into())),
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for NativeOutput {
    async fn ready(&mut self) {}
}

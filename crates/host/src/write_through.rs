//! Streams that take every byte at once: no buffer, nothing to wait for.
//!
//! WASI 0.2 and 0.3 each want their own kind of stream; both are the same few lines over
//! [`WriteThrough`].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

/// Where bytes go.
pub(crate) trait WriteThrough: Clone + Send + Sync + Unpin + 'static {
    /// Bytes that one write of WASI 0.2 may bring.
    const WRITE_BYTES_MAX: usize;

    /// Takes some of `bytes`, at least one.
    fn write_some(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Whether a person reads along.
    fn is_terminal(&self) -> bool {
        false
    }

    /// What WASI 0.2 is told of a failed write.
    fn stream_error(&self, error: io::Error) -> StreamError {
        StreamError::LastOperationFailed(error.into())
    }
}

/// A [`WriteThrough`] as the streams that WASI wants.
#[derive(Debug, Clone)]
pub(crate) struct Direct<W>(pub(crate) W);

impl<W: WriteThrough> IsTerminal for Direct<W> {
    fn is_terminal(&self) -> bool {
        self.0.is_terminal()
    }
}

impl<W: WriteThrough> StdoutStream for Direct<W> {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl<W: WriteThrough> AsyncWrite for Direct<W> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(self.0.write_some(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl<W: WriteThrough> OutputStream for Direct<W> {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match self.0.write_some(rest) {
                Ok(length) => rest = &rest[length..],
                Err(error) => return Err(self.0.stream_error(error)),
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(W::WRITE_BYTES_MAX)
    }
}

#[wasmtime_wasi::async_trait]
impl<W: WriteThrough> Pollable for Direct<W> {
    async fn ready(&mut self) {}
}

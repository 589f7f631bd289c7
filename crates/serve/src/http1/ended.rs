//! Whether the other end has ended its side, seen without reading.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A stream whose end may be known before it is read to it.
pub(crate) trait Ended {
    /// Whether nothing will come but what has come. False where that cannot be known.
    fn has_ended(&self) -> bool;
}

impl Ended for TcpStream {
    fn has_ended(&self) -> bool {
        let ready = pin!(self.ready(Interest::READABLE));
        // It is ready if bytes are there; if none are, reading meets the end.
        match ready.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(ready)) => ready.is_read_closed(),
            _ => false,
        }
    }
}

#[cfg(test)]
impl Ended for tokio::io::DuplexStream {
    fn has_ended(&self) -> bool {
        false
    }
}

impl<S: Ended> Ended for TlsStream<S> {
    fn has_ended(&self) -> bool {
        self.get_ref().0.has_ended()
    }
}

//! Bodies that must bring something now and then.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;
use wasmtime_wasi_http::Error;

/// A body from the network that fails when nothing came for `gap`.
///
/// The clock runs only while somebody waits for the next frame: a guest that does not read is
/// its own matter. `G` is held until the body is dropped.
#[derive(Debug)]
pub(super) struct IdleBody<G> {
    body: Incoming,
    gap: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
    _guard: G,
}

impl<G> IdleBody<G> {
    pub(super) fn new(body: Incoming, gap: Duration, guard: G) -> IdleBody<G> {
        IdleBody {
            body,
            gap,
            waiting: None,
            _guard: guard,
        }
    }
}

impl<G: Unpin> Body for IdleBody<G> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.waiting = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Error::Hyper)));
        }
        let gap = this.gap;
        let waiting = this
            .waiting
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(gap)));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

//! Bodies that must bring something now and then.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use wasmtime_wasi_http::Error;

/// A body from the network that fails when nothing came for `gap`.
///
/// The clock runs only while somebody waits for the next frame: a guest that does not read is
/// its own matter. `G` is held until the body is dropped.
#[derive(Debug)]
pub(super) struct IdleBody<B, G> {
    body: B,
    gap: Duration,
    /// Made once somebody has to wait, and set anew each time after that.
    sleep: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
    _guard: G,
}

impl<B, G> IdleBody<B, G> {
    pub(super) fn new(body: B, gap: Duration, guard: G) -> IdleBody<B, G> {
        IdleBody {
            body,
            gap,
            sleep: None,
            is_waiting: false,
            _guard: guard,
        }
    }
}

impl<B, G: Unpin> Body for IdleBody<B, G>
where
    B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.is_waiting = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(Error::Hyper)));
        }
        let gap = this.gap;
        let sleep = match &mut this.sleep {
            Some(sleep) => {
                if !this.is_waiting {
                    // A guest counts a gap in 64 bits of nanoseconds: far from the end of time.
                    sleep.as_mut().reset(Instant::now() + gap);
                }
                sleep
            }
            none => none.insert(Box::pin(tokio::time::sleep(gap))),
        };
        this.is_waiting = true;
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;

    struct Pieces(UnboundedReceiver<&'static str>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = hyper::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
            let piece = ready!(self.0.poll_recv(cx));
            Poll::Ready(piece.map(|piece| Ok(Frame::data(piece.into()))))
        }
    }

    #[test]
    fn each_piece_has_the_whole_gap_and_nobody_s_idleness_counts() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (send, pieces) = unbounded_channel();
            let gap = Duration::from_secs(10);
            let mut body = IdleBody::new(Pieces(pieces), gap, ());
            for _ in 0..3 {
                // Longer than the gap, while nobody reads.
                tokio::time::sleep(gap * 2).await;
                let late = async {
                    tokio::time::sleep(gap * 9 / 10).await;
                    send.send("piece").unwrap();
                };
                let (frame, ()) = tokio::join!(body.frame(), late);
                assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), "piece");
            }
            let since = Instant::now();
            let silent = body.frame().await.unwrap();
            assert!(matches!(silent, Err(Error::ConnectionReadTimeout)));
            assert!((gap..gap * 2).contains(&since.elapsed()));
        });
    }
}

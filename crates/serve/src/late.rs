//! What a client still sends of a request that has its answer already.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::runtime::Handle;

/// How long the rest of a request is waited for.
const WAIT: Duration = Duration::from_secs(1);
/// So much of it is taken.
const TAKEN: usize = 64 << 10;

/// A request's content, of which the rest is taken for a while when nobody reads it any more.
///
/// On HTTP/1 hyper would end the connection behind the answer, and with it the requests that the
/// client has sent already. On HTTP/2 it would reset the stream: as if there were an error, and
/// what is wrong with the rest would never be found. A stream counts as open until then.
pub(crate) struct Late<B>(Option<B>)
where
    B: Body<Data = Bytes> + Send + Unpin + 'static;

impl<B> Late<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    pub(crate) fn new(body: B) -> Late<B> {
        Late(Some(body))
    }
}

impl<B> Body for Late<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(body) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.0 = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(SizeHint::default, B::size_hint)
    }
}

impl<B> Drop for Late<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    fn drop(&mut self) {
        let body = self.0.take().filter(|body| !body.is_end_stream());
        // Without a runtime the server is gone.
        if let (Some(body), Ok(runtime)) = (body, Handle::try_current()) {
            runtime.spawn(tokio::time::timeout(WAIT, take(body)));
        }
    }
}

/// Takes what comes, to the end or to the limit.
async fn take(mut body: impl Body<Data = Bytes> + Unpin) {
    let mut left = TAKEN;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Buf::remaining);
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tokio::sync::mpsc;

    use super::*;

    /// Pieces as they are sent.
    struct Pieces(mpsc::UnboundedReceiver<usize>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let piece = |length| Ok(Frame::data(Bytes::from(vec![0; length])));
            self.0.poll_recv(cx).map(|length| length.map(piece))
        }
    }

    #[tokio::test]
    async fn what_was_read_to_its_end_leaves_nothing() {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut late = Late::new(Pieces(receiver));
        sender.send(1).unwrap();
        drop(sender);
        assert!(late.frame().await.is_some());
        assert!(!late.is_end_stream());
        assert!(late.frame().await.is_none());
        assert!(late.is_end_stream() && late.0.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_rest_is_taken_to_its_limits() {
        let (sender, receiver) = mpsc::unbounded_channel();
        drop(Late::new(Pieces(receiver)));
        sender.send(TAKEN).unwrap();
        tokio::time::sleep(WAIT / 2).await;
        assert!(!sender.is_closed(), "so much is taken");
        sender.send(1).unwrap();
        sender.closed().await;

        let (sender, receiver) = mpsc::unbounded_channel();
        let began = tokio::time::Instant::now();
        drop(Late::new(Pieces(receiver)));
        sender.closed().await;
        assert_eq!(began.elapsed(), WAIT, "so long it is waited for");
    }
}

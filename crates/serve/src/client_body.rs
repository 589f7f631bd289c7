//! The content of a request, whose client must send it at a pace.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;
use wasmtime_wasi_http::Error;

use crate::component::Blueprint;
use crate::log::{Level, RequestId};
use crate::pace::Pace;

/// A content that fails when its client does not keep [`Pace`].
///
/// The client is waited for from when the guest asks for more than there is until more is there: what
/// the guest does meanwhile, or until it comes to read, is the guest's own time, and so is the wait
/// for its turn to compute.
pub(crate) struct ClientBody<B> {
    body: B,
    pace: Pace,
    /// Made when the client is first waited for.
    bell: Option<(Arc<Bell>, Waker)>,
    /// Until it is used.
    complaint: Option<Complaint>,
}

/// Whom to tell that a client was too slow: the guest sees an error only.
pub(crate) struct Complaint {
    pub(crate) blueprint: Arc<Blueprint>,
    pub(crate) id: RequestId,
}

impl Complaint {
    fn tell(self) {
        let what = "the client sends its content too slowly; it is broken off";
        let hint = self.blueprint.advice.limit("body_idle").unwrap_or_else(|| {
            "a client that is silent by design needs a longer `limits.body_idle` in wharf.toml"
                .to_owned()
        });
        let message = (self.blueprint)
            .message(Level::Warn, what, Some(self.id))
            .with("hint", hint);
        self.blueprint.log.message(message);
    }
}

/// Tells when something came, however late the guest hears of it.
#[derive(Debug, Default)]
struct Bell(Mutex<Rung>);

#[derive(Debug, Default)]
struct Rung {
    at: Option<Instant>,
    guest: Option<Waker>,
}

impl Bell {
    fn lock(&self) -> MutexGuard<'_, Rung> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        let mut rung = self.lock();
        rung.at.get_or_insert_with(Instant::now);
        let guest = rung.guest.take();
        drop(rung);
        if let Some(guest) = guest {
            guest.wake();
        }
    }
}

impl<B> ClientBody<B> {
    /// Its client may pause for `limit`, all in all, as [`Pace`] counts it.
    pub(crate) fn new(body: B, limit: Duration, complaint: Option<Complaint>) -> ClientBody<B> {
        ClientBody {
            body,
            pace: Pace::new(limit),
            bell: None,
            complaint,
        }
    }

    /// Something came, or the guest asks again: until when was the client waited for?
    fn note_rung(&mut self) {
        if let Some((bell, _)) = &self.bell
            && let Some(at) = bell.lock().at.take()
        {
            self.pace.stop(|| at);
        }
    }
}

impl<B> ClientBody<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    /// What is there, or a bell for when something will be.
    fn poll_body(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let (bell, waker) = self.bell.get_or_insert_with(|| {
            let bell = Arc::new(Bell::default());
            let waker = Waker::from(Arc::clone(&bell));
            (bell, waker)
        });
        match &mut bell.lock().guest {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Pin::new(&mut self.body).poll_frame(&mut Context::from_waker(waker))
    }
}

impl<B> Body for ClientBody<B>
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
        let polled = this.poll_body(cx);
        this.note_rung();
        if let Poll::Ready(frame) = polled {
            this.pace.stop(Instant::now);
            if let Some(Ok(frame)) = &frame
                && let Some(data) = frame.data_ref()
            {
                this.pace.moved(data.remaining());
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Error::Hyper)));
        }
        ready!(this.pace.poll_end(cx));
        if let Some(complaint) = this.complaint.take() {
            complaint.tell();
        }
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
    use tokio::sync::mpsc;
    use tokio::time::sleep;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    struct Sent(mpsc::Receiver<Bytes>);

    impl Body for Sent {
        type Data = Bytes;
        type Error = hyper::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
            let piece = ready!(self.0.poll_recv(cx));
            Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
        }
    }

    /// A client sends `count` pieces of `bytes` bytes, each after a pause.
    fn body(bytes: usize, count: usize, pause: Duration) -> ClientBody<Sent> {
        let (sender, pieces) = mpsc::channel(64);
        tokio::spawn(async move {
            for _ in 0..count {
                sleep(pause).await;
                if sender.send(vec![0; bytes].into()).await.is_err() {
                    return;
                }
            }
        });
        ClientBody::new(Sent(pieces), LIMIT, None)
    }

    async fn whole(body: ClientBody<Sent>) -> (Result<usize, Error>, Duration) {
        let start = Instant::now();
        let whole = body.collect().await;
        (whole.map(|whole| whole.to_bytes().len()), start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_now_and_then_is_too_little() {
        let (result, lasted) = whole(body(1, 1_000, LIMIT - Duration::from_secs(1))).await;
        assert!(matches!(result, Err(Error::ConnectionReadTimeout)));
        assert!(lasted < LIMIT + Duration::from_secs(1), "{lasted:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn slow_is_well_if_it_keeps_pace() {
        let (result, lasted) = whole(body(250 * 50, 20, Duration::from_secs(50))).await;
        assert_eq!(result.unwrap(), 250 * 50 * 20);
        assert!(lasted >= 20 * Duration::from_secs(50));
    }

    #[tokio::test(start_paused = true)]
    async fn a_guest_that_is_slow_to_read_is_its_own_matter() {
        let mut body = body(1, 50, Duration::from_secs(1));
        for _ in 0..50 {
            assert!(matches!(body.frame().await, Some(Ok(_))));
            sleep(2 * LIMIT).await;
        }
        assert!(body.frame().await.is_none());
    }

    /// The wait for its turn to compute: the guest asks, something comes, and long after that the
    /// guest is polled.
    #[tokio::test(start_paused = true)]
    async fn a_guest_that_must_wait_to_be_polled_is_not_the_client_s_fault() {
        let (sender, pieces) = mpsc::channel(1);
        let mut body = ClientBody::new(Sent(pieces), LIMIT, None);
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..20 {
            assert!(Pin::new(&mut body).poll_frame(&mut cx).is_pending());
            sleep(Duration::from_secs(1)).await;
            sender.send(Bytes::from_static(b"x")).await.unwrap();
            sleep(2 * LIMIT).await;
            let polled = Pin::new(&mut body).poll_frame(&mut cx);
            assert!(matches!(polled, Poll::Ready(Some(Ok(_)))));
        }
    }
}

//! Server-sent events with the state of the build.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::watch;

use super::dev_state::Signal;

/// A stream says something at least this often, so that no proxy takes it for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long browsers wait before they connect again, in milliseconds.
const RETRY: &str = "retry: 500\n";

/// The body of an answer of the overlay: bytes, or events until shutdown.
pub struct DevBody {
    kind: Kind,
}

enum Kind {
    Full(Option<Bytes>),
    Events(Next),
    Ended,
}

/// Waits for the next text to send; gives the receiver back for the one after.
type Next = Pin<Box<dyn Future<Output = Option<(String, watch::Receiver<Signal>)>> + Send>>;

impl DevBody {
    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        Self {
            kind: Kind::Full(Some(bytes.into()).filter(|bytes| !bytes.is_empty())),
        }
    }

    pub(crate) fn events(mut signal: watch::Receiver<Signal>) -> Self {
        // The state of now is the first event.
        signal.mark_changed();
        Self {
            kind: Kind::Events(Box::pin(next(signal))),
        }
    }
}

async fn next(mut signal: watch::Receiver<Signal>) -> Option<(String, watch::Receiver<Signal>)> {
    match tokio::time::timeout(KEEP_ALIVE, signal.changed()).await {
        Err(_) => Some((":\n\n".to_owned(), signal)),
        Ok(Err(_)) => None,
        Ok(Ok(())) => {
            let event = {
                let signal = signal.borrow_and_update();
                if signal.is_shutting_down {
                    return None;
                }
                format!("{RETRY}data: {}\n\n", signal.to_json())
            };
            Some((event, signal))
        }
    }
}

impl Body for DevBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut self.kind {
            Kind::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Ended => Poll::Ready(None),
            Kind::Events(waiting) => match waiting.as_mut().poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(None) => {
                    self.kind = Kind::Ended;
                    Poll::Ready(None)
                }
                Poll::Ready(Some((text, signal))) => {
                    *waiting = Box::pin(next(signal));
                    Poll::Ready(Some(Ok(Frame::data(Bytes::from(text)))))
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.kind, Kind::Full(None) | Kind::Ended)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Full(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Kind::Ended => SizeHint::with_exact(0),
            Kind::Events(_) => SizeHint::default(),
        }
    }
}

impl std::fmt::Debug for DevBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DevBody").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::Method;
    use http_body_util::BodyExt;

    use super::super::{DevOverlay, DevState};
    use super::*;

    async fn frame(body: &mut DevBody) -> Option<String> {
        let bytes = body.frame().await?.unwrap().into_data().unwrap();
        Some(String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_hears_of_every_state_until_shutdown() {
        let overlay = DevOverlay::new();
        let mut body = overlay
            .respond(&Method::GET, "/.wharf/dev")
            .unwrap()
            .into_body();
        assert_eq!(
            frame(&mut body).await.unwrap(),
            "retry: 500\ndata: {\"state\":\"building\"}\n\n"
        );
        overlay.set(DevState::Ok {
            version: "1".into(),
        });
        let ok = "retry: 500\ndata: {\"state\":\"ok\",\"version\":\"1\"}\n\n";
        assert_eq!(frame(&mut body).await.unwrap(), ok);
        assert_eq!(
            frame(&mut body).await.unwrap(),
            ":\n\n",
            "time is paused, so the wait is not real"
        );
        assert_eq!(frame(&mut body).await.unwrap(), ":\n\n");
        overlay.set(DevState::Failed {
            text: "one\ntwo".into(),
            is_served: true,
        });
        let failed =
            "retry: 500\ndata: {\"served\":true,\"state\":\"failed\",\"text\":\"one\\ntwo\"}\n\n";
        assert_eq!(frame(&mut body).await.unwrap(), failed);
        overlay.shut_down();
        assert_eq!(frame(&mut body).await, None);
        assert_eq!(frame(&mut body).await, None);
        let mut late = overlay
            .respond(&Method::GET, "/.wharf/dev")
            .unwrap()
            .into_body();
        assert_eq!(frame(&mut late).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_with_its_overlay() {
        let overlay = DevOverlay::new();
        let mut body = overlay
            .respond(&Method::GET, "/.wharf/dev")
            .unwrap()
            .into_body();
        frame(&mut body).await.unwrap();
        drop(overlay);
        assert_eq!(frame(&mut body).await, None);
    }
}

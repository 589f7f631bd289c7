//! The writing end of a body: one chunk in flight, so that a slow client slows
//! the guest down.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};

use crate::{Error, Result};

#[derive(Default)]
struct State {
    slot: Option<Result<Frame<Bytes>>>,
    sender_gone: bool,
    receiver_gone: bool,
    sender: Option<Waker>,
    receiver: Option<Waker>,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<State>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Feeds a body made by [`Body::channel`](crate::Body::channel).
///
/// Dropping it ends the body.
pub struct Sender(Shared);

/// The reading end, inside a `Body`.
pub(crate) struct Receiver(Shared);

pub(crate) fn channel() -> (Sender, Receiver) {
    let shared = Shared(Arc::new(Mutex::new(State::default())));
    (Sender(shared.clone()), Receiver(shared))
}

impl Sender {
    /// Hands over a chunk, after the one before it was taken.
    ///
    /// # Errors
    ///
    /// When the body is gone, as when the client left.
    pub async fn send(&mut self, chunk: impl Into<Bytes>) -> Result<()> {
        self.put(Ok(Frame::data(chunk.into()))).await
    }

    /// Hands over the trailers, and ends the body.
    ///
    /// # Errors
    ///
    /// When the body is gone, as when the client left.
    pub async fn send_trailers(mut self, trailers: HeaderMap) -> Result<()> {
        crate::wasi::expect_headers();
        self.put(Ok(Frame::trailers(trailers))).await
    }

    /// Ends the body with an error: the client sees the response break off.
    pub async fn abort(mut self, error: Error) {
        // A body that is gone has nobody to tell.
        let _ = self.put(Err(error)).await;
    }

    async fn put(&mut self, frame: Result<Frame<Bytes>>) -> Result<()> {
        let mut frame = Some(frame);
        poll_fn(|context| {
            let mut state = self.0.lock();
            if state.receiver_gone {
                return Poll::Ready(Err(Error::new("the body is gone: its reader left")));
            }
            if state.slot.is_some() {
                state.sender = Some(context.waker().clone());
                return Poll::Pending;
            }
            state.slot = frame.take();
            let receiver = state.receiver.take();
            drop(state);
            wake(receiver);
            Poll::Ready(Ok(()))
        })
        .await
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.sender_gone = true;
        let receiver = state.receiver.take();
        drop(state);
        wake(receiver);
    }
}

impl Body for Receiver {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        let mut state = self.0.lock();
        if let Some(frame) = state.slot.take() {
            let sender = state.sender.take();
            drop(state);
            wake(sender);
            return Poll::Ready(Some(frame));
        }
        if state.sender_gone {
            return Poll::Ready(None);
        }
        state.receiver = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.receiver_gone = true;
        state.slot = None;
        let sender = state.sender.take();
        drop(state);
        wake(sender);
    }
}

/// Outside the lock, as a waker may run the other end at once.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

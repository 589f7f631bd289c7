//! Waiting for a place, by somebody who may not be there when it is free.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::AbortHandle;

use crate::places::{Place, Share};

/// How long a place is held for whoever was called. A connection whose client reads nothing does
/// not poll its guest, and must not keep the place from others.
const HELD_FOR: Duration = Duration::from_millis(50);

/// A turn to be waited for. Dropping it leaves the queue.
pub(crate) struct Turn {
    share: Arc<Share>,
    queued: Option<Queued>,
}

struct Queued {
    offer: Arc<Mutex<Offer>>,
    task: AbortHandle,
}

enum Offer {
    /// Nothing is free; who is to be called.
    None(Waker),
    Place(Place),
    /// There was a place and nobody came.
    Missed,
}

impl Turn {
    pub(crate) fn new(share: Arc<Share>) -> Turn {
        Turn {
            share,
            queued: None,
        }
    }

    /// Ready with a place. To be polled inside the async runtime.
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<Place> {
        if let Some(queued) = &self.queued {
            let mut offer = lock(&queued.offer);
            match std::mem::replace(&mut *offer, Offer::Missed) {
                Offer::Place(place) => {
                    drop(offer);
                    self.queued = None;
                    return Poll::Ready(place);
                }
                Offer::None(_) => {
                    *offer = Offer::None(cx.waker().clone());
                    return Poll::Pending;
                }
                Offer::Missed => {}
            }
        }
        // It does not overtake: what is free is first offered to those who wait.
        if let Some(place) = self.share.try_take() {
            self.queued = None;
            return Poll::Ready(place);
        }
        let offer = Arc::new(Mutex::new(Offer::None(cx.waker().clone())));
        let queueing = queue(Arc::clone(&self.share), Arc::clone(&offer));
        self.queued = Some(Queued {
            offer,
            task: tokio::spawn(queueing).abort_handle(),
        });
        Poll::Pending
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(offer: &Mutex<Offer>) -> MutexGuard<'_, Offer> {
    offer.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a place and offers it for a while.
async fn queue(share: Arc<Share>, offer: Arc<Mutex<Offer>>) {
    let place = share.take().await;
    let before = std::mem::replace(&mut *lock(&offer), Offer::Place(place));
    if let Offer::None(waker) = before {
        waker.wake();
    }
    tokio::time::sleep(HELD_FOR).await;
    let missed = std::mem::replace(&mut *lock(&offer), Offer::Missed);
    drop(missed);
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::places::Places;

    #[tokio::test(start_paused = true)]
    async fn there_is_one_place_at_a_time() {
        let share = Places::new(1).share();
        let mut first = Turn::new(Arc::clone(&share));
        let mut second = Turn::new(share);
        let place = poll_fn(|cx| first.poll(cx)).await;
        poll_fn(|cx| {
            assert!(second.poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        drop(place);
        drop(poll_fn(|cx| second.poll(cx)).await);
    }

    /// A connection that is not read polled its guest once, and then no more.
    #[tokio::test(start_paused = true)]
    async fn who_does_not_come_keeps_nobody_out() {
        let share = Places::new(1).share();
        let taken = share.try_take().unwrap();
        let mut absent = Turn::new(Arc::clone(&share));
        let mut present = Turn::new(share);
        poll_fn(|cx| {
            assert!(absent.poll(cx).is_pending());
            assert!(present.poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        drop(taken);
        let place = poll_fn(|cx| present.poll(cx)).await;
        drop(place);
        drop(poll_fn(|cx| absent.poll(cx)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_leaves_the_queue() {
        let share = Places::new(1).share();
        let taken = share.try_take().unwrap();
        let mut turn = Turn::new(Arc::clone(&share));
        poll_fn(|cx| {
            assert!(turn.poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        drop((turn, taken));
        tokio::task::yield_now().await;
        assert_eq!(share.free(), 1);
    }
}

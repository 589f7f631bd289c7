//! Waiting for a place, by somebody who may not be there when it is free.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

/// How long a place is held for whoever was called. A connection whose client reads nothing does
/// not poll its guest, and must not keep the place from others.
const HELD_FOR: Duration = Duration::from_millis(50);

/// A turn to be waited for, first come, first served. Dropping it leaves the queue.
pub(crate) struct Turn {
    places: Arc<Semaphore>,
    queued: Option<Queued>,
}

struct Queued {
    offer: Arc<Mutex<Offer>>,
    task: AbortHandle,
}

enum Offer {
    /// Nothing is free; who is to be called.
    None(Waker),
    Place(OwnedSemaphorePermit),
    /// There was a place and nobody came.
    Missed,
}

impl Turn {
    pub(crate) fn new(places: Arc<Semaphore>) -> Turn {
        Turn {
            places,
            queued: None,
        }
    }

    /// Ready with a place. To be polled inside the async runtime.
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<OwnedSemaphorePermit> {
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
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            self.queued = None;
            return Poll::Ready(place);
        }
        let offer = Arc::new(Mutex::new(Offer::None(cx.waker().clone())));
        let queueing = queue(Arc::clone(&self.places), Arc::clone(&offer));
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
async fn queue(places: Arc<Semaphore>, offer: Arc<Mutex<Offer>>) {
    // Nobody closes it.
    let Ok(place) = places.acquire_owned().await else {
        return;
    };
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

    #[tokio::test(start_paused = true)]
    async fn there_is_one_place_at_a_time() {
        let places = Arc::new(Semaphore::new(1));
        let mut first = Turn::new(Arc::clone(&places));
        let mut second = Turn::new(places);
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
        let places = Arc::new(Semaphore::new(1));
        let taken = Arc::clone(&places).try_acquire_owned().unwrap();
        let mut absent = Turn::new(Arc::clone(&places));
        let mut present = Turn::new(places);
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
        let places = Arc::new(Semaphore::new(1));
        let taken = Arc::clone(&places).try_acquire_owned().unwrap();
        let mut turn = Turn::new(Arc::clone(&places));
        poll_fn(|cx| {
            assert!(turn.poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        drop((turn, taken));
        tokio::task::yield_now().await;
        assert_eq!(places.available_permits(), 1);
    }
}

//! Who may enter: a component's concurrency, and the bounded queue before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Why a request was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The queue is full.
    QueueFull,
    /// Its turn did not come in time.
    Waited,
}

/// A place among the requests at once. Dropping it gives it back.
pub(crate) type Place = OwnedSemaphorePermit;

/// The door of one component.
#[derive(Debug)]
pub(crate) struct Admission {
    places: Arc<Semaphore>,
    waiting: AtomicU32,
    waiting_max: u32,
}

impl Admission {
    pub(crate) fn new(concurrency: u32, queue: u32) -> Admission {
        Admission {
            places: Arc::new(Semaphore::new(concurrency as usize)),
            waiting: AtomicU32::new(0),
            waiting_max: queue,
        }
    }

    /// A place, at once or after waiting until `deadline`.
    pub(crate) async fn enter(&self, deadline: Instant) -> Result<Place, Refused> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let Some(_waiting) = Waiting::start(&self.waiting, self.waiting_max) else {
            return Err(Refused::QueueFull);
        };
        match tokio::time::timeout_at(deadline.into(), Arc::clone(&self.places).acquire_owned())
            .await
        {
            Ok(Ok(place)) => Ok(place),
            _ => Err(Refused::Waited),
        }
    }
}

/// Counts one who waits, also if the client leaves meanwhile.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn start(count: &'a AtomicU32, max: u32) -> Option<Waiting<'a>> {
        count
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |count| {
                (count < max).then_some(count + 1)
            })
            .ok()
            .map(|_| Waiting(count))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn within(seconds: u64) -> Instant {
        tokio::time::Instant::now().into_std() + Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn one_enters_one_waits_the_third_is_refused() {
        let door = Arc::new(Admission::new(1, 1));
        let deadline = within(5);
        let first = door.enter(deadline).await.unwrap();
        let waiting = tokio::spawn({
            let door = Arc::clone(&door);
            async move { door.enter(deadline).await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert_eq!(
            door.enter(deadline).await.map(drop),
            Err(Refused::QueueFull)
        );
        drop(first);
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_and_the_queue_is_free_again() {
        let door = Admission::new(1, 1);
        let _first = door.enter(within(0)).await.unwrap();
        for _ in 0..3 {
            let refused = door.enter(within(1)).await.map(drop);
            assert_eq!(refused, Err(Refused::Waited));
        }
    }
}

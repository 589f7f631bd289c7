//! How many may be in at once, where that can change while they are.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

/// So many may be in at once. Whoever waits is let in by turns.
#[derive(Debug)]
pub(crate) struct Capacity {
    /// Whoever is in has forgotten its permit, which [`Taken`] brings back.
    free: Semaphore,
    size: Mutex<Size>,
}

#[derive(Debug)]
struct Size {
    max: usize,
    /// Taken beyond `max` when that was lowered: so many are not given back.
    excess: usize,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Taken(Arc<Capacity>);

impl Capacity {
    pub(crate) fn new(max: u32) -> Arc<Capacity> {
        let max = max as usize;
        Arc::new(Capacity {
            free: Semaphore::new(max),
            size: Mutex::new(Size { max, excess: 0 }),
        })
    }

    fn size(&self) -> MutexGuard<'_, Size> {
        self.size.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on there are `max`. If more are in, they stay, and nobody follows until there is
    /// room again.
    pub(crate) fn resize(&self, max: u32) {
        let max = max as usize;
        let mut size = self.size();
        if let Some(more) = max.checked_sub(size.max) {
            let kept = more.min(size.excess);
            size.excess -= kept;
            self.free.add_permits(more - kept);
        } else {
            let less = size.max - max;
            size.excess += less - self.free.forget_permits(less);
        }
        size.max = max;
    }

    /// A place, if one is free and nobody waits for it.
    pub(crate) fn try_take(self: &Arc<Self>) -> Option<Taken> {
        self.free.try_acquire().ok()?.forget();
        Some(Taken(Arc::clone(self)))
    }

    /// A place, once there is one. Whoever stops waiting has taken none.
    pub(crate) async fn take(self: &Arc<Self>) -> Taken {
        let permit = self.free.acquire().await;
        permit.expect("the semaphore is never closed").forget();
        Taken(Arc::clone(self))
    }

    /// Places that nobody has now.
    pub(crate) fn free(&self) -> usize {
        self.free.available_permits()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut size = self.0.size();
        match size.excess.checked_sub(1) {
            Some(rest) => size.excess = rest,
            // Before the size can change.
            None => self.0.free.add_permits(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(places: &Arc<Capacity>) -> Vec<Taken> {
        std::iter::from_fn(|| places.try_take()).collect()
    }

    #[test]
    fn fewer_places_hold_once_those_in_have_left() {
        let places = Capacity::new(4);
        let mut taken = fill(&places);
        assert_eq!(taken.len(), 4);
        places.resize(2);
        assert!(places.try_take().is_none());
        for left in (0..4).rev() {
            taken.pop();
            assert_eq!(places.free(), 2_usize.saturating_sub(left), "{left}");
        }
        assert_eq!(fill(&places).len(), 2);
    }

    #[test]
    fn more_places_are_there_at_once() {
        let places = Capacity::new(1);
        let first = fill(&places);
        places.resize(3);
        assert_eq!(fill(&places).len(), 2);
        drop(first);
        assert_eq!(places.free(), 3);
    }

    #[test]
    fn up_and_down_again_leaves_as_many_as_there_are() {
        let places = Capacity::new(5);
        let mut taken = fill(&places);
        // Some are free, some are not.
        taken.truncate(3);
        for max in [1, 0, 2, 4, 0, 7, 3] {
            places.resize(max);
            let free = (max as usize).saturating_sub(taken.len());
            assert_eq!(places.free(), free, "{max}");
        }
        drop(taken);
        assert_eq!(places.free(), 3);
        places.resize(0);
        assert!(places.try_take().is_none());
    }

    #[tokio::test]
    async fn who_waits_is_let_in_when_there_is_room_under_the_new_number() {
        let places = Capacity::new(2);
        let mut taken = fill(&places);
        let waiting = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.take().await }
        });
        tokio::task::yield_now().await;
        places.resize(1);
        taken.pop();
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "one is in, and one may be");
        taken.pop();
        let _last = waiting.await.unwrap();
        assert_eq!(places.free(), 0);
    }
}

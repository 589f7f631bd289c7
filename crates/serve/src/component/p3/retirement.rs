//! Whether an instance takes no more requests.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Waker};

/// Raised when a client left whose task may still run: a task cannot be ended alone, so its
/// instance takes no more requests and ends when the others are answered.
#[derive(Debug, Default)]
pub(super) struct Retirement {
    retired: AtomicBool,
    worker: Mutex<Option<Waker>>,
}

impl Retirement {
    /// Raises it, and wakes who runs the instance.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waker) = &*worker {
            waker.wake_by_ref();
        }
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Notes whom to wake.
    pub(super) fn watched_by(&self, cx: &Context<'_>) {
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *worker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *worker = Some(cx.waker().clone()),
        }
    }
}

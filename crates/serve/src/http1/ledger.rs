//! What the gate and the service of one connection know of each other.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use super::refusal::Refusal;

/// Which requests of a connection are answered, and which one is refused. Requests are counted from
/// 1, by the gate as their heads pass and by the service as they arrive: HTTP/1 keeps their order.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    arrived: AtomicU64,
    answered: AtomicU64,
    /// Of the gate, if it waits for an answer's end.
    waits: AtomicBool,
    waker: Mutex<Option<Waker>>,
    is_look_due: AtomicBool,
    refused: OnceLock<(u64, Refusal)>,
    is_h2: AtomicBool,
}

impl Ledger {
    /// A request arrives: its number.
    pub(crate) fn arrive(&self) -> u64 {
        self.arrived.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// One by which no message ever waits for the answer to another.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn all_answered() -> Ledger {
        Ledger {
            answered: AtomicU64::new(u64::MAX / 2),
            ..Ledger::default()
        }
    }

    /// The answer to one more is done, or will never be.
    pub(crate) fn done(&self) {
        self.answered.fetch_add(1, Ordering::SeqCst);
        if self.waits.swap(false, Ordering::SeqCst)
            && let Some(waker) = self.waker().take()
        {
            waker.wake();
        }
    }

    /// Whether all up to this number are answered.
    pub(super) fn is_answered(&self, number: u64) -> bool {
        self.answered.load(Ordering::SeqCst) >= number
    }

    /// Ready once they are.
    pub(super) fn poll_answered(&self, number: u64, cx: &Context<'_>) -> Poll<()> {
        *self.waker() = Some(cx.waker().clone());
        self.waits.store(true, Ordering::SeqCst);
        match self.is_answered(number) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the gate look, when it is polled next, whether the client is still there.
    pub(crate) fn look(&self) {
        self.is_look_due.store(true, Ordering::Relaxed);
    }

    /// Whether the gate is to look now: it was asked to, and a request is at work.
    pub(super) fn is_looked_after(&self) -> bool {
        self.is_look_due.load(Ordering::Relaxed)
            && self.is_look_due.swap(false, Ordering::Relaxed)
            && self.is_at_work()
    }

    /// Whether an answer is under way.
    pub(crate) fn is_at_work(&self) -> bool {
        !self.is_answered(self.arrived.load(Ordering::Relaxed))
    }

    pub(super) fn has_arrived(&self, number: u64) -> bool {
        self.arrived.load(Ordering::Relaxed) >= number
    }

    pub(super) fn refuse(&self, number: u64, refusal: Refusal) {
        // Nothing is judged after the first.
        let _ = self.refused.set((number, refusal));
    }

    /// Why the request must not be answered in any other way.
    pub(crate) fn refusal_of(&self, number: u64) -> Option<Refusal> {
        let (refused, refusal) = self.refused.get()?;
        (*refused == number).then_some(*refusal)
    }

    pub(super) fn set_h2(&self) {
        self.is_h2.store(true, Ordering::Relaxed);
    }

    /// Whether the connection speaks HTTP/2.
    pub(crate) fn is_h2(&self) -> bool {
        self.is_h2.load(Ordering::Relaxed)
    }
}

//! What the gate and the service of one connection know of each other.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::refusal::Refusal;

/// Which request of a connection is refused. Requests are counted from 1, by the gate as their
/// heads pass and by the service as they arrive: HTTP/1 keeps their order.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    arrived: AtomicU64,
    refused: OnceLock<(u64, Refusal)>,
    is_h2: AtomicBool,
}

impl Ledger {
    /// A request arrives: its number.
    pub(crate) fn arrive(&self) -> u64 {
        self.arrived.fetch_add(1, Ordering::Relaxed) + 1
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

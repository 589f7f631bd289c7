//! The computing of many stores, added up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// CPU time and ticks of all the stores of a component, from its first day on. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct CpuAccount(Arc<Sums>);

#[derive(Debug, Default)]
struct Sums {
    nanoseconds: AtomicU64,
    ticks: AtomicU64,
}

impl CpuAccount {
    /// Time computed.
    pub fn used(&self) -> Duration {
        Duration::from_nanos(self.0.nanoseconds.load(Ordering::Relaxed))
    }

    /// Ticks of 10 ms that guests computed through without waiting.
    pub fn ticks(&self) -> u64 {
        self.0.ticks.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, time: Duration) {
        // 584 years fit.
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.0.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    pub(crate) fn tick(&self) {
        self.0.ticks.fetch_add(1, Ordering::Relaxed);
    }
}

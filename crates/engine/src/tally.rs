//! What was compiled, and what the code cache had.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::cache::CacheKey;

/// Counts the work of a [`CodeCache`](crate::CodeCache) for one app, or whoever asks.
#[derive(Debug, Default)]
pub struct CodeTally {
    compiled: AtomicU64,
    failed: AtomicU64,
    compiling_ns: AtomicU64,
    found: AtomicU64,
    /// Made ahead, and not loaded yet.
    prepared: Mutex<BTreeSet<CacheKey>>,
}

impl CodeTally {
    /// Programs that were compiled.
    pub fn compiled(&self) -> u64 {
        self.compiled.load(Ordering::Relaxed)
    }

    /// Programs that did not compile, or met a limit of the compiler.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Wall time of all compilations, those that failed too.
    pub fn compiling(&self) -> Duration {
        Duration::from_nanos(self.compiling_ns.load(Ordering::Relaxed))
    }

    /// Programs whose native code was there. What was compiled ahead of its first use is not
    /// found then.
    pub fn found(&self) -> u64 {
        self.found.load(Ordering::Relaxed)
    }

    pub(crate) fn compilation(&self, outcome: Outcome, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.compiling_ns.fetch_add(nanoseconds, Ordering::Relaxed);
        match outcome {
            Outcome::Compiled => self.compiled.fetch_add(1, Ordering::Relaxed),
            Outcome::Failed => self.failed.fetch_add(1, Ordering::Relaxed),
            Outcome::Lost => 0,
        };
    }

    pub(crate) fn prepares(&self, key: CacheKey) {
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        prepared.insert(key);
    }

    pub(crate) fn loads(&self, key: &CacheKey) {
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if !prepared.remove(key) {
            self.found.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// How a compilation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Compiled,
    Failed,
    /// There was no place for what was made: it is made again elsewhere.
    Lost,
}

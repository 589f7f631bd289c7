//! How requests reach the instance that they share with others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use wharf_engine::CpuMeter;

/// Of one shared instance, held by all its requests.
#[derive(Debug)]
pub(super) struct Link {
    retired: AtomicBool,
    /// The instance waits for one of its requests to be over.
    is_full: AtomicBool,
    worker: Mutex<Option<Waker>>,
    meter: CpuMeter,
}

impl Link {
    /// To an instance with this meter.
    pub(super) fn new(meter: CpuMeter) -> Link {
        Link {
            retired: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
            worker: Mutex::default(),
            meter,
        }
    }

    pub(super) fn meter(&self) -> &CpuMeter {
        &self.meter
    }

    /// How long the instance had to wait for its turn to compute, in all.
    pub(super) fn queued(&self) -> Duration {
        self.meter.queued()
    }

    /// The instance is to take no more requests: a client left whose task may still run, and a
    /// task cannot be ended alone.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        self.wake();
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// One of its requests is over.
    pub(super) fn one_is_over(&self) {
        if self.is_full.load(Ordering::Acquire) {
            self.wake();
        }
    }

    /// Whether the instance is to be woken when one of its requests is over.
    pub(super) fn set_full(&self, full: bool) {
        self.is_full.store(full, Ordering::Release);
    }

    /// Notes whom to wake.
    pub(super) fn watched_by(&self, cx: &Context<'_>) {
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *worker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *worker = Some(cx.waker().clone()),
        }
    }

    fn wake(&self) {
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waker) = &*worker {
            waker.wake_by_ref();
        }
    }
}

//! The slow lane: where guests go that compute without waiting.

use std::sync::Arc;
use std::thread;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A bounded lane that spinning guests share, a tick each in turn.
///
/// It has one place fewer than there are cores (at least one), so that a core is left for
/// everyone who answers quickly. Places are given first come, first served.
#[derive(Debug, Clone)]
pub struct SlowLane(Arc<Semaphore>);

impl SlowLane {
    /// A lane for this machine's number of cores.
    pub fn for_this_machine() -> SlowLane {
        let cores = thread::available_parallelism().map_or(1, |n| n.get());
        SlowLane::with_places(cores.saturating_sub(1).max(1))
    }

    /// A lane in which `places` guests run at once.
    pub fn with_places(places: usize) -> SlowLane {
        SlowLane(Arc::new(Semaphore::new(places.max(1))))
    }

    pub(crate) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).acquire_owned().await.ok()
    }
}

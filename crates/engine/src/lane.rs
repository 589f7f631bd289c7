//! Where guests go that compute much: out of the way of those who answer quickly.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// How long a component is remembered for what its guests did.
const REMEMBERED: Duration = Duration::from_secs(10);

/// A bounded lane that guests share which compute much, a tick each in turn.
///
/// It has one place fewer than there are cores (at least one), so that a core is left for
/// everyone who answers quickly. Places are given first come, first served.
///
/// Whoever is in the lane is polled aside: on a thread that the async runtime has replaced by
/// another, so that nothing waits behind an instruction that fills 100 MiB, and the kernel shares
/// the cores out. New guests of a component whose guests lately went to the lane are polled aside
/// from their beginning, in places of their own.
#[derive(Debug, Clone)]
pub struct SlowLane {
    slow: Arc<Semaphore>,
    aside: Arc<Semaphore>,
    standing: Arc<Standing>,
}

/// How a guest is polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// At once, by the thread that is there.
    Light,
    /// Aside: its component is known for guests that compute much.
    Aside,
    /// Aside, when it has a place in the lane.
    Slow,
}

/// What the guests of a component did lately.
#[derive(Debug, Default)]
struct Standing {
    /// Something took long, by a clock that also runs while the kernel does other things: guests
    /// are measured by the thread's own until then.
    suspect_until_ms: AtomicU64,
    /// A guest used much.
    greedy_until_ms: AtomicU64,
}

impl SlowLane {
    /// A lane for this machine's number of cores.
    pub fn for_this_machine() -> SlowLane {
        let cores = thread::available_parallelism().map_or(1, |n| n.get());
        SlowLane::with_places(cores.saturating_sub(1).max(1))
    }

    /// A lane in which `places` guests run at once.
    pub fn with_places(places: usize) -> SlowLane {
        let places = places.max(1);
        SlowLane {
            slow: Arc::new(Semaphore::new(places)),
            aside: Arc::new(Semaphore::new((places + 1) * 2)),
            standing: Arc::default(),
        }
    }

    /// The same lane for another component: what the guests of one do is not held against those
    /// of another.
    pub fn for_component(&self) -> SlowLane {
        SlowLane {
            standing: Arc::default(),
            ..self.clone()
        }
    }

    /// Places of guests at that pace.
    pub(crate) fn places(&self, pace: Pace) -> Arc<Semaphore> {
        match pace {
            Pace::Slow => Arc::clone(&self.slow),
            Pace::Light | Pace::Aside => Arc::clone(&self.aside),
        }
    }

    pub(crate) fn suspect(&self) {
        remember(&self.standing.suspect_until_ms);
    }

    pub(crate) fn is_suspect(&self) -> bool {
        is_remembered(&self.standing.suspect_until_ms)
    }

    pub(crate) fn greedy(&self) {
        self.suspect();
        remember(&self.standing.greedy_until_ms);
    }

    pub(crate) fn is_greedy(&self) -> bool {
        is_remembered(&self.standing.greedy_until_ms)
    }
}

fn now_ms() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_millis() as u64
}

fn remember(until: &AtomicU64) {
    let end = now_ms() + REMEMBERED.as_millis() as u64;
    until.fetch_max(end, Ordering::Relaxed);
}

fn is_remembered(until: &AtomicU64) -> bool {
    let until = until.load(Ordering::Relaxed);
    // Of most components there is nothing to remember, and no clock to be read.
    until != 0 && now_ms() < until
}

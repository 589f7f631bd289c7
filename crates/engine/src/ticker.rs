//! The epoch ticker: one OS thread an engine, so that a spinning guest cannot stop the clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::EngineWeak;

/// Time between two epochs.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// Ticks with no store alive after which the thread rests.
const REST_AFTER_TICKS: u64 = 100;

/// Increments an engine's epoch every [`TICK`] while stores are alive.
///
/// The thread rests when none was alive for a second, so an idle node wakes nobody.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Debug, Default)]
struct Shared {
    ticks: AtomicU64,
    /// The tick at which a store was last made.
    last_made: AtomicU64,
    alive: AtomicU64,
    resting: AtomicBool,
}

/// Keeps the ticker awake while it is alive.
#[derive(Debug)]
pub(crate) struct Awake(Arc<Shared>);

impl Drop for Awake {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Ticker {
    pub(crate) fn start(engine: EngineWeak) -> std::io::Result<Ticker> {
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        let handle = thread::Builder::new()
            .name("wharf-ticker".to_owned())
            .spawn(move || {
                loop {
                    thread::sleep(TICK);
                    let Some(engine) = engine.upgrade() else {
                        return;
                    };
                    engine.increment_epoch();
                    drop(engine);
                    for_thread.rest_if_idle();
                }
            })?;
        Ok(Ticker {
            shared,
            thread: handle.thread().clone(),
        })
    }

    /// A guard that keeps the clock running as long as it lives.
    pub(crate) fn awake(&self) -> Awake {
        self.shared.alive.fetch_add(1, Ordering::SeqCst);
        let now = self.shared.ticks.load(Ordering::Relaxed);
        self.shared.last_made.store(now, Ordering::Relaxed);
        if self.shared.resting.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Awake(Arc::clone(&self.shared))
    }
}

impl Shared {
    fn rest_if_idle(&self) {
        let tick = self.ticks.fetch_add(1, Ordering::Relaxed) + 1;
        let idle_ticks = tick.saturating_sub(self.last_made.load(Ordering::Relaxed));
        if idle_ticks <= REST_AFTER_TICKS || self.alive.load(Ordering::SeqCst) != 0 {
            return;
        }
        // The flag goes up before the second look: whoever makes a store in between is either
        // seen by that look, or sees the flag and unparks this thread.
        self.resting.store(true, Ordering::SeqCst);
        while self.alive.load(Ordering::SeqCst) == 0
            && self.last_made.load(Ordering::Relaxed) + REST_AFTER_TICKS < tick
        {
            thread::park_timeout(Duration::from_secs(5));
        }
        self.resting.store(false, Ordering::SeqCst);
    }
}

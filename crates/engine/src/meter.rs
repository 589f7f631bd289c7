//! How long a guest computes, and whose turn it is.
//!
//! A guest runs inside a future that some task polls. [`Metered`] brackets every poll, so the
//! time that counts is the time inside polls, never the time spent waiting. The epoch callback
//! looks at the same meter while the guest runs.
//!
//! Wall time inside a poll is CPU time unless the kernel took the thread away. A guest that was
//! seen computing through a whole tick is measured by the thread's CPU clock from then on: it
//! costs a system call a poll, which such a guest does not feel, and a busy machine does not
//! eat a guest's budget.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;

use crate::account::CpuAccount;
use crate::clock::thread_cpu_time;
use crate::lane::SlowLane;
use crate::ticker::TICK;

/// Ticks that a guest may compute without waiting before it moves to the slow lane.
const TICKS_BEFORE_LANE: u32 = 2;

/// Measures the CPU time of one store and decides what happens at a tick. Clones share it.
#[derive(Debug, Clone)]
pub struct CpuMeter(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    budget: Duration,
    /// Requests at work, each of which brings the whole budget.
    requests: u32,
    used: Duration,
    running_since: Option<Since>,
    /// The thread's CPU clock is read rather than the wall clock.
    precise: bool,
    /// Ticks computed through since the guest last waited.
    ticks_in_a_row: u32,
    /// The guest stopped because of a tick, not because it waits for something.
    stopped_by_tick: bool,
    lane: SlowLane,
    place: Option<OwnedSemaphorePermit>,
    account: CpuAccount,
}

impl Inner {
    /// The guest computed for `time`.
    fn count(&mut self, time: Duration) {
        self.used += time;
        self.account.add(time);
    }

    fn is_spent(&self) -> bool {
        self.used > self.budget * self.requests.max(1)
    }
}

#[derive(Debug, Clone, Copy)]
enum Since {
    Wall(Instant),
    Cpu(Duration),
}

impl Since {
    fn now(precise: bool) -> Since {
        if precise {
            Since::Cpu(thread_cpu_time())
        } else {
            Since::Wall(Instant::now())
        }
    }

    fn elapsed(self) -> Duration {
        match self {
            // Without a tick in between it cannot have been much more; what is over, the kernel
            // gave to others.
            Since::Wall(start) => start.elapsed().min(2 * TICK),
            Since::Cpu(start) => thread_cpu_time().saturating_sub(start),
        }
    }
}

/// What the epoch callback is to do.
pub(crate) enum Tick {
    /// The tick passed while the guest was waiting.
    Continue,
    /// The budget is spent.
    Spent,
    /// Let others run, then go on.
    Yield(Pin<Box<dyn Future<Output = ()> + Send>>),
}

impl CpuMeter {
    /// A meter that allows `budget` of CPU time, and adds what is used to `account`.
    pub fn new(budget: Duration, lane: SlowLane, account: CpuAccount) -> CpuMeter {
        CpuMeter(Arc::new(Mutex::new(Inner {
            budget,
            requests: 0,
            used: Duration::ZERO,
            running_since: None,
            precise: false,
            ticks_in_a_row: 0,
            stopped_by_tick: false,
            lane,
            place: None,
            account,
        })))
    }

    /// A request begins on the instance: it brings a whole budget, beside those of the others
    /// at work. The first one finds nothing used.
    pub fn request_begins(&self) {
        let mut inner = self.lock();
        if inner.requests == 0 {
            inner.used = Duration::ZERO;
        }
        inner.requests += 1;
    }

    /// A request is over: its budget goes with it, used or not.
    pub fn request_ends(&self) {
        let mut inner = self.lock();
        inner.requests = inner.requests.saturating_sub(1);
        inner.used = inner.used.saturating_sub(inner.budget);
    }

    /// CPU time used, less what went with requests that are over.
    pub fn used(&self) -> Duration {
        self.lock().used
    }

    /// The budget of one request.
    pub fn budget(&self) -> Duration {
        self.lock().budget
    }

    /// Whether the guest was stopped by a tick and would go on computing, rather than wait.
    pub fn is_computing(&self) -> bool {
        self.lock().stopped_by_tick
    }

    /// Brackets every poll of `future` with this meter.
    pub fn measure<F: Future>(&self, future: F) -> Metered<F> {
        Metered {
            meter: self.clone(),
            future,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A poll of the guest begins.
    fn poll_begins(&self) {
        let mut inner = self.lock();
        inner.running_since = Some(Since::now(inner.precise));
    }

    /// A poll of the guest ended.
    fn poll_ends(&self) {
        let mut inner = self.lock();
        if let Some(since) = inner.running_since.take() {
            inner.count(since.elapsed());
        }
        if !inner.stopped_by_tick {
            // It waits for something: whoever waits is no burden.
            inner.ticks_in_a_row = 0;
            inner.place = None;
        }
    }

    pub(crate) fn on_tick(&self) -> Tick {
        let mut inner = self.lock();
        let Some(since) = inner.running_since else {
            // Nobody said when the poll began, so it begins now.
            inner.running_since = Some(Since::now(true));
            return Tick::Continue;
        };
        let elapsed = since.elapsed();
        if elapsed < TICK / 2 && inner.ticks_in_a_row == 0 {
            // The tick passed while the guest waited; what it used before counts all the same.
            return match inner.is_spent() {
                true => Tick::Spent,
                false => Tick::Continue,
            };
        }
        inner.count(elapsed);
        inner.account.tick();
        inner.precise = true;
        inner.running_since = Some(Since::now(true));
        if inner.is_spent() {
            return Tick::Spent;
        }
        inner.ticks_in_a_row += 1;
        inner.stopped_by_tick = true;
        let in_lane = inner.ticks_in_a_row >= TICKS_BEFORE_LANE;
        // Given back before the next is asked for: others in the lane come first.
        let place = inner.place.take();
        let lane = inner.lane.clone();
        drop(inner);
        drop(place);
        let meter = self.clone();
        Tick::Yield(Box::pin(async move {
            tokio::task::yield_now().await;
            let place = if in_lane { lane.place().await } else { None };
            let mut inner = meter.lock();
            inner.place = place;
            inner.stopped_by_tick = false;
            // Its poll began a moment ago, whether anybody said so or not.
            inner.running_since.get_or_insert_with(|| Since::now(true));
        }))
    }
}

/// A future whose polls a [`CpuMeter`] measures.
#[derive(Debug)]
pub struct Metered<F> {
    meter: CpuMeter,
    future: F,
}

impl<F: Future + Unpin> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.meter.poll_begins();
        let result = Pin::new(&mut self.future).poll(cx);
        self.meter.poll_ends();
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(budget_ms: u64) -> CpuMeter {
        let lane = SlowLane::with_places(1);
        CpuMeter::new(
            Duration::from_millis(budget_ms),
            lane,
            CpuAccount::default(),
        )
    }

    /// Computes for `time` of this thread's CPU, however busy the machine is.
    fn spin(time: Duration) {
        let start = thread_cpu_time();
        while thread_cpu_time() - start < time {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn time_between_polls_is_free() {
        let meter = meter(1000);
        meter.poll_begins();
        meter.poll_ends();
        spin(Duration::from_millis(20));
        meter.poll_begins();
        assert!(matches!(meter.on_tick(), Tick::Continue));
        meter.poll_ends();
        assert!(
            meter.used() < Duration::from_millis(5),
            "{:?}",
            meter.used()
        );
    }

    #[test]
    fn a_spinning_guest_yields_then_is_stopped() {
        let meter = meter(50);
        meter.poll_begins();
        spin(Duration::from_millis(10));
        assert!(!meter.is_computing());
        assert!(matches!(meter.on_tick(), Tick::Yield(_)));
        meter.poll_ends();
        assert!(meter.is_computing());
        meter.poll_begins();
        spin(Duration::from_millis(60));
        assert!(matches!(meter.on_tick(), Tick::Spent));
        meter.request_begins();
        assert_eq!(meter.used(), Duration::ZERO);
    }

    #[test]
    fn each_request_at_work_brings_its_budget() {
        let meter = meter(50);
        let spins = |ms| {
            meter.poll_begins();
            spin(Duration::from_millis(ms));
            let tick = meter.on_tick();
            meter.poll_ends();
            matches!(tick, Tick::Spent)
        };
        meter.request_begins();
        meter.request_begins();
        assert!(!spins(70), "two may use more than one");
        meter.request_ends();
        assert!(
            !spins(1),
            "what it brought is gone, and as much of what was used"
        );
        assert!(spins(50));
        meter.request_ends();
        meter.request_begins();
        assert!(!spins(20), "the first one finds nothing used");
    }

    #[tokio::test]
    async fn the_slow_lane_has_one_place_at_a_time() {
        let lane = SlowLane::with_places(1);
        let first = lane.place().await;
        assert!(first.is_some());
        let second = lane.place();
        tokio::pin!(second);
        assert!(futures_poll(&mut second).await.is_none());
        drop(first);
        assert!(second.await.is_some());
    }

    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|cx| match Pin::new(&mut *future).poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }
}

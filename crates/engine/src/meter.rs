//! How long a guest computes, and whose turn it is.
//!
//! A guest runs inside a future that some task polls. [`Metered`] brackets every poll, so the
//! time that counts is the time inside polls, never the time spent waiting. The epoch callback
//! looks at the same meter while the guest runs.
//!
//! Who computes much, be it at one go or with waits in between, is out of credit and goes on in
//! the [slow lane](SlowLane) until it has waited long enough.
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

use tokio::runtime::{Handle, RuntimeFlavor};

use crate::account::CpuAccount;
use crate::clock::thread_cpu_time;
use crate::lane::{Pace, SHORT_POLL, SlowLane};
use crate::places::Share;
use crate::ticker::TICK;
use crate::turn::Turn;

/// CPU time that a guest or a request may use at once before it is out of credit.
const CREDIT: Duration = TICK;
/// More than that is not held against a guest, so that it is soon forgiven.
const DEBT_MAX: Duration = Duration::from_millis(200);
/// Of the time that a guest waits, the part that is taken off its debt.
const FORGIVEN_OF_WAITING: u32 = 4;
/// What polling a guest aside costs the process beside the poll: another thread takes over.
const HAND_OVER: Duration = Duration::from_micros(10);
/// What a turn in the lane costs the process beside the poll.
const ONE_TURN: Duration = Duration::from_micros(2);
/// Polls in a row that were short, after which the next one is taken to be short as well.
const SHORT_POLLS: u32 = 16;
/// A poll of more than that was not stopped by the tick in it.
const LONG_POLL: Duration = Duration::from_millis(25);

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
    /// CPU time used, less what is forgiven.
    debt: Duration,
    /// Since when the guest waits for something, if that may matter.
    waits_since: Option<Instant>,
    /// Out of credit, until all debt is forgiven.
    is_slow: bool,
    /// Ticks computed through since the guest last waited.
    ticks_in_a_row: u32,
    /// Polls in a row that were short.
    short_polls: u32,
    /// The guest stopped because of a tick, not because it waits for something.
    stopped_by_tick: bool,
    /// Time spent waiting for a place to compute, and since when it waits for one now.
    queued: Duration,
    queued_since: Option<Instant>,
    lane: SlowLane,
    account: CpuAccount,
}

impl Inner {
    fn is_spent(&self) -> bool {
        self.used > self.budget * self.requests.max(1)
    }

    /// The guest goes on, whether it gets a place at once or not.
    fn goes_on(&mut self) {
        if let Some(since) = self.waits_since.take() {
            let forgiven = since.elapsed() / FORGIVEN_OF_WAITING;
            self.debt = self.debt.saturating_sub(forgiven);
            self.is_slow &= !self.debt.is_zero();
        }
    }

    /// How the guest is to be polled next, as far as it is known for something.
    fn pace(&self) -> Pace {
        match self.is_slow {
            true => Pace::Slow,
            false if self.lane.is_greedy() => Pace::Aside,
            false if self.lane.is_busy() => Pace::InTurn,
            false => Pace::Light,
        }
    }

    /// A poll of the guest begins.
    fn begins(&mut self) {
        if let Some(since) = self.queued_since.take() {
            self.queued += since.elapsed();
        }
        self.running_since = Some(Since::now(self.precise));
    }

    /// Counts what the guest used since then; its poll ended with it if it `was_light`.
    fn spend(&mut self, since: Since, was_light: bool) {
        let elapsed = since.elapsed();
        self.short_polls = match elapsed < SHORT_POLL {
            true => self.short_polls.saturating_add(1),
            false => 0,
        };
        self.used += elapsed;
        self.account.add(elapsed);
        let is_too_much = self.lane.polled(elapsed, was_light);
        self.debt = (self.debt + elapsed).min(DEBT_MAX);
        if since.is_long(elapsed) || is_too_much {
            match self.precise {
                true => self.lane.greedy(),
                false => self.lane.suspect(),
            }
        }
        if self.debt <= CREDIT {
            return;
        }
        if self.precise {
            self.is_slow = true;
            self.lane.greedy();
        } else {
            // It may have been the kernel, which did something else: a closer look.
            self.precise = true;
            self.debt = CREDIT / 2;
            self.lane.suspect();
        }
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

    fn is_long(self, elapsed: Duration) -> bool {
        match self {
            Since::Wall(start) => elapsed >= 2 * TICK && start.elapsed() >= LONG_POLL,
            Since::Cpu(_) => elapsed >= LONG_POLL,
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
            precise: lane.is_suspect(),
            debt: Duration::ZERO,
            waits_since: None,
            is_slow: false,
            ticks_in_a_row: 0,
            short_polls: 0,
            stopped_by_tick: false,
            queued: Duration::ZERO,
            queued_since: None,
            lane,
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
        inner.debt = inner.debt.saturating_sub(CREDIT);
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

    /// How long the guest would have computed and had to wait for its turn, in all.
    pub fn queued(&self) -> Duration {
        let inner = self.lock();
        let now = inner
            .queued_since
            .map_or(Duration::ZERO, |since| since.elapsed());
        inner.queued + now
    }

    /// Brackets every poll of `future` with this meter.
    pub fn measure<F: Future>(&self, future: F) -> Metered<F> {
        Metered {
            meter: self.clone(),
            waiting: None,
            future,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the guest is to be polled now. If that is at once, its poll has begun.
    fn next_pace(&self) -> Pace {
        let mut inner = self.lock();
        inner.goes_on();
        let pace = inner.pace();
        if pace != Pace::Light {
            return pace;
        }
        if !inner.lane.begin_light() {
            return Pace::Aside;
        }
        inner.begins();
        Pace::Light
    }

    fn share(&self, pace: Pace) -> Arc<Share> {
        self.lock().lane.share(pace)
    }

    /// Polls the guest, whose poll has begun: at once, beside others of its component, if it
    /// `is_light`.
    fn poll_on<F: Future + Unpin>(
        &self,
        is_light: bool,
        future: &mut F,
        cx: &mut Context<'_>,
    ) -> Poll<F::Output> {
        /// Also where the host panics.
        struct Ends<'a>(&'a CpuMeter, bool);
        impl Drop for Ends<'_> {
            fn drop(&mut self) {
                self.0.poll_ends(self.1);
            }
        }
        let _ends = Ends(self, is_light);
        Pin::new(future).poll(cx)
    }

    fn poll<F: Future + Unpin>(&self, future: &mut F, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.poll_begins();
        self.poll_on(false, future, cx)
    }

    /// The guest has to wait for its turn.
    fn queues(&self) {
        self.lock().queued_since.get_or_insert_with(Instant::now);
    }

    /// Polls the guest, which has a place, while another thread does this one's work. Where polls
    /// are short that costs far more than they do, so that guests in the lane, which are few at
    /// once, go without.
    fn poll_in_place<F: Future + Unpin>(
        &self,
        pace: Pace,
        future: &mut F,
        cx: &mut Context<'_>,
    ) -> Poll<F::Output> {
        if matches!(pace, Pace::Light | Pace::InTurn) {
            // The neighbours are no fault of its own.
            return self.poll(future, cx);
        }
        let stays_here = pace == Pace::Slow && self.lock().short_polls >= SHORT_POLLS;
        let (result, cost) = match stays_here {
            true => (self.poll(future, cx), ONE_TURN),
            false => (aside(|| self.poll(future, cx)), HAND_OVER),
        };
        let mut inner = self.lock();
        inner.used += cost;
        inner.account.add(cost);
        result
    }

    /// A poll of the guest begins.
    fn poll_begins(&self) {
        self.lock().begins();
    }

    /// A poll of the guest ended.
    fn poll_ends(&self, was_light: bool) {
        let mut inner = self.lock();
        match inner.running_since.take() {
            Some(since) => inner.spend(since, was_light),
            // Another poll of the same guest has ended meanwhile, with which all was counted.
            None if was_light => {
                inner.lane.polled(Duration::ZERO, true);
            }
            None => {}
        }
        if !inner.stopped_by_tick {
            inner.ticks_in_a_row = 0;
            if inner.debt > CREDIT / 2 {
                inner.waits_since = Some(Instant::now());
            }
        }
    }

    pub(crate) fn on_tick(&self) -> Tick {
        let mut inner = self.lock();
        let Some(since) = inner.running_since else {
            // Nobody said when the poll began, so it begins now.
            inner.running_since = Some(Since::now(true));
            return Tick::Continue;
        };
        if since.elapsed() < TICK / 2 && inner.ticks_in_a_row == 0 {
            // The tick passed while the guest waited; what it used before counts all the same.
            return match inner.is_spent() {
                true => Tick::Spent,
                false => Tick::Continue,
            };
        }
        inner.spend(since, false);
        inner.account.tick();
        inner.precise = true;
        inner.running_since = Some(Since::now(true));
        if inner.is_spent() {
            return Tick::Spent;
        }
        inner.ticks_in_a_row += 1;
        inner.stopped_by_tick = true;
        drop(inner);
        let meter = self.clone();
        // Where it goes on, and when, is decided before the next poll.
        Tick::Yield(Box::pin(async move {
            tokio::task::yield_now().await;
            let mut inner = meter.lock();
            inner.stopped_by_tick = false;
            // Its poll began a moment ago, whether anybody said so or not.
            inner.running_since.get_or_insert_with(|| Since::now(true));
        }))
    }
}

/// A future whose polls a [`CpuMeter`] measures. A guest that computes much is polled when it
/// has a place in the [`SlowLane`], a poll at a time.
pub struct Metered<F> {
    meter: CpuMeter,
    waiting: Option<(Pace, Turn)>,
    future: F,
}

impl<F> Metered<F> {
    /// The meter of the guest.
    pub fn meter(&self) -> &CpuMeter {
        &self.meter
    }
}

impl<F> std::fmt::Debug for Metered<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metered")
            .field("meter", &self.meter)
            .finish_non_exhaustive()
    }
}

impl<F: Future + Unpin> Future for Metered<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Metered {
            meter,
            waiting,
            future,
        } = self.get_mut();
        let pace = meter.next_pace();
        if pace == Pace::Light {
            *waiting = None;
            return meter.poll_on(true, future, cx);
        }
        // A place for another pace is none.
        let mut turn = match waiting.take() {
            Some((for_pace, turn)) if for_pace == pace => turn,
            _ => Turn::new(meter.share(pace)),
        };
        let Poll::Ready(place) = turn.poll(cx) else {
            *waiting = Some((pace, turn));
            meter.queues();
            return Poll::Pending;
        };
        let result = meter.poll_in_place(pace, future, cx);
        drop(place);
        result
    }
}

/// Runs `poll` while another thread does this one's work for the async runtime.
fn aside<R>(poll: impl FnOnce() -> R) -> R {
    let flavor = Handle::try_current().map(|handle| handle.runtime_flavor());
    match flavor {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(poll),
        // There is no other thread that could.
        _ => poll(),
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

    impl CpuMeter {
        fn pace(&self) -> Pace {
            let mut inner = self.lock();
            inner.goes_on();
            inner.pace()
        }
    }

    /// Computes for `time` of this thread's CPU, however busy the machine is.
    fn spin(time: Duration) {
        let start = thread_cpu_time();
        while thread_cpu_time() - start < time {
            std::hint::spin_loop();
        }
    }

    /// As where an instance is handed on to the next request by the one before, in its last poll.
    #[test]
    fn polls_of_one_meter_that_overlap_leave_nothing_behind() {
        let meter = meter(1000);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for _ in 0..100 {
            let mut outer = meter.measure(std::future::poll_fn(|cx| {
                let inner = std::future::poll_fn(|_| Poll::Ready(()));
                Pin::new(&mut meter.measure(inner)).poll(cx)
            }));
            assert!(Pin::new(&mut outer).poll(&mut cx).is_ready());
        }
        // Of as many as may be polled at once none is.
        let lane = meter.lock().lane.clone();
        assert!(lane.begin_light() && lane.begin_light());
        std::thread::sleep(3 * crate::lane::SOON);
        assert!(!lane.begin_light());
    }

    #[test]
    fn time_between_polls_is_free() {
        let meter = meter(1000);
        meter.poll_begins();
        meter.poll_ends(false);
        spin(Duration::from_millis(20));
        meter.poll_begins();
        assert!(matches!(meter.on_tick(), Tick::Continue));
        meter.poll_ends(false);
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
        meter.poll_ends(false);
        assert!(meter.is_computing());
        meter.poll_begins();
        spin(Duration::from_millis(60));
        assert!(matches!(meter.on_tick(), Tick::Spent));
        meter.request_begins();
        assert_eq!(meter.used(), Duration::ZERO);
    }

    /// One poll that uses `time`, after which the guest waits.
    fn poll(meter: &CpuMeter, time: Duration) {
        meter.poll_begins();
        spin(time);
        meter.poll_ends(false);
    }

    const A_BIT: Duration = Duration::from_millis(4);

    #[test]
    fn waiting_a_moment_now_and_then_is_no_way_around_the_lane() {
        let meter = meter(10_000);
        assert_eq!(meter.pace(), Pace::Light);
        // At most a credit by the wall clock, another by the thread's, and what forgiveness
        // between polls comes to.
        for _ in 0..100 {
            poll(&meter, A_BIT);
            if meter.pace() == Pace::Slow {
                return;
            }
        }
        panic!("it computed for 400 ms");
    }

    /// It would go on, but another has the only place.
    #[tokio::test]
    async fn the_wait_for_a_turn_is_told() {
        let meter = meter(10_000);
        while meter.pace() != Pace::Slow {
            poll(&meter, A_BIT);
        }
        let place = meter.share(Pace::Slow).try_take().unwrap();
        let mut run = meter.measure(std::future::pending::<()>());
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert_eq!(meter.queued(), Duration::ZERO);
        assert!(Pin::new(&mut run).poll(&mut cx).is_pending());
        spin(A_BIT);
        let queued = meter.queued();
        assert!(queued >= A_BIT, "{queued:?}");
        drop(place);
        let turn = std::future::poll_fn(|cx| {
            let _ = Pin::new(&mut run).poll(cx);
            match run.waiting {
                Some(_) => Poll::Pending,
                None => Poll::Ready(()),
            }
        });
        turn.await;
        let queued = meter.queued();
        spin(A_BIT);
        assert_eq!(
            meter.queued(),
            queued,
            "it is not waiting for a turn any more"
        );
    }

    #[test]
    fn who_waits_is_forgiven() {
        let meter = meter(10_000);
        while meter.pace() != Pace::Slow {
            poll(&meter, A_BIT);
        }
        let long_ago = Instant::now().checked_sub(Duration::from_secs(2));
        meter.lock().waits_since = Some(long_ago.unwrap());
        assert_ne!(meter.pace(), Pace::Slow);
    }

    #[test]
    fn an_instance_of_many_short_requests_stays_out_of_the_lane() {
        let meter = meter(10_000);
        for _ in 0..50 {
            meter.request_begins();
            poll(&meter, A_BIT);
            meter.request_ends();
            assert_ne!(meter.pace(), Pace::Slow);
        }
    }

    #[test]
    fn a_greedy_guest_is_held_against_its_component_alone() {
        let lane = SlowLane::with_places(1);
        let (one, other) = (lane.for_component(), lane.for_component());
        let of = |lane: &SlowLane| {
            CpuMeter::new(Duration::from_secs(10), lane.clone(), CpuAccount::default())
        };
        let greedy = of(&one);
        while greedy.pace() != Pace::Slow {
            poll(&greedy, A_BIT);
        }
        assert_eq!(of(&one).pace(), Pace::Aside);
        assert_eq!(of(&other).pace(), Pace::Light);
    }

    /// 8 ms a request, a hundred at once.
    #[test]
    fn many_guests_below_their_credit_are_polled_aside_together() {
        let lane = SlowLane::with_places(1);
        let guests = || {
            (0..60).map(|_| {
                CpuMeter::new(Duration::from_secs(10), lane.clone(), CpuAccount::default())
            })
        };
        // As if each had computed for 8 ms, all in a moment.
        spin(Duration::from_millis(8));
        for guest in guests() {
            let since = thread_cpu_time().saturating_sub(Duration::from_millis(8));
            guest.lock().spend(Since::Cpu(since), false);
        }
        assert!(guests().all(|guest| guest.pace() == Pace::Aside));
        let other = CpuMeter::new(
            Duration::from_secs(10),
            lane.for_component(),
            CpuAccount::default(),
        );
        assert_eq!(other.pace(), Pace::Light);
    }

    /// Polls of those in the lane hold up neither the runtime nor each other for ever.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_guest_that_cannot_be_stopped_leaves_the_runtime_at_work() {
        let meter = meter(10_000);
        while meter.pace() != Pace::Slow {
            poll(&meter, A_BIT);
        }
        let (sender, receiver) = std::sync::mpsc::channel();
        let blocks = std::future::poll_fn(move |_| {
            // Ends only if somebody else's task runs meanwhile.
            Poll::Ready(receiver.recv_timeout(Duration::from_secs(60)))
        });
        let blocking = tokio::spawn(meter.measure(blocks));
        while meter.lock().running_since.is_none() {
            tokio::task::yield_now().await;
        }
        tokio::spawn(async move { sender.send(()) });
        assert_eq!(blocking.await.unwrap(), Ok(()));
    }

    #[test]
    fn each_request_at_work_brings_its_budget() {
        let meter = meter(50);
        let spins = |ms| {
            meter.poll_begins();
            spin(Duration::from_millis(ms));
            let tick = meter.on_tick();
            meter.poll_ends(false);
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
}

//! Where guests go that compute much: out of the way of those who answer quickly.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::places::{Places, Share};
use crate::ticker::TICK;

/// How long a component is remembered for what its guests did.
const REMEMBERED: Duration = Duration::from_secs(10);
/// A poll of less than that is as good as none: polling it aside would cost more than it delays
/// others.
pub(crate) const SHORT_POLL: Duration = Duration::from_micros(500);
/// The part of a core that longer polls of a component's guests may take together.
const SHARE_OF_CORE: u32 = 4;
/// Several guests of a component were polled at once and none of these polls ended for so long:
/// nobody knows when one will.
const SOON: Duration = Duration::from_millis(2);
/// How much more of it they may have taken at once.
const CREDIT: Duration = TICK.saturating_mul(5);

/// A bounded lane that guests share which compute much, a tick each in turn.
///
/// It has one place fewer than there are cores (at least one), so that a core is left for
/// everyone who answers quickly. Apps share the places out by the time that they hold them,
/// however many of their guests wait; within an app it is first come, first served.
///
/// Whoever is in the lane is polled aside: on a thread that the async runtime has replaced by
/// another, so that nothing waits behind an instruction that fills 100 MiB, and the kernel shares
/// the cores out. New guests of a component whose guests lately went to the lane, or together
/// took much of a core, are polled aside from their beginning, in places of their own.
#[derive(Debug, Clone)]
pub struct SlowLane {
    slow: Arc<Places>,
    aside: Arc<Places>,
    in_turn: Arc<Places>,
    neighbours: Arc<Neighbours>,
    app: AppShares,
    /// Guests of a component that may be polled at once without one of them ending soon.
    light: usize,
    standing: Arc<Standing>,
}

/// An app's share of the places at either pace.
#[derive(Debug, Clone)]
struct AppShares {
    slow: Arc<Share>,
    aside: Arc<Share>,
    in_turn: Arc<Share>,
}

/// Whether several components are at work.
#[derive(Debug, Default)]
struct Neighbours {
    /// The component of the last poll: where its standing lies.
    last: AtomicUsize,
    /// When that was another one than before, in nanoseconds; 0 is never.
    changed_ns: AtomicU64,
}

/// Where neighbours were at work lately, the part of a core that a component may take of light
/// polls before they are made in turns.
const LIGHT_SHARE_OF_CORE: u32 = 2;
/// Neighbours are remembered for so long, and so is a component that took more.
const LATELY: Duration = Duration::from_secs(1);

/// How a guest is polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// At once, by the thread that is there.
    Light,
    /// By the thread that is there, in turns with those of other apps: its component has so many
    /// light guests that neighbours would wait behind them.
    InTurn,
    /// Aside: its component is known for guests that compute much.
    Aside,
    /// Aside, when it has a place in the lane.
    Slow,
}

/// What the guests of a component do, and did lately.
#[derive(Debug, Default)]
struct Standing {
    /// Guests that are polled at once.
    light: AtomicUsize,
    /// When such a poll last ended, in nanoseconds.
    light_ended_ns: AtomicU64,
    /// Something took long, by a clock that also runs while the kernel does other things: guests
    /// are measured by the thread's own until then.
    suspect_until_ms: AtomicU64,
    /// A guest used much, or all together did.
    greedy_until_ms: AtomicU64,
    /// When what all polls took will be made up for, in nanoseconds.
    light_even_at_ns: AtomicU64,
    /// They took much.
    busy_until_ns: AtomicU64,
    /// When what longer polls took will be made up for, in nanoseconds: a leaky bucket.
    even_at_ns: AtomicU64,
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
        let (slow, aside) = (Places::new(places), Places::new((places + 1) * 2));
        let in_turn = Places::new(places + 1);
        SlowLane {
            app: AppShares {
                slow: slow.share(),
                aside: aside.share(),
                in_turn: in_turn.share(),
            },
            slow,
            aside,
            in_turn,
            neighbours: Arc::default(),
            light: places + 1,
            standing: Arc::default(),
        }
    }

    /// The same lane for another app, with an equal share of it.
    pub fn for_app(&self) -> SlowLane {
        SlowLane {
            app: AppShares {
                slow: self.slow.share(),
                aside: self.aside.share(),
                in_turn: self.in_turn.share(),
            },
            standing: Arc::default(),
            ..self.clone()
        }
    }

    /// The same lane for another component of the same app: what the guests of one do is not
    /// held against those of another.
    pub fn for_component(&self) -> SlowLane {
        SlowLane {
            standing: Arc::default(),
            ..self.clone()
        }
    }

    /// The app's share of the places of guests at that pace.
    pub(crate) fn share(&self, pace: Pace) -> Arc<Share> {
        match pace {
            Pace::Slow => Arc::clone(&self.app.slow),
            Pace::InTurn => Arc::clone(&self.app.in_turn),
            Pace::Light | Pace::Aside => Arc::clone(&self.app.aside),
        }
    }

    /// Whether a guest may be polled at once, which ends with [`end_light`](Self::end_light): not
    /// beside several of its component's of which none ends. It may be that these hold their
    /// threads for long, and others need some.
    pub(crate) fn begin_light(&self) -> bool {
        let standing = &*self.standing;
        if standing.light.fetch_add(1, Ordering::Relaxed) < self.light {
            return true;
        }
        let ended = Duration::from_nanos(standing.light_ended_ns.load(Ordering::Relaxed));
        if since_start() < ended + SOON {
            return true;
        }
        standing.light.fetch_sub(1, Ordering::Relaxed);
        false
    }

    pub(crate) fn end_light(&self) {
        let now = since_start().as_nanos() as u64;
        self.standing.light_ended_ns.store(now, Ordering::Relaxed);
        self.standing.light.fetch_sub(1, Ordering::Relaxed);
    }

    /// A poll of `time` has ended: are there neighbours, and does the component leave them enough?
    pub(crate) fn polled(&self, time: Duration) {
        let now = since_start().as_nanos() as u64;
        let this = Arc::as_ptr(&self.standing).addr();
        // What is written at once by two is of one of them, which is right enough.
        if self.neighbours.last.load(Ordering::Relaxed) != this {
            let before = self.neighbours.last.swap(this, Ordering::Relaxed);
            if before != 0 {
                self.neighbours.changed_ns.store(now, Ordering::Relaxed);
            }
        }
        if !self.has_neighbours(now) {
            return;
        }
        let repaid_in = (time * LIGHT_SHARE_OF_CORE).as_nanos() as u64;
        let limit = now + (CREDIT * LIGHT_SHARE_OF_CORE).as_nanos() as u64;
        let even_at = &self.standing.light_even_at_ns;
        let after = even_at.load(Ordering::Relaxed).max(now) + repaid_in;
        if after > limit {
            let until = now + LATELY.as_nanos() as u64;
            self.standing.busy_until_ns.store(until, Ordering::Relaxed);
        }
        even_at.store(after.min(limit), Ordering::Relaxed);
    }

    /// Whether the component's light guests are to take turns with those of others.
    pub(crate) fn is_busy(&self) -> bool {
        let until = self.standing.busy_until_ns.load(Ordering::Relaxed);
        if until == 0 {
            return false;
        }
        let now = since_start().as_nanos() as u64;
        now < until && self.has_neighbours(now)
    }

    fn has_neighbours(&self, now: u64) -> bool {
        let changed = self.neighbours.changed_ns.load(Ordering::Relaxed);
        changed != 0 && now < changed + LATELY.as_nanos() as u64
    }

    /// Whether a poll of `time` was one too many for its component. What was overdrawn is
    /// forgotten then.
    pub(crate) fn is_overdrawn(&self, time: Duration) -> bool {
        if time < SHORT_POLL {
            return false;
        }
        let now = since_start().as_nanos() as u64;
        let repaid_in = (time * SHARE_OF_CORE).as_nanos() as u64;
        let limit = now + (CREDIT * SHARE_OF_CORE).as_nanos() as u64;
        let even_at = &self.standing.even_at_ns;
        // Of two at the same time one may be forgotten, which matters to nobody.
        let after = even_at.load(Ordering::Relaxed).max(now) + repaid_in;
        let is_overdrawn = after > limit;
        even_at.store(if is_overdrawn { now } else { after }, Ordering::Relaxed);
        is_overdrawn
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

fn since_start() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

fn remember(until: &AtomicU64) {
    let end = (since_start() + REMEMBERED).as_millis() as u64;
    until.fetch_max(end, Ordering::Relaxed);
}

fn is_remembered(until: &AtomicU64) -> bool {
    let until = until.load(Ordering::Relaxed);
    // Of most components there is nothing to remember, and no clock to be read.
    until != 0 && (since_start().as_millis() as u64) < until
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_that_hold_their_threads_leave_some_to_others() {
        let lane = SlowLane::with_places(1);
        assert!(lane.begin_light() && lane.begin_light());
        // None ended since the process began.
        while since_start() < SOON {
            std::hint::spin_loop();
        }
        assert!(!lane.begin_light());
        assert!(lane.for_component().begin_light(), "others are not held up");
        lane.end_light();
        assert!(lane.begin_light());
    }

    #[test]
    fn short_polls_alone_are_not_polled_aside() {
        let lane = SlowLane::with_places(1);
        for _ in 0..1000 {
            assert!(!lane.is_overdrawn(Duration::from_micros(300)));
        }
    }

    #[test]
    fn many_short_polls_take_turns_where_there_are_neighbours() {
        let lane = SlowLane::with_places(1);
        let (many, few) = (lane.for_component(), lane.for_app());
        let much = || (0..10_000).for_each(|_| many.polled(Duration::from_micros(50)));
        much();
        assert!(!many.is_busy(), "nobody else is there");
        few.polled(Duration::from_micros(50));
        much();
        assert!(many.is_busy());
        few.polled(Duration::from_micros(50));
        assert!(!few.is_busy());
    }
}

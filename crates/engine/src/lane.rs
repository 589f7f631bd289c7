//! Where guests go that compute much: out of the way of those who answer quickly.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::places::{Places, Share};
use crate::ticker::TICK;

/// How long a component is remembered for what its guests did.
const REMEMBERED: Duration = Duration::from_secs(10);
/// The same for neighbours that were at work, and for a component that takes more than is good
/// for them.
const LATELY: Duration = Duration::from_secs(1);
/// A poll of less than that is as good as none: polling it aside would cost more than it delays
/// others.
pub(crate) const SHORT_POLL: Duration = Duration::from_micros(500);
/// The part of a core that longer polls of a component's guests may take together before they
/// are polled aside, and all polls before they are made in turns with those of neighbours.
const SHARE_OF_LONGER: u32 = 4;
const SHARE_OF_ALL: u32 = 2;
/// How much more of it they may have taken at once.
const CREDIT: Duration = TICK.saturating_mul(5);
/// Several guests of a component were polled at once and none of these polls ended for so long:
/// nobody knows when one will.
pub(crate) const SOON: Duration = Duration::from_millis(2);

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
    app: AppShares,
    neighbours: Arc<Neighbours>,
    /// Guests of a component that may be polled at once without one of them ending soon.
    light: usize,
    standing: Arc<Standing>,
}

/// An app's share of the places at each pace.
#[derive(Debug, Clone)]
struct AppShares {
    slow: Arc<Share>,
    aside: Arc<Share>,
    in_turn: Arc<Share>,
}

impl AppShares {
    fn of_another(&self) -> AppShares {
        AppShares {
            slow: self.slow.of_another(),
            aside: self.aside.of_another(),
            in_turn: self.in_turn.of_another(),
        }
    }
}

/// Whether several components are at work.
#[derive(Debug, Default)]
struct Neighbours {
    /// The component of the last poll: where its standing lies.
    last: AtomicUsize,
    /// It was another one than before.
    lately: Memory,
}

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
    light_ended: AtomicU64,
    /// Something took long, by a clock that also runs while the kernel does other things: guests
    /// are measured by the thread's own until then.
    suspect: Memory,
    /// A guest used much, or all together did.
    greedy: Memory,
    longer_polls: Bucket,
    /// Its polls fill more than is good for neighbours.
    busy: Memory,
    all_polls: Bucket,
}

/// Something that happened, until it is forgotten: a time in nanoseconds.
#[derive(Debug, Default)]
struct Memory(AtomicU64);

impl Memory {
    fn keep(&self, now: u64, time: Duration) {
        self.0.fetch_max(now + nanoseconds(time), Ordering::Relaxed);
    }

    fn is_kept(&self, now: impl FnOnce() -> u64) -> bool {
        let until = self.0.load(Ordering::Relaxed);
        // Of most components there is nothing to remember, and no clock to be read.
        until != 0 && now() < until
    }
}

/// A leaky bucket of time, of which a part of a core leaks: when it will be empty, in
/// nanoseconds. Of two that pour at the same time one may be lost, which matters to nobody.
#[derive(Debug, Default)]
struct Bucket(AtomicU64);

impl Bucket {
    /// Pours `time` in; one core in `parts` leaks. Whether it runs over, and stays full.
    fn pour(&self, now: u64, time: Duration, parts: u32) -> bool {
        let full = now + nanoseconds(CREDIT * parts);
        let after = self.0.load(Ordering::Relaxed).max(now) + nanoseconds(time * parts);
        self.0.store(after.min(full), Ordering::Relaxed);
        after > full
    }

    fn empty(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
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
            app: AppShares {
                slow: Places::new(places).share(),
                aside: Places::new((places + 1) * 2).share(),
                in_turn: Places::new(places + 1).share(),
            },
            neighbours: Arc::default(),
            light: places + 1,
            standing: Arc::default(),
        }
    }

    /// The same lane for another app, with an equal share of it.
    pub fn for_app(&self) -> SlowLane {
        SlowLane {
            app: self.app.of_another(),
            ..self.for_component()
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

    /// Whether a guest may be polled at once, until [`polled`](Self::polled) is told so: not
    /// beside several of its component's of which none ends. It may be that these hold their
    /// threads for long, and others need some.
    pub(crate) fn begin_light(&self) -> bool {
        let standing = &*self.standing;
        if standing.light.fetch_add(1, Ordering::Relaxed) < self.light {
            return true;
        }
        let ended = standing.light_ended.load(Ordering::Relaxed);
        if now() < ended + nanoseconds(SOON) {
            return true;
        }
        standing.light.fetch_sub(1, Ordering::Relaxed);
        false
    }

    /// A guest was polled for `time`, and that ended if it `was_light`. Whether this was one too
    /// many of the component's longer polls, which are forgotten then.
    pub(crate) fn polled(&self, time: Duration, was_light: bool) -> bool {
        let standing = &*self.standing;
        let now = now();
        if was_light {
            standing.light_ended.store(now, Ordering::Relaxed);
            standing.light.fetch_sub(1, Ordering::Relaxed);
        }
        let this = Arc::as_ptr(&self.standing).addr();
        // What is written at once by two is of one of them, which is right enough.
        if self.neighbours.last.load(Ordering::Relaxed) != this
            && self.neighbours.last.swap(this, Ordering::Relaxed) != 0
        {
            self.neighbours.lately.keep(now, LATELY);
        }
        if self.neighbours.lately.is_kept(|| now)
            && standing.all_polls.pour(now, time, SHARE_OF_ALL)
        {
            standing.busy.keep(now, LATELY);
        }
        let is_too_much =
            time >= SHORT_POLL && standing.longer_polls.pour(now, time, SHARE_OF_LONGER);
        if is_too_much {
            standing.longer_polls.empty();
        }
        is_too_much
    }

    /// Whether the component's light guests are to take turns with those of others.
    pub(crate) fn is_busy(&self) -> bool {
        self.standing.busy.is_kept(now) && self.neighbours.lately.is_kept(now)
    }

    pub(crate) fn suspect(&self) {
        self.standing.suspect.keep(now(), REMEMBERED);
    }

    pub(crate) fn is_suspect(&self) -> bool {
        self.standing.suspect.is_kept(now)
    }

    pub(crate) fn greedy(&self) {
        self.suspect();
        self.standing.greedy.keep(now(), REMEMBERED);
    }

    pub(crate) fn is_greedy(&self) -> bool {
        self.standing.greedy.is_kept(now)
    }
}

/// Since the first call, in nanoseconds: 584 years fit.
fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    nanoseconds(START.get_or_init(Instant::now).elapsed())
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_that_hold_their_threads_leave_some_to_others() {
        let lane = SlowLane::with_places(1);
        assert!(lane.begin_light() && lane.begin_light());
        // None ended since the process began.
        while now() < nanoseconds(SOON) {
            std::hint::spin_loop();
        }
        assert!(!lane.begin_light());
        assert!(lane.for_component().begin_light(), "others are not held up");
        lane.polled(Duration::ZERO, true);
        assert!(lane.begin_light());
    }

    #[test]
    fn short_polls_alone_are_not_polled_aside() {
        let lane = SlowLane::with_places(1);
        for _ in 0..1000 {
            assert!(!lane.polled(Duration::from_micros(300), false));
        }
    }

    #[test]
    fn many_short_polls_take_turns_where_there_are_neighbours() {
        let lane = SlowLane::with_places(1);
        let (many, few) = (lane.for_component(), lane.for_app());
        let short = Duration::from_micros(50);
        let much = || assert!((0..10_000).all(|_| !many.polled(short, false)));
        much();
        assert!(!many.is_busy(), "nobody else is there");
        few.polled(short, false);
        much();
        assert!(many.is_busy());
        few.polled(short, false);
        assert!(!few.is_busy());
    }
}

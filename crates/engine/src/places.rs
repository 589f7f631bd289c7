//! Places that apps share, and whose turn it is.
//!
//! Whoever had least goes first: start-time fair queueing (Goyal, Vin and Cheng, "Start-time Fair
//! Queuing", 1996), where what is shared is the time that a place is held. An app with a thousand
//! guests that wait gets as much as one with a single guest, and one that comes seldom goes
//! before those that are always there. Within an app it is first come, first served.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::ticker::TICK;

/// What a place is counted for until it is known how long it was held: an app that had nothing
/// yet does not get all of them at once.
const IN_ADVANCE: Duration = TICK;

/// A number of places, for all apps.
#[derive(Debug)]
pub(crate) struct Places(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Nobody waits while there is one.
    free: usize,
    /// What the app had that was served last. Who comes back after a while begins there: what was
    /// not used is not saved up.
    now: Duration,
    apps: HashMap<u64, App>,
    /// Apps of which somebody waits, the one that had least first.
    order: BTreeSet<(Duration, u64)>,
    last_app: u64,
    last_ticket: u64,
}

#[derive(Debug, Default)]
struct App {
    /// The time for which it held places.
    had: Duration,
    places: usize,
    waiting: BTreeMap<u64, Waiter>,
}

#[derive(Debug)]
struct Waiter {
    share: Arc<Share>,
    sender: oneshot::Sender<Place>,
}

/// An app's share of some places.
#[derive(Debug)]
pub(crate) struct Share {
    places: Arc<Places>,
    app: u64,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    share: Arc<Share>,
    since: Instant,
}

/// Stands in the queue until it is dropped.
struct Queued<'a> {
    share: &'a Share,
    ticket: u64,
}

impl Places {
    pub(crate) fn new(places: usize) -> Arc<Places> {
        Arc::new(Places(Mutex::new(State {
            free: places,
            now: Duration::ZERO,
            apps: HashMap::new(),
            order: BTreeSet::new(),
            last_app: 0,
            last_ticket: 0,
        })))
    }

    /// The share of an app.
    pub(crate) fn share(self: &Arc<Self>) -> Arc<Share> {
        let mut state = self.lock();
        state.last_app += 1;
        Arc::new(Share {
            places: Arc::clone(self),
            app: state.last_app,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The app, which from now on wants something.
    fn app(&mut self, app: u64) -> &mut App {
        let now = self.now;
        let its = self.apps.entry(app).or_default();
        if its.places == 0 && its.waiting.is_empty() {
            its.had = its.had.max(now);
        }
        its
    }

    /// A place for `app`, if one is free.
    fn take(&mut self, app: u64) -> bool {
        if self.free == 0 {
            return false;
        }
        self.free -= 1;
        let its = self.app(app);
        its.places += 1;
        let had = its.had;
        its.had += IN_ADVANCE;
        self.now = self.now.max(had);
        true
    }

    /// The place of `app`, which it held for `time`, is free.
    fn give_back(&mut self, app: u64, time: Duration) {
        self.free += 1;
        let Some(its) = self.apps.get_mut(&app) else {
            return;
        };
        its.places -= 1;
        let before = its.had;
        its.had = (before + time).saturating_sub(IN_ADVANCE);
        if self.order.remove(&(before, app)) {
            self.order.insert((its.had, app));
        }
    }

    fn queue(&mut self, app: u64, waiter: Waiter) -> u64 {
        self.last_ticket += 1;
        let ticket = self.last_ticket;
        let its = self.app(app);
        its.waiting.insert(ticket, waiter);
        let had = its.had;
        self.order.insert((had, app));
        ticket
    }

    fn leave(&mut self, app: u64, ticket: u64) -> Option<Waiter> {
        let its = self.apps.get_mut(&app)?;
        let waiter = its.waiting.remove(&ticket);
        if its.waiting.is_empty() {
            self.order.remove(&(its.had, app));
        }
        waiter
    }

    /// Whoever is next, if a place is free, which is theirs then.
    fn next(&mut self) -> Option<Waiter> {
        let &(had, app) = self.order.first()?;
        if !self.take(app) {
            return None;
        }
        self.order.remove(&(had, app));
        let its = self.apps.get_mut(&app)?;
        let (_, waiter) = its.waiting.pop_first()?;
        if !its.waiting.is_empty() {
            self.order.insert((its.had, app));
        }
        Some(waiter)
    }
}

impl Share {
    /// The share of another app in the same places.
    pub(crate) fn of_another(&self) -> Arc<Share> {
        self.places.share()
    }

    /// A place, if one is free.
    pub(crate) fn try_take(self: &Arc<Self>) -> Option<Place> {
        let has_place = self.places.lock().take(self.app);
        has_place.then(|| Place::of(Arc::clone(self)))
    }

    /// Waits for a place. Dropping what comes back leaves the queue.
    pub(crate) async fn take(self: Arc<Self>) -> Place {
        loop {
            let (sender, receiver) = oneshot::channel();
            let queued = {
                let mut state = self.places.lock();
                if state.take(self.app) {
                    return Place::of(Arc::clone(&self));
                }
                let share = Arc::clone(&self);
                Queued {
                    ticket: state.queue(self.app, Waiter { share, sender }),
                    share: &self,
                }
            };
            let place = receiver.await;
            drop(queued);
            if let Ok(place) = place {
                return place;
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.places.lock().free
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // Whoever waits or has a place holds it.
        self.places.lock().apps.remove(&self.app);
    }
}

impl Place {
    fn of(share: Arc<Share>) -> Place {
        Place {
            share,
            since: Instant::now(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let time = self.since.elapsed();
        let next = {
            let mut state = self.share.places.lock();
            state.give_back(self.share.app, time);
            state.next()
        };
        if let Some(Waiter { share, sender }) = next {
            // Whoever left meanwhile drops it, which gives it to the next.
            let _ = sender.send(Place::of(share));
        }
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        // What it holds must not be dropped under the lock.
        let left = self.share.places.lock().leave(self.share.app, self.ticket);
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    type Waiting = Pin<Box<dyn Future<Output = Place>>>;

    fn waiting(share: &Arc<Share>) -> Waiting {
        let mut waiting: Waiting = Box::pin(Arc::clone(share).take());
        assert!(place(&mut waiting).is_none());
        waiting
    }

    fn place(waiting: &mut Waiting) -> Option<Place> {
        match waiting
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(place) => Some(place),
            Poll::Pending => None,
        }
    }

    /// Which of those who wait has a place.
    fn served(all: &mut Vec<(&'static str, Waiting)>) -> (&'static str, Place) {
        for at in 0..all.len() {
            if let Some(place) = place(&mut all[at].1) {
                return (all.remove(at).0, place);
            }
        }
        panic!("nobody is served");
    }

    /// As if it had been held for `ms`.
    fn give_back(mut place: Place, ms: u64) {
        place.since = Instant::now()
            .checked_sub(Duration::from_millis(ms))
            .unwrap();
        drop(place);
    }

    #[test]
    fn an_app_with_many_who_wait_gets_as_much_as_one_with_few() {
        let places = Places::new(1);
        let (many, few) = (places.share(), places.share());
        let mut place = many.try_take().unwrap();
        let mut all: Vec<_> = (0..20).map(|_| ("many", waiting(&many))).collect();
        all.extend((0..3).map(|_| ("few", waiting(&few))));
        let mut order = Vec::new();
        for _ in 0..6 {
            give_back(place, 10);
            let (name, next) = served(&mut all);
            order.push(name);
            place = next;
        }
        let few = order.iter().filter(|name| **name == "few").count();
        assert_eq!(few, 3, "{order:?}");
    }

    #[test]
    fn who_holds_a_place_for_long_waits_for_longer() {
        let places = Places::new(1);
        let (long, short) = (places.share(), places.share());
        let mut place = long.try_take().unwrap();
        let mut all: Vec<_> = (0..9).map(|_| ("long", waiting(&long))).collect();
        all.extend((0..9).map(|_| ("short", waiting(&short))));
        let mut held = 100;
        let mut order = Vec::new();
        for _ in 0..8 {
            give_back(place, held);
            let (name, next) = served(&mut all);
            order.push(name);
            held = if name == "long" { 100 } else { 20 };
            place = next;
        }
        assert!(
            order.iter().filter(|name| **name == "short").count() >= 6,
            "{order:?}"
        );
    }

    #[test]
    fn what_was_not_used_is_not_saved_up() {
        let places = Places::new(1);
        let (busy, late) = (places.share(), places.share());
        for _ in 0..50 {
            give_back(busy.try_take().unwrap(), 100);
        }
        let mut place = busy.try_take().unwrap();
        let mut all: Vec<_> = (0..5).map(|_| ("busy", waiting(&busy))).collect();
        all.extend((0..5).map(|_| ("late", waiting(&late))));
        let mut order = Vec::new();
        for _ in 0..4 {
            give_back(place, 100);
            let (name, next) = served(&mut all);
            order.push(name);
            place = next;
        }
        let late = order.iter().filter(|name| **name == "late").count();
        assert!(late <= 3, "{order:?}");
    }

    #[test]
    fn one_app_does_not_get_all_places_at_once() {
        let places = Places::new(4);
        let (one, other) = (places.share(), places.share());
        let taken: Vec<_> = std::iter::repeat_with(|| places.share().try_take().unwrap())
            .take(4)
            .collect();
        let mut all: Vec<_> = (0..8).map(|_| ("one", waiting(&one))).collect();
        all.extend((0..8).map(|_| ("other", waiting(&other))));
        drop(taken);
        let first: Vec<_> = (0..4).map(|_| served(&mut all)).collect();
        let ones = first.iter().filter(|(name, _)| *name == "one").count();
        assert_eq!(ones, 2);
    }

    #[test]
    fn who_leaves_leaves_nothing_behind() {
        let places = Places::new(1);
        let share = places.share();
        let place = share.try_take().unwrap();
        drop(waiting(&share));
        let called = waiting(&share);
        drop(place);
        // It had a place, and did not come.
        drop(called);
        assert_eq!(share.free(), 1);
        drop(share);
        let state = places.lock();
        assert!(state.apps.is_empty() && state.order.is_empty());
    }
}

//! Who may enter: a component's concurrency, and the bounded queue before it. One client has at
//! most seven eighths of either.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use crate::capacity::{Capacity, Taken};
use crate::clients::client_at;

/// Why a request was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The queue is full.
    QueueFull(Whose),
    /// Its turn did not come in time.
    Waited(Whose),
}

/// Whose places are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Those of all clients.
    All,
    /// Those that one client may have, so many.
    Client(u32),
}

impl Refused {
    /// Whose places are taken.
    pub(crate) fn whose(self) -> Whose {
        match self {
            Refused::QueueFull(whose) | Refused::Waited(whose) => whose,
        }
    }
}

/// A place among the requests at once. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Place {
    _all: Taken,
    _client: Taken,
    /// Keeps the client's count while it has any.
    _of: Arc<PerClient>,
}

/// The door of one component, of whatever version: who is in has entered through it, and those of
/// the version before are counted until they have left.
#[derive(Debug)]
pub(crate) struct Admission {
    places: Arc<Capacity>,
    waiting: AtomicU32,
    clients: Mutex<Clients>,
}

#[derive(Debug)]
struct Clients {
    limits: Limits,
    each: HashMap<IpAddr, Weak<PerClient>>,
}

/// How many may be in and wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) concurrency: u32,
    pub(crate) queue: u32,
}

impl Limits {
    /// What one client may have, so that others find a place however much it asks for.
    fn of_client(self) -> Limits {
        Limits {
            concurrency: share(self.concurrency),
            queue: share(self.queue),
        }
    }
}

/// What one client has.
#[derive(Debug)]
struct PerClient {
    places: Arc<Capacity>,
    waiting: AtomicU32,
}

/// Clients whose count is gone are forgotten when there are so many.
const CLIENTS_SWEPT: usize = 1024;

/// Seven eighths; of few all.
fn share(of: u32) -> u32 {
    of - of / 8
}

impl Admission {
    pub(crate) fn new(limits: Limits) -> Admission {
        Admission {
            places: Capacity::new(limits.concurrency),
            waiting: AtomicU32::new(0),
            clients: Mutex::new(Clients {
                limits,
                each: HashMap::new(),
            }),
        }
    }

    /// Sets other limits. Who is in or waits stays.
    pub(crate) fn set_limits(&self, limits: Limits) {
        let mut clients = self.clients();
        if clients.limits == limits {
            return;
        }
        clients.limits = limits;
        self.places.resize(limits.concurrency);
        let each = limits.of_client().concurrency;
        for of in clients.each.values().filter_map(Weak::upgrade) {
            of.places.resize(each);
        }
    }

    fn clients(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a request of `client`, at once or after waiting until `deadline`.
    pub(crate) async fn enter(&self, client: IpAddr, deadline: Instant) -> Result<Place, Refused> {
        let of = self.client(client);
        let at_once = || Some((of.places.try_take()?, self.places.try_take()?));
        let (own, all) = match at_once() {
            Some(both) => both,
            None => self.wait(&of, deadline).await?,
        };
        Ok(Place {
            _all: all,
            _client: own,
            _of: of,
        })
    }

    async fn wait(&self, of: &PerClient, deadline: Instant) -> Result<(Taken, Taken), Refused> {
        let limits = self.clients().limits;
        let each = limits.of_client();
        let whose = |is_own: bool| match each.concurrency {
            share if is_own && share < limits.concurrency => Whose::Client(share),
            _ => Whose::All,
        };
        let own = Waiting::start(&of.waiting, each.queue);
        let all = own.and_then(|own| Some((own, Waiting::start(&self.waiting, limits.queue)?)));
        let Some(_waiting) = all else {
            return Err(Refused::QueueFull(whose(of.places.free() == 0)));
        };
        let deadline = deadline.into();
        // Its own first: while it waits for that it is in nobody's way.
        let own = tokio::time::timeout_at(deadline, of.places.take()).await;
        let own = own.map_err(|_| Refused::Waited(whose(true)))?;
        let all = tokio::time::timeout_at(deadline, self.places.take()).await;
        let all = all.map_err(|_| Refused::Waited(whose(false)))?;
        Ok((own, all))
    }

    fn client(&self, client: IpAddr) -> Arc<PerClient> {
        let client = client_at(client);
        let mut clients = self.clients();
        if let Some(of) = clients.each.get(&client).and_then(Weak::upgrade) {
            return of;
        }
        if clients.each.len() >= CLIENTS_SWEPT {
            clients.each.retain(|_, of| of.strong_count() > 0);
        }
        let of = Arc::new(PerClient {
            places: Capacity::new(clients.limits.of_client().concurrency),
            waiting: AtomicU32::new(0),
        });
        clients.each.insert(client, Arc::downgrade(&of));
        of
    }
}

#[cfg(test)]
impl Place {
    /// A place that is one of `places`.
    pub(crate) fn of(places: &Arc<Capacity>) -> Place {
        let own = Capacity::new(1);
        Place {
            _all: places.try_take().unwrap(),
            _client: own.try_take().unwrap(),
            _of: Arc::new(PerClient {
                places: own,
                waiting: AtomicU32::new(0),
            }),
        }
    }
}

/// Counts one who waits, also if the client leaves meanwhile.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn start(count: &'a AtomicU32, max: u32) -> Option<Waiting<'a>> {
        count
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |count| {
                (count < max).then_some(count + 1)
            })
            .ok()
            .map(|_| Waiting(count))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    const ONE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::BROADCAST);

    #[tokio::test(start_paused = true)]
    async fn one_client_leaves_places_to_others() {
        let door = Arc::new(door(16, 16));
        let mut held = Vec::new();
        for _ in 0..14 {
            held.push(door.enter(ONE, within(5)).await.unwrap());
        }
        // It fills its part of the queue, too.
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let door = Arc::clone(&door);
                tokio::spawn(async move { door.enter(ONE, within(5)).await.map(drop) })
            })
            .collect();
        tokio::task::yield_now().await;
        let others = [
            door.enter(OTHER, within(0)).await,
            door.enter(OTHER, within(0)).await,
        ];
        assert!(others.iter().all(Result::is_ok));
        let refused = door.enter(OTHER, within(1)).await.map(drop);
        let all = Refused::Waited(Whose::All);
        assert_eq!(refused, Err(all), "there is room to wait");
        drop(held);
        let mut outcomes = Vec::new();
        for waiting in waiting {
            outcomes.push(waiting.await.unwrap());
        }
        let let_in = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(let_in, 14, "{outcomes:?}");
        let own = Refused::QueueFull(Whose::Client(14));
        assert!(outcomes.contains(&Err(own)), "{outcomes:?}");
        drop(others);
        assert_eq!(door.places.free(), 16);
    }

    #[tokio::test(start_paused = true)]
    async fn clients_that_are_gone_are_forgotten() {
        let door = door(4, 4);
        for count in 0..3 * CLIENTS_SWEPT {
            let client = Ipv4Addr::from_bits(u32::try_from(count).unwrap());
            drop(door.enter(client.into(), within(0)).await.unwrap());
        }
        assert!(door.clients().each.len() <= CLIENTS_SWEPT);
    }

    fn limits(concurrency: u32, queue: u32) -> Limits {
        Limits { concurrency, queue }
    }

    fn door(concurrency: u32, queue: u32) -> Admission {
        Admission::new(limits(concurrency, queue))
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_in_counts_under_new_limits_too() {
        let door = door(8, 0);
        let mut held = Vec::new();
        while let Ok(place) = door.enter(ONE, within(0)).await {
            held.push(place);
        }
        assert_eq!(held.len(), 7);
        door.set_limits(limits(2, 0));
        for client in [ONE, OTHER] {
            let refused = door.enter(client, within(0)).await.map(drop);
            assert_eq!(refused, Err(Refused::QueueFull(Whose::All)));
        }
        held.truncate(2);
        let refused = door.enter(OTHER, within(0)).await.map(drop);
        assert_eq!(refused, Err(Refused::QueueFull(Whose::All)), "two are in");
        held.clear();
        held.push(door.enter(ONE, within(0)).await.unwrap());
        held.push(door.enter(ONE, within(0)).await.unwrap());
        assert!(door.enter(OTHER, within(0)).await.is_err());

        door.set_limits(limits(16, 8));
        for _ in 0..12 {
            held.push(door.enter(ONE, within(0)).await.unwrap());
        }
        let refused = door.enter(ONE, within(1)).await.map(drop);
        assert_eq!(
            refused,
            Err(Refused::Waited(Whose::Client(14))),
            "it may wait now"
        );
        held.push(door.enter(OTHER, within(0)).await.unwrap());
        drop(held);
        assert_eq!(door.places.free(), 16);
    }

    fn within(seconds: u64) -> Instant {
        tokio::time::Instant::now().into_std() + Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn one_enters_one_waits_the_third_is_refused() {
        let door = Arc::new(door(1, 1));
        let deadline = within(5);
        let first = door.enter(ONE, deadline).await.unwrap();
        let waiting = tokio::spawn({
            let door = Arc::clone(&door);
            async move { door.enter(ONE, deadline).await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert_eq!(
            door.enter(ONE, deadline).await.map(drop),
            Err(Refused::QueueFull(Whose::All))
        );
        drop(first);
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_and_the_queue_is_free_again() {
        let door = door(1, 1);
        let _first = door.enter(ONE, within(0)).await.unwrap();
        for _ in 0..3 {
            let refused = door.enter(ONE, within(1)).await.map(drop);
            assert_eq!(refused, Err(Refused::Waited(Whose::All)));
        }
    }
}

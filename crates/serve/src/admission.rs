//! Who may enter: a component's concurrency, and the bounded queue before it. One client has at
//! most seven eighths of either.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clients::client_at;

/// Why a request was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The queue is full.
    QueueFull,
    /// Its turn did not come in time.
    Waited,
}

/// A place among the requests at once. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Place {
    _all: OwnedSemaphorePermit,
    _client: OwnedSemaphorePermit,
    /// Keeps the client's count while it has any.
    _of: Arc<PerClient>,
}

/// The door of one component.
#[derive(Debug)]
pub(crate) struct Admission {
    places: Arc<Semaphore>,
    waiting: AtomicU32,
    waiting_max: u32,
    /// What one client may have, so that others find a place however much it asks for.
    each: u32,
    each_waiting: u32,
    clients: Mutex<HashMap<IpAddr, Weak<PerClient>>>,
}

/// What one client has.
#[derive(Debug)]
struct PerClient {
    places: Arc<Semaphore>,
    waiting: AtomicU32,
}

/// Clients whose count is gone are forgotten when there are so many.
const CLIENTS_SWEPT: usize = 1024;

/// Seven eighths; of few all.
fn share(of: u32) -> u32 {
    of - of / 8
}

impl Admission {
    pub(crate) fn new(concurrency: u32, queue: u32) -> Admission {
        Admission {
            places: Arc::new(Semaphore::new(concurrency as usize)),
            waiting: AtomicU32::new(0),
            waiting_max: queue,
            each: share(concurrency),
            each_waiting: share(queue),
            clients: Mutex::default(),
        }
    }

    /// A place for a request of `client`, at once or after waiting until `deadline`.
    pub(crate) async fn enter(&self, client: IpAddr, deadline: Instant) -> Result<Place, Refused> {
        let of = self.client(client);
        let at_once = || {
            let own = Arc::clone(&of.places).try_acquire_owned().ok()?;
            let all = Arc::clone(&self.places).try_acquire_owned().ok()?;
            Some((own, all))
        };
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

    async fn wait(
        &self,
        of: &PerClient,
        deadline: Instant,
    ) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), Refused> {
        let own = Waiting::start(&of.waiting, self.each_waiting);
        let all = own.and_then(|own| Some((own, Waiting::start(&self.waiting, self.waiting_max)?)));
        let Some(_waiting) = all else {
            return Err(Refused::QueueFull);
        };
        let both = async {
            // Its own first: while it waits for that it is in nobody's way.
            let own = Arc::clone(&of.places).acquire_owned().await.ok()?;
            let all = Arc::clone(&self.places).acquire_owned().await.ok()?;
            Some((own, all))
        };
        match tokio::time::timeout_at(deadline.into(), both).await {
            Ok(Some(both)) => Ok(both),
            _ => Err(Refused::Waited),
        }
    }

    fn client(&self, client: IpAddr) -> Arc<PerClient> {
        let client = client_at(client);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of) = clients.get(&client).and_then(Weak::upgrade) {
            return of;
        }
        if clients.len() >= CLIENTS_SWEPT {
            clients.retain(|_, of| of.strong_count() > 0);
        }
        let of = Arc::new(PerClient {
            places: Arc::new(Semaphore::new(self.each as usize)),
            waiting: AtomicU32::new(0),
        });
        clients.insert(client, Arc::downgrade(&of));
        of
    }
}

#[cfg(test)]
impl Place {
    /// A place that holds `permit`.
    pub(crate) fn of(permit: OwnedSemaphorePermit) -> Place {
        let places = Arc::new(Semaphore::new(1));
        Place {
            _all: permit,
            _client: Arc::clone(&places).try_acquire_owned().unwrap(),
            _of: Arc::new(PerClient {
                places,
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
        let door = Arc::new(Admission::new(16, 16));
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
        assert_eq!(refused, Err(Refused::Waited), "there is room to wait");
        drop(held);
        let mut outcomes = Vec::new();
        for waiting in waiting {
            outcomes.push(waiting.await.unwrap());
        }
        let let_in = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(let_in, 14, "{outcomes:?}");
        drop(others);
        assert_eq!(door.places.available_permits(), 16);
    }

    #[tokio::test(start_paused = true)]
    async fn clients_that_are_gone_are_forgotten() {
        let door = Admission::new(4, 4);
        for count in 0..3 * CLIENTS_SWEPT {
            let client = Ipv4Addr::from_bits(u32::try_from(count).unwrap());
            drop(door.enter(client.into(), within(0)).await.unwrap());
        }
        assert!(door.clients.lock().unwrap().len() <= CLIENTS_SWEPT);
    }

    fn within(seconds: u64) -> Instant {
        tokio::time::Instant::now().into_std() + Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn one_enters_one_waits_the_third_is_refused() {
        let door = Arc::new(Admission::new(1, 1));
        let deadline = within(5);
        let first = door.enter(ONE, deadline).await.unwrap();
        let waiting = tokio::spawn({
            let door = Arc::clone(&door);
            async move { door.enter(ONE, deadline).await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert_eq!(
            door.enter(ONE, deadline).await.map(drop),
            Err(Refused::QueueFull)
        );
        drop(first);
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_and_the_queue_is_free_again() {
        let door = Admission::new(1, 1);
        let _first = door.enter(ONE, within(0)).await.unwrap();
        for _ in 0..3 {
            let refused = door.enter(ONE, within(1)).await.map(drop);
            assert_eq!(refused, Err(Refused::Waited));
        }
    }
}

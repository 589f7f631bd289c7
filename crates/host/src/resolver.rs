//! Names to addresses: one resolver a node, which remembers what it answered.
//!
//! Names are resolved by the system (`getaddrinfo`), so that what the machine's operator set up
//! holds here too: hosts files, name service switch, search domains, a local cache. It tells no
//! time to live, and a call of it cannot be given up: it ends when the system's own time is up.
//! So an answer is fresh for a time of ours, and calls are counted: those that hang hold their
//! place, and whoever waits for a place or an answer waits for [`LOOKUP_TIME`] at most.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// How long an answer is given again.
const ANSWER_FRESH: Duration = Duration::from_secs(30);
/// How long a failure is.
const FAILURE_FRESH: Duration = Duration::from_secs(1);
/// How long the addresses of an answer may be connected to: what was answered last at the end of
/// [`ANSWER_FRESH`] is good for as long again.
const ADDRESS_FRESH: Duration = Duration::from_secs(60);
/// How long anybody waits for a name.
const LOOKUP_TIME: Duration = Duration::from_secs(5);
/// Calls of the system's resolver at once, well below the 512 threads that tokio blocks at most.
const LOOKUPS_MAX: usize = 64;
/// Of these, one app's.
const LOOKUPS_PER_APP_MAX: usize = 8;
/// Names remembered.
const NAMES_MAX: usize = 4096;
/// Addresses kept of one answer.
const ADDRESSES_MAX: usize = 64;

/// Why a name has no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LookupFailure {
    /// It does not exist, or nothing is known under it.
    Unresolvable,
    /// Nobody answered in time.
    Temporary,
}

type Answer = Result<Arc<[IpAddr]>, LookupFailure>;
type Asking = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;
type Ask = dyn Fn(String) -> Asking + Send + Sync;

/// Resolves names. What it resolved for one component it knows for all.
pub(crate) struct Resolver {
    ask: Box<Ask>,
    at_once: Arc<Semaphore>,
    memory: Mutex<Memory>,
    lookup_time: Duration,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

/// How many names an app may have looked up at once.
#[derive(Debug, Clone)]
pub(crate) struct LookupShare(Arc<Semaphore>);

impl Default for LookupShare {
    fn default() -> LookupShare {
        LookupShare(Arc::new(Semaphore::new(LOOKUPS_PER_APP_MAX)))
    }
}

impl Resolver {
    pub(crate) fn of_the_system() -> Resolver {
        Resolver::new(|name| {
            Box::pin(async move {
                let found = tokio::net::lookup_host((&*name, 0)).await?;
                Ok(found.map(|address| address.ip()).collect())
            })
        })
    }

    /// A resolver that asks `ask`, which may be given up at any time but need not end then.
    pub(crate) fn new(ask: impl Fn(String) -> Asking + Send + Sync + 'static) -> Resolver {
        Resolver {
            ask: Box::new(ask),
            at_once: Arc::new(Semaphore::new(LOOKUPS_MAX)),
            memory: Mutex::default(),
            lookup_time: LOOKUP_TIME,
        }
    }

    /// The addresses of `name`, at least one. IPv4 addresses are never in IPv6 form.
    ///
    /// Needs a tokio runtime. May be dropped at any time.
    pub(crate) async fn resolve(self: &Arc<Self>, name: &str, share: &LookupShare) -> Answer {
        tokio::time::timeout(self.lookup_time, self.wait_for(name, share))
            .await
            .unwrap_or(Err(LookupFailure::Temporary))
    }

    /// Whether an answer that is fresh enough has `address` for `name`. Asks nobody.
    pub(crate) fn knows(&self, name: &str, address: IpAddr) -> bool {
        self.memory().holds(name, address, Instant::now())
    }

    /// Whether `name` has `address`: by an answer that is fresh enough, or by asking now.
    pub(crate) async fn has(
        self: &Arc<Self>,
        name: &str,
        address: IpAddr,
        share: &LookupShare,
    ) -> bool {
        self.knows(name, address)
            || match self.resolve(name, share).await {
                Ok(addresses) => addresses.contains(&address),
                Err(_) => false,
            }
    }

    async fn wait_for(self: &Arc<Self>, name: &str, share: &LookupShare) -> Answer {
        if let Some(known) = self.known(name) {
            return known.wait().await;
        }
        let own = acquire(&share.0).await?;
        let all = acquire(&self.at_once).await?;
        // Somebody else may have asked while this one stood in line.
        let known = {
            let mut memory = self.memory();
            match memory.known(name, Instant::now()) {
                Some(known) => known,
                None => Known::Asked(self.start(&mut memory, name, (own, all))),
            }
        };
        known.wait().await
    }

    fn known(&self, name: &str) -> Option<Known> {
        self.memory().known(name, Instant::now())
    }

    /// Asks in a task of its own: the places are free when the system's call ends, not when
    /// those who wait for it have left.
    fn start(
        self: &Arc<Self>,
        memory: &mut Memory,
        name: &str,
        places: (OwnedSemaphorePermit, OwnedSemaphorePermit),
    ) -> watch::Receiver<Option<Answer>> {
        let (tell, told) = watch::channel(None);
        memory.asked.insert(name.to_owned(), told.clone());
        let asking = (self.ask)(name.to_owned());
        let (resolver, name) = (Arc::clone(self), name.to_owned());
        tokio::spawn(async move {
            let answer = read(asking.await);
            drop(places);
            {
                let mut memory = resolver.memory();
                memory.asked.remove(&name);
                memory.keep(name, answer.clone(), Instant::now());
            }
            // Nobody waits any more, perhaps.
            let _: Result<(), _> = tell.send(Some(answer));
        });
        told
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn acquire(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, LookupFailure> {
    let place = Arc::clone(places).acquire_owned().await;
    place.map_err(|_| LookupFailure::Temporary)
}

fn read(found: io::Result<Vec<IpAddr>>) -> Answer {
    match found {
        Ok(found) => {
            let mut addresses: Vec<IpAddr> = Vec::new();
            for address in found.iter().map(IpAddr::to_canonical) {
                if addresses.len() < ADDRESSES_MAX && !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            if addresses.is_empty() {
                return Err(LookupFailure::Unresolvable);
            }
            Ok(addresses.into())
        }
        // The standard library keeps `EAI_AGAIN` as words only.
        Err(error) if error.to_string().contains("emporary failure") => {
            Err(LookupFailure::Temporary)
        }
        Err(_) => Err(LookupFailure::Unresolvable),
    }
}

#[cfg(test)]
impl Resolver {
    /// A resolver that knows these names and the addresses of each.
    pub(crate) fn of(names: &[(&str, &[&str])]) -> Resolver {
        let parsed = |text: &&str| text.parse().expect("an address");
        let names: HashMap<String, Vec<IpAddr>> = names
            .iter()
            .map(|(name, list)| ((*name).to_owned(), list.iter().map(parsed).collect()))
            .collect();
        Resolver::new(move |name| {
            let found = names.get(&name).cloned();
            Box::pin(async move { found.ok_or_else(|| io::Error::other("no such name")) })
        })
    }
}

enum Known {
    Answered(Answer),
    Asked(watch::Receiver<Option<Answer>>),
}

impl Known {
    async fn wait(self) -> Answer {
        match self {
            Known::Answered(answer) => answer,
            Known::Asked(mut told) => match told.wait_for(Option::is_some).await {
                Ok(answer) => answer.clone().unwrap_or(Err(LookupFailure::Temporary)),
                // The task that asked is gone, as at shutdown.
                Err(_) => Err(LookupFailure::Temporary),
            },
        }
    }
}

/// What was answered, and what is being asked.
#[derive(Debug, Default)]
struct Memory {
    names: HashMap<String, Remembered>,
    asked: HashMap<String, watch::Receiver<Option<Answer>>>,
}

#[derive(Debug)]
struct Remembered {
    when: Instant,
    answer: Answer,
    /// What was answered before, for those who have it still.
    before: Option<(Instant, Arc<[IpAddr]>)>,
}

impl Memory {
    fn known(&self, name: &str, now: Instant) -> Option<Known> {
        if let Some(remembered) = self.names.get(name) {
            let fresh = match remembered.answer {
                Ok(_) => ANSWER_FRESH,
                Err(_) => FAILURE_FRESH,
            };
            if now.saturating_duration_since(remembered.when) < fresh {
                return Some(Known::Answered(remembered.answer.clone()));
            }
        }
        // One that fell over will not answer.
        let asked = self.asked.get(name).cloned();
        asked
            .filter(|told| told.has_changed().is_ok())
            .map(Known::Asked)
    }

    /// Whether an answer for `name` held `address` not too long ago.
    fn holds(&self, name: &str, address: IpAddr, now: Instant) -> bool {
        let Some(remembered) = self.names.get(name) else {
            return false;
        };
        let latest = remembered.answer.as_ref().ok();
        let latest = latest.map(|addresses| (remembered.when, addresses));
        let before = remembered.before.as_ref();
        let before = before.map(|(when, addresses)| (*when, addresses));
        latest.into_iter().chain(before).any(|(when, addresses)| {
            now.saturating_duration_since(when) < ADDRESS_FRESH && addresses.contains(&address)
        })
    }

    fn keep(&mut self, name: String, answer: Answer, now: Instant) {
        let before = match self.names.remove(&name) {
            Some(Remembered {
                when,
                answer: Ok(addresses),
                ..
            }) => Some((when, addresses)),
            Some(Remembered { before, .. }) => before,
            None => None,
        };
        if self.names.len() >= NAMES_MAX {
            self.names
                .retain(|_, known| now.saturating_duration_since(known.when) < ADDRESS_FRESH);
        }
        if self.names.len() >= NAMES_MAX {
            let oldest = self.names.iter().min_by_key(|(_, known)| known.when);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.names.remove(&oldest);
            }
        }
        let remembered = Remembered {
            when: now,
            answer,
            before,
        };
        self.names.insert(name, remembered);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.unwrap().block_on(test);
    }

    fn addresses(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn answer(list: &[&str]) -> Answer {
        Ok(addresses(list).into())
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn an_answer_is_given_again_while_it_is_fresh() {
        let start = Instant::now();
        let mut memory = Memory::default();
        memory.keep("a".into(), answer(&["1.1.1.1"]), start);
        memory.keep("gone".into(), Err(LookupFailure::Unresolvable), start);
        assert!(memory.known("a", after(start, 29)).is_some());
        assert!(memory.known("a", after(start, 30)).is_none());
        assert!(memory.known("gone", start).is_some());
        assert!(memory.known("gone", after(start, 1)).is_none());
        assert!(memory.known("b", start).is_none());
    }

    #[test]
    fn an_address_may_be_connected_to_for_a_while_after_it_was_last_answered() {
        let start = Instant::now();
        let mut memory = Memory::default();
        let (old, new) = ("1.1.1.1".parse().unwrap(), "2.2.2.2".parse().unwrap());
        memory.keep("a".into(), answer(&["1.1.1.1"]), start);
        assert!(memory.holds("a", old, after(start, 59)));
        assert!(!memory.holds("a", old, after(start, 60)));
        assert!(!memory.holds("a", new, start));
        assert!(!memory.holds("b", old, start));
        // The next answer is another: the old address is good for those who were told it.
        memory.keep("a".into(), answer(&["2.2.2.2"]), after(start, 40));
        assert!(memory.holds("a", old, after(start, 59)));
        assert!(memory.holds("a", new, after(start, 59)));
        assert!(!memory.holds("a", old, after(start, 60)));
        assert!(memory.holds("a", new, after(start, 99)));
        // A failure in between takes nothing away.
        memory.keep("a".into(), Err(LookupFailure::Temporary), after(start, 80));
        assert!(memory.holds("a", new, after(start, 99)));
        assert!(!memory.holds("a", new, after(start, 100)));
    }

    #[test]
    fn the_number_of_names_is_bounded_and_the_oldest_goes_first() {
        let start = Instant::now();
        let mut memory = Memory::default();
        for number in 0..NAMES_MAX + 10 {
            let now = start + Duration::from_millis(number as u64);
            memory.keep(number.to_string(), answer(&["1.1.1.1"]), now);
        }
        assert_eq!(memory.names.len(), NAMES_MAX);
        assert!(!memory.names.contains_key("9"));
        assert!(memory.names.contains_key("10"));
        memory.keep("late".into(), answer(&["1.1.1.1"]), after(start, 3600));
        assert_eq!(memory.names.len(), 1);
    }

    #[test]
    fn an_answer_is_bounded_and_canonical() {
        let many = (0..1000_u32)
            .map(|number| IpAddr::V4(number.into()))
            .collect();
        assert_eq!(read(Ok(many)).unwrap().len(), ADDRESSES_MAX);
        let twice = addresses(&["::ffff:1.2.3.4", "1.2.3.4"]);
        assert_eq!(read(Ok(twice)), answer(&["1.2.3.4"]));
        assert_eq!(read(Ok(Vec::new())), Err(LookupFailure::Unresolvable));
        let temporary = io::Error::other("Temporary failure in name resolution");
        assert_eq!(read(Err(temporary)), Err(LookupFailure::Temporary));
    }

    #[test]
    fn those_who_ask_for_one_name_at_once_wait_for_one_answer() {
        run(async {
            let asked = Arc::new(AtomicUsize::new(0));
            let (go, gate) = watch::channel(false);
            let resolver = Arc::new(Resolver::new({
                let asked = Arc::clone(&asked);
                move |_| {
                    asked.fetch_add(1, Ordering::SeqCst);
                    let mut gate = gate.clone();
                    Box::pin(async move {
                        gate.wait_for(|open| *open).await.unwrap();
                        Ok(addresses(&["1.1.1.1"]))
                    })
                }
            }));
            let share = LookupShare::default();
            let ask = || {
                let (resolver, share) = (Arc::clone(&resolver), share.clone());
                tokio::spawn(async move { resolver.resolve("a", &share).await })
            };
            let asking = [ask(), ask(), ask()];
            tokio::task::yield_now().await;
            go.send(true).unwrap();
            for one in asking {
                assert_eq!(one.await.unwrap(), answer(&["1.1.1.1"]));
            }
            assert_eq!(asked.load(Ordering::SeqCst), 1);
        });
    }

    #[test]
    fn a_look_up_that_fell_over_is_made_again() {
        run(async {
            let turn = AtomicUsize::new(0);
            let resolver = Arc::new(Resolver::new(move |_| {
                let first = turn.fetch_add(1, Ordering::SeqCst) == 0;
                Box::pin(async move {
                    assert!(!first, "on purpose");
                    Ok(addresses(&["1.1.1.1"]))
                })
            }));
            let share = LookupShare::default();
            let fell_over = resolver.resolve("a", &share).await;
            assert_eq!(fell_over, Err(LookupFailure::Temporary));
            assert_eq!(resolver.resolve("a", &share).await, answer(&["1.1.1.1"]));
        });
    }

    #[test]
    fn a_component_whose_names_hang_takes_no_more_than_its_share() {
        run(async {
            let mut resolver = Resolver::new(|name| {
                Box::pin(async move {
                    if name.starts_with("hang") {
                        std::future::pending::<()>().await;
                    }
                    Ok(addresses(&["1.1.1.1"]))
                })
            });
            resolver.lookup_time = Duration::from_millis(20);
            let resolver = Arc::new(resolver);
            let (greedy, neighbour) = (LookupShare::default(), LookupShare::default());
            for number in 0..LOOKUPS_PER_APP_MAX * 3 {
                let answer = resolver.resolve(&format!("hang{number}"), &greedy).await;
                assert_eq!(answer, Err(LookupFailure::Temporary));
            }
            // Its places are taken for as long as the system's calls hang …
            assert_eq!(
                resolver.resolve("a", &greedy).await,
                Err(LookupFailure::Temporary)
            );
            assert_eq!(
                resolver.at_once.available_permits(),
                LOOKUPS_MAX - LOOKUPS_PER_APP_MAX
            );
            // … and others have theirs.
            assert_eq!(
                resolver.resolve("a", &neighbour).await,
                answer(&["1.1.1.1"])
            );
        });
    }

    #[test]
    fn a_name_that_points_elsewhere_later_is_asked_again() {
        run(async {
            let turn = Arc::new(AtomicUsize::new(0));
            let resolver = Arc::new(Resolver::new(move |_| {
                let first = turn.fetch_add(1, Ordering::SeqCst) == 0;
                Box::pin(
                    async move { Ok(addresses(&[if first { "1.1.1.1" } else { "127.0.0.1" }])) },
                )
            }));
            let share = LookupShare::default();
            let (public, loopback) = ("1.1.1.1".parse().unwrap(), "127.0.0.1".parse().unwrap());
            assert!(resolver.has("a", public, &share).await);
            // The answer is pinned: asking for another address does not ask the name again.
            assert!(!resolver.has("a", loopback, &share).await);
        });
    }
}

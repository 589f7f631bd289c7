//! How many connections each client has.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts the connections of each client.
#[derive(Debug)]
pub(crate) struct Clients {
    each_max: usize,
    counts: Mutex<HashMap<IpAddr, Arc<AtomicUsize>>>,
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    clients: Arc<Clients>,
    client: IpAddr,
    count: Arc<AtomicUsize>,
}

/// What one client may leave untaken of its answers, of its connections all together.
const UNTAKEN_BYTES: usize = 32 << 20;
/// Of them, what one connection may at most.
const UNTAKEN_BYTES_MAX: usize = 1 << 20;
/// And at least, however many there are: half of what one of HTTP/1 may have us hold.
const UNTAKEN_BYTES_MIN: usize = 64 << 10;

/// A connection's share of what its client may leave untaken.
#[derive(Debug, Clone)]
pub(crate) enum Share {
    /// As many connections as this divide it between them.
    Among(Arc<AtomicUsize>),
    /// So many bytes.
    Fixed(usize),
}

impl Share {
    /// Of a connection behind which are many clients.
    pub(crate) fn of_proxy() -> Share {
        Share::Fixed(UNTAKEN_BYTES_MAX)
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Share::Among(connections) => {
                let share = UNTAKEN_BYTES / connections.load(Ordering::Relaxed).max(1);
                share.clamp(UNTAKEN_BYTES_MIN, UNTAKEN_BYTES_MAX)
            }
            Share::Fixed(bytes) => *bytes,
        }
    }
}

impl Counted {
    /// As [`client_at`] has it.
    pub(crate) fn client(&self) -> IpAddr {
        self.client
    }

    pub(crate) fn share(&self) -> Share {
        Share::Among(Arc::clone(&self.count))
    }
}

impl Clients {
    pub(crate) fn new(each_max: usize) -> Arc<Clients> {
        Arc::new(Clients {
            each_max,
            counts: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Arc<AtomicUsize>>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` if the client at `addr` has as many as it may.
    pub(crate) fn count(self: &Arc<Self>, addr: IpAddr) -> Option<Counted> {
        let client = client_at(addr);
        let mut counts = self.lock();
        let count = Arc::clone(counts.entry(client).or_default());
        // At none for each nobody is let in, and nobody is left behind.
        if count.load(Ordering::Relaxed) >= self.each_max {
            if self.each_max == 0 {
                counts.remove(&client);
            }
            return None;
        }
        count.fetch_add(1, Ordering::Relaxed);
        drop(counts);
        Some(Counted {
            clients: Arc::clone(self),
            client,
            count,
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.clients.lock();
        if self.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            counts.remove(&self.client);
        }
    }
}

/// One address of IPv4, or the 64 bits of IPv6 that a network is given: who has one address
/// there has all.
pub(crate) fn client_at(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(addr) => {
            let [a, b, c, d, ..] = addr.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        addr => addr,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_own_number() {
        let clients = Clients::new(2);
        let count = |addr: &str| clients.count(addr.parse().unwrap());
        let first = count("192.0.2.1").unwrap();
        let _second = count("::ffff:192.0.2.1").unwrap();
        assert!(count("192.0.2.1").is_none());
        let _other = count("192.0.2.2").unwrap();
        drop(first);
        assert!(count("192.0.2.1").is_some());
        let _six = ["2001:db8::1", "2001:db8::ffff"].map(|addr| count(addr).unwrap());
        assert!(count("2001:db8:0:0:1::").is_none());
        assert!(count("2001:db8:0:1::1").is_some());
        assert_eq!(clients.lock().len(), 3, "who has none is forgotten");
    }

    #[test]
    fn the_more_connections_the_less_for_each() {
        let clients = Clients::new(1_000);
        let count = || clients.count("192.0.2.1".parse().unwrap()).unwrap();
        let mut counted: Vec<_> = (0..32).map(|_| count()).collect();
        assert_eq!(counted[0].share().bytes(), 1 << 20);
        counted.extend((0..32).map(|_| count()));
        assert_eq!(counted[0].share().bytes(), 1 << 19);
        counted.extend((64..1_000).map(|_| count()));
        assert_eq!(counted[0].share().bytes(), 64 << 10);
        counted.truncate(1);
        assert_eq!(counted[0].share().bytes(), 1 << 20);
    }
}

//! How many connections each client has.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts the connections of each client.
#[derive(Debug)]
pub(crate) struct Clients {
    each_max: usize,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    clients: Arc<Clients>,
    client: IpAddr,
}

impl Clients {
    pub(crate) fn new(each_max: usize) -> Arc<Clients> {
        Arc::new(Clients {
            each_max,
            counts: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` if the client at `addr` has as many as it may.
    pub(crate) fn count(self: &Arc<Self>, addr: IpAddr) -> Option<Counted> {
        let client = client_at(addr);
        let mut counts = self.lock();
        let count = counts.entry(client).or_default();
        // At none for each nobody is let in, and nobody is left behind.
        if *count >= self.each_max {
            if *count == 0 {
                counts.remove(&client);
            }
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Counted {
            clients: Arc::clone(self),
            client,
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.clients.lock().entry(self.client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
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
}

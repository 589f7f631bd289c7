//! How much a connection may send before somebody reads it.
//!
//! HTTP/2 has its client send content into windows, whether or not a guest ever reads it, and what
//! has come is held here. A window cannot be taken back once it was given. So each connection has
//! a small one, whose number is bounded with that of connections, and what makes it larger is lent
//! from a pool: as long as there is much left, whole; then less and less.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What any connection may send unread: as much as RFC 9113 gives it to begin with.
pub(crate) const LEAST: usize = 64 << 10;
/// What one may send unread at most.
pub(crate) const MOST: usize = 1 << 20;
/// One connection is lent this part of what is left.
const PART: usize = 8;

/// The pool that larger windows are lent from.
#[derive(Debug)]
pub(crate) struct Windows {
    all: usize,
    lent: Mutex<Lent>,
}

#[derive(Debug, Default)]
struct Lent {
    all: usize,
    to_client: HashMap<IpAddr, usize>,
}

/// The window of one connection; what was lent for it goes back when this is dropped.
#[derive(Debug)]
pub(crate) struct Window {
    windows: Arc<Windows>,
    client: Option<IpAddr>,
    lent: AtomicUsize,
}

impl Windows {
    /// Lends so many bytes in all, and half of them to one client.
    pub(crate) fn new(all: usize) -> Arc<Windows> {
        Arc::new(Windows {
            all,
            lent: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Lent> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A window for a connection of `client`, as [`crate::clients::client_at`] has it, or of a proxy behind which are many.
    pub(crate) fn open(self: &Arc<Self>, client: Option<IpAddr>) -> Window {
        let mut lent = self.lock();
        let mut left = self.all - lent.all;
        if let Some(client) = client {
            let of_client = lent.to_client.get(&client).copied().unwrap_or_default();
            left = left.min((self.all / 2).saturating_sub(of_client));
        }
        let more = (left / PART).min(MOST - LEAST);
        lent.all += more;
        if let Some(client) = client
            && more > 0
        {
            *lent.to_client.entry(client).or_default() += more;
        }
        drop(lent);
        Window {
            windows: Arc::clone(self),
            client,
            lent: AtomicUsize::new(more),
        }
    }
}

impl Window {
    /// What the connection may send unread, in all its streams.
    pub(crate) fn bytes(&self) -> u32 {
        let bytes = LEAST + self.lent.load(Ordering::Relaxed);
        u32::try_from(bytes).expect("at most MOST")
    }

    /// The same for each stream: one cannot take all that the connection has.
    pub(crate) fn stream_bytes(&self) -> u32 {
        self.bytes() / 4
    }

    /// The connection needs no window: others may have what was lent for it.
    pub(crate) fn give_back(&self) {
        let more = self.lent.swap(0, Ordering::Relaxed);
        if more == 0 {
            return;
        }
        let mut lent = self.windows.lock();
        lent.all -= more;
        if let Some(client) = self.client
            && let Some(of_client) = lent.to_client.get_mut(&client)
        {
            *of_client -= more;
            if *of_client == 0 {
                lent.to_client.remove(&client);
            }
        }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const ALL: usize = 64 << 20;

    fn client(number: u32) -> Option<IpAddr> {
        Some(Ipv4Addr::from_bits(number).into())
    }

    fn sum(windows: &[Window]) -> usize {
        windows.iter().map(|window| window.bytes() as usize).sum()
    }

    #[test]
    fn however_many_there_are_they_hold_the_pool_and_the_least_of_each() {
        let windows = Windows::new(ALL);
        let open: Vec<_> = (0..10_000)
            .map(|n| windows.open(client(n % 100).filter(|_| n % 3 > 0)))
            .collect();
        assert!(sum(&open) <= ALL + open.len() * LEAST);
        assert!(open.iter().all(|window| window.bytes() as usize >= LEAST));
        drop(open);
        let lent = windows.lock();
        assert_eq!((lent.all, lent.to_client.len()), (0, 0));
    }

    #[test]
    fn one_client_leaves_windows_to_others() {
        let windows = Windows::new(ALL);
        let greedy: Vec<_> = (0..1_000).map(|_| windows.open(client(1))).collect();
        assert_eq!(greedy[0].bytes() as usize, MOST);
        assert!(sum(&greedy) <= ALL / 2 + greedy.len() * LEAST);
        for other in [client(2), None] {
            let window = windows.open(other);
            assert_eq!(window.bytes() as usize, MOST);
            assert!(window.stream_bytes() as usize <= MOST / 4);
        }
    }

    #[test]
    fn what_is_given_back_is_lent_again() {
        let windows = Windows::new(16 << 20);
        let whole = windows.open(client(1));
        let open: Vec<_> = (0..100).map(|_| windows.open(client(1))).collect();
        let first = open[0].bytes();
        assert!(open[99].bytes() < first && first < whole.bytes());
        for window in &open {
            window.give_back();
            assert_eq!(window.bytes() as usize, LEAST);
        }
        assert_eq!(windows.open(client(1)).bytes(), first);
        drop((open, whole));
        assert_eq!(windows.lock().all, 0, "nothing is given back twice");
    }

    #[test]
    fn without_a_pool_there_is_still_the_least() {
        let windows = Windows::new(0);
        assert_eq!(windows.open(client(1)).bytes() as usize, LEAST);
    }
}

//! What one instance has open to the outside, against `limits.outgoing`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::denial::{Denial, Remedy};
use crate::descriptors::{Descriptors, Open};

/// Counts the outgoing requests and the sockets of one instance together. Clones share the count.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    places: Arc<Semaphore>,
    max: u32,
    sockets: Mutex<Sockets>,
    descriptors: Descriptors,
}

/// One request or socket. Its place is free when all clones are dropped.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    _held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    _permit: OwnedSemaphorePermit,
    /// A socket's; a request has a connection, which may outlive it.
    _descriptor: Option<Open>,
}

/// Who holds the places of sockets.
#[derive(Debug, Default)]
struct Sockets {
    /// By the number of the resource.
    known: HashMap<u32, Place>,
    /// Accepted ones, whose numbers are met later if at all.
    accepted: Vec<Place>,
}

impl Place {
    fn new(permit: OwnedSemaphorePermit, descriptor: Option<Open>) -> Place {
        Place {
            _held: Arc::new(Held {
                _permit: permit,
                _descriptor: descriptor,
            }),
        }
    }
}

impl Outgoing {
    pub(crate) fn new(max: u32, descriptors: Descriptors) -> Outgoing {
        Outgoing(Arc::new(Shared {
            places: Arc::new(Semaphore::new(max as usize)),
            max,
            sockets: Mutex::default(),
            descriptors,
        }))
    }

    /// A place for one more request, or none, which is told.
    pub(crate) fn enter(&self) -> Option<Place> {
        self.permit().map(|permit| Place::new(permit, None))
    }

    /// A place for one more socket and its descriptor, or none, which is told.
    pub(crate) fn enter_socket(&self) -> Option<Place> {
        let permit = self.permit()?;
        let descriptor = self.0.descriptors.hold()?;
        Some(Place::new(permit, Some(descriptor)))
    }

    fn permit(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.0.places).try_acquire_owned() {
            return Some(permit);
        }
        self.0.descriptors.denials().record(Denial {
            what: format!(
                "limit of {} outgoing requests and sockets at once met",
                self.0.max
            ),
            remedy: Remedy::Limit { key: "outgoing" },
            asked_only: false,
            survived_by_many: false,
        });
        None
    }

    /// The socket `number` holds `place` until it is dropped.
    pub(crate) fn opened(&self, number: u32, place: Place) {
        self.sockets().known.insert(number, place);
    }

    /// A socket was accepted, or there is no place for it.
    pub(crate) fn accept(&self) -> bool {
        let place = self.enter_socket();
        let accepted = place.is_some();
        self.sockets().accepted.extend(place);
        accepted
    }

    /// The place of socket `number`, for a part of it that may outlive it.
    pub(crate) fn place_of(&self, number: u32) -> Option<Place> {
        let mut sockets = self.sockets();
        if let Some(place) = sockets.known.get(&number) {
            return Some(place.clone());
        }
        let place = sockets.accepted.pop()?;
        sockets.known.insert(number, place.clone());
        Some(place)
    }

    /// The guest dropped the socket `number`.
    pub(crate) fn closed(&self, number: u32) {
        let mut sockets = self.sockets();
        if sockets.known.remove(&number).is_none() {
            sockets.accepted.pop();
        }
    }

    fn sockets(&self) -> MutexGuard<'_, Sockets> {
        let sockets = self.0.sockets.lock();
        sockets.unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use wharf_engine::Budget;

    use super::*;
    use crate::denial::{Denials, told};

    #[test]
    fn a_place_is_free_when_nothing_of_its_socket_is_left() {
        let (denials, told) = told();
        let node = Budget::of_node(100);
        let share = Budget::of_app("a", Some(3), &node);
        let descriptors = Descriptors::new(Some(Arc::clone(&share)), denials.clone());
        let outgoing = Outgoing::new(3, descriptors);
        let request = outgoing.enter().unwrap();
        outgoing.opened(7, outgoing.enter_socket().unwrap());
        assert!(outgoing.accept());
        assert_eq!(share.used(), 2, "a request has none of its own");
        assert!(outgoing.enter().is_none());
        assert!(!outgoing.accept());
        // The sending half of the socket outlives it.
        let half = outgoing.place_of(7).unwrap();
        outgoing.closed(7);
        assert!(outgoing.enter().is_none());
        drop(half);
        assert!(outgoing.enter().is_some());
        // So does the half of an accepted one, whose number is seen here for the first time.
        let half = outgoing.place_of(9).unwrap();
        outgoing.closed(9);
        assert_eq!(
            (outgoing.0.places.available_permits(), share.used()),
            (1, 1)
        );
        drop((half, request));
        assert_eq!(
            (outgoing.0.places.available_permits(), share.used()),
            (3, 0)
        );
        let told: Vec<_> = told.lock().unwrap().iter().map(Denial::to_string).collect();
        assert_eq!(
            told,
            ["limit of 3 outgoing requests and sockets at once met"]
        );
        assert!(!denials.any());
    }

    #[test]
    fn an_accepted_socket_of_no_known_number_is_counted_until_it_is_dropped() {
        let outgoing = Outgoing::new(1, Descriptors::new(None, Denials::new(|_| {})));
        assert!(outgoing.accept());
        assert!(outgoing.enter().is_none());
        outgoing.closed(3);
        assert!(outgoing.enter().is_some());
    }

    #[test]
    fn a_socket_needs_a_descriptor_and_a_place() {
        let node = Budget::of_node(100);
        let share = Budget::of_app("a", Some(1), &node);
        let descriptors = Descriptors::new(Some(Arc::clone(&share)), Denials::new(|_| {}));
        let outgoing = Outgoing::new(2, descriptors);
        let socket = outgoing.enter_socket().unwrap();
        assert!(outgoing.enter_socket().is_none());
        assert!(!outgoing.accept());
        assert_eq!(outgoing.0.places.available_permits(), 1, "given back");
        let request = outgoing.enter().unwrap();
        drop(socket);
        assert_eq!(share.used(), 0);
        assert!(outgoing.enter_socket().is_some());
        drop(request);
    }
}

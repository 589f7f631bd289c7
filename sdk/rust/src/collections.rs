//! Hash maps and sets that an attacker cannot aim collisions at.
//!
//! In pure builds `std`'s own have the same seed in every instance; these are
//! seeded from WASI's random source, once an instance.

use std::cell::Cell;
use std::hash::{BuildHasher, DefaultHasher, Hash};

use crate::instance::instance_local;

/// A hash map with random seeds. Make it by `HashMap::default()`.
pub type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;

/// A hash set with random seeds. Make it by `HashSet::default()`.
pub type HashSet<T> = std::collections::HashSet<T, RandomState>;

/// SipHash 1-3 with a seed from WASI's random source.
#[derive(Clone, Debug)]
pub struct RandomState(u64, u64);

impl Default for RandomState {
    fn default() -> Self {
        RandomState::new()
    }
}

impl RandomState {
    /// The state of this instance, with one of its two keys counted up.
    pub fn new() -> Self {
        instance_local! {
            static KEYS: Cell<Option<(u64, u64)>> = Cell::new(None);
        }
        let (first, second) = KEYS
            .get()
            .unwrap_or_else(|| (crate::random::u64(), crate::random::u64()));
        KEYS.set(Some((first.wrapping_add(1), second)));
        RandomState(first, second)
    }
}

impl BuildHasher for RandomState {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        // `DefaultHasher` takes no keys. Hashing the keys before the value
        // makes its state depend on them just as well.
        let mut hasher = DefaultHasher::new();
        (self.0, self.1).hash(&mut hasher);
        hasher
    }
}

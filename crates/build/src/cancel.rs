//! A token by which the caller ends a build.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Ends a build early when fired; clones share one state.
///
/// A running child (cargo, wasm-opt, rustup) is killed with its whole process
/// group within about 20 ms.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// A token that has not fired.
    pub fn new() -> Self {
        Self::default()
    }

    /// Fires the token. Firing twice is the same as once.
    pub fn fire(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the token has fired.
    pub fn is_fired(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

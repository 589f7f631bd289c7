//! A store whose end nobody waits for.

use std::ops::{Deref, DerefMut};

use tokio::runtime::Handle;
use wasmtime::Store;
use wharf_host::InstanceState;

/// Memory that the kernel takes back in a moment; more is given back aside, for it takes
/// milliseconds in which nothing else could be polled.
const GIVEN_BACK_AT_ONCE_MAX: u64 = 8 << 20;

/// A store that gives its memory back without holding anybody up.
pub(super) struct OwnStore(Option<Store<InstanceState>>);

impl OwnStore {
    pub(super) fn new(store: Store<InstanceState>) -> OwnStore {
        OwnStore(Some(store))
    }
}

const IS_THERE: &str = "only dropping takes it";

impl Deref for OwnStore {
    type Target = Store<InstanceState>;

    fn deref(&self) -> &Store<InstanceState> {
        self.0.as_ref().expect(IS_THERE)
    }
}

impl DerefMut for OwnStore {
    fn deref_mut(&mut self) -> &mut Store<InstanceState> {
        self.0.as_mut().expect(IS_THERE)
    }
}

impl Drop for OwnStore {
    fn drop(&mut self) {
        let store = self.0.take();
        let is_large = store.as_ref().is_some_and(|store| {
            store.data().store_limits().memory_used().0 > GIVEN_BACK_AT_ONCE_MAX
        });
        if is_large && let Ok(runtime) = Handle::try_current() {
            // What it took of the node's budget is held until it is gone.
            runtime.spawn_blocking(move || drop(store));
        }
    }
}

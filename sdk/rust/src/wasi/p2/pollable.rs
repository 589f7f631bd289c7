//! Waiting for the host: one `poll` over everything that futures wait for.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::raw;
use crate::instance::instance_local;
use crate::wasi::abi::Area;

instance_local! {
    static WAITING: Cell<Vec<(u32, Waker)>> = Cell::new(Vec::new());
}

/// A `wasi:io` pollable: a future that is done when it is ready, again and
/// again. It must be dropped before what it was made from.
pub(crate) struct Pollable {
    handle: u32,
    /// It was put on the list, which only [`wait`] takes it off.
    listed: bool,
}

impl Pollable {
    /// Takes over a handle.
    pub(crate) fn new(handle: u32) -> Self {
        Pollable {
            handle,
            listed: false,
        }
    }
}

/// Takes a handle's waker off the list.
fn take(handle: u32) -> Option<Waker> {
    let mut waiting = WAITING.take();
    let place = waiting.iter().position(|entry| entry.0 == handle);
    let taken = place.map(|place| waiting.swap_remove(place).1);
    WAITING.set(waiting);
    taken
}

impl Future for Pollable {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let is_listed = take(self.handle).is_some();
        if self.listed && !is_listed {
            self.listed = false;
            return Poll::Ready(());
        }
        self.listed = true;
        let mut waiting = WAITING.take();
        waiting.push((self.handle, context.waker().clone()));
        WAITING.set(waiting);
        Poll::Pending
    }
}

impl Drop for Pollable {
    fn drop(&mut self) {
        drop(take(self.handle));
        // SAFETY: the handle is owned, and not used again.
        unsafe { raw::pollable_drop(self.handle) };
    }
}

/// Blocks until something that a future waits for is ready, and wakes it;
/// false when no future waits for the host.
pub(crate) fn wait() -> bool {
    let waiting = WAITING.take();
    let handles: Vec<u32> = waiting.iter().map(|entry| entry.0).collect();
    WAITING.set(waiting);
    if handles.is_empty() {
        return false;
    }
    let mut area = Area::<1>::new();
    // SAFETY: the handles are alive: a pollable leaves the list when dropped.
    unsafe { raw::poll(handles.as_ptr(), handles.len(), area.as_mut_ptr()) };
    let count = area.word(4) as usize;
    // SAFETY: the host wrote a list of this many indices, which is never empty
    // and is taken once.
    let ready = unsafe { Vec::from_raw_parts(area.word(0) as usize as *mut u32, count, count) };
    for index in ready {
        let Some(handle) = handles.get(index as usize) else {
            continue;
        };
        if let Some(waker) = take(*handle) {
            waker.wake();
        }
    }
    true
}

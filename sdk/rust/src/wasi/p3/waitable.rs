//! Waiting for the host: operations that blocked, and the events that end
//! them.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::raw;
use crate::instance::instance_local;

/// What an operation returns that has not finished.
pub(crate) const BLOCKED: u32 = u32::MAX;

/// The low bits of a stream's or future's result: the other end is gone.
pub(crate) const DROPPED: u32 = 1;

/// The state of a subtask that has its result.
pub(crate) const RETURNED: u32 = 2;

const EVENT_SUBTASK: u32 = 1;

struct Pending {
    handle: u32,
    set: u32,
    code: Option<u32>,
    waker: Option<Waker>,
}

instance_local! {
    /// A few per request, so a list serves better than a map.
    static PENDING: Cell<Vec<Pending>> = Cell::new(Vec::new());
}

/// Looks at what is pending; `work` must not do so too.
fn with_pending<T>(work: impl FnOnce(&mut Vec<Pending>) -> T) -> T {
    let mut pending = PENDING.take();
    let result = work(&mut pending);
    PENDING.set(pending);
    result
}

/// Hands an event to the operation that waits for it.
pub(crate) fn deliver(event: u32, handle: u32, code: u32) {
    if event == EVENT_SUBTASK && code < RETURNED {
        return;
    }
    let waker = with_pending(|pending| {
        let entry = pending.iter_mut().find(|entry| entry.handle == handle)?;
        entry.code = Some(code);
        entry.waker.take()
    });
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The built-in that cancels a kind of operation, and gives its result.
type Cancel = unsafe extern "C" fn(u32) -> u32;

/// A read, write or call that blocked. Dropping it cancels it; so the memory
/// that it reads or writes must be dropped after it.
pub(crate) struct Blocked {
    handle: u32,
    cancel: Cancel,
    over: bool,
}

impl Blocked {
    /// `cancel` must be the built-in that cancels this kind of operation.
    pub(crate) fn new(handle: u32, cancel: Cancel) -> Self {
        let task = crate::executor::current().expect("WASI is waited for within a handler only");
        let set = task.parked.set();
        // SAFETY: both handles are owned by this instance.
        unsafe { raw::waitable_join(handle, set) };
        with_pending(|pending| {
            pending.push(Pending {
                handle,
                set,
                code: None,
                waker: None,
            });
        });
        Blocked {
            handle,
            cancel,
            over: false,
        }
    }

    /// Ends it now, and gives its result.
    pub(crate) fn abort(&mut self) -> u32 {
        self.over = true;
        let code = take(self.handle).flatten();
        // SAFETY: the handle is still owned by the caller; 0 is no set. What
        // is in a set cannot be cancelled by a call that waits.
        unsafe { raw::waitable_join(self.handle, 0) };
        // SAFETY: the operation is still under way where no event came.
        code.unwrap_or_else(|| unsafe { (self.cancel)(self.handle) })
    }
}

fn take(handle: u32) -> Option<Option<u32>> {
    with_pending(|pending| {
        let place = pending.iter().position(|entry| entry.handle == handle)?;
        Some(pending.swap_remove(place).code)
    })
}

impl Future for Blocked {
    type Output = u32;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u32> {
        let handle = self.handle;
        let code = with_pending(|pending| {
            let entry = pending
                .iter_mut()
                .find(|entry| entry.handle == handle)
                .expect("an operation is listed until it is over");
            entry.waker = Some(context.waker().clone());
            entry.code
        });
        let Some(code) = code else {
            return Poll::Pending;
        };
        take(handle);
        self.over = true;
        // SAFETY: the handle is still owned by the caller; 0 is no set.
        unsafe { raw::waitable_join(handle, 0) };
        Poll::Ready(code)
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        if !self.over {
            self.abort();
        }
    }
}

/// How a task waits between two calls of its callback.
#[derive(Default)]
pub(crate) struct Parked {
    /// The task's waitable set; 0 before it is needed.
    set: Cell<u32>,
    /// The readable end of the stream that wakes the task from another one.
    alarm: Cell<u32>,
}

impl Parked {
    pub(crate) fn set(&self) -> u32 {
        if self.set.get() == 0 {
            // SAFETY: it has no preconditions.
            self.set.set(unsafe { raw::waitable_set_new() });
        }
        self.set.get()
    }

    /// Gets the host to call this task's callback, from within another task.
    ///
    /// The host knows only events, so one is made: a read on a stream of
    /// nothing, joined to the sleeping task's set, and a write that ends it.
    pub(crate) fn unpark(&self) {
        if self.alarm.get() != 0 || self.set.get() == 0 {
            return;
        }
        // SAFETY: both ends are owned here, and no element has any bytes.
        unsafe {
            let ends = raw::unit_new();
            let (readable, writable) = (ends as u32, (ends >> 32) as u32);
            raw::unit_read(readable, std::ptr::null_mut(), 1);
            raw::waitable_join(readable, self.set.get());
            raw::unit_write(writable, std::ptr::null(), 1);
            raw::unit_drop_writable(writable);
            self.alarm.set(readable);
        }
    }

    /// Whether an event was the alarm, which is then over.
    pub(crate) fn silence(&self, handle: u32) -> bool {
        let rang = handle != 0 && self.alarm.get() == handle;
        if rang {
            self.alarm.set(0);
            // SAFETY: the event ended the read, so the end may be dropped.
            unsafe {
                raw::waitable_join(handle, 0);
                raw::unit_drop_readable(handle);
            }
        }
        rang
    }

    /// Gives everything back at the end of the task.
    pub(crate) fn close(&self) {
        let alarm = self.alarm.take();
        if alarm != 0 {
            // SAFETY: its event has not come, so there is a read to cancel.
            unsafe {
                raw::waitable_join(alarm, 0);
                raw::unit_cancel_read(alarm);
                raw::unit_drop_readable(alarm);
            }
        }
        let set = self.set.take();
        // A body that moved to another task may still wait in this set.
        let used = with_pending(|pending| pending.iter().any(|entry| entry.set == set));
        if set != 0 && !used {
            // SAFETY: it is owned here, and empty.
            unsafe { raw::waitable_set_drop(set) };
        }
    }
}

//! Standard error: a stream of its own for each line, so that the host can tell
//! whose request a line belongs to.
//!
//! A write that waits is not among the built-ins that every host has on. A host
//! that is not held up takes a line at once, and then a panic that follows
//! loses nothing. What it does not take at once goes on beside the handler, and
//! the lines after it wait for their turn.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::raw;
use super::waitable::{BLOCKED, Blocked, DROPPED};
use crate::executor::current;
use crate::instance::instance_local;

instance_local! {
    /// The lines behind one that the host has not taken yet, if there is one.
    static QUEUE: Cell<Option<Vec<u8>>> = Cell::new(None);
}

/// Writes a line whole, after all lines before it.
pub(crate) fn write_stderr(line: Vec<u8>) {
    if let Some(mut queue) = QUEUE.take() {
        queue.extend_from_slice(&line);
        QUEUE.set(Some(queue));
        return;
    }
    let mut writing = Writing::open(line);
    if writing.advance() {
        return;
    }
    if let Some(task) = current() {
        QUEUE.set(Some(Vec::new()));
        writing.wait();
        task.spawn(Box::pin(Rest(writing)));
    }
}

/// Text on its way, and the stream that it goes through.
struct Writing {
    // It stands before its memory: fields are dropped in order.
    blocked: Option<Blocked>,
    text: Vec<u8>,
    taken: usize,
    stream: u32,
    outcome: u32,
    /// The host has a write that has not ended.
    under_way: bool,
}

impl Writing {
    fn open(text: Vec<u8>) -> Self {
        // SAFETY: they have no preconditions, and the readable end is given
        // away.
        let (stream, outcome) = unsafe {
            let ends = raw::stderr_stream_new();
            (
                (ends >> 32) as u32,
                raw::stderr_write_via_stream(ends as u32),
            )
        };
        Writing {
            blocked: None,
            text,
            taken: 0,
            stream,
            outcome,
            under_way: false,
        }
    }

    /// Writes until all is taken, which is told by true, or the host is held up.
    fn advance(&mut self) -> bool {
        while self.taken < self.text.len() {
            let rest = &self.text[self.taken..];
            // SAFETY: the text neither moves nor goes while a write is under way.
            let code = unsafe { raw::stderr_stream_write(self.stream, rest.as_ptr(), rest.len()) };
            if code == BLOCKED {
                self.under_way = true;
                return false;
            }
            self.take(code);
        }
        true
    }

    fn take(&mut self, code: u32) {
        self.under_way = false;
        self.taken = match code & 0xf {
            DROPPED => self.text.len(),
            _ => self.taken + (code >> 4) as usize,
        };
    }

    fn wait(&mut self) {
        self.under_way = false;
        self.blocked = Some(Blocked::new(self.stream, raw::stderr_stream_cancel_write));
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.blocked = None;
        // SAFETY: both are owned here; a write that nobody waits for is
        // cancelled before.
        unsafe {
            if self.under_way {
                raw::stderr_stream_cancel_write(self.stream);
            }
            raw::stderr_stream_drop_writable(self.stream);
            raw::stderr_outcome_drop_readable(self.outcome);
        }
    }
}

/// What the host did not take at once; then the lines that came meanwhile.
struct Rest(Writing);

impl Future for Rest {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let writing = &mut self.0;
            if let Some(blocked) = &mut writing.blocked {
                let code = ready!(Pin::new(blocked).poll(context));
                writing.blocked = None;
                writing.take(code);
            }
            if !writing.advance() {
                writing.wait();
                continue;
            }
            let Some(queue) = QUEUE.take().filter(|queue| !queue.is_empty()) else {
                return Poll::Ready(());
            };
            QUEUE.set(Some(Vec::new()));
            *writing = Writing::open(queue);
        }
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        // The task was stopped. The lines behind get one try.
        if let Some(queue) = QUEUE.take().filter(|queue| !queue.is_empty()) {
            Writing::open(queue).advance();
        }
    }
}

//! What of its answers a connection of HTTP/2 has been handed and its client has not taken.
//!
//! h2 queues each stream's pieces until the client opens the stream's window, and keeps those of an
//! answer that has ended, too. They count here from when they are handed over until they are on the
//! wire. Beyond a connection's share nothing more is handed over, and no request begun.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::time::Instant;

use crate::clients::Share;
use crate::pace::Pace;

/// Of one connection.
#[derive(Debug)]
pub(crate) struct Untaken {
    share: Share,
    /// How long the client may let one answer lie.
    limit: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes: usize,
    streams: HashMap<StreamNumber, Stream>,
    /// Whom to wake when there is room.
    waiting: HashMap<StreamNumber, Waker>,
}

/// The number of a request and its answer, among those of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct StreamNumber(pub(crate) u64);

/// An answer with pieces that are not taken.
#[derive(Debug)]
struct Stream {
    bytes: usize,
    pace: Pace,
    /// There is more than the pieces.
    goes_on: bool,
}

/// An answer that its client leaves lying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lies {
    pub(crate) stream: StreamNumber,
    /// For twice as long as it may.
    pub(crate) is_hopeless: bool,
}

impl Untaken {
    pub(crate) fn new(share: Share, limit: Duration) -> Arc<Untaken> {
        Arc::new(Untaken {
            share,
            limit,
            state: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ready when there is room for more. Whoever gives up says so by [`Untaken::end`].
    pub(crate) fn poll_room(&self, stream: StreamNumber, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.bytes < self.share.bytes() {
            return Poll::Ready(());
        }
        let before = state.waiting.insert(stream, cx.waker().clone());
        // A waker may be the last that holds its task, which says then that it gives up.
        drop(state);
        drop(before);
        Poll::Pending
    }

    /// Waits until there is room for the first of `stream`.
    pub(crate) async fn room(&self, stream: StreamNumber) {
        let gives_up = GivesUp(self, stream);
        poll_fn(|cx| self.poll_room(stream, cx)).await;
        drop(gives_up);
    }

    /// Counts a piece of an answer.
    pub(crate) fn hand(self: &Arc<Self>, stream: StreamNumber, bytes: Bytes) -> Piece {
        let length = bytes.len();
        if length == 0 {
            return Piece::from(bytes);
        }
        let mut state = self.lock();
        state.bytes += length;
        let entry = state.streams.entry(stream).or_insert_with(|| Stream {
            bytes: 0,
            pace: Pace::new(self.limit),
            goes_on: true,
        });
        entry.bytes += length;
        entry.pace.wait();
        drop(state);
        Piece {
            bytes,
            counted: Some((Arc::clone(self), stream)),
        }
    }

    fn taken(&self, stream: StreamNumber, bytes: usize) {
        let mut state = self.lock();
        state.bytes -= bytes;
        if let Some(entry) = state.streams.get_mut(&stream) {
            entry.bytes -= bytes;
            if entry.bytes == 0 {
                entry.pace.stop(Instant::now);
            }
            entry.pace.moved(bytes);
            if entry.bytes == 0 && !entry.goes_on {
                state.streams.remove(&stream);
            }
        }
        self.wake_if_there_is_room(state);
    }

    /// All at once, and not for every piece.
    fn wake_if_there_is_room(&self, mut state: MutexGuard<'_, State>) {
        if state.waiting.is_empty() || state.bytes > self.share.bytes() / 2 {
            return;
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for waker in waiting.into_values() {
            waker.wake();
        }
    }

    /// Nothing more comes of an answer.
    pub(crate) fn end(&self, stream: StreamNumber) {
        let mut state = self.lock();
        if let Some(entry) = state.streams.get_mut(&stream) {
            entry.goes_on = false;
            if entry.bytes == 0 {
                state.streams.remove(&stream);
            }
        }
        let waker = state.waiting.remove(&stream);
        drop(state);
        drop(waker);
    }

    /// The answers that lie for too long.
    pub(crate) fn lying(&self) -> Vec<Lies> {
        let now = Instant::now();
        let state = self.lock();
        let lying = state.streams.iter().filter_map(|(stream, entry)| {
            let ends = entry.pace.ends()?;
            entry.pace.is_out(now).then(|| Lies {
                stream: *stream,
                is_hopeless: ends + self.limit <= now,
            })
        });
        let lying = lying.collect();
        // The share may have grown since they asked.
        self.wake_if_there_is_room(state);
        lying
    }
}

/// Ends a stream that is waited for no more.
struct GivesUp<'a>(&'a Untaken, StreamNumber);

impl Drop for GivesUp<'_> {
    fn drop(&mut self) {
        self.0.end(self.1);
    }
}

/// A piece of an answer, counted until it is on the wire.
#[derive(Debug)]
pub(crate) struct Piece {
    bytes: Bytes,
    counted: Option<(Arc<Untaken>, StreamNumber)>,
}

impl From<Bytes> for Piece {
    /// One that is not counted.
    fn from(bytes: Bytes) -> Piece {
        Piece {
            bytes,
            counted: None,
        }
    }
}

impl Piece {
    fn goes(&self, bytes: usize) {
        if let Some((untaken, stream)) = &self.counted
            && bytes > 0
        {
            untaken.taken(*stream, bytes);
        }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.goes(count);
    }

    fn copy_to_bytes(&mut self, length: usize) -> Bytes {
        let bytes = self.bytes.copy_to_bytes(length);
        self.goes(length);
        bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.goes(self.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn untaken() -> Arc<Untaken> {
        Untaken::new(Share::Fixed(1000), LIMIT)
    }

    fn has_room(untaken: &Untaken) -> bool {
        let cx = Context::from_waker(Waker::noop());
        untaken.poll_room(StreamNumber(0), &cx).is_ready()
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_its_share_there_is_room_when_half_of_it_is_taken() {
        let untaken = untaken();
        let stream = StreamNumber(1);
        let mut first = untaken.hand(stream, vec![0; 900].into());
        assert!(has_room(&untaken));
        let second = untaken.hand(stream, vec![0; 900].into());
        untaken.end(stream);
        assert!(!has_room(&untaken));
        first.advance(800);
        assert!(!has_room(&untaken));
        drop(second);
        assert!(has_room(&untaken));
        assert!(untaken.lock().waiting.is_empty(), "who waited is woken");
        drop(first);
        assert_eq!(untaken.lock().bytes, 0);
        assert!(untaken.lock().streams.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_kept_of_who_gives_up_waiting() {
        let untaken = untaken();
        let _fills = untaken.hand(StreamNumber(1), vec![0; 1000].into());
        let mut cx = Context::from_waker(Waker::noop());
        for number in 2..1000 {
            let mut room = Box::pin(untaken.room(StreamNumber(number)));
            assert!(room.as_mut().poll(&mut cx).is_pending());
            assert_eq!(untaken.lock().waiting.len(), 1);
        }
        assert!(untaken.lock().waiting.is_empty());
        assert!(untaken.poll_room(StreamNumber(1000), &cx).is_pending());
        untaken.end(StreamNumber(1000));
        assert!(untaken.lock().waiting.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_lies_whose_client_takes_less_than_its_pace() {
        let untaken = untaken();
        let [still, drips, slow] = [1, 2, 3].map(StreamNumber);
        let mut pieces =
            [still, drips, slow].map(|stream| untaken.hand(stream, vec![0; 90_000].into()));
        untaken.end(still);
        for _ in 0..7 {
            assert!(untaken.lying().iter().all(|lies| !lies.is_hopeless));
            tokio::time::advance(LIMIT / 6).await;
            pieces[1].advance(1);
            pieces[2].advance(2_500);
        }
        let lying = untaken.lying();
        let lies = |stream| lying.iter().any(|lies| lies.stream == stream);
        assert!(lies(still) && lies(drips) && !lies(slow), "{lying:?}");
        tokio::time::advance(LIMIT).await;
        let hopeless = |lies: &&Lies| lies.stream == still && lies.is_hopeless;
        assert!(untaken.lying().iter().any(|lies| hopeless(&lies)));
        drop(pieces);
        assert!(untaken.lying().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_of_which_all_is_taken_may_go_on_for_ever() {
        let untaken = untaken();
        let stream = StreamNumber(1);
        for _ in 0..100 {
            drop(untaken.hand(stream, vec![0; 1].into()));
            tokio::time::advance(10 * LIMIT).await;
            assert!(untaken.lying().is_empty());
        }
    }
}

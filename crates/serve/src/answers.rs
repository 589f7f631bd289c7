//! The answers under way on one connection, and what becomes of one that its client leaves lying.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::body::BodyError;
use crate::http1::Ledger;
use crate::untaken::{Piece, StreamNumber, Untaken};

/// A body that can be told why it ends early.
pub(crate) trait Abandon {
    /// Nobody will read the rest.
    fn abandon(&mut self, why: &'static str);
}

/// What is under way on a connection.
#[derive(Debug)]
pub(crate) struct Answers<B> {
    ledger: Arc<Ledger>,
    untaken: Arc<Untaken>,
    state: Mutex<State<B>>,
}

#[derive(Debug)]
struct State<B> {
    idle_since: Instant,
    /// Those on HTTP/2, where one answer may lie while others go on.
    shared: HashMap<StreamNumber, Arc<Slot<B>>>,
}

/// One request from its arrival to the end of its answer.
#[derive(Debug)]
pub(crate) struct UnderWay<B> {
    answers: Arc<Answers<B>>,
    number: u64,
}

#[derive(Debug)]
struct Slot<B>(Mutex<Option<(B, UnderWay<B>)>>);

/// How it stands with answers that clients leave lying.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lying {
    None,
    /// There were some; those that went on are ended.
    Some,
    /// There are some that cannot be ended, for twice as long as they may.
    Hopeless,
}

const ABANDONED: &str = "the client takes nothing of it";

impl<B: Abandon> Answers<B> {
    pub(crate) fn new(ledger: Arc<Ledger>, untaken: Arc<Untaken>) -> Arc<Answers<B>> {
        Arc::new(Answers {
            ledger,
            untaken,
            state: Mutex::new(State {
                idle_since: Instant::now(),
                shared: HashMap::new(),
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request arrives.
    pub(crate) fn begin(self: &Arc<Self>) -> UnderWay<B> {
        UnderWay {
            number: self.ledger.arrive(),
            answers: Arc::clone(self),
        }
    }

    /// How long nothing has been under way.
    pub(crate) fn idle(&self) -> Duration {
        let state = self.lock();
        match self.ledger.is_at_work() {
            false => state.idle_since.elapsed(),
            true => Duration::ZERO,
        }
    }

    /// Ends the answers that their client leaves lying, with the guests that make them.
    pub(crate) fn end_lying(&self) -> Lying {
        let mut lying = Lying::None;
        for lies in self.untaken.lying() {
            lying = lying.max(match lies.is_hopeless {
                true => Lying::Hopeless,
                false => Lying::Some,
            });
            let slot = self.lock().shared.get(&lies.stream).map(Arc::clone);
            // Whoever is being polled just now does not lie; who has ended cannot be ended.
            let taken = slot.and_then(|slot| slot.0.try_lock().ok()?.take());
            if let Some((mut body, _)) = taken {
                body.abandon(ABANDONED);
            }
        }
        lying
    }
}

impl<B> Drop for UnderWay<B> {
    fn drop(&mut self) {
        let Answers { state, ledger, .. } = &*self.answers;
        // The time is right before the count says that it counts.
        state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .idle_since = Instant::now();
        ledger.done();
    }
}

impl<B: Abandon> UnderWay<B> {
    /// The request's, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Waits until the client takes what it has been answered before.
    pub(crate) async fn room(&self) {
        let untaken = &self.answers.untaken;
        untaken.room(StreamNumber(self.number)).await;
    }

    /// The answer, counted until its end. On HTTP/2 it may be ended from outside.
    pub(crate) fn answer(self, response: Response<B>, is_h2: bool) -> Response<Answer<B>> {
        response.map(|body| {
            if !is_h2 {
                return Answer::Own(body, self);
            }
            let answers = Arc::clone(&self.answers);
            let stream = StreamNumber(self.number);
            let slot = Arc::new(Slot(Mutex::new(Some((body, self)))));
            answers.lock().shared.insert(stream, Arc::clone(&slot));
            Answer::Shared(Shared {
                slot,
                stream,
                answers,
            })
        })
    }
}

/// The body of an answer that is counted.
pub(crate) enum Answer<B> {
    /// HTTP/1, where an answer that lies holds up its connection, which has a limit for that.
    Own(
        B,
        #[allow(dead_code, reason = "counts while it lives")] UnderWay<B>,
    ),
    Shared(Shared<B>),
}

pub(crate) struct Shared<B> {
    slot: Arc<Slot<B>>,
    stream: StreamNumber,
    answers: Arc<Answers<B>>,
}

impl<B> Drop for Shared<B> {
    fn drop(&mut self) {
        let answers = &self.answers;
        let mut state = answers.state.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = state.shared.remove(&self.stream);
        drop(state);
        drop(slot);
        answers.untaken.end(self.stream);
    }
}

impl<B> Slot<B> {
    fn lock(&self) -> MutexGuard<'_, Option<(B, UnderWay<B>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Body for Answer<B>
where
    B: Body<Data = Bytes, Error = BodyError> + Abandon + Unpin,
{
    type Data = Piece;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, BodyError>>> {
        let frame = match self.get_mut() {
            Answer::Own(body, _) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                frame.map(|frame| frame.map(|frame| frame.map_data(Piece::from)))
            }
            Answer::Shared(Shared {
                slot,
                stream,
                answers,
            }) => {
                ready!(answers.untaken.poll_room(*stream, cx));
                let mut answer = slot.lock();
                let Some((body, _)) = &mut *answer else {
                    return Poll::Ready(Some(Err(ABANDONED.into())));
                };
                let frame = ready!(Pin::new(body).poll_frame(cx));
                let count = |bytes| answers.untaken.hand(*stream, bytes);
                frame.map(|frame| frame.map(|frame| frame.map_data(count)))
            }
        };
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Answer::Own(body, _) => body.is_end_stream(),
            Answer::Shared(shared) => match &*shared.slot.lock() {
                Some((body, _)) => body.is_end_stream(),
                None => false,
            },
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Answer::Own(body, _) => body.size_hint(),
            Answer::Shared(shared) => match &*shared.slot.lock() {
                Some((body, _)) => body.size_hint(),
                None => SizeHint::default(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Waker;

    use super::*;
    use crate::clients::Share;

    const LIMIT: Duration = Duration::from_secs(60);

    /// Brings pieces without end, or is waited for.
    struct Pieces {
        ready: bool,
        abandoned: Arc<AtomicU64>,
    }

    impl Abandon for Pieces {
        fn abandon(&mut self, _: &'static str) {
            self.abandoned.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            match self.ready {
                true => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"xy"))))),
                false => Poll::Pending,
            }
        }
    }

    fn answers() -> (Arc<Answers<Pieces>>, Arc<AtomicU64>) {
        let untaken = Untaken::new(Share::Fixed(3), LIMIT);
        (Answers::new(Arc::default(), untaken), Arc::default())
    }

    /// What comes: nothing yet, a piece, or an error.
    fn poll(answer: &mut Response<Answer<Pieces>>) -> Poll<Option<Piece>> {
        let mut cx = Context::from_waker(Waker::noop());
        let frame = Pin::new(answer.body_mut()).poll_frame(&mut cx);
        frame.map(|frame| frame?.ok()?.into_data().ok())
    }

    #[tokio::test(start_paused = true)]
    async fn what_lies_is_ended_and_what_is_waited_for_is_not() {
        let (answers, abandoned) = answers();
        let answer = |ready| {
            let abandoned = Arc::clone(&abandoned);
            let body = Pieces { ready, abandoned };
            answers.begin().answer(Response::new(body), true)
        };
        let (mut lies, mut waits) = (answer(true), answer(false));
        let Poll::Ready(Some(piece)) = poll(&mut lies) else {
            panic!("a piece");
        };
        assert!(poll(&mut waits).is_pending());
        tokio::time::advance(LIMIT / 2).await;
        assert_eq!(answers.end_lying(), Lying::None);
        drop(piece);
        tokio::time::advance(2 * LIMIT).await;
        assert_eq!(answers.end_lying(), Lying::None, "it is taken");
        let Poll::Ready(Some(piece)) = poll(&mut lies) else {
            panic!("a piece");
        };
        tokio::time::advance(LIMIT).await;
        assert_eq!(answers.end_lying(), Lying::Some);
        assert_eq!(abandoned.load(Ordering::Relaxed), 1);
        assert!(matches!(poll(&mut lies), Poll::Ready(None)));
        assert!(poll(&mut waits).is_pending());
        assert_eq!(answers.idle(), Duration::ZERO);
        drop(waits);
        tokio::time::advance(LIMIT).await;
        assert_eq!(answers.idle(), LIMIT, "what was ended is under way no more");
        assert_eq!(
            answers.end_lying(),
            Lying::Hopeless,
            "the piece is still there"
        );
        assert_eq!(abandoned.load(Ordering::Relaxed), 1, "once");
        drop((lies, piece));
        assert_eq!(answers.end_lying(), Lying::None);
        assert!(answers.lock().shared.is_empty());
    }

    /// h2 has all of it, and nobody can take it back.
    #[tokio::test(start_paused = true)]
    async fn what_lies_though_its_answer_has_ended_is_seen_too() {
        let (answers, abandoned) = answers();
        let body = Pieces {
            ready: true,
            abandoned,
        };
        let mut answer = answers.begin().answer(Response::new(body), true);
        let piece = poll(&mut answer);
        drop(answer);
        tokio::time::advance(LIMIT).await;
        assert_eq!(answers.end_lying(), Lying::Some);
        drop(piece);
        assert_eq!(answers.end_lying(), Lying::None);
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_share_nothing_is_asked_for() {
        let (answers, abandoned) = answers();
        let answer = || {
            let abandoned = Arc::clone(&abandoned);
            let ready = true;
            answers
                .begin()
                .answer(Response::new(Pieces { ready, abandoned }), true)
        };
        let (mut one, mut other) = (answer(), answer());
        let pieces = [poll(&mut one), poll(&mut one)];
        assert!(pieces.iter().all(Poll::is_ready));
        assert!(poll(&mut one).is_pending());
        assert!(poll(&mut other).is_pending());
        drop(pieces);
        assert!(poll(&mut other).is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn on_http_1_it_is_only_counted() {
        let (answers, abandoned) = answers();
        tokio::time::advance(LIMIT).await;
        assert_eq!(answers.idle(), LIMIT);
        let body = Pieces {
            ready: true,
            abandoned,
        };
        let mut answer = answers.begin().answer(Response::new(body), false);
        assert_eq!(answers.idle(), Duration::ZERO);
        let pieces: Vec<_> = (0..8).map(|_| poll(&mut answer)).collect();
        tokio::time::advance(2 * LIMIT).await;
        assert_eq!(answers.end_lying(), Lying::None);
        assert!(pieces.iter().all(Poll::is_ready));
        drop(answer);
        assert_eq!(answers.idle(), Duration::ZERO);
    }
}

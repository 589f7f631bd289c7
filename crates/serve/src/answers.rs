//! The answers under way on one connection, and what becomes of one that its client leaves lying.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::body::BodyError;

/// A body that can be told why it ends early.
pub(crate) trait Abandon {
    /// Nobody will read the rest.
    fn abandon(&mut self, why: &'static str);
}

/// What is under way on a connection.
#[derive(Debug)]
pub(crate) struct Answers<B> {
    under_way: Arc<Count>,
    state: Mutex<State<B>>,
    began: Instant,
}

#[derive(Debug)]
struct State<B> {
    idle_since: Instant,
    next: u64,
    /// Those on HTTP/2, where one answer may lie while others go on.
    lying: HashMap<u64, Arc<Slot<B>>>,
}

/// How many answers are under way, and who waits for the last one's end.
#[derive(Debug, Default)]
pub(crate) struct Count(Mutex<(usize, Option<Waker>)>);

impl Count {
    fn lock(&self) -> MutexGuard<'_, (usize, Option<Waker>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ready once none is.
    pub(crate) fn poll_none(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.0 == 0 {
            return Poll::Ready(());
        }
        state.1 = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// One request from its arrival to the end of its answer.
#[derive(Debug)]
pub(crate) struct UnderWay<B>(Arc<Answers<B>>);

#[derive(Debug)]
struct Slot<B> {
    answer: Mutex<Option<(B, UnderWay<B>)>>,
    /// When a piece was taken, in milliseconds from the connection's beginning, plus one; 0 while
    /// the answer itself is waited for.
    taken_ms: AtomicU64,
}

const ABANDONED: &str = "the client takes nothing of it";

impl<B: Abandon> Answers<B> {
    pub(crate) fn new() -> Arc<Answers<B>> {
        let began = Instant::now();
        Arc::new(Answers {
            under_way: Arc::default(),
            state: Mutex::new(State {
                idle_since: began,
                next: 0,
                lying: HashMap::new(),
            }),
            began,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request arrives.
    pub(crate) fn begin(self: &Arc<Self>) -> UnderWay<B> {
        self.under_way.lock().0 += 1;
        UnderWay(Arc::clone(self))
    }

    /// How many are under way, for who need not name what they are.
    pub(crate) fn count(&self) -> Arc<Count> {
        Arc::clone(&self.under_way)
    }

    /// How long nothing has been under way.
    pub(crate) fn idle(&self) -> Duration {
        let state = self.lock();
        match self.under_way.lock().0 {
            0 => state.idle_since.elapsed(),
            _ => Duration::ZERO,
        }
    }

    /// Ends the answers of which nothing was taken for `limit`, with the guests that make them;
    /// says whether there were any.
    pub(crate) fn end_lying(&self, limit: Duration) -> bool {
        let now = self.now_ms();
        let limit = limit.as_millis() as u64;
        let lies = |slot: &Slot<B>| {
            let taken = slot.taken_ms.load(Ordering::Relaxed);
            taken > 0 && now.saturating_sub(taken) >= limit
        };
        let state = self.lock();
        let lying = state.lying.values().filter(|slot| lies(slot));
        let lying: Vec<_> = lying.map(Arc::clone).collect();
        drop(state);
        let mut some = false;
        for slot in lying {
            // Whoever is being polled just now does not lie.
            let Ok(mut answer) = slot.answer.try_lock() else {
                continue;
            };
            let taken = answer.take();
            drop(answer);
            if let Some((mut body, _)) = taken {
                body.abandon(ABANDONED);
                some = true;
            }
        }
        some
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64 + 1
    }
}

impl<B> Drop for UnderWay<B> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        // The time is right before the count says that it counts.
        state.idle_since = Instant::now();
        drop(state);
        let mut count = self.0.under_way.lock();
        count.0 -= 1;
        let waiting = if count.0 == 0 { count.1.take() } else { None };
        drop(count);
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}

impl<B: Abandon> UnderWay<B> {
    /// The answer, counted until its end. On HTTP/2 it may be ended from outside.
    pub(crate) fn answer(self, response: Response<B>, is_h2: bool) -> Response<Answer<B>> {
        response.map(|body| {
            if !is_h2 {
                return Answer::Own(body, self);
            }
            let answers = Arc::clone(&self.0);
            let slot = Arc::new(Slot {
                answer: Mutex::new(Some((body, self))),
                taken_ms: AtomicU64::new(answers.now_ms()),
            });
            let mut state = answers.lock();
            let number = state.next;
            state.next += 1;
            state.lying.insert(number, Arc::clone(&slot));
            drop(state);
            Answer::Shared(Shared {
                slot,
                number,
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
    number: u64,
    answers: Arc<Answers<B>>,
}

impl<B> Drop for Shared<B> {
    fn drop(&mut self) {
        let answers = &self.answers;
        let mut state = answers.state.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = state.lying.remove(&self.number);
        drop(state);
        drop(slot);
    }
}

impl<B> Slot<B> {
    fn lock(&self) -> MutexGuard<'_, Option<(B, UnderWay<B>)>> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Body for Answer<B>
where
    B: Body<Data = Bytes, Error = BodyError> + Abandon + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Answer::Own(body, _) => Pin::new(body).poll_frame(cx),
            Answer::Shared(shared) => {
                let mut answer = shared.slot.lock();
                let Some((body, _)) = &mut *answer else {
                    return Poll::Ready(Some(Err(ABANDONED.into())));
                };
                let frame = Pin::new(body).poll_frame(cx);
                let taken = match frame {
                    Poll::Ready(_) => shared.answers.now_ms(),
                    Poll::Pending => 0,
                };
                shared.slot.taken_ms.store(taken, Ordering::Relaxed);
                frame
            }
        }
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
    use std::task::Waker;

    use super::*;

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
                true => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x"))))),
                false => Poll::Pending,
            }
        }
    }

    fn poll(answer: &mut Response<Answer<Pieces>>) -> Poll<bool> {
        let mut cx = Context::from_waker(Waker::noop());
        let frame = Pin::new(answer.body_mut()).poll_frame(&mut cx);
        frame.map(|frame| frame.is_some_and(|frame| frame.is_ok()))
    }

    #[tokio::test(start_paused = true)]
    async fn what_lies_is_ended_and_what_is_waited_for_is_not() {
        let answers = Answers::new();
        let abandoned = Arc::new(AtomicU64::new(0));
        let answer = |ready| {
            let abandoned = Arc::clone(&abandoned);
            let body = Pieces { ready, abandoned };
            answers.begin().answer(Response::new(body), true)
        };
        let (mut lies, mut waits) = (answer(true), answer(false));
        assert_eq!(poll(&mut lies), Poll::Ready(true));
        assert_eq!(poll(&mut waits), Poll::Pending);
        tokio::time::advance(LIMIT / 2).await;
        assert!(!answers.end_lying(LIMIT));
        assert_eq!(poll(&mut lies), Poll::Ready(true));
        tokio::time::advance(LIMIT / 2).await;
        assert!(!answers.end_lying(LIMIT), "a piece was taken meanwhile");
        tokio::time::advance(LIMIT).await;
        assert!(answers.end_lying(LIMIT));
        assert_eq!(abandoned.load(Ordering::Relaxed), 1);
        assert!(!answers.end_lying(LIMIT), "once");
        assert_eq!(poll(&mut lies), Poll::Ready(false));
        assert_eq!(poll(&mut waits), Poll::Pending);
        assert_eq!(answers.idle(), Duration::ZERO);
        drop(waits);
        tokio::time::advance(LIMIT).await;
        assert_eq!(answers.idle(), LIMIT, "what was ended is under way no more");
        drop(lies);
        assert!(answers.lock().lying.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn on_http_1_it_is_only_counted() {
        let answers = Answers::new();
        tokio::time::advance(LIMIT).await;
        assert_eq!(answers.idle(), LIMIT);
        let body = Pieces {
            ready: true,
            abandoned: Arc::default(),
        };
        let mut answer = answers.begin().answer(Response::new(body), false);
        assert_eq!(answers.idle(), Duration::ZERO);
        tokio::time::advance(2 * LIMIT).await;
        assert!(!answers.end_lying(LIMIT));
        assert_eq!(poll(&mut answer), Poll::Ready(true));
        drop(answer);
        assert_eq!(answers.idle(), Duration::ZERO);
    }
}

//! What a request on a shared instance and the instance know of each other.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use http::Response;
use tokio::sync::oneshot;
use wasmtime_wasi_http::WasiBody;
use wharf_engine::{Fault, FaultKind};

use super::retirement::Retirement;
use crate::admission::Place;
use crate::log::RequestId;

/// A request on its way to an instance, as the instance sees it. Clones are the same request.
#[derive(Debug, Clone)]
pub(super) struct Ticket(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: RequestId,
    deadline: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    stage: Stage,
    answer: Option<oneshot::Sender<Result<Response<WasiBody>, Fault>>>,
    /// Held as long as the guest may be at work for this request.
    place: Option<Place>,
    /// Of the instance that has the request.
    instance: Option<Arc<Retirement>>,
    /// Woken when the client leaves before the head.
    awaits_head: Option<Waker>,
    /// What the instance died of.
    fate: Option<Fault>,
}

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its response head is not out.
    Waiting,
    /// Somebody reads its response.
    Reading,
    /// Since then nobody waits for it, but its guest may still be at work.
    Left(Instant),
    /// Over.
    Done,
}

impl Ticket {
    /// A ticket, and the end that waits for its answer until `deadline`.
    pub(super) fn issue(id: RequestId, deadline: Instant, place: Place) -> (Ticket, Asking) {
        let (sender, answer) = oneshot::channel();
        let ticket = Ticket(Arc::new(Inner {
            id,
            deadline,
            state: Mutex::new(State {
                stage: Stage::Waiting,
                answer: Some(sender),
                place: Some(place),
                instance: None,
                awaits_head: None,
                fate: None,
            }),
        }));
        let asking = Asking {
            ticket: Some(ticket.clone()),
            answer,
        };
        (ticket, asking)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn id(&self) -> RequestId {
        self.0.id
    }

    pub(super) fn deadline(&self) -> Instant {
        self.0.deadline
    }

    pub(super) fn stage(&self) -> Stage {
        self.lock().stage
    }

    /// An instance takes the request; false if nobody waits for it any more. The instance is
    /// retired should the client leave before the end.
    pub(super) fn take(&self, instance: &Arc<Retirement>) -> bool {
        let mut state = self.lock();
        if state.stage != Stage::Waiting {
            return false;
        }
        state.instance = Some(Arc::clone(instance));
        true
    }

    /// Ready once nobody waits for the answer.
    pub(super) fn poll_left(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        match state.stage {
            Stage::Waiting => {
                state.awaits_head = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    /// Answers. After a fault the guest is done with the request.
    pub(super) fn answer(&self, answer: Result<Response<WasiBody>, Fault>) {
        let mut state = self.lock();
        if state.stage != Stage::Waiting {
            return;
        }
        state.stage = match &answer {
            Ok(_) => Stage::Reading,
            Err(_) => Stage::Done,
        };
        let sender = state.answer.take();
        drop(state);
        if let Some(sender) = sender {
            // Who left a moment ago says so itself.
            let _ = sender.send(answer);
        }
    }

    /// The guest is done with a request whose client had left.
    pub(super) fn done(&self) {
        let mut state = self.lock();
        state.stage = Stage::Done;
        state.place = None;
    }

    /// The instance ended; `fault` is why, if something went wrong.
    pub(super) fn ended(&self, fault: Option<&Fault>) {
        let lost = || Fault::new(FaultKind::Guest, "the instance ended under this request");
        let fault = fault.cloned();
        let stage = {
            let mut state = self.lock();
            state.fate.clone_from(&fault);
            state.instance = None;
            state.stage
        };
        match stage {
            Stage::Waiting => self.answer(Err(fault.unwrap_or_else(lost))),
            Stage::Left(_) => self.done(),
            Stage::Reading | Stage::Done => {}
        }
    }

    fn leave(&self) {
        let mut state = self.lock();
        let instance = state.instance.clone();
        match instance {
            Some(_) if state.stage != Stage::Done => state.stage = Stage::Left(Instant::now()),
            // No guest has seen it, or none is at work for it any more.
            _ => {
                state.stage = Stage::Done;
                state.place = None;
            }
        }
        let left = state.stage != Stage::Done;
        let waker = state.awaits_head.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        if let Some(instance) = instance.filter(|_| left) {
            instance.retire();
        }
    }
}

/// The end of a request that waits for its answer. Dropping it leaves.
#[derive(Debug)]
pub(super) struct Asking {
    ticket: Option<Ticket>,
    answer: oneshot::Receiver<Result<Response<WasiBody>, Fault>>,
}

/// A request that got no answer.
pub(super) struct Unanswered {
    pub(super) fault: Fault,
    /// Its place, if no guest is at work for it any more.
    pub(super) place: Option<Place>,
}

impl Asking {
    /// The head and who reads on; `None` past the deadline.
    pub(super) async fn answer(
        mut self,
    ) -> Option<Result<(Response<WasiBody>, Reading), Unanswered>> {
        let ticket = self.ticket.clone()?;
        let answer = tokio::time::timeout_at(ticket.deadline().into(), &mut self.answer);
        let answer = answer.await.ok()?;
        self.ticket = None;
        Some(match answer {
            Ok(Ok(response)) => Ok((response, Reading(Some(ticket)))),
            Ok(Err(fault)) => Err(Unanswered {
                fault,
                place: ticket.lock().place.take(),
            }),
            Err(_) => {
                ticket.leave();
                let message = "the instance ended under this request";
                Err(Unanswered {
                    fault: Fault::new(FaultKind::Host, message),
                    place: None,
                })
            }
        })
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if let Some(ticket) = &self.ticket {
            ticket.leave();
        }
    }
}

/// Held by a response body: its instance lives on while it is read, and if the instance dies the
/// body is known to be cut short. Dropping it leaves.
#[derive(Debug)]
pub(crate) struct Reading(Option<Ticket>);

impl Reading {
    /// What the instance died of, if it did.
    pub(crate) fn fate(&self) -> Option<Fault> {
        self.0.as_ref()?.lock().fate.clone()
    }

    /// The response was read to its end.
    pub(crate) fn finish(mut self) {
        if let Some(ticket) = self.0.take() {
            ticket.done();
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(ticket) = &self.0 {
            ticket.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::{BodyExt, Empty};
    use tokio::sync::Semaphore;

    use super::*;

    struct Door(Arc<Semaphore>);

    impl Door {
        fn new() -> Door {
            Door(Arc::new(Semaphore::new(1)))
        }

        fn issue(&self) -> (Ticket, Asking) {
            let place = Arc::clone(&self.0).try_acquire_owned().unwrap();
            let deadline = Instant::now() + Duration::from_secs(5);
            Ticket::issue(RequestId::random(), deadline, place)
        }

        fn is_free(&self) -> bool {
            self.0.available_permits() == 1
        }
    }

    fn instance() -> Arc<Retirement> {
        Arc::default()
    }

    fn empty() -> Response<WasiBody> {
        let body = Empty::new().map_err(|never| match never {});
        Response::new(body.boxed_unsync())
    }

    #[tokio::test]
    async fn a_request_that_nobody_took_leaves_at_once() {
        let door = Door::new();
        let (ticket, asking) = door.issue();
        drop(asking);
        assert!(door.is_free());
        assert!(!ticket.take(&instance()));
    }

    #[tokio::test]
    async fn a_client_that_leaves_retires_the_instance_and_holds_its_place() {
        let door = Door::new();
        let (ticket, asking) = door.issue();
        let instance = instance();
        assert!(ticket.take(&instance));
        drop(asking);
        assert!(instance.is_retired());
        assert!(matches!(ticket.stage(), Stage::Left(_)));
        assert!(!door.is_free(), "its guest may be at work");
        ticket.answer(Ok(empty()));
        ticket.done();
        assert!(door.is_free());
    }

    #[tokio::test]
    async fn a_response_read_to_its_end_gives_the_place_back() {
        let door = Door::new();
        let (ticket, asking) = door.issue();
        let instance = instance();
        assert!(ticket.take(&instance));
        ticket.answer(Ok(empty()));
        let Some(Ok((_, reading))) = asking.answer().await else {
            panic!("no answer");
        };
        assert_eq!(ticket.stage(), Stage::Reading);
        reading.finish();
        assert!(door.is_free());
        assert!(!instance.is_retired());
    }

    #[tokio::test]
    async fn an_answer_that_nobody_fetches_counts_as_left() {
        let door = Door::new();
        let (ticket, asking) = door.issue();
        let instance = instance();
        assert!(ticket.take(&instance));
        ticket.answer(Ok(empty()));
        drop(asking);
        assert!(matches!(ticket.stage(), Stage::Left(_)));
        assert!(instance.is_retired());
    }

    #[tokio::test]
    async fn when_the_instance_dies_the_place_is_there_for_another_try() {
        let door = Door::new();
        let (ticket, asking) = door.issue();
        assert!(ticket.take(&instance()));
        ticket.ended(Some(&Fault::new(FaultKind::Guest, "a trap")));
        let Some(Err(unanswered)) = asking.answer().await else {
            panic!("an answer");
        };
        assert_eq!(unanswered.fault.message, "a trap");
        assert!(unanswered.place.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn past_the_deadline_there_is_none() {
        let door = Door::new();
        let (ticket, asking) = door.issue();
        assert!(ticket.take(&instance()));
        assert!(asking.answer().await.is_none());
        assert!(matches!(ticket.stage(), Stage::Left(_)));
    }
}

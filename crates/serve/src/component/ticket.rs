//! What a request on a shared instance and the instance know of each other.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use http::Response;
use tokio::sync::oneshot;
use wasmtime_wasi_http::WasiBody;
use wharf_engine::{Fault, FaultKind, LimitHit};

use super::link::Link;
use crate::admission::Place;
use crate::log::RequestId;

/// A request on its way to an instance, as the instance sees it. Clones are the same request.
#[derive(Debug, Clone)]
pub(super) struct Ticket(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: RequestId,
    deadline: Instant,
    is_repeatable: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    stage: Stage,
    answer: Option<oneshot::Sender<Answer>>,
    /// Held as long as the guest may be at work for this request.
    place: Option<Place>,
    /// To the instance that has the request.
    instance: Option<Arc<Link>>,
    /// Woken when the client leaves before the head.
    awaits_head: Option<Waker>,
    /// What the instance died of.
    fate: Option<Fault>,
}

type Answer = Result<Response<WasiBody>, Unanswered>;

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its response head is not out.
    Waiting,
    /// Somebody reads its response.
    Reading,
    /// Since then nobody waits for it, but its guest may still be at work.
    Left(Instant),
    /// Neither a client nor, as far as is known, the guest has to do with it any more.
    Over,
}

/// Who but the request itself may be to blame for the death of its instance.
#[derive(Debug, Clone, Copy)]
pub(super) struct Others {
    /// Others were at work.
    pub(super) now: bool,
    /// Others had been there, and may have left something behind.
    pub(super) ever: bool,
}

/// Why a request got no response.
#[derive(Debug)]
pub(super) struct Unanswered {
    pub(super) fault: Box<Fault>,
    /// Its place, if it is to be run again: its instance died, maybe by another's fault.
    pub(super) again: Option<Place>,
}

impl Ticket {
    /// A ticket, and the end that waits for its answer until `deadline`.
    pub(super) fn issue(
        id: RequestId,
        deadline: Instant,
        place: Place,
        is_repeatable: bool,
    ) -> (Ticket, Asking) {
        let (sender, answer) = oneshot::channel();
        let ticket = Ticket(Arc::new(Inner {
            id,
            deadline,
            is_repeatable,
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
    pub(super) fn take(&self, instance: &Arc<Link>) -> bool {
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

    /// The response head is there.
    pub(super) fn answer(&self, response: Response<WasiBody>) {
        self.send(Stage::Reading, |_| Ok(response));
    }

    /// The request failed by itself.
    pub(super) fn fail(&self, fault: Fault) {
        self.send(Stage::Over, |state| {
            state.place = None;
            Err(Unanswered {
                fault: Box::new(fault),
                again: None,
            })
        });
    }

    /// Answers, if the client is still there.
    fn send(&self, stage: Stage, answer: impl FnOnce(&mut State) -> Answer) {
        let mut state = self.lock();
        if state.stage != Stage::Waiting {
            return;
        }
        state.stage = stage;
        let answer = answer(&mut state);
        let sender = state.answer.take();
        drop(state);
        if let Some(sender) = sender {
            // Who leaves at this moment says so itself.
            let _ = sender.send(answer);
        }
    }

    /// Nothing is done for the request any more.
    pub(super) fn over(&self) {
        let mut state = self.lock();
        state.stage = Stage::Over;
        state.place = None;
        let instance = state.instance.clone();
        drop(state);
        if let Some(instance) = instance {
            instance.one_is_over();
        }
    }

    /// The instance failed: who reads is to know that the rest does not come.
    pub(super) fn doom(&self, fault: &Fault) {
        self.lock().fate = Some(fault.clone());
    }

    /// Whether the request is run again after its instance died of `fault`: alone, with the
    /// limits for itself, it may do better.
    pub(super) fn is_run_again(&self, fault: &Fault, others: Others) -> bool {
        self.0.is_repeatable
            && match fault.limit {
                Some(LimitHit::Cpu { .. }) => others.now,
                Some(LimitHit::Memory { .. } | LimitHit::Handles { .. }) => others.ever,
                Some(_) => false,
                None => others.ever && fault.kind != FaultKind::Host,
            }
    }

    /// The instance is gone, because of `fault` if something went wrong.
    pub(super) fn ended(&self, fault: Option<&Fault>, others: Others) {
        let stage = {
            let mut state = self.lock();
            state.instance = None;
            state.stage
        };
        match stage {
            Stage::Waiting => {
                let fault = fault.cloned().unwrap_or_else(lost);
                let again = self.is_run_again(&fault, others);
                self.send(Stage::Over, |state| {
                    Err(Unanswered {
                        fault: Box::new(fault),
                        again: state.place.take().filter(|_| again),
                    })
                });
            }
            Stage::Left(_) => self.over(),
            Stage::Reading | Stage::Over => {}
        }
    }

    fn leave(&self) {
        let mut state = self.lock();
        let instance = state.instance.clone();
        let is_at_work = instance.is_some() && state.stage != Stage::Over;
        if is_at_work {
            state.stage = Stage::Left(Instant::now());
        } else {
            state.stage = Stage::Over;
            state.place = None;
        }
        let waker = state.awaits_head.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        if let Some(instance) = instance.filter(|_| is_at_work) {
            instance.retire();
        }
    }
}

fn lost() -> Fault {
    Fault::new(FaultKind::Guest, "the instance ended under this request")
}

/// The end of a request that waits for its answer. Dropping it leaves.
#[derive(Debug)]
pub(super) struct Asking {
    ticket: Option<Ticket>,
    answer: oneshot::Receiver<Answer>,
}

impl Asking {
    /// The head and who reads on; `None` past the deadline.
    pub(super) async fn answer(
        mut self,
    ) -> Option<Result<(Response<WasiBody>, Reading), Unanswered>> {
        let ticket = self.ticket.clone()?;
        let answer = tokio::time::timeout_at(ticket.deadline().into(), &mut self.answer);
        let answer = answer.await.ok()?;
        let answer = answer.unwrap_or_else(|_| {
            Err(Unanswered {
                fault: Box::new(lost()),
                again: None,
            })
        });
        // Who has an answer stays; else the drop leaves, and nothing is left to leave.
        if answer.is_ok() {
            self.ticket = None;
        }
        Some(answer.map(|response| (response, Reading(Some(ticket)))))
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

    /// How long its instance had to wait for its turn to compute, in all.
    pub(super) fn queued(&self) -> Duration {
        let Some(ticket) = &self.0 else {
            return Duration::ZERO;
        };
        let state = ticket.lock();
        let instance = state.instance.as_ref();
        instance.map_or(Duration::ZERO, |instance| instance.queued())
    }

    /// The response was read to its end.
    pub(crate) fn finish(mut self) {
        if let Some(ticket) = self.0.take() {
            ticket.over();
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

    use super::*;
    use crate::capacity::Capacity;
    use http_body_util::{BodyExt, Empty};
    use wharf_engine::{CpuAccount, CpuMeter, SlowLane};

    const OTHERS: Others = Others {
        now: true,
        ever: true,
    };

    struct Door(Arc<Capacity>);

    impl Door {
        fn new() -> Door {
            Door(Capacity::new(1))
        }

        fn issue(&self) -> (Ticket, Asking) {
            let place = Place::of(&self.0);
            let deadline = Instant::now() + Duration::from_secs(5);
            Ticket::issue(RequestId::random(), deadline, place, true)
        }

        fn is_free(&self) -> bool {
            self.0.free() == 1
        }
    }

    fn instance() -> Arc<Link> {
        let lane = SlowLane::for_this_machine();
        let meter = CpuMeter::new(Duration::MAX, lane, CpuAccount::default());
        Arc::new(Link::new(meter))
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
        ticket.answer(empty());
        ticket.over();
        assert!(door.is_free());
    }

    #[tokio::test]
    async fn a_response_read_to_its_end_gives_the_place_back() {
        let door = Door::new();
        let (ticket, asking) = door.issue();
        let instance = instance();
        assert!(ticket.take(&instance));
        ticket.answer(empty());
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
        ticket.answer(empty());
        drop(asking);
        assert!(matches!(ticket.stage(), Stage::Left(_)));
        assert!(instance.is_retired());
    }

    fn cpu_limit() -> Fault {
        Fault::limit(LimitHit::Cpu {
            limit: Duration::from_secs(1),
        })
    }

    #[tokio::test]
    async fn when_the_instance_dies_the_place_is_there_for_another_try() {
        let trap = Fault::new(FaultKind::Guest, "a trap");
        let time = Fault::limit(LimitHit::Time {
            limit: Duration::from_secs(1),
        });
        let others = |now, ever| Others { now, ever };
        for (fault, others, expected) in [
            (&trap, others(false, true), true),
            (&trap, others(false, false), false),
            (&cpu_limit(), others(true, true), true),
            (&cpu_limit(), others(false, true), false),
            (&time, others(true, true), false),
        ] {
            let door = Door::new();
            let (ticket, asking) = door.issue();
            assert!(ticket.take(&instance()));
            ticket.ended(Some(fault), others);
            let Some(Err(unanswered)) = asking.answer().await else {
                panic!("an answer");
            };
            assert_eq!(unanswered.again.is_some(), expected, "{fault}, {others:?}");
            assert_eq!(door.is_free(), !expected);
            drop(unanswered);
            assert!(door.is_free());
        }
    }

    #[tokio::test]
    async fn what_fails_by_itself_is_not_run_again() {
        let door = Door::new();
        let (ticket, asking) = door.issue();
        assert!(ticket.take(&instance()));
        ticket.fail(Fault::new(FaultKind::Guest, "no"));
        assert!(door.is_free());
        ticket.ended(Some(&cpu_limit()), OTHERS);
        let Some(Err(unanswered)) = asking.answer().await else {
            panic!("an answer");
        };
        assert_eq!(unanswered.fault.message, "no");
        assert!(unanswered.again.is_none());
    }

    #[tokio::test]
    async fn who_reads_from_an_instance_that_died_knows_of_it() {
        let door = Door::new();
        let (ticket, asking) = door.issue();
        assert!(ticket.take(&instance()));
        ticket.answer(empty());
        let Some(Ok((_, reading))) = asking.answer().await else {
            panic!("no answer");
        };
        ticket.doom(&cpu_limit());
        ticket.ended(Some(&cpu_limit()), OTHERS);
        assert!(reading.fate().is_some());
        drop(reading);
        assert!(door.is_free());
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

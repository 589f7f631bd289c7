//! WASI 0.3: instances shared by several requests.
//!
//! An instance takes up to [`REQUESTS_PER_INSTANCE`] requests, some at once if nothing that it
//! imports stalls the others. The CPU and memory limits are the instance's; its CPU budget is
//! whole again with each request that it accepts. A request that takes too long gets its answer
//! from outside and its instance takes no more; a trap ends the instance, and safe requests that
//! it had not answered are run once more, each on an instance of its own.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{Method, Request, Response};
use http_body::Body as _;
use http_body_util::{BodyExt, Empty};
use tokio::time::Sleep;
use wasmtime::component::GuestTaskId;
use wasmtime::{Store, StoreContextMut};
use wasmtime_wasi_http::handler::{
    ExpirationError, HandlerState, Instance, InstantiationError, Proxy, ProxyHandler, ShouldAccept,
    TrapOrPanicError, WorkerExpiration, WorkerState, WorkerStatus,
};
use wasmtime_wasi_http::p3::bindings::ServicePre;
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::{WasiBody, WasiHttpView};
use wharf_engine::{CpuMeter, Fault, FaultKind, LimitHit};
use wharf_host::InstanceState;
use wharf_manifest::Isolation;

use super::output::{AtWork, InstanceOutput};
use super::ticket::Ticket;
use super::{Blueprint, INSTANCE_IDLE, REQUESTS_PER_INSTANCE};
use crate::body::{Guest, GuestBody};
use crate::log::{Level, Message, RequestId};

/// Past a deadline that the guest's own loop should have kept.
const DEADLINE_GRACE: Duration = Duration::from_millis(100);
/// How often it is looked whether anybody still reads from an instance.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Answers requests with instances of one 0.3 component.
pub(super) struct Workers {
    blueprint: Arc<Blueprint>,
    /// Instances that requests share; `None` if each has its own.
    shared: Option<ProxyHandler<Pool>>,
    /// Instances of one request each.
    alone: ProxyHandler<Pool>,
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workers")
            .field("blueprint", &self.blueprint)
            .finish_non_exhaustive()
    }
}

impl Workers {
    pub(super) fn new(
        blueprint: Arc<Blueprint>,
        pre: ServicePre<InstanceState>,
        at_once: usize,
        isolation: Isolation,
    ) -> Workers {
        let pool = |at_once, requests| {
            ProxyHandler::new(Pool {
                blueprint: Arc::clone(&blueprint),
                pre: pre.clone(),
                at_once,
                requests,
            })
        };
        Workers {
            shared: (isolation == Isolation::Shared).then(|| pool(at_once, REQUESTS_PER_INSTANCE)),
            alone: pool(1, 1),
            blueprint: Arc::clone(&blueprint),
        }
    }

    pub(super) async fn answer(
        &self,
        request: Request<WasiBody>,
        id: RequestId,
    ) -> Result<Response<GuestBody>, Fault> {
        let Some(shared) = &self.shared else {
            return self.ask(&self.alone, request, id).await;
        };
        let again = repeatable(&request);
        match (self.ask(shared, request, id).await, again) {
            // The instance died under it, maybe by another's fault.
            (Err(fault), Some(again))
                if fault.kind == FaultKind::Guest && fault.limit.is_none() =>
            {
                self.blueprint.log.message(
                    Message::new(Level::Debug, "a safe request is run once more")
                        .with("request_id", id)
                        .with("error", fault.message),
                );
                self.ask(&self.alone, again, id).await
            }
            (result, _) => result,
        }
    }

    async fn ask(
        &self,
        handler: &ProxyHandler<Pool>,
        request: Request<WasiBody>,
        id: RequestId,
    ) -> Result<Response<GuestBody>, Fault> {
        let limits = &self.blueprint.limits;
        // From outside, and a little later than the worker's own look, which also retires the
        // instance.
        let patience = limits.time + 2 * DEADLINE_GRACE;
        let ticket = Ticket::new(id);
        let answer = tokio::time::timeout(patience, handler.handle(ticket.clone(), request)).await;
        let timed_out = || Fault::limit(LimitHit::Time { limit: limits.time });
        match answer {
            Err(_) => Err(timed_out()),
            Ok(Ok(response)) => {
                let guest = Guest::Shared(ticket.answered());
                let after = self.blueprint.after(id);
                Ok(GuestBody::wrap(response, guest, limits, after))
            }
            Ok(Err(error)) if error.is::<ExpirationError>() => Err(timed_out()),
            Ok(Err(error)) => Err(explain(&ticket, &error).await),
        }
    }
}

/// A copy of a request that may be run twice: a safe method (RFC 9110, section 9.2.1) and no
/// body.
fn repeatable(request: &Request<WasiBody>) -> Option<Request<WasiBody>> {
    let safe = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if !safe || !request.body().is_end_stream() {
        return None;
    }
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    let mut copy = Request::new(body);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// What the instances of one kind are made from.
struct Pool {
    blueprint: Arc<Blueprint>,
    pre: ServicePre<InstanceState>,
    at_once: usize,
    requests: usize,
}

/// Why a request got no answer.
async fn explain(ticket: &Ticket, error: &wasmtime::Error) -> Fault {
    if let Some(failed) = error.downcast_ref::<InstantiationError<Ticket>>() {
        return Fault::from_wasmtime(&failed.error, None);
    }
    if error.is::<TrapOrPanicError>() {
        return ticket.cause().await;
    }
    if let Some(code) = error.downcast_ref::<ErrorCode>() {
        return Fault::new(
            FaultKind::Guest,
            format!("the guest answered with an error: {code:?}"),
        );
    }
    exit_fault(error).unwrap_or_else(|| Fault::from_wasmtime(error, None))
}

impl HandlerState for Pool {
    type StoreData = InstanceState;
    type WorkerExpiration = Expiration;
    type WorkerState = Worker;

    async fn instantiate(&self) -> wasmtime::Result<Instance<InstanceState, Expiration, Worker>> {
        let (state, meter, output) = self.blueprint.state()?;
        let mut store = self.blueprint.engine.new_store(state);
        let time = self.blueprint.limits.time;
        let making = meter.measure(Box::pin(self.pre.instantiate_async(&mut store)));
        let service = match tokio::time::timeout(time, making).await {
            Ok(Ok(service)) => service,
            Ok(Err(error)) => {
                let hit = store.data().store_limits().hit();
                return Err(Fault::from_wasmtime(&error, hit).into());
            }
            Err(_) => return Err(Fault::limit(LimitHit::Time { limit: time }).into()),
        };
        let tickets = Tickets::default();
        let overdue = Arc::new(AtomicBool::new(false));
        Ok(Instance {
            store,
            proxy: Proxy::P3(service),
            view: InstanceState::http,
            expiration: Expiration {
                meter: meter.clone(),
                time,
                sleep: Box::pin(tokio::time::sleep(INSTANCE_IDLE)),
                tickets: Arc::clone(&tickets),
                last_read: Instant::now(),
                overdue: Arc::clone(&overdue),
            },
            state: Worker {
                blueprint: Arc::clone(&self.blueprint),
                meter,
                output,
                at_once: self.at_once,
                requests: self.requests,
                tickets,
                overdue,
            },
        })
    }
}

/// The requests that an instance has taken.
type Tickets = Arc<Mutex<Vec<Ticket>>>;

/// Ends an instance: idle too long, or past a deadline that the guest's loop did not notice. It
/// is polled after each poll of the guest, outside the guest's loop.
struct Expiration {
    meter: CpuMeter,
    time: Duration,
    sleep: Pin<Box<Sleep>>,
    tickets: Tickets,
    /// When somebody was last seen reading a response.
    last_read: Instant,
    /// Set when the instance is ended while it is at work.
    overdue: Arc<AtomicBool>,
}

impl WorkerExpiration for Expiration {
    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        status: WorkerStatus,
        start: Instant,
    ) -> Poll<()> {
        self.meter.poll_ends();
        let patience = self.time + DEADLINE_GRACE;
        let deadline = match status {
            WorkerStatus::Idle => start + INSTANCE_IDLE,
            WorkerStatus::Requests => start + patience,
            // A response may take as long as it brings something; the body looks after that.
            WorkerStatus::PostReturn if self.is_being_read() => {
                self.last_read = Instant::now();
                self.last_read + LOOK_EVERY
            }
            WorkerStatus::PostReturn => start.max(self.last_read) + patience,
        };
        let deadline = tokio::time::Instant::from_std(deadline);
        if self.sleep.deadline() != deadline {
            self.sleep.as_mut().reset(deadline);
        }
        std::task::ready!(self.sleep.as_mut().poll(cx));
        let at_work = status != WorkerStatus::Idle;
        self.overdue.store(at_work, Ordering::Release);
        Poll::Ready(())
    }
}

impl Expiration {
    fn is_being_read(&self) -> bool {
        let tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        tickets.iter().any(Ticket::is_being_read)
    }
}

/// One instance at work.
struct Worker {
    blueprint: Arc<Blueprint>,
    meter: CpuMeter,
    output: InstanceOutput,
    at_once: usize,
    requests: usize,
    tickets: Tickets,
    overdue: Arc<AtomicBool>,
}

impl WorkerState for Worker {
    type StoreData = InstanceState;
    type RequestData = Ticket;

    fn should_accept_request(&self, at_once: usize, so_far: usize) -> ShouldAccept {
        if so_far >= self.requests {
            ShouldAccept::Never
        } else if at_once >= self.at_once {
            ShouldAccept::No
        } else {
            ShouldAccept::Yes
        }
    }

    fn on_request_start(
        &self,
        _: StoreContextMut<'_, InstanceState>,
        ticket: Ticket,
        task: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        self.meter.refill();
        let at_work = self.output.request(ticket.id, Some(task));
        self.tickets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(ticket);
        Box::pin(Deadline {
            _at_work: at_work,
            sleep: Box::pin(tokio::time::sleep(self.blueprint.limits.time)),
        })
    }

    fn drop(&self, store: Store<InstanceState>, result: Result<(), wasmtime::Error>) {
        let hit = store.data().store_limits().hit();
        let fault = match result {
            Err(error) => exit_fault(&error).unwrap_or_else(|| Fault::from_wasmtime(&error, hit)),
            Ok(()) if self.overdue.load(Ordering::Acquire) => Fault::limit(LimitHit::Time {
                limit: self.blueprint.limits.time,
            }),
            Ok(()) => return,
        };
        let tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        for ticket in tickets.iter() {
            ticket.died_of(&fault);
        }
        // Whoever waits for an answer reports the fault; here speaks the instance that had
        // answered them all.
        if tickets.iter().all(Ticket::is_answered) {
            let mut message = Message::new(Level::Error, fault.message)
                .with("kind", fault.kind.as_str())
                .with("component", &*self.blueprint.name)
                .with("when", "after its responses");
            if let Some(backtrace) = &fault.backtrace {
                message = message.with("backtrace", backtrace.trim_end());
            }
            self.blueprint.log.message(message);
        }
    }
}

/// Fires when a request is past its time; until then its output is known to be its.
struct Deadline {
    _at_work: AtWork,
    sleep: Pin<Box<Sleep>>,
}

impl Future for Deadline {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.sleep.as_mut().poll(cx)
    }
}

/// The fault of a guest that called `exit`, which no server may.
pub(super) fn exit_fault(error: &wasmtime::Error) -> Option<Fault> {
    let code = wharf_host::exit_code(error)?;
    Some(
        Fault::new(FaultKind::Guest, format!("the guest called exit({code})"))
            .with_hint("a handler returns its response; `exit` ends the whole instance"),
    )
}

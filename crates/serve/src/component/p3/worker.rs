//! One shared instance at work.
//!
//! Inside the guest's event loop, requests are taken and their heads awaited. The loop stands
//! still while the guest computes or waits in a call that holds the store, so deadlines are
//! kept outside it, after each poll of the whole.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::Sleep;
use wasmtime::Store;
use wasmtime::component::Accessor;
use wasmtime_wasi_http::p3::bindings::Service;
use wharf_engine::{CpuMeter, Fault, LimitHit};
use wharf_host::InstanceState;

use super::call::Call;
use super::pool::{Job, Pool, Seat};
use super::retirement::Retirement;
use super::ticket::{Stage, Ticket};
use crate::component::output::InstanceOutput;
use crate::component::{Blueprint, INSTANCE_IDLE, own};
use crate::log::{Level, Message};

/// How long a guest may go on for a client that left: if it works for nobody else, it is ended
/// then; else what goes on does not count among the requests at once any more.
const LEAVING: Duration = Duration::from_secs(1);
/// How often it is looked whether anybody still reads from an instance.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Makes an instance and answers requests with it, `first` and others, until it is idle too
/// long, has taken all that it may, or fails.
pub(super) async fn work(mut seat: Seat, first: Job) {
    let pool = Arc::clone(seat.pool());
    let roll = Roll::default();
    if !first.ticket.take(&roll.retirement) {
        return;
    }
    roll.add(&first.ticket);
    let mut instance = match Instance::make(&pool, first.ticket.deadline()).await {
        Ok(instance) => instance,
        Err(fault) => return roll.end(Some(&fault)),
    };
    seat.started();
    let result = instance.run(&mut seat, &roll, first).await;
    let fault = match result {
        Ok(End::Over) => None,
        Ok(End::Overdue) => Some(time_out(&pool.blueprint)),
        Err(error) => Some(own::fault(&error, &instance.store)),
    };
    // Before the store's streams break, so that who reads knows why.
    let nobody_waits = roll.all_answered();
    roll.end(fault.as_ref());
    if let Some(fault) = fault.filter(|_| nobody_waits) {
        // Whoever waits for an answer reports the fault; here speaks the instance that had
        // answered them all.
        let mut message = Message::new(Level::Error, fault.message)
            .with("kind", fault.kind.as_str())
            .with("component", &*pool.blueprint.name)
            .with("when", "after its responses");
        if let Some(backtrace) = &fault.backtrace {
            message = message.with("backtrace", backtrace.trim_end());
        }
        pool.blueprint.log.message(message);
    }
}

fn time_out(blueprint: &Blueprint) -> Fault {
    Fault::limit(LimitHit::Time {
        limit: blueprint.limits.time,
    })
}

struct Instance {
    store: Store<InstanceState>,
    service: Service,
    meter: CpuMeter,
    output: InstanceOutput,
}

/// How an instance ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It had nothing to do any more, or nobody to do it for.
    Over,
    /// It was at work past every deadline.
    Overdue,
}

impl Instance {
    async fn make(pool: &Pool, deadline: Instant) -> Result<Instance, Fault> {
        let (state, meter, output) = pool.blueprint.state()?;
        let mut store = pool.blueprint.engine.new_store(state);
        let making = meter.measure(Box::pin(pool.pre.instantiate_async(&mut store)));
        let service = match tokio::time::timeout_at(deadline.into(), making).await {
            Ok(Ok(service)) => service,
            Ok(Err(error)) => return Err(own::fault(&error, &store)),
            Err(_) => return Err(time_out(&pool.blueprint)),
        };
        Ok(Instance {
            store,
            service,
            meter,
            output,
        })
    }

    async fn run(&mut self, seat: &mut Seat, roll: &Roll, first: Job) -> wasmtime::Result<End> {
        let pool = Arc::clone(seat.pool());
        let guest = Guest {
            pool: &pool,
            service: &self.service,
            output: &self.output,
            roll,
        };
        let inside = async |accessor: &Accessor<InstanceState>| guest.serve(accessor, first).await;
        let running = pin!(self.store.run_concurrent(inside));
        let mut running = self.meter.measure(running);
        let mut watch = Watch::new(pool.blueprint.limits.time);
        std::future::poll_fn(|cx| {
            roll.retirement.watched_by(cx);
            loop {
                seat.leave();
                roll.poll_begins();
                if let Poll::Ready(result) = Pin::new(&mut running).poll(cx) {
                    return Poll::Ready(result.flatten().map(|()| End::Over));
                }
                if let Poll::Ready(end) = watch.poll(cx, roll) {
                    return Poll::Ready(Ok(end));
                }
                // Who is stopped in the middle of a computation can take nobody, and to the
                // others it may be long.
                if roll.is_open() && !self.meter.is_computing() {
                    if seat.park(cx) {
                        return Poll::Pending;
                    }
                } else {
                    pool.relieve();
                    return Poll::Pending;
                }
            }
        })
        .await
    }
}

/// What runs inside the guest's event loop.
struct Guest<'a> {
    pool: &'a Pool,
    service: &'a Service,
    output: &'a InstanceOutput,
    roll: &'a Roll,
}

impl Guest<'_> {
    /// Takes requests, `first` to begin with, until no more may come and no task is left.
    async fn serve(&self, accessor: &Accessor<InstanceState>, first: Job) -> wasmtime::Result<()> {
        let handler = *self.service.wasi_http_handler().func_handle().func();
        let mut at_work = FuturesUnordered::new();
        at_work.push(self.answer(accessor, first));
        self.roll.takes_one();
        let mut taken = 1;
        std::future::poll_fn(|cx| {
            loop {
                while let Poll::Ready(Some(result)) = at_work.poll_next_unpin(cx) {
                    result?;
                }
                let open = taken < self.pool.requests
                    && !self.roll.retirement.is_retired()
                    && accessor
                        .poll_ready_for_concurrent_call(handler, cx)
                        .is_ready();
                let has_room = open && at_work.len() < self.pool.at_once;
                // One at a time: it may compute, and then another instance is better off with
                // the next.
                if has_room
                    && !self.roll.has_taken_one()
                    && let Some(job) = self.pool.take(&self.roll.retirement)
                {
                    self.roll.add(&job.ticket);
                    self.roll.takes_one();
                    taken += 1;
                    at_work.push(self.answer(accessor, job));
                    continue;
                }
                self.roll.has_room(has_room);
                if !at_work.is_empty() || accessor.poll_no_interesting_tasks(cx).is_pending() {
                    return Poll::Pending;
                }
                self.roll.rest();
                return if open {
                    Poll::Pending
                } else {
                    Poll::Ready(Ok(()))
                };
            }
        })
        .await
    }

    async fn answer(&self, accessor: &Accessor<InstanceState>, job: Job) -> wasmtime::Result<()> {
        let Job { request, ticket } = job;
        let call = Call::start(accessor, self.service, request)?;
        let _at_work = self.output.request(ticket.id(), Some(call.task()));
        let mut head = pin!(call.head(accessor));
        let head = std::future::poll_fn(|cx| {
            if let Poll::Ready(head) = head.as_mut().poll(cx) {
                return Poll::Ready(Some(head));
            }
            ticket.poll_left(cx).map(|()| None)
        });
        match head.await {
            // Its task cannot be ended alone; the instance takes no more and ends after it.
            None => {}
            Some(Ok(Ok(response))) => ticket.answer(Ok(response)),
            Some(Ok(Err(code))) => ticket.answer(Err(own::refused_by_guest(&code))),
            Some(Err(error)) => {
                self.roll.retirement.retire();
                ticket.answer(Err(Fault::from_wasmtime(&error, None)));
            }
        }
        Ok(())
    }
}

/// The requests that an instance has taken, and what those who look at it from outside the
/// guest's loop must know.
#[derive(Default)]
struct Roll {
    retirement: Arc<Retirement>,
    state: Mutex<RollState>,
}

#[derive(Default)]
struct RollState {
    tickets: Vec<Ticket>,
    /// The guest's loop was reached in this poll, and there is room for a request.
    open: bool,
    /// A request was taken in this poll.
    taken: bool,
    /// Since when no task is left.
    resting_since: Option<Instant>,
}

impl Roll {
    fn lock(&self) -> MutexGuard<'_, RollState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, ticket: &Ticket) {
        let tickets = &mut self.lock().tickets;
        tickets.retain(|ticket| ticket.stage() != Stage::Done);
        tickets.push(ticket.clone());
    }

    fn poll_begins(&self) {
        let mut state = self.lock();
        state.open = false;
        state.taken = false;
    }

    fn takes_one(&self) {
        let mut state = self.lock();
        state.taken = true;
        state.resting_since = None;
    }

    fn has_taken_one(&self) -> bool {
        self.lock().taken
    }

    fn has_room(&self, open: bool) {
        self.lock().open = open;
    }

    fn is_open(&self) -> bool {
        self.lock().open
    }

    /// No task is left: for those whose clients left, too, all is done.
    fn rest(&self) {
        let mut state = self.lock();
        for ticket in &state.tickets {
            if matches!(ticket.stage(), Stage::Left(_)) {
                ticket.done();
            }
        }
        state.resting_since.get_or_insert_with(Instant::now);
    }

    fn resting_since(&self) -> Option<Instant> {
        self.lock().resting_since
    }

    fn all_answered(&self) -> bool {
        let state = self.lock();
        let mut stages = state.tickets.iter().map(Ticket::stage);
        stages.all(|stage| stage != Stage::Waiting)
    }

    fn end(&self, fault: Option<&Fault>) {
        for ticket in self.lock().tickets.drain(..) {
            ticket.ended(fault);
        }
    }
}

impl Drop for Roll {
    fn drop(&mut self) {
        self.end(None);
    }
}

/// Looks from outside whether an instance is idle too long, or at work for nobody.
struct Watch {
    time: Duration,
    /// Since when its tasks have neither a request that waits nor a response that is read.
    alone_since: Option<Instant>,
    sleep: Pin<Box<Sleep>>,
}

impl Watch {
    fn new(time: Duration) -> Watch {
        Watch {
            time,
            alone_since: None,
            sleep: Box::pin(tokio::time::sleep(time)),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, roll: &Roll) -> Poll<End> {
        // Ends move on with each request, so the timer is set anew only when it rings, or when
        // it would ring too late.
        let resting_since = roll.resting_since();
        let soon = match resting_since {
            Some(since) => Some(since + INSTANCE_IDLE),
            None if roll.retirement.is_retired() => Some(Instant::now() + LEAVING),
            None => None,
        };
        if let Some(soon) = soon.filter(|soon| self.sleep.deadline() > (*soon).into()) {
            self.sleep.as_mut().reset(soon.into());
        }
        while self.sleep.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let (at, end) = match resting_since {
                Some(since) => (since + INSTANCE_IDLE, End::Over),
                None => self.end_of_work(roll, now),
            };
            if at <= now {
                return Poll::Ready(end);
            }
            self.sleep.as_mut().reset(at.into());
        }
        Poll::Pending
    }

    /// When and how the instance must end, unless somebody then waits for it or reads from it.
    fn end_of_work(&mut self, roll: &Roll, now: Instant) -> (Instant, End) {
        let state = roll.lock();
        let mut left_until = None;
        let mut is_wanted = false;
        for ticket in &state.tickets {
            match ticket.stage() {
                // A response may take as long as it brings something; the body looks after
                // that. Who waits leaves at the deadline.
                Stage::Reading | Stage::Waiting => is_wanted = true,
                Stage::Left(since) => {
                    let last = since + LEAVING;
                    left_until = left_until.max(Some(last));
                    if last <= now {
                        // What goes on is bounded by the CPU limit: no new request refills a
                        // retired instance.
                        ticket.done();
                    }
                }
                Stage::Done => {}
            }
        }
        if is_wanted {
            self.alone_since = None;
            return (now + LOOK_EVERY, End::Over);
        }
        if let Some(last) = left_until {
            return (last, End::Over);
        }
        let alone_since = *self.alone_since.get_or_insert(now);
        (alone_since + self.time, End::Overdue)
    }
}

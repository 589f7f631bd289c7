//! One shared instance at work.
//!
//! Inside the guest's event loop, requests are taken and their heads awaited. The loop stands
//! still while the guest computes or waits in a call that holds the store, so deadlines are
//! kept outside it, after each poll of the whole.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use futures_util::stream::{FuturesUnordered, StreamExt};
use wasmtime::component::Accessor;
use wasmtime_wasi_http::p3::bindings::Service;
use wharf_engine::{CpuMeter, Fault};
use wharf_host::InstanceState;

use super::call::Call;
use super::pool::{Job, Pool, Seat};
use super::roll::Roll;
use super::watch::{End, Watch};
use crate::component::output::InstanceOutput;
use crate::component::own;
use crate::component::store::OwnStore;
use crate::component::ticket::{Stage, Ticket};

/// Makes an instance and sets it to work in a task of its own.
pub(super) fn start(seat: Seat, first: Job) {
    tokio::spawn(work(seat, first));
}

/// Answers requests with an instance, `first` and others, until it is idle too long, has taken
/// all that it may, or fails.
async fn work(mut seat: Seat, first: Job) {
    let pool = Arc::clone(seat.pool());
    let (state, meter, output) = match pool.blueprint.state() {
        Ok(parts) => parts,
        Err(fault) => return first.ticket.fail(fault),
    };
    let roll = Roll::new(meter.clone());
    if !roll.take(&first.ticket) {
        return;
    }
    let mut store = OwnStore::new(pool.blueprint.engine.new_store(state));
    let making = meter.measure(Box::pin(pool.pre.instantiate_async(&mut *store)));
    let made = match tokio::time::timeout_at(first.ticket.deadline().into(), making).await {
        Ok(Ok(service)) => Ok(service),
        Ok(Err(error)) => Err(own::fault(&error, &store)),
        Err(_) => Err(pool.blueprint.out_of_time()),
    };
    let service = match made {
        Ok(service) => service,
        Err(fault) => {
            // Before its place is given to another.
            drop(store);
            return first.ticket.fail(fault);
        }
    };
    seat.started();
    let mut instance = Instance {
        store,
        service,
        meter,
        output,
    };
    // Named last, so that in a panic the requests learn of it before the store is gone.
    let (roll, first) = match first.ticket.stage() {
        Stage::Waiting => (roll, Some(first)),
        // It has seen no request yet, so it may serve others.
        _ => {
            first.ticket.over();
            drop((roll, first));
            (Roll::new(instance.meter.clone()), None)
        }
    };
    let result = instance.run(&mut seat, &roll, first).await;
    let fault = match result {
        Ok(End::Over) => None,
        Ok(End::Overdue) => Some(pool.blueprint.out_of_time()),
        Err(error) => Some(own::fault(&error, &instance.store)),
    };
    if let Some(fault) = &fault {
        // Before the store's streams break, so that who reads knows why.
        if roll.doom(fault) {
            pool.blueprint.log_fault(fault, None);
        }
    }
    // Before its requests look for another.
    drop(instance);
    roll.end(fault.as_ref());
}

struct Instance {
    store: OwnStore,
    service: Service,
    meter: CpuMeter,
    output: InstanceOutput,
}

impl Instance {
    async fn run(
        &mut self,
        seat: &mut Seat,
        roll: &Roll,
        first: Option<Job>,
    ) -> wasmtime::Result<End> {
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
            roll.link().watched_by(cx);
            roll.poll_begins();
            seat.leave();
            if let Poll::Ready(result) = Pin::new(&mut running).poll(cx) {
                return Poll::Ready(result.flatten().map(|()| End::Over));
            }
            if let Poll::Ready(end) = watch.poll(cx, roll) {
                return Poll::Ready(Ok(end));
            }
            // Who is stopped in the middle of a computation can take nobody; nor can who waits
            // in a call that holds the store, which shows at the next poll.
            if !roll.poll_ends() || self.meter.is_computing() {
                pool.relieve();
            } else if !seat.park(cx) {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
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
    async fn serve(
        &self,
        accessor: &Accessor<InstanceState>,
        first: Option<Job>,
    ) -> wasmtime::Result<()> {
        let handler = *self.service.wasi_http_handler().func_handle().func();
        let mut heads = FuturesUnordered::new();
        heads.extend(first.map(|first| self.answer(accessor, first)));
        std::future::poll_fn(|cx| {
            loop {
                while let Poll::Ready(Some(())) = heads.poll_next_unpin(cx) {}
                let is_idle = accessor.poll_no_interesting_tasks(cx).is_ready();
                let (taken, at_work) = self.roll.counts();
                let may_take = taken < self.pool.requests
                    && !self.roll.link().is_retired()
                    && accessor
                        .poll_ready_for_concurrent_call(handler, cx)
                        .is_ready();
                let has_room = match self.pool.at_once {
                    // Nobody else may be at work, not even after an answer.
                    1 => may_take && at_work == 0 && is_idle,
                    at_once => may_take && at_work < at_once,
                };
                // One in a poll: it may compute, and then another instance is better off with
                // the next.
                if has_room
                    && !self.roll.takes_one()
                    && let Some(job) = self.pool.take(self.roll)
                {
                    heads.push(self.answer(accessor, job));
                    continue;
                }
                self.roll.set_room(has_room);
                if !has_room && may_take && self.roll.counts().1 < at_work {
                    // One was over before it could know that it is waited for.
                    continue;
                }
                let is_over = heads.is_empty() && is_idle && self.roll.rests() && !may_take;
                return match is_over {
                    true => Poll::Ready(Ok(())),
                    false => Poll::Pending,
                };
            }
        })
        .await
    }

    async fn answer(&self, accessor: &Accessor<InstanceState>, job: Job) {
        let Job { request, ticket } = job;
        if ticket.stage() != Stage::Waiting {
            return;
        }
        let call = match Call::start(accessor, self.service, request) {
            Ok(call) => call,
            Err(error) => return self.give_up(accessor, &ticket, &error),
        };
        self.roll
            .prints(&ticket, self.output.request(ticket.id(), Some(call.task())));
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
            Some(Ok(Ok(response))) => ticket.answer(response),
            Some(Ok(Err(code))) => ticket.fail(own::refused_by_guest(&code)),
            Some(Err(error)) => self.give_up(accessor, &ticket, &error),
        }
    }

    fn give_up(
        &self,
        accessor: &Accessor<InstanceState>,
        ticket: &Ticket,
        error: &wasmtime::Error,
    ) {
        let fault = accessor.with(|mut access| Fault::of_store(error, access.get().store_limits()));
        self.roll.give_up(ticket, &fault);
    }
}

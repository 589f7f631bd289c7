//! The instances that requests share, and which of them takes the next request.
//!
//! A request is given to no instance in particular: it waits in one queue, and an instance that
//! has nothing to compute takes it. So nobody waits behind another's computation. An instance
//! that is busy and sees somebody wait has the next one made.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use http::Request;
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::p3::bindings::ServicePre;
use wharf_host::InstanceState;

use super::roll::Roll;
use crate::component::Blueprint;
use crate::component::ticket::Ticket;

/// A request, and the ticket by which it is answered.
pub(super) struct Job {
    pub(super) request: Request<WasiBody>,
    pub(super) ticket: Ticket,
}

/// The shared instances of one component.
pub(super) struct Pool {
    pub(super) blueprint: Arc<Blueprint>,
    pub(super) pre: ServicePre<InstanceState>,
    /// Requests at once on one instance.
    pub(super) at_once: usize,
    /// Requests that one instance takes in its life.
    pub(super) requests: usize,
    /// Makes an instance and sets it to work.
    start: fn(Seat, Job),
    desk: Mutex<Desk>,
}

#[derive(Default)]
struct Desk {
    queue: VecDeque<Job>,
    /// Instances that wait for a request, the latest last: it is the warmest, and the others
    /// grow old.
    parked: Vec<(WorkerId, Waker)>,
    /// Instances that are being made.
    starting: usize,
    made: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct WorkerId(u64);

impl Pool {
    pub(super) fn new(
        blueprint: Arc<Blueprint>,
        pre: ServicePre<InstanceState>,
        at_once: usize,
        requests: usize,
        start: fn(Seat, Job),
    ) -> Pool {
        Pool {
            blueprint,
            pre,
            at_once,
            requests,
            start,
            desk: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `job` done by an instance that is free, or by a new one.
    pub(super) fn give(self: &Arc<Pool>, job: Job) {
        let mut desk = self.lock();
        let worker = desk.parked.pop();
        // One that is being made will have room for others soon.
        let room = desk.starting * (self.at_once - 1);
        if worker.is_none() && desk.queue.len() >= room {
            return self.start(desk, job);
        }
        desk.queue.push_back(job);
        drop(desk);
        if let Some((_, waker)) = worker {
            waker.wake();
        }
    }

    /// The next request that somebody still waits for; it is on `roll` now.
    pub(super) fn take(&self, roll: &Roll) -> Option<Job> {
        loop {
            let job = self.lock().queue.pop_front()?;
            if roll.take(&job.ticket) {
                return Some(job);
            }
        }
    }

    /// Has somebody else take what waits, for the caller cannot.
    pub(super) fn relieve(self: &Arc<Pool>) {
        loop {
            let mut desk = self.lock();
            let room = desk.starting * self.at_once;
            if desk.queue.len() <= room {
                return;
            }
            if let Some((_, waker)) = desk.parked.pop() {
                drop(desk);
                waker.wake();
                return;
            }
            if let Some(job) = desk.queue.pop_front() {
                self.start(desk, job);
            }
        }
    }

    fn start(self: &Arc<Pool>, mut desk: MutexGuard<'_, Desk>, job: Job) {
        desk.starting += 1;
        desk.made += 1;
        let id = WorkerId(desk.made);
        drop(desk);
        let seat = Seat {
            pool: Arc::clone(self),
            id,
            parked: false,
            starting: true,
        };
        (self.start)(seat, job);
    }
}

/// One instance's place at the desk.
pub(super) struct Seat {
    pool: Arc<Pool>,
    id: WorkerId,
    parked: bool,
    starting: bool,
}

impl Seat {
    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// The instance is made.
    pub(super) fn started(&mut self) {
        if std::mem::take(&mut self.starting) {
            self.pool.lock().starting -= 1;
        }
    }

    /// Waits for a request; false if one is there.
    pub(super) fn park(&mut self, cx: &Context<'_>) -> bool {
        let mut desk = self.pool.lock();
        if !desk.queue.is_empty() {
            return false;
        }
        desk.parked.push((self.id, cx.waker().clone()));
        self.parked = true;
        true
    }

    /// Is at work, or may be.
    pub(super) fn leave(&mut self) {
        if std::mem::take(&mut self.parked) {
            let id = self.id;
            let mut desk = self.pool.lock();
            desk.parked.retain(|(parked, _)| *parked != id);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
        self.started();
        self.pool.relieve();
    }
}

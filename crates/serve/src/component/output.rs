//! What a guest prints, attributed to the request that it works on.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, Method, Uri};
use wasmtime::component::GuestTaskId;
use wharf_engine::Held;
use wharf_host::{GuestOutput, OutgoingCall, OutputStream};

use super::{Blueprint, outgoing};
use crate::log::{GuestLog, GuestStream, LogBudget, RequestId};
use crate::metrics::LiveInstance;

/// Requests of an instance that are remembered when they are over: their tasks may still be at
/// work, and print.
const REMEMBERED_MAX: usize = 64;

/// The output of one instance. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct InstanceOutput(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    blueprint: Arc<Blueprint>,
    requests: Mutex<Requests>,
    /// Counts the instance while it lives.
    _alive: (LiveInstance, Held),
}

#[derive(Debug, Default)]
struct Requests {
    at_work: Vec<Arc<RequestOutput>>,
    remembered: VecDeque<Arc<RequestOutput>>,
    /// For what nobody can attribute.
    nobody: Option<Arc<RequestOutput>>,
}

/// The output of one request.
#[derive(Debug)]
struct RequestOutput {
    id: Option<RequestId>,
    /// Its task on a shared instance.
    task: Option<GuestTaskId>,
    streams: Mutex<Option<Streams>>,
    blueprint: Arc<Blueprint>,
}

/// Made when the guest first prints: most requests print nothing.
#[derive(Debug)]
struct Streams {
    stdout: GuestLog,
    stderr: GuestLog,
}

impl InstanceOutput {
    pub(super) fn new(blueprint: Arc<Blueprint>, alive: (LiveInstance, Held)) -> InstanceOutput {
        InstanceOutput(Arc::new(Shared {
            blueprint,
            requests: Mutex::default(),
            _alive: alive,
        }))
    }

    pub(super) fn sink(&self) -> Arc<dyn GuestOutput> {
        Arc::new(self.clone())
    }

    /// The instance works on the request `id` until the guard is dropped; `task` is the
    /// request's on a shared instance.
    pub(super) fn request(&self, id: RequestId, task: Option<GuestTaskId>) -> AtWork {
        let request = self.0.open(Some(id), task);
        self.0.lock().at_work.push(Arc::clone(&request));
        AtWork {
            request,
            instance: Arc::clone(&self.0),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, id: Option<RequestId>, task: Option<GuestTaskId>) -> Arc<RequestOutput> {
        Arc::new(RequestOutput {
            id,
            task,
            streams: Mutex::default(),
            blueprint: Arc::clone(&self.blueprint),
        })
    }
}

impl RequestOutput {
    fn write(&self, stream: OutputStream, bytes: &[u8]) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let streams = streams.get_or_insert_with(|| {
            let blueprint = &*self.blueprint;
            let budget = LogBudget::new(blueprint.limits.log).telling(blueprint.log_met.clone());
            let open = |stream| {
                let (app, name) = (Arc::clone(&blueprint.app), Arc::clone(&blueprint.name));
                let log = &blueprint.log;
                log.guest(self.id, app, name, stream, budget.clone())
            };
            Streams {
                stdout: open(GuestStream::Stdout),
                stderr: open(GuestStream::Stderr),
            }
        });
        match stream {
            OutputStream::Stdout => streams.stdout.write(bytes),
            OutputStream::Stderr => streams.stderr.write(bytes),
        }
    }

    /// Logs lines that have no end yet.
    fn flush(&self) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(streams) = &mut *streams {
            streams.stdout.flush();
            streams.stderr.flush();
        }
    }
}

/// The output of one task, as the host writes to it.
struct TaskOutput(Arc<RequestOutput>);

impl GuestOutput for TaskOutput {
    fn write(&self, stream: OutputStream, bytes: &[u8]) {
        self.0.write(stream, bytes);
    }

    fn of_tasks(&self, _: &[GuestTaskId]) -> Option<Arc<dyn GuestOutput>> {
        None
    }
}

impl GuestOutput for InstanceOutput {
    /// Of a task that is not known: it is the request's if the instance has but one.
    fn write(&self, stream: OutputStream, bytes: &[u8]) {
        let request = {
            let mut requests = self.0.lock();
            match &requests.at_work[..] {
                [request] => Arc::clone(request),
                _ => Arc::clone(
                    requests
                        .nobody
                        .get_or_insert_with(|| self.0.open(None, None)),
                ),
            }
        };
        request.write(stream, bytes);
    }

    fn of_tasks(&self, tasks: &[GuestTaskId]) -> Option<Arc<dyn GuestOutput>> {
        let requests = self.0.lock();
        // The latest first: ids of tasks are used again.
        let mut latest = requests
            .at_work
            .iter()
            .rev()
            .chain(requests.remembered.iter().rev());
        let request =
            latest.find(|request| request.task.is_some_and(|task| tasks.contains(&task)))?;
        Some(Arc::new(TaskOutput(Arc::clone(request))))
    }

    fn outgoing(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &mut HeaderMap,
    ) -> Option<Box<dyn OutgoingCall>> {
        let blueprint = &*self.0.blueprint;
        if !blueprint.log.is_traced() {
            return None;
        }
        // Which of several requests it is for, only the guest can say.
        let requests = self.0.lock();
        let at_work = match &requests.at_work[..] {
            [request] => request.id,
            _ => None,
        };
        let is_sampled = |trace: u128| {
            let mut known = requests.at_work.iter().chain(&requests.remembered);
            known.any(|request| {
                request
                    .id
                    .is_some_and(|id| id.trace() == trace && id.is_sampled())
            })
        };
        let whose = (&blueprint.app, &blueprint.name);
        let at_work = (at_work, &is_sampled as &dyn Fn(u128) -> bool);
        outgoing::begin(&blueprint.log, whose, at_work, (method, uri), headers)
    }
}

/// While it lives, its request is one of those that the instance works on.
#[derive(Debug)]
pub(super) struct AtWork {
    request: Arc<RequestOutput>,
    instance: Arc<Shared>,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.request.flush();
        let mut requests = self.instance.lock();
        requests
            .at_work
            .retain(|request| !Arc::ptr_eq(request, &self.request));
        if self.request.task.is_some() {
            if requests.remembered.len() == REMEMBERED_MAX {
                requests.remembered.pop_front();
            }
            requests.remembered.push_back(Arc::clone(&self.request));
        }
    }
}

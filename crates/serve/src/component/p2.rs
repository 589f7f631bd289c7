//! WASI 0.2: one request, one instance, driven inside the connection's own task.
//!
//! The guest's run is a future that the response body owns. Polling the body polls the guest;
//! dropping it ends the guest. No task is spawned, no channel crossed, so a request costs no
//! wake-up of another thread. Only what a guest still does after its last byte moves to a task
//! of its own, for as long as its time limit allows.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use http::{Request, Response};
use tokio::sync::oneshot;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::bindings::{Proxy, ProxyPre};
use wasmtime_wasi_http::{WasiBody, WasiHttpView};
use wharf_engine::{CpuMeter, Fault};
use wharf_host::InstanceState;

use super::guest_body::{GuestBody, Leaves, Run};
use super::output::InstanceOutput;
use super::store::OwnStore;
use super::{Admitted, Blueprint, INSTANCE_IDLE, REQUESTS_PER_INSTANCE, own};
use crate::log::RequestId;

/// Answers requests with instances of one 0.2 component.
#[derive(Debug)]
pub(super) struct Driver(Arc<Shared>);

struct Shared {
    blueprint: Arc<Blueprint>,
    pre: ProxyPre<InstanceState>,
    /// Instances that wait for their next request, the latest last; `None` without `reuse`.
    idle: Option<IdleInstances>,
}

#[derive(Default)]
struct IdleInstances(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    instances: VecDeque<Idle>,
    /// A task looks after them.
    has_reaper: bool,
}

impl IdleInstances {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver")
            .field("blueprint", &self.blueprint)
            .finish_non_exhaustive()
    }
}

struct Idle {
    instance: Live,
    since: Instant,
}

struct Live {
    store: OwnStore,
    proxy: Proxy,
    meter: CpuMeter,
    output: InstanceOutput,
    requests: usize,
}

impl Driver {
    pub(super) fn new(
        blueprint: Arc<Blueprint>,
        pre: ProxyPre<InstanceState>,
        reuse: bool,
    ) -> Driver {
        Driver(Arc::new(Shared {
            blueprint,
            pre,
            idle: reuse.then(IdleInstances::default),
        }))
    }

    pub(super) async fn answer(
        &self,
        request: Request<WasiBody>,
        admitted: Admitted,
    ) -> Result<Response<GuestBody>, Fault> {
        let (sender, head) = oneshot::channel();
        let run = self.0.start(request, admitted.id, sender)?;
        own::answer(run, head, &self.0.blueprint, admitted).await
    }
}

type Head = Result<Response<WasiBody>, ErrorCode>;

impl Shared {
    fn start(
        self: &Arc<Self>,
        request: Request<WasiBody>,
        id: RequestId,
        head: oneshot::Sender<Head>,
    ) -> Result<Run, Fault> {
        let shared = Arc::clone(self);
        if let Some(mut live) = self.take_idle() {
            live.store.data_mut().forget_hit();
            live.meter.request_ends();
            live.meter.request_begins();
            let meter = live.meter.clone();
            let run = async move { shared.run(live, request, id, head).await };
            return Ok(meter.measure(Box::pin(run)));
        }
        let (state, meter, output) = self.blueprint.state()?;
        let run = {
            let meter = meter.clone();
            async move {
                let mut store = OwnStore::new(shared.blueprint.engine.new_store(state));
                let proxy = match shared.pre.instantiate_async(&mut *store).await {
                    Ok(proxy) => proxy,
                    Err(error) => return Err(own::fault(&error, &store)),
                };
                let live = Live {
                    store,
                    proxy,
                    meter,
                    output,
                    requests: 0,
                };
                shared.run(live, request, id, head).await
            }
        };
        Ok(meter.measure(Box::pin(run)))
    }

    async fn run(
        self: &Arc<Self>,
        mut live: Live,
        request: Request<WasiBody>,
        id: RequestId,
        head: oneshot::Sender<Head>,
    ) -> Result<Leaves, Fault> {
        let at_work = live.output.request(id, None);
        live.requests += 1;
        let result = call(&mut live, request, head).await;
        drop(at_work);
        match result {
            Ok(()) => Ok(self.leaves(live)),
            Err(error) => Err(own::fault(&error, &live.store)),
        }
    }

    fn take_idle(&self) -> Option<Live> {
        let mut idle = self.idle.as_ref()?.lock();
        idle.instances.pop_back().map(|idle| idle.instance)
    }

    /// The instance, if it is for another request.
    fn leaves(self: &Arc<Self>, instance: Live) -> Leaves {
        if self.idle.is_none() || instance.requests >= REQUESTS_PER_INSTANCE {
            return None;
        }
        Some(Box::new(Handed {
            driver: Arc::clone(self),
            instance: Some(instance),
        }))
    }

    fn keep(self: &Arc<Self>, instance: Live) {
        let Some(idle) = &self.idle else { return };
        let mut waiting = idle.lock();
        waiting.instances.push_back(Idle {
            instance,
            since: Instant::now(),
        });
        if !waiting.has_reaper {
            waiting.has_reaper = true;
            tokio::spawn(reap(Arc::downgrade(self)));
        }
    }
}

/// An instance that waits for its next request once this is dropped.
struct Handed {
    driver: Arc<Shared>,
    instance: Option<Live>,
}

impl Drop for Handed {
    fn drop(&mut self) {
        if let Some(instance) = self.instance.take() {
            self.driver.keep(instance);
        }
    }
}

/// Ends instances that waited too long, until none is left.
async fn reap(driver: Weak<Shared>) {
    loop {
        tokio::time::sleep(INSTANCE_IDLE).await;
        let Some(driver) = driver.upgrade() else {
            return;
        };
        let Some(idle) = &driver.idle else { return };
        let mut waiting = idle.lock();
        let old = |idle: &Idle| idle.since.elapsed() >= INSTANCE_IDLE;
        let count = waiting
            .instances
            .iter()
            .take_while(|idle| old(idle))
            .count();
        let expired: Vec<_> = waiting.instances.drain(..count).collect();
        waiting.has_reaper = !waiting.instances.is_empty();
        let done = !waiting.has_reaper;
        drop(waiting);
        // Their memory is given back outside the lock.
        drop(expired);
        if done {
            return;
        }
    }
}

async fn call(
    live: &mut Live,
    request: Request<WasiBody>,
    head: oneshot::Sender<Head>,
) -> wasmtime::Result<()> {
    let mut http = live.store.data_mut().http();
    let scheme = match request.uri().scheme_str() {
        Some("https") => Scheme::Https,
        _ => Scheme::Http,
    };
    let request = http.new_incoming_request(scheme, request)?;
    let out = http.new_response_outparam(head)?;
    live.proxy
        .wasi_http_incoming_handler()
        .call_handle(&mut *live.store, request, out)
        .await
}

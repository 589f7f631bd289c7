//! A component, live: linked, with its authority and limits, and a way to answer.

mod output;
mod p2;
mod p3;
mod ticket;

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use wasmtime_wasi_http::WasiBody;
use wharf_engine::{CpuMeter, Engine, Fault, MemoryBudget, SlowLane, StoreLimits};
use wharf_host::{Authority, HttpHandler, InstanceState, Program};
use wharf_manifest::{ComponentName, Isolation, Limits};

use crate::admission::Admission;
use crate::body::{After, GuestBody};
use crate::log::{Log, RequestId};
use output::InstanceOutput;
pub(crate) use p2::Run;
pub(crate) use ticket::Reading;

/// Requests that one shared instance answers before it is replaced.
const REQUESTS_PER_INSTANCE: usize = 128;
/// Requests at once on one shared 0.3 instance.
const REQUESTS_AT_ONCE: usize = 16;
/// How long a shared instance waits for the next request.
const INSTANCE_IDLE: Duration = Duration::from_secs(1);

/// What every instance of a component is made from.
#[derive(Debug)]
pub(crate) struct Blueprint {
    pub(crate) app: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) engine: Engine,
    pub(crate) authority: Authority,
    pub(crate) limits: Limits,
    pub(crate) lane: SlowLane,
    pub(crate) memory: Vec<Arc<MemoryBudget>>,
    pub(crate) log: Log,
}

impl Blueprint {
    /// What a guest needs to go on after its answer to `id`.
    fn after(&self, id: RequestId) -> After {
        After {
            log: self.log.clone(),
            id,
            component: Arc::clone(&self.name),
            time: self.limits.time,
        }
    }

    /// State for one new instance, its meter, and where its output goes.
    fn state(&self) -> Result<(InstanceState, CpuMeter, InstanceOutput), Fault> {
        let meter = CpuMeter::new(self.limits.cpu, self.lane.clone());
        let limits = StoreLimits::new(
            self.limits.memory,
            self.limits.handles as usize,
            meter.clone(),
            self.memory.clone(),
        );
        let output = InstanceOutput::new(
            self.log.clone(),
            Arc::clone(&self.app),
            Arc::clone(&self.name),
            self.limits.log,
        );
        let state =
            InstanceState::new(&self.authority, limits, output.sink()).map_err(|error| {
                Fault::new(wharf_engine::FaultKind::Host, error.to_string()).with_hint(error.hint())
            })?;
        Ok((state, meter, output))
    }
}

/// A component that answers HTTP.
#[derive(Debug)]
pub(crate) struct LiveComponent {
    blueprint: Arc<Blueprint>,
    admission: Admission,
    answerer: Answerer,
}

#[derive(Debug)]
enum Answerer {
    P2(p2::Driver),
    P3(p3::Workers),
}

impl LiveComponent {
    /// `None` if the program does not answer HTTP.
    pub(crate) fn new(
        blueprint: Blueprint,
        program: &Program,
        isolation: Isolation,
        reuse: bool,
    ) -> Option<LiveComponent> {
        let blueprint = Arc::new(blueprint);
        let answerer = match program.http()? {
            HttpHandler::P2(pre) => Answerer::P2(p2::Driver::new(
                Arc::clone(&blueprint),
                pre,
                reuse && isolation == Isolation::Shared,
            )),
            HttpHandler::P3(pre) => {
                let at_once = if program.imports_p2() {
                    1
                } else {
                    REQUESTS_AT_ONCE
                };
                Answerer::P3(p3::Workers::new(
                    Arc::clone(&blueprint),
                    pre,
                    at_once,
                    isolation,
                ))
            }
        };
        let limits = &blueprint.limits;
        Some(LiveComponent {
            admission: Admission::new(limits.concurrency, limits.queue),
            blueprint,
            answerer,
        })
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.blueprint.name
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.blueprint.limits
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Answers one request. Dropping the future or the body ends a 0.2 guest; of a 0.3 guest it
    /// ends this request's streams.
    pub(crate) async fn answer(
        &self,
        request: Request<WasiBody>,
        id: RequestId,
    ) -> Result<Response<GuestBody>, Fault> {
        match &self.answerer {
            Answerer::P2(driver) => driver.answer(request, id).await,
            Answerer::P3(workers) => workers.answer(request, id).await,
        }
    }
}

/// The name of a component, for what is logged a million times.
pub(crate) fn shared_name(name: &ComponentName) -> Arc<str> {
    name.as_str().into()
}

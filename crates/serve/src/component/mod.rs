//! A component, live: linked, with its authority and limits, and a way to answer.

mod advice;
mod guest_body;
mod link;
mod outgoing;
mod output;
mod own;
mod p2;
mod p3;
mod store;
mod ticket;

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use wasmtime_wasi_http::WasiBody;
use wharf_engine::{
    CpuMeter, Engine, Fault, FaultKind, Footprint, LimitHit, SlowLane, StoreLimits, handle_bytes,
};
use wharf_host::{Authority, HttpHandler, InstanceState, Program};
use wharf_manifest::{ComponentName, Isolation, Limits};

use self::guest_body::{After, Guest};
use self::output::InstanceOutput;
use crate::activate::AppBudgets;
use crate::admission::{self, Admission, Place, Refused, Whose};
use crate::log::{Level, Log, LogLimitMet, Message, RequestId};
use crate::metrics::ComponentMetrics;

pub(crate) use self::advice::Advice;
pub(crate) use self::guest_body::GuestBody;

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
    pub(crate) advice: Arc<Advice>,
    /// What is done when the output of a request meets its limit.
    pub(crate) log_met: LogLimitMet,
    pub(crate) lane: SlowLane,
    pub(crate) budgets: AppBudgets,
    /// What one instance takes of what all share.
    pub(crate) footprint: Footprint,
    pub(crate) log: Log,
    pub(crate) metrics: Arc<ComponentMetrics>,
}

impl Blueprint {
    /// The response to `id`, whose body `guest` makes, holding `place` if it is the body's.
    fn respond(
        self: &Arc<Self>,
        response: Response<WasiBody>,
        guest: Guest,
        id: RequestId,
        place: Option<Place>,
    ) -> Response<GuestBody> {
        let after = After {
            blueprint: Arc::clone(self),
            id,
            place,
        };
        GuestBody::wrap(response, guest, &self.limits, after)
    }

    /// The fault of being past the time to the response head.
    fn out_of_time(&self) -> Fault {
        Fault::limit(LimitHit::Time {
            limit: self.limits.time,
        })
    }

    /// Logs what ended a guest, under the request that it was at work for if that is known.
    fn log_fault(&self, fault: &Fault, id: Option<RequestId>) {
        self.metrics.faulted(fault);
        let message = self.message(Level::Error, fault.message.clone(), id);
        self.log.message(self.explain(message, fault));
    }

    /// Something about a guest, with the request that it was at work for if that is known.
    pub(crate) fn message(
        &self,
        level: Level,
        text: impl Into<String>,
        id: Option<RequestId>,
    ) -> Message {
        let message = Message::new(level, text)
            .about(&self.app)
            .with("component", &*self.name);
        match id {
            Some(id) => message.with("request_id", id),
            None => message,
        }
    }

    /// `message`, with what is known of `fault` and what to do about it.
    fn explain(&self, message: Message, fault: &Fault) -> Message {
        let mut message = message.with("kind", fault.kind.as_str());
        if let Some(hint) = self.advice.on(fault) {
            message = message.with("hint", hint);
        }
        if let Some(backtrace) = &fault.backtrace {
            message = message.with("backtrace", backtrace.trim_end());
        }
        message
    }

    /// State for one new instance, its meter, and where its output goes.
    fn state(self: &Arc<Self>) -> Result<(InstanceState, CpuMeter, InstanceOutput), Fault> {
        let slot = self
            .budgets
            .instances
            .hold(self.footprint.places)
            .ok_or_else(|| Fault::limit(LimitHit::Instances))?;
        let account = self.metrics.cpu().clone();
        let meter = CpuMeter::new(self.limits.cpu, self.lane.clone(), account);
        let mut limits = StoreLimits::new(
            self.limits.memory,
            self.limits.handles as usize,
            meter.clone(),
            Some(Arc::clone(&self.budgets.memory)),
        );
        limits
            .reserve(self.footprint.bytes + handle_bytes(self.limits.handles))
            .map_err(Fault::limit)?;
        let alive = (self.metrics.instance(), slot);
        let output = InstanceOutput::new(Arc::clone(self), alive);
        let state =
            InstanceState::new(&self.authority, limits, output.sink()).map_err(|error| {
                Fault::new(FaultKind::Host, error.to_string()).with_hint(error.hint())
            })?;
        Ok((state, meter, output))
    }
}

/// A request that was let in.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) id: RequestId,
    /// When its response head must be out.
    pub(crate) deadline: Instant,
    /// Held as long as a guest may be at work for it.
    pub(crate) place: Place,
}

/// A component that answers HTTP.
#[derive(Debug)]
pub(crate) struct LiveComponent {
    blueprint: Arc<Blueprint>,
    admission: Arc<Admission>,
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
        let limits = admission_limits(&blueprint.limits);
        Some(LiveComponent {
            admission: blueprint.budgets.door(&blueprint.name, limits),
            blueprint,
            answerer,
        })
    }

    /// Its limits are those of its door from now on, which the version before may have opened.
    pub(crate) fn takes_over(&self) {
        self.admission
            .set_limits(admission_limits(&self.blueprint.limits));
    }

    pub(crate) fn blueprint(&self) -> &Arc<Blueprint> {
        &self.blueprint
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.blueprint.name
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.blueprint.limits
    }

    /// Logs why the request `id` got no answer of the guest.
    pub(crate) fn log_fault(&self, fault: &Fault, id: RequestId) {
        self.blueprint.log_fault(fault, Some(id));
    }

    /// What is said of a request that was not let in, and what to do about it.
    pub(crate) fn refusal(&self, refused: Refused) -> (String, String) {
        let max = self.blueprint.limits.concurrency;
        let raise = self.blueprint.advice.limit("concurrency");
        let raise = raise.unwrap_or_else(|| {
            "raise it with `limits.concurrency` in wharf.toml, or let more wait with `limits.queue`"
                .to_owned()
        });
        match refused.whose() {
            Whose::All => (
                format!("refused: limit of {max} requests at once met"),
                raise,
            ),
            Whose::Client(share) => (
                format!("refused: this client has its share, {share} of {max} requests at once"),
                format!(
                    "one client has seven eighths at most; if it is a proxy, name it under [proxies] in the node file; else {raise}"
                ),
            ),
        }
    }

    /// The same fault, with the hint that holds on this node.
    pub(crate) fn advised(&self, fault: Fault) -> Fault {
        match self.blueprint.advice.on(&fault) {
            Some(hint) => fault.with_hint(hint),
            None => fault,
        }
    }

    pub(crate) fn metrics(&self) -> &Arc<ComponentMetrics> {
        &self.blueprint.metrics
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Answers one request. Dropping the future or the body ends a guest that the request has
    /// for itself; of a shared one it ends this request's streams, and the instance takes no
    /// more.
    pub(crate) async fn answer(
        &self,
        request: Request<WasiBody>,
        admitted: Admitted,
    ) -> Result<Response<GuestBody>, Fault> {
        let response = match &self.answerer {
            Answerer::P2(driver) => driver.answer(request, admitted).await,
            Answerer::P3(workers) => workers.answer(request, admitted).await,
        }?;
        let status = response.status();
        if status.is_informational() {
            // Sent as the last word, it would let others take the connection for a tunnel.
            let fault = format!("the guest answered {status}, which is no final answer");
            return Err(Fault::new(FaultKind::Guest, fault));
        }
        Ok(response)
    }
}

fn admission_limits(limits: &Limits) -> admission::Limits {
    admission::Limits {
        concurrency: limits.concurrency,
        queue: limits.queue,
    }
}

/// The fault of a guest that called `exit`, which no server may.
fn exit_fault(error: &wasmtime::Error) -> Option<Fault> {
    let code = wharf_host::exit_code(error)?;
    Some(
        Fault::new(FaultKind::Guest, format!("the guest called exit({code})"))
            .with_hint("a handler returns its response; `exit` ends the whole instance"),
    )
}

/// The name of a component, for what is logged a million times.
pub(crate) fn shared_name(name: &ComponentName) -> Arc<str> {
    name.as_str().into()
}

//! WASI 0.3: instances shared by several requests, or one for each.
//!
//! A shared instance takes up to [`REQUESTS_PER_INSTANCE`] requests, some at once if nothing
//! that it imports stalls the others. Its limits are for all of them together; its CPU budget
//! grows with the requests at work. A request past its deadline is answered from outside and
//! its instance takes no more. A trap or a limit ends the instance; safe requests that it had
//! not answered are run once more, each on an instance of its own.

mod alone;
mod call;
mod pool;
mod roll;
mod watch;
mod worker;

use std::sync::Arc;

use http::{Method, Request, Response};
use http_body::Body as _;
use http_body_util::{BodyExt, Empty};
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::p3::bindings::ServicePre;
use wharf_engine::Fault;
use wharf_host::InstanceState;
use wharf_manifest::Isolation;

use self::alone::Alone;
use self::pool::{Job, Pool};
use super::guest_body::{Guest, GuestBody};
use super::ticket::{Ticket, Unanswered};
use super::{Admitted, Blueprint, REQUESTS_PER_INSTANCE};
use crate::log::{Level, Message};

/// Answers requests with instances of one 0.3 component.
pub(super) struct Workers {
    blueprint: Arc<Blueprint>,
    /// Instances that requests share; `None` if each has its own.
    shared: Option<Arc<Pool>>,
    alone: Alone,
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
        let shared = (isolation == Isolation::Shared).then(|| {
            let (blueprint, pre) = (Arc::clone(&blueprint), pre.clone());
            Arc::new(Pool::new(
                blueprint,
                pre,
                at_once,
                REQUESTS_PER_INSTANCE,
                worker::start,
            ))
        });
        Workers {
            shared,
            alone: Alone {
                blueprint: Arc::clone(&blueprint),
                pre,
            },
            blueprint,
        }
    }

    pub(super) async fn answer(
        &self,
        request: Request<WasiBody>,
        admitted: Admitted,
    ) -> Result<Response<GuestBody>, Fault> {
        let Some(pool) = &self.shared else {
            return self.alone.answer(request, admitted).await;
        };
        let Admitted {
            id,
            deadline,
            place,
        } = admitted;
        let again = repeatable(&request);
        let (ticket, asking) = Ticket::issue(id, deadline, place, again.is_some());
        pool.give(Job { request, ticket });
        let Some(answer) = asking.answer().await else {
            return Err(self.blueprint.out_of_time());
        };
        let Unanswered {
            fault,
            again: place,
        } = match answer {
            Ok((response, reading)) => {
                let guest = Guest::Shared(reading);
                return Ok(self.blueprint.respond(response, guest, id, None));
            }
            Err(unanswered) => unanswered,
        };
        let (Some(request), Some(place)) = (again, place) else {
            return Err(*fault);
        };
        self.blueprint.log.message(
            Message::new(Level::Debug, "a safe request is run once more")
                .about(&self.blueprint.app)
                .with("request_id", id)
                .with("error", fault.message),
        );
        let admitted = Admitted {
            id,
            deadline,
            place,
        };
        self.alone.answer(request, admitted).await
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

//! Instances of one request each, run inside the connection's own task.

use std::sync::Arc;

use http::{Request, Response};
use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime::component::Accessor;
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p3::bindings::{Service, ServicePre};
use wharf_engine::Fault;
use wharf_host::InstanceState;

use super::call::Call;
use crate::component::output::InstanceOutput;
use crate::component::store::OwnStore;
use crate::component::{Admitted, Blueprint, GuestBody, own};
use crate::log::RequestId;

type Head = Result<Response<WasiBody>, ErrorCode>;

/// Answers each request with an instance of its own.
pub(super) struct Alone {
    pub(super) blueprint: Arc<Blueprint>,
    pub(super) pre: ServicePre<InstanceState>,
}

impl Alone {
    pub(super) async fn answer(
        &self,
        request: Request<WasiBody>,
        admitted: Admitted,
    ) -> Result<Response<GuestBody>, Fault> {
        let (state, meter, output) = self.blueprint.state()?;
        let (sender, head) = oneshot::channel();
        let (blueprint, pre, id) = (Arc::clone(&self.blueprint), self.pre.clone(), admitted.id);
        let run = meter.measure(Box::pin(async move {
            let mut store = OwnStore::new(blueprint.engine.new_store(state));
            let result = match pre.instantiate_async(&mut *store).await {
                Ok(service) => run(&mut store, &service, &output, request, id, sender).await,
                Err(error) => Err(error),
            };
            match result {
                Ok(()) => Ok(None),
                Err(error) => Err(own::fault(&error, &store)),
            }
        }) as _);
        own::answer(run, head, &self.blueprint, admitted).await
    }
}

async fn run(
    store: &mut Store<InstanceState>,
    service: &Service,
    output: &InstanceOutput,
    request: Request<WasiBody>,
    id: RequestId,
    head: oneshot::Sender<Head>,
) -> wasmtime::Result<()> {
    let handle = async |accessor: &Accessor<InstanceState>| {
        let call = Call::start(accessor, service, request)?;
        let at_work = output.request(id, Some(call.task()));
        let answer = call.head(accessor).await?;
        // Nobody is there to take it if the client left.
        let _ = head.send(answer);
        // The task that answered may still write the body.
        std::future::poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
        drop(at_work);
        Ok(())
    };
    store.run_concurrent(handle).await?
}

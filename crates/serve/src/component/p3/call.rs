//! One call of `wasi:http/handler`, from request to response head.

use std::pin::Pin;

use http::{Request, Response};
use wasmtime::component::{Accessor, GuestTaskId, Resource, TypedFuncCallConcurrent};
use wasmtime_wasi_http::p3::bindings::Service;
use wasmtime_wasi_http::p3::bindings::http::types::{
    ErrorCode, Request as GuestRequest, Response as GuestResponse,
};
use wasmtime_wasi_http::{WasiBody, WasiHttpView, p3};
use wharf_host::InstanceState;

type Handled = (Result<Resource<GuestResponse>, ErrorCode>,);

/// A call under way.
pub(super) struct Call<'a> {
    service: &'a Service,
    call: TypedFuncCallConcurrent<InstanceState, (Resource<GuestRequest>,), Handled>,
    /// How sending the response went, for the guest.
    sent: Pin<Box<dyn Future<Output = Result<(), wasmtime_wasi_http::Error>> + Send>>,
}

impl<'a> Call<'a> {
    /// Hands `request` to the guest, as a task of its own.
    pub(super) fn start(
        accessor: &Accessor<InstanceState>,
        service: &'a Service,
        request: Request<WasiBody>,
    ) -> wasmtime::Result<Call<'a>> {
        accessor.with(|mut access| {
            let view = access.get().http();
            let (request, sent) = p3::Request::from_http(view.hooks, request);
            let request = view.table.push(request)?;
            let handler = service.wasi_http_handler().func_handle();
            Ok(Call {
                service,
                call: handler.start_call_concurrent(&mut access, (request,))?,
                sent: Box::pin(sent),
            })
        })
    }

    pub(super) fn task(&self) -> GuestTaskId {
        self.call.task()
    }

    /// What the guest answers. Its task may go on after that. A trap ends the store's whole
    /// run instead.
    pub(super) async fn head(
        self,
        accessor: &Accessor<InstanceState>,
    ) -> wasmtime::Result<Result<Response<WasiBody>, ErrorCode>> {
        let handler = self.service.wasi_http_handler().func_handle();
        let (response,) = handler.finish_call_concurrent(accessor, self.call).await?;
        let response = match response {
            Ok(response) => response,
            Err(code) => return Ok(Err(code)),
        };
        accessor.with(|mut access| {
            let response = access.get().http().table.delete(response)?;
            let response =
                response.into_http_with_getter(&mut access, self.sent, InstanceState::http)?;
            Ok(Ok(response))
        })
    }
}

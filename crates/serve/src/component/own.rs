//! An instance that one request owns: polled with the request, then with its response body.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use http::Response;
use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime_wasi_http::WasiBody;
use wharf_engine::{Fault, FaultKind};
use wharf_host::InstanceState;

use super::guest_body::{Guest, GuestBody, Run};
use super::{Admitted, Blueprint, exit_fault};

/// Runs the guest until its head is out; the body of the response runs it on.
pub(super) async fn answer<E: Debug>(
    run: Run,
    mut head: oneshot::Receiver<Result<Response<WasiBody>, E>>,
    blueprint: &Blueprint,
    admitted: Admitted,
) -> Result<Response<GuestBody>, Fault> {
    // Named after the place that it holds, so that it goes first, whatever happens.
    let mut run = run;
    let to_head = std::future::poll_fn(|cx| {
        // The guest sends the head while it is polled, so it is polled first.
        let ended = Pin::new(&mut run).poll(cx);
        if let Poll::Ready(head) = Pin::new(&mut head).poll(cx) {
            return Poll::Ready(match (head, ended) {
                (Ok(Ok(response)), Poll::Ready(Ok(()))) => Ok((response, true)),
                (Ok(Ok(response)), Poll::Pending) => Ok((response, false)),
                (_, Poll::Ready(Err(fault))) => Err(fault),
                (Ok(Err(code)), _) => Err(refused_by_guest(&code)),
                (Err(_), _) => Err(no_response()),
            });
        }
        match ended {
            Poll::Ready(Err(fault)) => Poll::Ready(Err(fault)),
            Poll::Ready(Ok(())) => Poll::Ready(Err(no_response())),
            Poll::Pending => Poll::Pending,
        }
    });
    let answered = tokio::time::timeout_at(admitted.deadline.into(), to_head).await;
    let (response, ended) = answered.map_err(|_| blueprint.out_of_time())??;
    let guest = if ended { Guest::Done } else { Guest::Own(run) };
    Ok(blueprint.respond(response, guest, admitted.id, Some(admitted.place)))
}

/// Why the guest ended before it was done.
pub(super) fn fault(error: &wasmtime::Error, store: &Store<InstanceState>) -> Fault {
    exit_fault(error).unwrap_or_else(|| Fault::of_store(error, store.data().store_limits()))
}

fn no_response() -> Fault {
    Fault::new(FaultKind::Guest, "the guest ended without a response")
        .with_hint("it must set the response outparam before it returns")
}

/// The fault of a guest that answers with an error code of WASI.
pub(super) fn refused_by_guest(code: &impl Debug) -> Fault {
    Fault::new(
        FaultKind::Guest,
        format!("the guest answered with an error: {code:?}"),
    )
}

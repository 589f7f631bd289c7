//! An instance that one request owns: polled with the request, then with its response body.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Response;
use tokio::sync::oneshot::{self, error::TryRecvError};
use wasmtime::Store;
use wasmtime_wasi_http::WasiBody;
use wharf_engine::{Fault, FaultKind, clip};
use wharf_host::InstanceState;

use super::guest_body::{Guest, GuestBody, Run};
use super::{Admitted, Blueprint, exit_fault};

/// Runs the guest until its head is out; the body of the response runs it on.
pub(super) async fn answer<E: Debug>(
    run: Run,
    mut head: oneshot::Receiver<Result<Response<WasiBody>, E>>,
    blueprint: &Arc<Blueprint>,
    admitted: Admitted,
) -> Result<Response<GuestBody>, Fault> {
    // Named after the place that it holds, so that it goes first, whatever happens.
    let mut run = run;
    let to_head = std::future::poll_fn(|cx| {
        // The guest sends the head while it is polled, so it is polled first.
        let ended = Pin::new(&mut run).poll(cx);
        if let Poll::Ready(head) = came(&mut head, ended.is_ready(), cx) {
            return Poll::Ready(match (head, ended) {
                (Some(Ok(response)), Poll::Ready(Ok(_))) => Ok((response, true)),
                (Some(Ok(response)), Poll::Pending) => Ok((response, false)),
                (_, Poll::Ready(Err(fault))) => Err(fault),
                (Some(Err(code)), _) => Err(refused_by_guest(&code)),
                (None, _) => Err(no_response()),
            });
        }
        match ended {
            Poll::Ready(Err(fault)) => Poll::Ready(Err(fault)),
            Poll::Ready(Ok(_)) => Poll::Ready(Err(no_response())),
            Poll::Pending => Poll::Pending,
        }
    });
    let answered = tokio::time::timeout_at(admitted.deadline.into(), to_head).await;
    let (response, ended) = answered.map_err(|_| blueprint.out_of_time())??;
    let guest = if ended { Guest::Done } else { Guest::Own(run) };
    Ok(blueprint.respond(response, guest, admitted.id, Some(admitted.place)))
}

/// The head, if it is there; `None` in it once it cannot come any more.
fn came<T>(
    head: &mut oneshot::Receiver<T>,
    is_last: bool,
    cx: &mut Context<'_>,
) -> Poll<Option<T>> {
    if !is_last {
        return Pin::new(head).poll(cx).map(Result::ok);
    }
    // Polling says that nothing is there once the task has used up its turn (tokio's budget),
    // and a guest that has ended is not polled again.
    match head.try_recv() {
        Ok(head) => Poll::Ready(Some(head)),
        Err(TryRecvError::Empty) => Poll::Pending,
        Err(TryRecvError::Closed) => Poll::Ready(None),
    }
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
        clip(format_args!("the guest answered with an error: {code:?}")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pipelined requests are answered in one turn of a task, which may be used up by then.
    #[tokio::test]
    async fn a_head_is_seen_though_the_task_s_turn_is_used_up() {
        let (sender, head) = oneshot::channel::<u32>();
        let mut head = Some((sender, head));
        let came = std::future::poll_fn(|cx| {
            while tokio::task::coop::has_budget_remaining() {
                let mut spent = std::pin::pin!(tokio::task::coop::consume_budget());
                let _ = spent.as_mut().poll(cx);
            }
            let (sender, mut head) = head.take().unwrap();
            sender.send(7).unwrap();
            let polled = Pin::new(&mut head).poll(cx).is_ready();
            Poll::Ready((polled, came(&mut head, true, cx)))
        });
        assert_eq!(came.await, (false, Poll::Ready(Some(7))));
    }
}

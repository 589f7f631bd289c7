//! Sockets and the look-up of names: granted addresses only, as the node's rules allow.
//!
//! A grant by name (`db.example.com:5432`) allows the addresses that the node's own resolver has
//! under that name, while they are fresh; every connection is looked at again. A guest need not
//! have looked the name up itself: whoever asks, the resolver answers the same, and asks anew
//! when what it knows is stale.

mod lookup;
mod p2;
mod p3;
mod policy;

use std::error::Error;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::sockets::SocketAddrUse;
use wasmtime_wasi::{TrappableError, WasiCtxBuilder};

use super::answer;
use crate::outgoing::{Outgoing, Place};
use crate::state::InstanceState;

pub(crate) use lookup::LookupError;
pub(crate) use policy::NetPolicy;

/// Puts what we answer ourselves before the engine's own: look-ups, and the making and dropping
/// of sockets.
pub(crate) fn link(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    p2::link(linker)?;
    p3::link(linker)
}

/// A socket that was made, with its place; without one, its place is free again.
fn counted<T: 'static, E: Error + Send + Sync + 'static>(
    state: &InstanceState,
    made: Result<Resource<T>, TrappableError<E>>,
    place: Place,
) -> wasmtime::Result<(Result<Resource<T>, E>,)> {
    if let Ok(socket) = &made {
        state.outgoing.opened(socket.rep(), place);
    }
    answer(made)
}

/// Sets an instance's sockets up.
pub(crate) fn apply(builder: &mut WasiCtxBuilder, policy: &Arc<NetPolicy>, outgoing: &Outgoing) {
    // Sockets may be made without a grant: the refusal comes at connecting or binding, where
    // it can name the address. Names are looked up by us.
    builder
        .allow_tcp(true)
        .allow_udp(true)
        .allow_ip_name_lookup(false);
    let (policy, outgoing) = (Arc::clone(policy), outgoing.clone());
    builder.socket_addr_check(move |address, purpose| {
        if let SocketAddrUse::TcpAccept = purpose {
            let room = outgoing.accept();
            return Box::pin(std::future::ready(room));
        }
        let policy = Arc::clone(&policy);
        Box::pin(SyncFuture::new(async move {
            policy.allows(address, purpose).await
        }))
    });
}

/// A future that is only polled through `&mut`, so sharing it does no harm.
struct SyncFuture<F>(Mutex<Pin<Box<F>>>);

impl<F: Future> SyncFuture<F> {
    fn new(future: F) -> SyncFuture<F> {
        SyncFuture(Mutex::new(Box::pin(future)))
    }
}

impl<F: Future> Future for SyncFuture<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.0
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
            .poll(cx)
    }
}

//! `wasi:sockets` 0.2: look-ups of our own, and sockets that are counted.

use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::vec;

use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::p2::bindings::sockets::network::{
    ErrorCode, IpAddress, IpAddressFamily, Network,
};
use wasmtime_wasi::p2::bindings::sockets::tcp::HostTcpSocket;
use wasmtime_wasi::p2::bindings::sockets::udp::HostUdpSocket;
use wasmtime_wasi::p2::bindings::sockets::{tcp_create_socket, udp_create_socket};
use wasmtime_wasi::p2::{DynPollable, Pollable, TcpSocket, UdpSocket, subscribe};
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn};
use wasmtime_wasi::sockets::WasiSocketsView;

use super::{LookupError, counted};
use crate::state::InstanceState;

type Answer<T> = wasmtime::Result<(Result<T, ErrorCode>,)>;
type Found = Result<Vec<IpAddr>, LookupError>;

/// The version that the engine's own bindings define; others find it by compatibility.
pub(super) fn link(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    link_lookup(linker)?;
    linker
        .instance("wasi:sockets/tcp-create-socket@0.2.12")?
        .func_wrap(
            "create-tcp-socket",
            |mut store, (family,): (IpAddressFamily,)| {
                let state = store.data_mut();
                let Some(place) = state.outgoing.enter_socket() else {
                    return Ok((Err(ErrorCode::NewSocketLimit),));
                };
                let made = tcp_create_socket::Host::create_tcp_socket(&mut state.sockets(), family);
                counted(state, made, place)
            },
        )?;
    linker
        .instance("wasi:sockets/udp-create-socket@0.2.12")?
        .func_wrap_async(
            "create-udp-socket",
            |mut store, (family,): (IpAddressFamily,)| {
                Box::new(async move {
                    let state = store.data_mut();
                    let Some(place) = state.outgoing.enter_socket() else {
                        return Ok((Err(ErrorCode::NewSocketLimit),));
                    };
                    let mut sockets = state.sockets();
                    let made =
                        udp_create_socket::Host::create_udp_socket(&mut sockets, family).await;
                    counted(state, made, place)
                })
            },
        )?;
    // A socket goes after the streams made of it, which keep it alive: so its place is free when
    // it is gone.
    linker.instance("wasi:sockets/tcp@0.2.12")?.resource(
        "tcp-socket",
        ResourceType::host::<TcpSocket>(),
        |mut store, number| {
            let state = store.data_mut();
            HostTcpSocket::drop(&mut state.sockets(), Resource::new_own(number))?;
            state.outgoing.closed(number);
            Ok(())
        },
    )?;
    linker.instance("wasi:sockets/udp@0.2.12")?.resource(
        "udp-socket",
        ResourceType::host::<UdpSocket>(),
        |mut store, number| {
            let state = store.data_mut();
            HostUdpSocket::drop(&mut state.sockets(), Resource::new_own(number))?;
            state.outgoing.closed(number);
            Ok(())
        },
    )
}

fn link_lookup(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    let mut lookup = linker.instance("wasi:sockets/ip-name-lookup@0.2.12")?;
    lookup.resource(
        "resolve-address-stream",
        ResourceType::host::<AddressStream>(),
        |mut store, number| {
            let stream = Resource::<AddressStream>::new_own(number);
            store.data_mut().table.delete(stream)?;
            Ok(())
        },
    )?;
    lookup.func_wrap_async(
        "resolve-addresses",
        |mut store, (network, name): (Resource<Network>, String)| {
            Box::new(async move {
                let state = store.data_mut();
                // It stands for the right to ask; which names, the grants tell.
                state.table.get(&network)?;
                let policy = std::sync::Arc::clone(&state.net);
                let mut asking = Box::pin(async move { policy.look_up(&name).await });
                let stream =
                    match std::future::poll_fn(|cx| Poll::Ready(asking.as_mut().poll(cx))).await {
                        Poll::Ready(Err(error)) => return Ok((Err(code(error)),)),
                        Poll::Ready(Ok(found)) => AddressStream::Found(Ok(found.into_iter())),
                        Poll::Pending => AddressStream::Asking(spawn(asking)),
                    };
                Ok((Ok(state.table.push(stream)?),))
            })
        },
    )?;
    lookup.func_wrap(
        "[method]resolve-address-stream.resolve-next-address",
        |mut store, (stream,): (Resource<AddressStream>,)| -> Answer<Option<IpAddress>> {
            let stream = store.data_mut().table.get_mut(&stream)?;
            let found = match stream.poll_found(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(found) => found,
                Poll::Pending => return Ok((Err(ErrorCode::WouldBlock),)),
            };
            Ok((match found {
                Ok(addresses) => Ok(addresses.next().map(IpAddress::from)),
                Err(error) => Err(code(*error)),
            },))
        },
    )?;
    lookup.func_wrap(
        "[method]resolve-address-stream.subscribe",
        |mut store,
         (stream,): (Resource<AddressStream>,)|
         -> wasmtime::Result<(Resource<DynPollable>,)> {
            Ok((subscribe(&mut store.data_mut().table, stream)?,))
        },
    )
}

/// `resolve-address-stream`.
enum AddressStream {
    /// Given up when the guest drops it.
    Asking(AbortOnDropJoinHandle<Found>),
    Found(Result<vec::IntoIter<IpAddr>, LookupError>),
}

impl AddressStream {
    fn poll_found(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<&mut Result<vec::IntoIter<IpAddr>, LookupError>> {
        if let AddressStream::Asking(asking) = self {
            let found = std::task::ready!(Pin::new(asking).poll(cx));
            *self = AddressStream::Found(found.map(Vec::into_iter));
        }
        match self {
            AddressStream::Found(found) => Poll::Ready(found),
            AddressStream::Asking(_) => Poll::Pending,
        }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for AddressStream {
    async fn ready(&mut self) {
        std::future::poll_fn(|cx| self.poll_found(cx).map(drop)).await;
    }
}

fn code(error: LookupError) -> ErrorCode {
    match error {
        LookupError::Invalid => ErrorCode::InvalidArgument,
        LookupError::Denied => ErrorCode::AccessDenied,
        LookupError::Unresolvable => ErrorCode::NameUnresolvable,
        LookupError::Temporary => ErrorCode::TemporaryResolverFailure,
    }
}

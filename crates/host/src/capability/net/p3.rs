//! `wasi:sockets` 0.3: look-ups of our own, and sockets that are counted.

use std::sync::Arc;

use wasmtime::component::{
    Access, Accessor, HasData, Linker, Resource, ResourceType, StreamReader,
};
use wasmtime::{AsContextMut, StoreContextMut};
use wasmtime_wasi::p3::bindings::sockets::ip_name_lookup::{self, ErrorCode as LookupCode};
use wasmtime_wasi::p3::bindings::sockets::types::{
    ErrorCode, HostTcpSocket, HostTcpSocketWithStore, HostUdpSocket, IpAddress, IpAddressFamily,
};
use wasmtime_wasi::sockets::{TcpSocket, UdpSocket, WasiSockets, WasiSocketsView};

use super::{LookupError, counted};
use crate::capability::held::held_until;
use crate::state::InstanceState;

/// The version that the engine's own bindings define.
const TYPES: &str = "wasi:sockets/types@0.3.0";

pub(super) fn link(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    ip_name_lookup::add_to_linker::<InstanceState, Lookup>(linker, |state| View(state))?;
    let mut types = linker.instance(TYPES)?;
    types.func_wrap(
        "[static]tcp-socket.create",
        |mut store, (family,): (IpAddressFamily,)| {
            let state = store.data_mut();
            let Some(place) = state.outgoing.enter_socket() else {
                return Ok((Err(too_many()),));
            };
            let made = HostTcpSocket::create(&mut state.sockets(), family);
            counted(state, made, place)
        },
    )?;
    types.func_wrap_async(
        "[static]udp-socket.create",
        |mut store, (family,): (IpAddressFamily,)| {
            Box::new(async move {
                let state = store.data_mut();
                let Some(place) = state.outgoing.enter_socket() else {
                    return Ok((Err(too_many()),));
                };
                let made = HostUdpSocket::create(&mut state.sockets(), family).await;
                counted(state, made, place)
            })
        },
    )?;
    types.resource(
        "tcp-socket",
        ResourceType::host::<TcpSocket>(),
        |mut store, number| {
            let state = store.data_mut();
            HostTcpSocket::drop(&mut state.sockets(), Resource::new_own(number))?;
            state.outgoing.closed(number);
            Ok(())
        },
    )?;
    types.resource(
        "udp-socket",
        ResourceType::host::<UdpSocket>(),
        |mut store, number| {
            let state = store.data_mut();
            HostUdpSocket::drop(&mut state.sockets(), Resource::new_own(number))?;
            state.outgoing.closed(number);
            Ok(())
        },
    )?;
    // Either half outlives its socket; its future resolves when the half is gone.
    types.func_wrap(
        "[method]tcp-socket.send",
        |mut store, (socket, data): (Resource<TcpSocket>, StreamReader<u8>)| {
            let place = store.data().outgoing.place_of(socket.rep());
            let sent = WasiSockets::send(sockets(&mut store), socket, data)?;
            Ok((held_until(store, sent, place)?,))
        },
    )?;
    types.func_wrap(
        "[method]tcp-socket.receive",
        |mut store, (socket,): (Resource<TcpSocket>,)| {
            let place = store.data().outgoing.place_of(socket.rep());
            let (data, received) = WasiSockets::receive(sockets(&mut store), socket)?;
            Ok(((data, held_until(store, received, place)?),))
        },
    )
}

fn sockets<'a>(
    store: &'a mut StoreContextMut<'_, InstanceState>,
) -> Access<'a, InstanceState, WasiSockets> {
    Access::new(store.as_context_mut(), |state| state.sockets())
}

fn too_many() -> ErrorCode {
    ErrorCode::Other(Some(
        "limit of outgoing requests, sockets or descriptors met".to_owned(),
    ))
}

struct Lookup;

struct View<'a>(&'a mut InstanceState);

impl HasData for Lookup {
    type Data<'a> = View<'a>;
}

impl ip_name_lookup::Host for View<'_> {}

impl ip_name_lookup::HostWithStore<InstanceState> for Lookup {
    async fn resolve_addresses(
        store: &Accessor<InstanceState, Self>,
        name: String,
    ) -> wasmtime::Result<Result<Vec<IpAddress>, LookupCode>> {
        let policy = store.with(|mut store| Arc::clone(&store.get().0.net));
        Ok(match policy.look_up(&name).await {
            Ok(found) => Ok(found.into_iter().map(IpAddress::from).collect()),
            Err(LookupError::Invalid) => Err(LookupCode::InvalidArgument),
            Err(LookupError::Denied) => Err(LookupCode::AccessDenied),
            Err(LookupError::Unresolvable) => Err(LookupCode::NameUnresolvable),
            Err(LookupError::Temporary) => Err(LookupCode::TemporaryResolverFailure),
        })
    }
}

//! `wasi:sockets` 0.3: look-ups of our own, and sockets that are counted.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use wasmtime::component::{
    Access, Accessor, FutureConsumer, FutureReader, HasData, Linker, Resource, ResourceType,
    Source, StreamReader,
};
use wasmtime::{AsContextMut, StoreContextMut};
use wasmtime_wasi::p3::bindings::sockets::ip_name_lookup::{self, ErrorCode as LookupCode};
use wasmtime_wasi::p3::bindings::sockets::types::{
    ErrorCode, HostTcpSocket, HostTcpSocketWithStore, HostUdpSocket, IpAddress, IpAddressFamily,
};
use wasmtime_wasi::sockets::{TcpSocket, UdpSocket, WasiSockets, WasiSocketsView};

use super::{LookupError, counted};
use crate::outgoing::Place;
use crate::state::InstanceState;

type Outcome = Result<(), ErrorCode>;

/// The version that the engine's own bindings define.
const TYPES: &str = "wasi:sockets/types@0.3.0";

pub(super) fn link(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    ip_name_lookup::add_to_linker::<InstanceState, Lookup>(linker, |state| View(state))?;
    let mut types = linker.instance(TYPES)?;
    types.func_wrap(
        "[static]tcp-socket.create",
        |mut store, (family,): (IpAddressFamily,)| {
            let state = store.data_mut();
            let Some(place) = state.outgoing.enter() else {
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
                let Some(place) = state.outgoing.enter() else {
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
        "limit of outgoing requests and sockets met".to_owned(),
    ))
}

/// `outcome`, with `place` held until it is there, whether the guest waits for it or not.
fn held_until(
    mut store: StoreContextMut<'_, InstanceState>,
    outcome: FutureReader<Outcome>,
    place: Option<Place>,
) -> wasmtime::Result<FutureReader<Outcome>> {
    let (tell, told) = oneshot::channel();
    outcome.pipe(
        &mut store,
        Hold {
            tell: Some(tell),
            _place: place,
        },
    )?;
    FutureReader::new(&mut store, told)
}

struct Hold {
    tell: Option<oneshot::Sender<Outcome>>,
    _place: Option<Place>,
}

impl<D: 'static> FutureConsumer<D> for Hold {
    type Item = Outcome;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<'_, D>,
        mut source: Source<'_, Outcome>,
        _finish: bool,
    ) -> Poll<wasmtime::Result<()>> {
        let mut outcome = None;
        source.read(store, &mut outcome)?;
        if let (Some(tell), Some(outcome)) = (self.tell.take(), outcome) {
            // The guest may have lost interest.
            let _: Result<(), _> = tell.send(outcome);
        }
        Poll::Ready(Ok(()))
    }
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

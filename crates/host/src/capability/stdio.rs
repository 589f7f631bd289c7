//! Standard output and error of WASI 0.3, told apart by request.
//!
//! Several requests share a 0.3 instance. Who prints is known at the call: the task that made it
//! descends from the task of one request.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use wasmtime::component::{
    Access, FutureReader, GuestTaskId, HasData, Linker, Source, StreamConsumer, StreamReader,
    StreamResult,
};
use wasmtime::{AsContextMut, StoreContextMut};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::p3::bindings::cli::types::ErrorCode;
use wasmtime_wasi::p3::bindings::cli::{stderr, stdout};

use crate::output::{GuestOutput, OutputStream};
use crate::state::InstanceState;

/// Links the two interfaces over the ones of the engine's own WASI.
pub(crate) fn link(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    stdout::add_to_linker::<InstanceState, Attributed>(linker, |state| View(state))?;
    stderr::add_to_linker::<InstanceState, Attributed>(linker, |state| View(state))
}

struct Attributed;

struct View<'a>(&'a mut InstanceState);

impl HasData for Attributed {
    type Data<'a> = View<'a>;
}

impl stdout::Host for View<'_> {}
impl stderr::Host for View<'_> {}

type Outcome = FutureReader<Result<(), ErrorCode>>;

impl stdout::HostWithStore<InstanceState> for Attributed {
    fn write_via_stream(
        mut store: Access<'_, InstanceState, Self>,
        data: StreamReader<u8>,
    ) -> wasmtime::Result<Outcome> {
        match output(&mut store)? {
            Some(output) => pipe(store, data, output, OutputStream::Stdout),
            None => <WasiCli as stdout::HostWithStore<InstanceState>>::write_via_stream(
                Access::<InstanceState, WasiCli>::new(store.as_context_mut(), |state| state.cli()),
                data,
            ),
        }
    }
}

impl stderr::HostWithStore<InstanceState> for Attributed {
    fn write_via_stream(
        mut store: Access<'_, InstanceState, Self>,
        data: StreamReader<u8>,
    ) -> wasmtime::Result<Outcome> {
        match output(&mut store)? {
            Some(output) => pipe(store, data, output, OutputStream::Stderr),
            None => <WasiCli as stderr::HostWithStore<InstanceState>>::write_via_stream(
                Access::<InstanceState, WasiCli>::new(store.as_context_mut(), |state| state.cli()),
                data,
            ),
        }
    }
}

/// Where the calling task's output goes; `None` if that is the process's own streams.
fn output(
    store: &mut Access<'_, InstanceState, Attributed>,
) -> wasmtime::Result<Option<Arc<dyn GuestOutput>>> {
    if store.get().0.output.is_none() {
        return Ok(None);
    }
    let tasks: Vec<GuestTaskId> = store.as_context_mut().async_call_stack()?.collect();
    let output = store.get().0.output.clone();
    Ok(output.map(|output| output.of_tasks(&tasks).unwrap_or(output)))
}

fn pipe(
    mut store: Access<'_, InstanceState, Attributed>,
    data: StreamReader<u8>,
    output: Arc<dyn GuestOutput>,
    stream: OutputStream,
) -> wasmtime::Result<Outcome> {
    let (open, closed) = oneshot::channel();
    data.pipe(
        &mut store,
        Consumer {
            output,
            stream,
            _open: open,
        },
    )?;
    FutureReader::new(&mut store, async move {
        // Writing to a log cannot fail; this resolves when the stream is done.
        let _: Result<(), _> = closed.await;
        wasmtime::error::Ok(Ok(()))
    })
}

struct Consumer {
    output: Arc<dyn GuestOutput>,
    stream: OutputStream,
    /// Dropped with the consumer, which tells the guest that all was taken.
    _open: oneshot::Sender<()>,
}

impl<D> StreamConsumer<D> for Consumer {
    type Item = u8;

    fn poll_consume(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<'_, D>,
        source: Source<'_, u8>,
        _finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let mut source = source.as_direct(store);
        let length = source.remaining().len();
        if length > 0 {
            self.output.write(self.stream, source.remaining());
            source.mark_read(length);
        }
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

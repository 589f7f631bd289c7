//! What is held until a call of WASI 0.3 tells how it ended.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use wasmtime::StoreContextMut;
use wasmtime::component::{FutureConsumer, FutureReader, Lift, Lower, Source};

/// What a call that goes on beside the guest tells in the end.
pub(crate) trait Outcome: Lift + Lower + Send + Sync + 'static {}

impl<T: Lift + Lower + Send + Sync + 'static> Outcome for T {}

/// `outcome`, with `guard` held until it is there, whether the guest waits for it or not.
pub(crate) fn held_until<S: 'static, O: Outcome, G: Send + 'static>(
    mut store: StoreContextMut<'_, S>,
    outcome: FutureReader<O>,
    guard: G,
) -> wasmtime::Result<FutureReader<O>> {
    let (tell, told) = oneshot::channel();
    outcome.pipe(
        &mut store,
        Hold {
            tell: Some(tell),
            _guard: guard,
        },
    )?;
    FutureReader::new(&mut store, told)
}

struct Hold<O, G> {
    tell: Option<oneshot::Sender<O>>,
    _guard: G,
}

// Nothing in it is pinned.
impl<O, G> Unpin for Hold<O, G> {}

impl<D: 'static, O: Outcome, G: Send + 'static> FutureConsumer<D> for Hold<O, G> {
    type Item = O;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<'_, D>,
        mut source: Source<'_, O>,
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

//! Files of WASI 0.3 that are opened, counted.

use wasmtime::AsContextMut;
use wasmtime::component::{Access, FutureReader, Linker, Resource, StreamReader};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p3::bindings::filesystem::types::{
    DescriptorFlags, DirectoryEntry, ErrorCode, HostDescriptorWithStore, OpenFlags, PathFlags,
};

use crate::capability::answer;
use crate::capability::files::count_closing;
use crate::capability::held::held_until;
use crate::state::InstanceState;

/// The version that the engine's own bindings define.
const TYPES: &str = "wasi:filesystem/types@0.3.0";

type Folder = Resource<Descriptor>;
type Outcome = FutureReader<Result<(), ErrorCode>>;

/// Puts the calls that open and close before those of the engine's own WASI.
pub(crate) fn link(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    let mut types = linker.instance(TYPES)?;
    count_closing(&mut types)?;
    types.func_wrap_concurrent(
        "[method]descriptor.open-at",
        |store,
         (folder, path_flags, path, open_flags, flags): (
            Folder,
            PathFlags,
            String,
            OpenFlags,
            DescriptorFlags,
        )| {
            Box::pin(async move {
                let place = store.with(|mut store| store.data_mut().files.hold());
                let Some(place) = place else {
                    return Ok((Err(ErrorCode::InsufficientMemory),));
                };
                let files = store.with_getter::<WasiFilesystem>(WasiFilesystemView::filesystem);
                let opened =
                    WasiFilesystem::open_at(&files, folder, path_flags, path, open_flags, flags);
                let opened = answer(opened.await)?;
                if let (Ok(opened),) = &opened {
                    store.with(|mut store| store.data_mut().opened(opened, place))?;
                }
                Ok(opened)
            })
        },
    )?;
    types.func_wrap(
        "[method]descriptor.read-directory",
        |mut store, (folder,): (Folder,)| {
            // The engine reads a folder by two descriptors, until the list ends or is dropped.
            let files = &mut store.data_mut().files;
            let (Some(first), Some(second)) = (files.hold(), files.hold()) else {
                let outcome = Err::<(), _>(ErrorCode::InsufficientMemory);
                let outcome = async move { wasmtime::error::Ok(outcome) };
                let entries = StreamReader::new(&mut store, Vec::<DirectoryEntry>::new())?;
                let outcome: Outcome = FutureReader::new(&mut store, outcome)?;
                return Ok(((entries, outcome),));
            };
            let files = Access::<_, WasiFilesystem>::new(store.as_context_mut(), |state| {
                WasiFilesystemView::filesystem(state)
            });
            let (entries, outcome) = WasiFilesystem::read_directory(files, folder)?;
            Ok(((entries, held_until(store, outcome, (first, second))?),))
        },
    )
}

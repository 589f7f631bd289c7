//! Writes that WASI 0.2 refuses, noted; files that are opened, counted.

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorFlags, DirectoryEntryStream, ErrorCode, HostDescriptor, OpenFlags, PathFlags,
};

use crate::capability::answer;
use crate::capability::files::{count_closing, no_writing, read_only_of};
use crate::state::InstanceState;

/// The version that the engine's own bindings define; others find it by compatibility.
const TYPES: &str = "wasi:filesystem/types@0.2.12";

type Folder = Resource<Descriptor>;

/// Puts the calls that write, open and close before those of the engine's own WASI.
pub(crate) fn link(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    let mut types = linker.instance(TYPES)?;
    count_closing(&mut types)?;
    types.func_wrap_async(
        "[method]descriptor.read-directory",
        |mut store, (folder,): (Folder,)| {
            Box::new(async move {
                let state = store.data_mut();
                // It is read to its end at once, by two descriptors.
                let (Some(_place), Some(_other)) = (state.files.hold(), state.files.hold()) else {
                    return Ok((Err(ErrorCode::InsufficientMemory),));
                };
                let mut files = state.filesystem();
                let entries: Result<Resource<DirectoryEntryStream>, _> =
                    files.read_directory(folder).await;
                answer(entries)
            })
        },
    )?;
    types.func_wrap_async(
        "[method]descriptor.open-at",
        |mut store,
         (folder, path_flags, path, open_flags, flags): (
            Folder,
            PathFlags,
            String,
            OpenFlags,
            DescriptorFlags,
        )| {
            Box::new(async move {
                let state = store.data_mut();
                let changes = OpenFlags::CREATE | OpenFlags::TRUNCATE;
                if flags.contains(DescriptorFlags::WRITE) || open_flags.intersects(changes) {
                    note(state, &folder);
                }
                let Some(place) = state.files.hold() else {
                    return Ok((Err(ErrorCode::InsufficientMemory),));
                };
                let mut files = state.filesystem();
                let opened = files
                    .open_at(folder, path_flags, path, open_flags, flags)
                    .await;
                if let Ok(opened) = &opened {
                    state.opened(opened, place)?;
                }
                answer(opened)
            })
        },
    )?;
    types.func_wrap_async(
        "[method]descriptor.create-directory-at",
        |mut store, (folder, path): (Folder, String)| {
            Box::new(async move {
                note(store.data(), &folder);
                let mut files = store.data_mut().filesystem();
                answer(files.create_directory_at(folder, path).await)
            })
        },
    )?;
    types.func_wrap_async(
        "[method]descriptor.remove-directory-at",
        |mut store, (folder, path): (Folder, String)| {
            Box::new(async move {
                note(store.data(), &folder);
                let mut files = store.data_mut().filesystem();
                answer(files.remove_directory_at(folder, path).await)
            })
        },
    )?;
    types.func_wrap_async(
        "[method]descriptor.unlink-file-at",
        |mut store, (folder, path): (Folder, String)| {
            Box::new(async move {
                note(store.data(), &folder);
                let mut files = store.data_mut().filesystem();
                answer(files.unlink_file_at(folder, path).await)
            })
        },
    )?;
    types.func_wrap_async(
        "[method]descriptor.symlink-at",
        |mut store, (folder, old, new): (Folder, String, String)| {
            Box::new(async move {
                note(store.data(), &folder);
                let mut files = store.data_mut().filesystem();
                answer(files.symlink_at(folder, old, new).await)
            })
        },
    )?;
    types.func_wrap_async(
        "[method]descriptor.rename-at",
        |mut store, (from, old, to, new): (Folder, String, Folder, String)| {
            Box::new(async move {
                note(store.data(), &from);
                note(store.data(), &to);
                let mut files = store.data_mut().filesystem();
                answer(files.rename_at(from, old, to, new).await)
            })
        },
    )
}

/// Notes that the guest is about to write into `folder`, if it may not.
fn note(state: &InstanceState, folder: &Folder) {
    // What is no open folder is told by the call itself.
    if let Ok(open) = state.table.get(folder)
        && let Some(folder) = read_only_of(&state.folders, open)
    {
        state.denials.record(no_writing(folder));
    }
}

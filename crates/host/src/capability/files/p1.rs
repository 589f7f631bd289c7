//! Writes that WASI 0.1 refuses, noted.

use std::collections::HashMap;
use std::sync::Arc;

use wasmtime::{Caller, Linker};
use wasmtime_wasi::p1::wasi_snapshot_preview1 as wasi;
use wasmtime_wasi::runtime::in_tokio;
use wiggle::GuestMemory;

use crate::capability::files::{no_writing, read_only};
use crate::capability::p1::{HasWasi, MODULE, parts};
use crate::denial::Denials;
use crate::folder::Folder;

/// The descriptor of the first granted folder.
const FIRST_FOLDER: i32 = 3;
/// Folders remembered; what is opened beyond them is noted as of any read-only one.
const OPEN_MAX: usize = 4096;

/// Which open folder lies in which granted one.
#[derive(Debug)]
pub(crate) struct OpenFolders {
    granted: Arc<[Folder]>,
    open: HashMap<i32, usize>,
    denials: Denials,
}

impl OpenFolders {
    pub(crate) fn new(granted: Arc<[Folder]>, denials: Denials) -> OpenFolders {
        let open = (FIRST_FOLDER..).zip(0..granted.len()).collect();
        OpenFolders {
            granted,
            open,
            denials,
        }
    }

    fn opened(&mut self, inside: i32, descriptor: i32) {
        match self.open.get(&inside) {
            Some(&folder) if self.open.len() < OPEN_MAX => {
                self.open.insert(descriptor, folder);
            }
            _ => {
                self.open.remove(&descriptor);
            }
        }
    }

    /// Notes that writing below `descriptor` was refused, if that is because of its grant.
    fn refused(&self, descriptor: i32) {
        let folder = match self.open.get(&descriptor) {
            Some(&index) => read_only(&self.granted[index..=index]).next(),
            None => read_only(&self.granted).next(),
        };
        if let Some(folder) = folder {
            self.denials.record(no_writing(folder));
        }
    }
}

/// What the calls below need of the state of a module.
pub(crate) trait HasFiles: HasWasi {
    fn folders(&mut self) -> &mut OpenFolders;
}

/// `errno` of WASI 0.1.
const SUCCESS: i32 = 0;
const PERM: i32 = 63;
/// `oflags.creat` and `oflags.trunc`.
const CREATE_OR_TRUNCATE: i32 = 1 | 8;
/// `rights.fd_write`.
const WRITE: i64 = 1 << 6;

/// Puts the calls that write before those of the engine's own WASI. `linker` allows it.
pub(crate) fn link<S: HasFiles>(linker: &mut Linker<S>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "path_open",
        |mut caller: Caller<'_, S>,
         folder: i32,
         lookup: i32,
         path: i32,
         length: i32,
         oflags: i32,
         rights: i64,
         inherited: i64,
         flags: i32,
         opened: i32| {
            let (mut memory, state) = parts(&mut caller)?;
            let errno = in_tokio(wasi::path_open(
                state.wasi(),
                &mut memory,
                folder,
                lookup,
                path,
                length,
                oflags,
                rights,
                inherited,
                flags,
                opened,
            ))?;
            match errno {
                SUCCESS => {
                    if let Some(descriptor) = number_at(&memory, opened) {
                        state.folders().opened(folder, descriptor);
                    }
                }
                PERM if oflags & CREATE_OR_TRUNCATE != 0 || rights & WRITE != 0 => {
                    state.folders().refused(folder);
                }
                _ => {}
            }
            wasmtime::error::Ok(errno)
        },
    )?;
    macro_rules! noted {
        ($call:ident($($argument:ident),+) writes to $($folder:ident),+) => {
            linker.func_wrap(
                MODULE,
                stringify!($call),
                |mut caller: Caller<'_, S>, $($argument: i32),+| {
                    let (mut memory, state) = parts(&mut caller)?;
                    let errno = in_tokio(wasi::$call(state.wasi(), &mut memory, $($argument),+))?;
                    if errno == PERM {
                        $(state.folders().refused($folder);)+
                    }
                    wasmtime::error::Ok(errno)
                },
            )?;
        };
    }
    noted!(path_create_directory(folder, path, length) writes to folder);
    noted!(path_remove_directory(folder, path, length) writes to folder);
    noted!(path_unlink_file(folder, path, length) writes to folder);
    noted!(path_symlink(old, old_length, folder, new, new_length) writes to folder);
    noted!(path_rename(from, old, old_length, to, new, new_length) writes to from, to);
    Ok(())
}

fn number_at(memory: &GuestMemory<'_>, place: i32) -> Option<i32> {
    let GuestMemory::Unshared(bytes) = memory else {
        return None;
    };
    let start = usize::try_from(place.cast_unsigned()).ok()?;
    let bytes = bytes.get(start..start.checked_add(4)?)?;
    Some(i32::from_le_bytes(bytes.try_into().ok()?))
}

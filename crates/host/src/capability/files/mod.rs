//! Files: granted folders only, read-only unless the grant says otherwise.
//!
//! A write into a read-only folder fails inside the engine's WASI, which tells the guest and
//! nobody else. So the calls that write a program's files pass through here, of WASI 0.1 ([`p1`]) and
//! 0.2 ([`p2`]): they are noted, and go on to fail as they would. Not noted are those of WASI 0.3, hard
//! links and changes of times.
//!
//! What a guest of 0.2 or 0.3 ([`p3`]) opens is counted to its app's share of the process's
//! descriptors. A module of 0.1 is a single program, with nobody to share them with.

pub(crate) mod p1;
pub(crate) mod p2;
pub(crate) mod p3;

use std::os::fd::AsRawFd;
use std::path::Path;

use wasmtime::component::{LinkerInstance, ResourceType};
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

use crate::denial::{Denial, Remedy};
use crate::folder::{AuthorityError, Folder};
use crate::state::InstanceState;

/// Gives a program one folder of its own. Paths cannot leave it: links and `..` are resolved beneath it.
pub(crate) fn preopen(builder: &mut WasiCtxBuilder, folder: &Folder) -> Result<(), AuthorityError> {
    builder
        .preopened_dir(&folder.host, &folder.guest, folder.perms)
        .map(|_| ())
        .map_err(|error| AuthorityError::Folder {
            path: folder.host.clone(),
            source: error
                .downcast::<std::io::Error>()
                .unwrap_or_else(std::io::Error::other),
        })
}

/// Has the descriptors of `types` counted no more when the guest closes them.
fn count_closing(types: &mut LinkerInstance<'_, InstanceState>) -> wasmtime::Result<()> {
    types.resource(
        "descriptor",
        ResourceType::host::<Descriptor>(),
        |mut store, number| store.data_mut().close(number),
    )
}

/// The granted folder that an open folder is or lies in, if it is read-only.
fn read_only_of<'a>(folders: &'a [Folder], open: &Descriptor) -> Option<&'a Folder> {
    let Descriptor::Dir(dir) = open else {
        return None;
    };
    if !dir.perms.write_not_permitted() {
        return None;
    }
    let path = std::fs::read_link(format!("/proc/self/fd/{}", dir.dir.as_raw_fd()));
    read_only(folders)
        .filter(|folder| {
            path.as_ref()
                .is_ok_and(|path| path.starts_with(&folder.real))
        })
        .max_by_key(|folder| folder.real.as_os_str().len())
        .or_else(|| read_only(folders).next())
}

/// The folders that are granted read-only.
pub(crate) fn read_only(folders: &[Folder]) -> impl Iterator<Item = &Folder> {
    folders
        .iter()
        .filter(|folder| matches!(folder.perms, FsPerms::ReadOnly))
}

fn no_writing(folder: &Folder) -> Denial {
    let (host, guest) = (shown(&folder.host), &folder.guest);
    Denial {
        what: format!("writing to `{guest}`, which is granted read-only"),
        remedy: Remedy::Grant {
            key: "files",
            manifest_line: format!("files = [\"{}:{guest}:rw\"]", folder.granted),
            flag: match host.to_str() {
                Some(host) if host == guest => format!("--dir {host}"),
                _ => format!("--dir {}::{guest}", host.display()),
            },
        },
        asked_only: false,
        survived_by_many: true,
    }
}

/// A path as one would write it here.
fn shown(path: &Path) -> &Path {
    let inside = std::env::current_dir()
        .ok()
        .and_then(|here| path.strip_prefix(here).ok());
    match inside.or_else(|| path.strip_prefix(".").ok()) {
        Some(inside) if inside.as_os_str().is_empty() => Path::new("."),
        Some(inside) => inside,
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_allow_writing_is_named() {
        let here = std::env::current_dir().unwrap();
        let check = |host: &Path, granted: &str, guest: &str, line: &str, flag: &str| {
            let denial = no_writing(&Folder {
                host: host.to_owned(),
                real: host.to_owned(),
                granted: granted.to_owned(),
                guest: guest.to_owned(),
                perms: FsPerms::ReadOnly,
                open: std::sync::Arc::default(),
            });
            let remedy = Remedy::Grant {
                key: "files",
                manifest_line: line.to_owned(),
                flag: flag.to_owned(),
            };
            assert_eq!(denial.remedy, remedy);
        };
        let line = "files = [\"data:/data:rw\"]";
        check(
            &here.join("data"),
            "data",
            "/data",
            line,
            "--dir data::/data",
        );
        check(
            Path::new("./data"),
            "data",
            "/data",
            line,
            "--dir data::/data",
        );
        check(
            Path::new("/srv/data"),
            "data",
            "/data",
            line,
            "--dir /srv/data::/data",
        );
        let here_itself = "files = [\".:.:rw\"]";
        check(&here, ".", ".", here_itself, "--dir .");
    }
}

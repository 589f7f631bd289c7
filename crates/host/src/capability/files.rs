//! Files: granted folders only, read-only unless the grant says otherwise.

use wasmtime_wasi::WasiCtxBuilder;

use crate::authority::{AuthorityError, Folder};

/// Gives the instance one folder. Paths cannot leave it: links and `..` are resolved beneath it.
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

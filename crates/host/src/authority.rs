//! What one component may do, ready for its instances.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wasmtime_wasi::{FsPerms, WasiCtxBuilder};
use wharf_manifest::{FileGrant, Grants};

use crate::capability::files;
use crate::capability::http::{EgressPolicy, HttpClient};
use crate::capability::net;
use crate::denial::Denials;

/// Grants turned into what an instance needs: opened once, shared by all instances.
#[derive(Debug, Clone)]
pub struct Authority {
    pub(crate) env: Arc<[(String, String)]>,
    pub(crate) folders: Arc<[Folder]>,
    pub(crate) net: Arc<net::NetPolicy>,
    pub(crate) http: EgressPolicy,
    pub(crate) client: HttpClient,
    pub(crate) denials: Denials,
    pub(crate) outgoing_max: u32,
}

/// One granted folder.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    pub(crate) host: PathBuf,
    /// The same without links: what an open folder below it is found to lie in.
    pub(crate) real: PathBuf,
    /// The same as the grant writes it.
    pub(crate) granted: String,
    pub(crate) guest: String,
    pub(crate) perms: FsPerms,
}

/// A grant that cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A granted folder is not there.
    #[error("cannot open the granted folder {path}: {source}")]
    Folder {
        /// The folder on the host.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A grant names a file.
    #[error("{path} is granted as a folder, but is a file")]
    NotAFolder {
        /// The path on the host.
        path: PathBuf,
    },
}

impl AuthorityError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            AuthorityError::Folder { .. } => "make the folder, or correct the grant",
            AuthorityError::NotAFolder { .. } => "grant the folder that holds it",
        }
    }
}

impl Authority {
    /// The authority that `grants` describe. Relative folders lie below `base`.
    ///
    /// # Errors
    /// When a granted folder cannot be opened.
    pub fn new(
        grants: &Grants,
        base: &Path,
        outgoing_max: u32,
        client: HttpClient,
        denials: Denials,
    ) -> Result<Authority, AuthorityError> {
        let folders = grants
            .files
            .iter()
            .map(|grant| folder(grant, base))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Authority {
            env: grants
                .env
                .iter()
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
            folders: folders.into(),
            net: Arc::new(net::NetPolicy::new(grants.net.clone(), denials.clone())),
            http: EgressPolicy::new(grants.http.clone(), denials.clone()),
            client,
            denials,
            outgoing_max,
        })
    }

    /// Whether no folder is granted.
    pub fn has_no_files(&self) -> bool {
        self.folders.is_empty()
    }

    pub(crate) fn has_read_only_files(&self) -> bool {
        files::read_only(&self.folders).next().is_some()
    }

    /// The reporter of what is denied.
    pub fn denials(&self) -> &Denials {
        &self.denials
    }

    pub(crate) fn apply(&self, builder: &mut WasiCtxBuilder) -> Result<(), AuthorityError> {
        for (key, value) in self.env.iter() {
            builder.env(key, value);
        }
        for folder in self.folders.iter() {
            files::preopen(builder, folder)?;
        }
        net::apply(builder, &self.net);
        Ok(())
    }
}

fn folder(grant: &FileGrant, base: &Path) -> Result<Folder, AuthorityError> {
    let host = base.join(&grant.host);
    let metadata = std::fs::metadata(&host).map_err(|source| AuthorityError::Folder {
        path: host.clone(),
        source,
    })?;
    if !metadata.is_dir() {
        return Err(AuthorityError::NotAFolder { path: host });
    }
    Ok(Folder {
        real: std::fs::canonicalize(&host).unwrap_or_else(|_| host.clone()),
        host,
        granted: grant.host.clone(),
        guest: grant.guest.clone(),
        perms: if grant.write {
            FsPerms::ReadWrite
        } else {
            FsPerms::ReadOnly
        },
    })
}

/// Whether an address serves credentials of a cloud machine: never reached by a name, only by
/// a grant of the very address.
pub(crate) fn is_metadata(address: IpAddr) -> bool {
    match address.to_canonical() {
        // The last two are Alibaba's and Azure's; all others use the link-local range.
        IpAddr::V4(v4) => {
            v4.is_link_local() || [[100, 100, 100, 200], [168, 63, 129, 16]].contains(&v4.octets())
        }
        IpAddr::V6(v6) => {
            let start = [v6.segments()[0], v6.segments()[1]];
            v6.is_unicast_link_local() || [[0xfd00, 0x0ec2], [0xfd20, 0x00ce]].contains(&start)
        }
    }
}

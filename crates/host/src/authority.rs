//! What one component may do, ready for its instances.

use std::path::Path;
use std::sync::Arc;

use wasmtime_wasi::WasiCtxBuilder;
use wharf_engine::Budget;
use wharf_manifest::Grants;

use crate::capability::files;
use crate::capability::http::HttpClient;
use crate::capability::net;
use crate::denial::Denials;
use crate::descriptors::Descriptors;
use crate::egress::Egress;
use crate::folder::{AuthorityError, Folder, OpenFolder};
use crate::outgoing::Outgoing;

/// Grants turned into what an instance needs: opened once, shared by all instances.
#[derive(Debug, Clone)]
pub struct Authority {
    pub(crate) env: Arc<[(String, String)]>,
    pub(crate) folders: Arc<[Folder]>,
    pub(crate) net: Arc<net::NetPolicy>,
    pub(crate) http: Arc<HttpClient>,
    pub(crate) denials: Denials,
    pub(crate) descriptors: Descriptors,
    outgoing_max: u32,
}

impl Authority {
    /// The authority that `grants` describe, as far as the rules of `egress` go. Relative folders
    /// lie below `base`; `outgoing_max` outgoing requests and sockets may be open at once in each
    /// instance. What they open to the outside takes `descriptors` of their app; `None` if nobody
    /// else needs any.
    ///
    /// # Errors
    /// When a granted folder cannot be opened.
    pub fn new(
        grants: &Grants,
        base: &Path,
        outgoing_max: u32,
        egress: &Egress,
        descriptors: Option<Arc<Budget>>,
        denials: Denials,
    ) -> Result<Authority, AuthorityError> {
        let folders = grants
            .files
            .iter()
            .map(|grant| Folder::of(grant, base))
            .collect::<Result<Vec<_>, _>>()?;
        let net = net::NetPolicy::new(grants.net.clone(), egress.clone(), denials.clone());
        let descriptors = Descriptors::new(descriptors, denials.clone());
        let http = HttpClient::new(
            grants.http.clone(),
            egress.clone(),
            descriptors.clone(),
            denials.clone(),
        );
        Ok(Authority {
            env: grants
                .env
                .iter()
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
            folders: folders.into(),
            net: Arc::new(net),
            http: Arc::new(http),
            denials,
            descriptors,
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

    /// A count of what one instance opens.
    pub(crate) fn outgoing(&self) -> Outgoing {
        Outgoing::new(self.outgoing_max, self.descriptors.clone())
    }

    /// The folders as the instances of a node have them.
    pub(crate) fn open_folders(&self) -> Result<Vec<Arc<OpenFolder>>, AuthorityError> {
        let folders = self.folders.iter();
        folders
            .map(|folder| folder.open(&self.descriptors))
            .collect()
    }

    /// The folders as a single program has them.
    pub(crate) fn preopen(&self, builder: &mut WasiCtxBuilder) -> Result<(), AuthorityError> {
        let mut folders = self.folders.iter();
        folders.try_for_each(|folder| files::preopen(builder, folder))
    }

    /// The environment and the sockets.
    pub(crate) fn apply(&self, builder: &mut WasiCtxBuilder, outgoing: &Outgoing) {
        for (key, value) in self.env.iter() {
            builder.env(key, value);
        }
        net::apply(builder, &self.net, outgoing);
    }
}

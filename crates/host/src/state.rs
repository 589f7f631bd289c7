//! The state behind one instance.

use std::sync::Arc;

use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};
use wharf_engine::{StoreLimits, StoreState};

use crate::authority::Authority;
use crate::capability::http::Hooks;
use crate::capability::http::kept::Kept;
use crate::capability::net::NetPolicy;
use crate::denial::Denials;
use crate::descriptors::{Open, OpenFiles};
use crate::folder::{AuthorityError, Folder, OpenFolder};
use crate::outgoing::Outgoing;
use crate::output::{GuestOutput, OutputStream, Sink};
use crate::write_through::Direct;

/// Bytes of headers that one guest may hold in one set of fields.
pub(crate) const HEADER_BYTES_MAX: usize = 128 << 10;

/// Random bytes in one call: making them cannot be interrupted. A guest of 0.3 that asks for more
/// is given that many; one of 0.2 traps, as its call cannot give fewer.
const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// What the host holds for one instance of a component.
pub struct InstanceState {
    limits: StoreLimits,
    pub(crate) table: ResourceTable,
    pub(crate) wasi: WasiCtx,
    http: WasiHttpCtx,
    pub(crate) kept: Kept,
    hooks: Hooks,
    pub(crate) denials: Denials,
    pub(crate) folders: Arc<[Folder]>,
    /// As they are open for the instances of a node; none if the context has its own.
    pub(crate) open_folders: Vec<Arc<OpenFolder>>,
    /// After the table, which closes them.
    pub(crate) files: OpenFiles,
    pub(crate) net: Arc<NetPolicy>,
    pub(crate) outgoing: Outgoing,
    /// Where output goes; `None` if the guest has the process's own streams.
    pub(crate) output: Option<Arc<dyn GuestOutput>>,
}

impl std::fmt::Debug for InstanceState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InstanceState")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl InstanceState {
    /// State for an instance that serves: no input, output to `output`.
    ///
    /// # Errors
    /// When a granted folder cannot be opened any more.
    pub fn new(
        authority: &Authority,
        limits: StoreLimits,
        output: Arc<dyn GuestOutput>,
    ) -> Result<InstanceState, AuthorityError> {
        let sink = |stream| {
            Direct(Sink {
                output: Arc::clone(&output),
                stream,
            })
        };
        let mut builder = WasiCtxBuilder::new();
        builder.max_random_size(RANDOM_BYTES_MAX);
        builder
            .stdout(sink(OutputStream::Stdout))
            .stderr(sink(OutputStream::Stderr));
        let mut state = InstanceState::from_builder(authority, limits, builder);
        state.open_folders = authority.open_folders()?;
        state.hooks.set_watcher(Arc::clone(&output));
        state.output = Some(output);
        Ok(state)
    }

    pub(crate) fn from_builder(
        authority: &Authority,
        limits: StoreLimits,
        mut builder: WasiCtxBuilder,
    ) -> InstanceState {
        let outgoing = authority.outgoing();
        authority.apply(&mut builder, &outgoing);
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles_max());
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(HEADER_BYTES_MAX);
        InstanceState {
            limits,
            table,
            wasi: builder.build(),
            http,
            kept: Kept::default(),
            hooks: Hooks::new(Arc::clone(&authority.http), outgoing.clone()),
            net: Arc::clone(&authority.net),
            outgoing,
            denials: authority.denials.clone(),
            folders: Arc::clone(&authority.folders),
            open_folders: Vec::new(),
            files: OpenFiles::new(authority.descriptors.clone()),
            output: None,
        }
    }

    /// The instance's limits: what it met, what it used.
    pub fn store_limits(&self) -> &StoreLimits {
        &self.limits
    }

    /// The file or folder that was opened holds `place` until it is closed.
    pub(crate) fn opened(
        &mut self,
        opened: &Resource<Descriptor>,
        place: Open,
    ) -> wasmtime::Result<()> {
        self.files.opened(self.table.get(opened)?, place);
        Ok(())
    }

    /// The guest closes a file or folder.
    pub(crate) fn close(&mut self, number: u32) -> wasmtime::Result<()> {
        let closed = self.table.delete(Resource::new_own(number))?;
        self.files.closed(closed);
        Ok(())
    }

    /// See [`StoreLimits::forget_hit`].
    pub fn forget_hit(&mut self) {
        self.limits.forget_hit();
    }
}

impl StoreState for InstanceState {
    fn limits(&mut self) -> &mut StoreLimits {
        &mut self.limits
    }
}

impl WasiView for InstanceState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for InstanceState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.hooks,
        }
    }
}

//! The one list of what is linked.
//!
//! One linker an engine holds every standard interface, in both versions of WASI. It is made
//! once; components are linked against it when they are loaded, never on the path of a request.

use wasmtime::Module;
use wasmtime::component::{Component, HasData, Linker, Resource};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemCtxView, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p3::bindings::filesystem::preopens as preopens_p3;
use wharf_engine::Engine;

use crate::capability::{files, http, net, stdio};
use crate::denial::Denial;
use crate::imports::{component_imports, module_imports};
use crate::link_error::LinkError;
use crate::module::check_module_names;
use crate::program::Program;
use crate::state::InstanceState;

/// An engine with everything that a guest may import.
#[derive(Clone)]
pub struct Host {
    engine: Engine,
    linker: Linker<InstanceState>,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host")
            .field("engine", &self.engine)
            .finish_non_exhaustive()
    }
}

impl Host {
    /// Links all capabilities for `engine`.
    ///
    /// # Errors
    /// When the bindings contradict each other, which no input causes.
    pub fn new(engine: Engine) -> wasmtime::Result<Host> {
        let mut linker = Linker::new(engine.wasmtime());
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
        linker.allow_shadowing(true);
        preopens::add_to_linker::<InstanceState, NotedPreopens>(&mut linker, |state| {
            PreopensView(state)
        })?;
        preopens_p3::add_to_linker::<InstanceState, NotedPreopens>(&mut linker, |state| {
            PreopensView(state)
        })?;
        files::p2::link(&mut linker)?;
        files::p3::link(&mut linker)?;
        http::kept::link(&mut linker)?;
        net::link(&mut linker)?;
        stdio::link(&mut linker)?;
        linker.allow_shadowing(false);
        Ok(Host { engine, linker })
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Links `component` once, so that instances of it are made without looking anything up.
    ///
    /// # Errors
    /// When it imports what nobody provides.
    pub fn link(&self, component: &Component) -> Result<Program, LinkError> {
        let pre = self
            .linker
            .instantiate_pre(component)
            .map_err(|error| LinkError::of_component(&error))?;
        Ok(Program::new(pre))
    }

    /// Looks at the imports of a component or core module before it is compiled, which may take
    /// long.
    ///
    /// What this accepts linking may refuse yet; what this refuses linking refuses too.
    ///
    /// # Errors
    /// When it imports what nobody provides.
    pub fn check_imports(&self, wasm: &[u8]) -> Result<(), LinkError> {
        // What does not validate is told by the compiler.
        let engine = self.engine.wasmtime();
        if let Some(outline) = component_imports(wasm) {
            return match Component::new(engine, outline) {
                Ok(outline) => self.link(&outline).map(drop),
                Err(_) => Ok(()),
            };
        }
        let outline = module_imports(wasm).and_then(|outline| Module::new(engine, outline).ok());
        match outline {
            Some(outline) => check_module_names(&self.engine, &outline),
            None => Ok(()),
        }
    }
}

/// `wasi:filesystem/preopens`, noting when a guest that has no folder asks for one.
struct NotedPreopens;

struct PreopensView<'a>(&'a mut InstanceState);

impl HasData for NotedPreopens {
    type Data<'a> = PreopensView<'a>;
}

type Folders = Vec<(Resource<Descriptor>, String)>;

impl PreopensView<'_> {
    /// The folders of the context, and those that instances share.
    fn folders(&mut self) -> wasmtime::Result<Folders> {
        let state = &mut *self.0;
        let mut files: WasiFilesystemCtxView<'_> = state.filesystem();
        let mut folders = preopens::Host::get_directories(&mut files)?;
        for (granted, open) in state.folders.iter().zip(&state.open_folders) {
            let folder = Descriptor::Dir(open.dir.clone());
            folders.push((state.table.push(folder)?, granted.guest.clone()));
        }
        if folders.is_empty() {
            state.denials.record(Denial::no_files());
        }
        Ok(folders)
    }
}

impl preopens::Host for PreopensView<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Folders> {
        self.folders()
    }
}

impl preopens_p3::Host for PreopensView<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Folders> {
        self.folders()
    }
}

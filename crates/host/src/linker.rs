//! The one list of what is linked.
//!
//! One linker an engine holds every standard interface, in both versions of WASI. It is made
//! once; components are linked against it when they are loaded, never on the path of a request.

use wasmtime::component::{Component, HasData, Linker, Resource};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemCtxView, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wharf_engine::Engine;

use crate::capability::stdio;
use crate::denial::Denial;
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

/// A component that cannot be linked.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// It imports something that nobody provides.
    #[error("the component imports `{import}`, which nobody provides")]
    MissingImport {
        /// The import's name.
        import: String,
    },
    /// An import is there, but of another type.
    #[error("the component does not fit its host: {message}")]
    Mismatch {
        /// What the engine says.
        message: String,
    },
}

impl LinkError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            LinkError::MissingImport { import } if import.starts_with("wasi:") => format!(
                "this version of wharf does not have {import}; `wharf inspect` shows all that the component imports"
            ),
            LinkError::MissingImport { .. } => {
                "compose it with a component that exports this interface, or build it without"
                    .to_owned()
            }
            LinkError::Mismatch { .. } => {
                "it was built against another version of the interface; update its bindings"
                    .to_owned()
            }
        }
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
            .map_err(|error| link_error(&error))?;
        Ok(Program::new(pre))
    }
}

fn link_error(error: &wasmtime::Error) -> LinkError {
    let message = format!("{error:#}");
    let quoted = message
        .split_once("component imports ")
        .filter(|_| message.contains("was not found in the linker"))
        .and_then(|(_, rest)| rest.split('`').nth(1));
    match quoted {
        Some(import) => LinkError::MissingImport {
            import: import.to_owned(),
        },
        None => LinkError::Mismatch { message },
    }
}

/// `wasi:filesystem/preopens`, noting when a guest that has no folder asks for one.
struct NotedPreopens;

struct PreopensView<'a>(&'a mut InstanceState);

impl HasData for NotedPreopens {
    type Data<'a> = PreopensView<'a>;
}

impl preopens::Host for PreopensView<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        let state = &mut *self.0;
        let mut files: WasiFilesystemCtxView<'_> = state.filesystem();
        let folders = preopens::Host::get_directories(&mut files)?;
        if folders.is_empty() {
            state.denials.record(Denial::no_files());
        }
        Ok(folders)
    }
}

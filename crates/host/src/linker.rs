//! The one list of what is linked.
//!
//! One linker an engine holds every standard interface, in both versions of WASI. It is made
//! once; components are linked against it when they are loaded, never on the path of a request.

use wasmtime::Module;
use wasmtime::component::{Component, HasData, Linker, Resource};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemCtxView, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wharf_engine::Engine;

use crate::capability::{files, stdio};
use crate::denial::Denial;
use crate::imports::{component_imports, module_imports};
use crate::module::check_module;
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

/// A component or a core module that cannot be linked.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// A component imports something that nobody provides.
    #[error("the component imports `{import}`, which nobody provides")]
    MissingImport {
        /// The import's name.
        import: String,
    },
    /// A core module imports something that nobody provides.
    #[error("the module imports `{name}` from `{module}`, which nobody provides")]
    MissingModuleImport {
        /// The module that it imports from.
        module: String,
        /// The import's name.
        name: String,
    },
    /// An import is there, but of another type.
    #[error("its imports do not fit the host: {message}")]
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
            LinkError::MissingModuleImport { module, .. } => module_hint(module).to_owned(),
            LinkError::Mismatch { .. } => {
                "it was built against another version of the interface; update its bindings"
                    .to_owned()
            }
        }
    }
}

fn module_hint(module: &str) -> &'static str {
    match module {
        "env" => {
            "it was linked with undefined symbols, or for Emscripten; build it for wasm32-wasip1"
        }
        "wbg" | "__wbindgen_placeholder__" => "it is made for a browser by wasm-bindgen",
        "gojs" => "it is Go's build for browsers; build with GOOS=wasip1",
        _ => "only WASI 0.1 can be imported by core modules",
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
        files::p2::link(&mut linker)?;
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

    /// Looks at the imports of a component or core module before it is compiled, which may take
    /// long.
    ///
    /// What this accepts linking may refuse yet; what this refuses linking refuses too.
    ///
    /// # Errors
    /// When it imports what nobody provides.
    pub fn check_imports(&self, wasm: &[u8]) -> Result<(), LinkError> {
        // What is cut out has no code, so this is no compilation to speak of. What does not
        // validate is told by the compiler.
        let engine = self.engine.wasmtime();
        if let Some(outline) = component_imports(wasm) {
            return match Component::new(engine, outline) {
                Ok(outline) => self.link(&outline).map(drop),
                Err(_) => Ok(()),
            };
        }
        let outline = module_imports(wasm).and_then(|outline| Module::new(engine, outline).ok());
        match outline {
            Some(outline) => check_module(&self.engine, &outline),
            None => Ok(()),
        }
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

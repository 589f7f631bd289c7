//! Why a component or a module cannot be linked.

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
    /// Reads what Wasmtime says of a component.
    pub(crate) fn of_component(error: &wasmtime::Error) -> LinkError {
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

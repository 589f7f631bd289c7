//! Core modules that carry a component's type, as wit-bindgen leaves them for a linker to encode.

use std::borrow::Cow;

use crate::error::BuildError;
use crate::wasm::{self, Binary, Module};

/// The component that a typed core module is meant to become; anything else as it is.
///
/// A command of WASI 0.1 stays a module as well, whatever a library left in its custom sections:
/// it runs as it is, and only so with its own exit code. Bytes that cannot be read are left to
/// whoever compiles them. `name` is for the error.
///
/// # Errors
///
/// The module does not fit the type that it carries.
pub fn encode_typed<'a>(name: &str, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>, BuildError> {
    match wasm::outline(bytes) {
        Ok(Binary::Module(module)) if module.has_component_type && !is_command(&module) => {
            encoded(name, bytes, &module).map(Cow::Owned)
        }
        _ => Ok(Cow::Borrowed(bytes)),
    }
}

fn is_command(module: &Module) -> bool {
    module.exports_start && module.imports_wasi_0_1 && !module.imports_others
}

/// A typed module as a component.
pub(crate) fn encoded(name: &str, bytes: &[u8], module: &Module) -> Result<Vec<u8>, BuildError> {
    crate::encode::encode(bytes, module).map_err(|reason| BuildError::Encode {
        component: name.to_string(),
        reason,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn is_encoded(text: &str) -> bool {
        let bytes = wat::parse_str(text).unwrap();
        matches!(encode_typed("it", &bytes), Ok(Cow::Owned(_)))
    }

    #[test]
    fn what_runs_as_it_is_stays_as_it_is() {
        assert!(!is_encoded("(module (func (export \"f\")))"));
        assert!(!is_encoded("(component)"));
        assert!(!is_encoded(
            r#"(module
                (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
                (func (export "_start"))
                (@custom "component-type:left-over" "x"))"#
        ));
        assert!(encode_typed("it", b"no wasm").is_ok());
    }

    #[test]
    fn a_module_that_does_not_fit_its_type_is_named() {
        let bytes = wat::parse_str(r#"(module (@custom "component-type:x" "no type"))"#).unwrap();
        let error = encode_typed("it", &bytes).unwrap_err();
        assert!(error.to_string().contains("it"), "{error}");
    }
}

//! What a WebAssembly binary is, as far as building needs to know.

use wasmparser::{
    BinaryReaderError, Encoding, ExternalKind, Parser, Payload, Validator, WasmFeatures,
};

/// The module name that WASI 0.1 imports come from.
pub(crate) const WASI_0_1: &str = "wasi_snapshot_preview1";

/// The custom sections that hold a component's type until it is encoded.
const COMPONENT_TYPE: &str = "component-type";

/// What a binary is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Binary {
    /// A component, with the names it exports.
    Component { exports: Vec<String> },
    /// A core module.
    Module(Module),
}

/// What building needs to know of a core module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Module {
    /// It carries a component's type: it is meant to be encoded.
    pub(crate) has_component_type: bool,
    /// It imports WASI 0.1.
    pub(crate) imports_wasi_0_1: bool,
    /// It imports something else.
    pub(crate) imports_others: bool,
    /// It exports `_start`: it is a command.
    pub(crate) exports_start: bool,
}

/// Validates `bytes` as a whole and says what they are.
pub(crate) fn read(bytes: &[u8]) -> Result<Binary, BinaryReaderError> {
    Validator::new_with_features(WasmFeatures::all()).validate_all(bytes)?;
    outline(bytes)
}

/// Says what `bytes` are, without validating their code.
pub(crate) fn outline(bytes: &[u8]) -> Result<Binary, BinaryReaderError> {
    let mut depth = 0_usize;
    let mut encoding = Encoding::Module;
    let mut module = Module::default();
    let mut exports = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::Version {
                encoding: found, ..
            } => {
                if depth == 0 {
                    encoding = found;
                }
                depth += 1;
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    exports.push(export?.name.name.to_string());
                }
            }
            Payload::ImportSection(section) if depth == 1 => {
                for import in section.into_imports() {
                    match import?.module {
                        WASI_0_1 => module.imports_wasi_0_1 = true,
                        _ => module.imports_others = true,
                    }
                }
            }
            Payload::ExportSection(section) if depth == 1 => {
                for export in section {
                    let export = export?;
                    if export.name == "_start" && export.kind == ExternalKind::Func {
                        module.exports_start = true;
                    }
                }
            }
            Payload::CustomSection(section)
                if depth == 1 && section.name().starts_with(COMPONENT_TYPE) =>
            {
                module.has_component_type = true;
            }
            _ => {}
        }
    }
    Ok(match encoding {
        Encoding::Component => Binary::Component { exports },
        Encoding::Module => Binary::Module(module),
    })
}

/// Removes from a core module the custom sections that no engine needs: names,
/// debug information, and the list of features that wasm-opt reads.
///
/// A module that does not parse is returned as it is.
pub(crate) fn strip_module(bytes: &[u8], keep_names: bool) -> Vec<u8> {
    let removable = |name: &str| {
        name == "target_features" || !keep_names && (name == "name" || name.starts_with(".debug_"))
    };
    let mut stripped = wasm_encoder::Module::new();
    for payload in Parser::new(0).parse_all(bytes) {
        let Ok(payload) = payload else {
            return bytes.to_vec();
        };
        if matches!(&payload, Payload::CustomSection(section) if removable(section.name())) {
            continue;
        }
        if let Some((id, range)) = payload.as_section() {
            let data = &bytes[range];
            stripped.section(&wasm_encoder::RawSection { id, data });
        }
    }
    stripped.finish()
}

/// A component without the names that the encoder gave to its own items: they
/// are a tenth of a small one. Modules within it stay as they are.
pub(crate) fn strip_component(bytes: &[u8]) -> Vec<u8> {
    let mut stripped = wasm_encoder::Component::new();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        let Ok(payload) = payload else {
            return bytes.to_vec();
        };
        let is_names = matches!(&payload, Payload::CustomSection(section)
            if section.name() == "component-name");
        if depth == 0
            && !is_names
            && let Some((id, range)) = payload.as_section()
        {
            let data = &bytes[range];
            stripped.section(&wasm_encoder::RawSection { id, data });
        }
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    stripped.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn module(text: &str) -> Module {
        match read(&wat::parse_str(text).unwrap()).unwrap() {
            Binary::Module(module) => module,
            Binary::Component { .. } => panic!("a component"),
        }
    }

    #[test]
    fn a_wasi_0_1_command_is_told_from_a_plain_module() {
        let command = module(
            r#"(module
                (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
                (func (export "_start")))"#,
        );
        assert!(command.imports_wasi_0_1 && command.exports_start);
        assert_eq!(module("(module)"), Module::default());
        let typed =
            module(r#"(module (func (export "_start")) (@custom "component-type:hello" "x"))"#);
        assert!(typed.has_component_type && typed.exports_start);
    }

    #[test]
    fn only_the_outermost_exports_of_a_component_count() {
        let bytes = wat::parse_str(
            r#"(component
                (component (core module (func (export "_start"))) (instance) (export "inner" (instance 0)))
                (instance)
                (export "wasi:http/incoming-handler@0.2.3" (instance 0)))"#,
        )
        .unwrap();
        assert_eq!(
            read(&bytes).unwrap(),
            Binary::Component {
                exports: vec!["wasi:http/incoming-handler@0.2.3".into()]
            }
        );
    }

    #[test]
    fn truncated_and_foreign_bytes_are_errors() {
        let whole = wat::parse_str("(module (func (export \"f\")))").unwrap();
        for end in 0..whole.len() {
            // A cut between two sections may leave a smaller valid module.
            if let Ok(binary) = read(&whole[..end]) {
                assert_eq!(binary, Binary::Module(Module::default()));
            }
        }
        assert!(read(b"\x7fELF\x02\x01\x01\0").is_err());
        assert!(read(b"").is_err());
    }

    #[test]
    fn strip_takes_a_components_own_names_only() {
        let with = wat::parse_str(
            r#"(component $named
                (core module $inner (func $f (export "f")))
                (component $nested (core module (func $g (export "g"))))
                (core instance $i (instantiate $inner)))"#,
        )
        .unwrap();
        let stripped = strip_component(&with);
        assert!(stripped.len() < with.len());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(text(&with).contains("named") && !text(&stripped).contains("named"));
        // The names of the modules within.
        assert!(text(&stripped).contains("inner"));
        assert!(matches!(read(&stripped), Ok(Binary::Component { .. })));
        assert_eq!(strip_component(&stripped), stripped);
        assert_eq!(strip_component(b"no wasm"), b"no wasm");
    }

    #[test]
    fn strip_removes_exactly_the_named_sections() {
        let with = wat::parse_str(
            r#"(module $named
                (func $f (export "f"))
                (@custom "target_features" (after last) "+x")
                (@custom "producers" (after last) "\00"))"#,
        )
        .unwrap();
        let without = wat::parse_str(
            r#"(module (func (export "f")) (@custom "producers" (after last) "\00"))"#,
        )
        .unwrap();
        assert_eq!(strip_module(&with, false), without);
        let named = strip_module(&with, true);
        assert!(named.len() > without.len() && named.len() < with.len());
        assert!(read(&named).is_ok());
    }
}

//! The part of a binary that tells what it imports.
//!
//! Compiling a large program takes minutes; that nobody provides what it imports is to be said
//! before. So an outline is made that imports as much and has no code, and that is linked. What the
//! outline is refused for the whole would be refused for as well. The other way round says nothing:
//! linking the whole decides.
//!
//! The outline is compiled here, not in a child with limits, so it has next to nothing to compile: of
//! a component the component types, which need no code; of a module the names, all with one type.

use wasm_encoder::{EntityType, ImportSection, RawSection, TypeSection};
use wasmparser::{Chunk, ComponentAlias, Parser, Payload};

/// Bytes of types and imports beyond which nothing is cut out.
const BYTES_MAX: usize = 1 << 20;

/// The types and imports of a component, as far as they come before anything else but modules.
/// `None` if there are none or the bytes cannot be read.
pub(crate) fn component_imports(wasm: &[u8]) -> Option<Vec<u8>> {
    let mut outline = wasm_encoder::Component::new();
    let mut imports = 0;
    chosen_sections(wasm, |payload| match payload {
        Payload::ComponentImportSection(section) => {
            imports += section.count();
            Section::Kept
        }
        Payload::ComponentTypeSection(_) => Section::Kept,
        Payload::ComponentAliasSection(aliases) => {
            let stands_alone = |alias: ComponentAlias<'_>| {
                matches!(
                    alias,
                    ComponentAlias::InstanceExport { .. } | ComponentAlias::Outer { .. }
                )
            };
            let mut aliases = aliases.clone().into_iter();
            match aliases.all(|alias| alias.is_ok_and(stands_alone)) {
                true => Section::Kept,
                false => Section::Last,
            }
        }
        // They have index spaces of their own, which no import refers to.
        Payload::Version { .. }
        | Payload::CustomSection(_)
        | Payload::ModuleSection { .. }
        | Payload::InstanceSection(_) => Section::Skipped,
        _ => Section::Last,
    })?
    .into_iter()
    .for_each(|(id, data)| {
        outline.section(&RawSection { id, data });
    });
    (imports > 0).then(|| outline.finish())
}

/// A module with the imports of this one, each as a function without parameters and results: only
/// their names count. `None` if it has none or the bytes cannot be read.
pub(crate) fn module_imports(wasm: &[u8]) -> Option<Vec<u8>> {
    let mut imports = ImportSection::new();
    let kept = chosen_sections(wasm, |payload| match payload {
        Payload::ImportSection(_) => Section::Kept,
        Payload::Version { .. } | Payload::CustomSection(_) | Payload::TypeSection(_) => {
            Section::Skipped
        }
        _ => Section::Last,
    })?;
    for (_, data) in kept {
        let reader = wasmparser::BinaryReader::new(data, 0);
        let section = wasmparser::ImportSectionReader::new(reader).ok()?;
        for import in section.into_imports() {
            let import = import.ok()?;
            imports.import(import.module, import.name, EntityType::Function(0));
        }
    }
    if imports.is_empty() {
        return None;
    }
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let mut outline = wasm_encoder::Module::new();
    outline.section(&types).section(&imports);
    Some(outline.finish())
}

enum Section {
    Kept,
    Skipped,
    /// Neither it nor what follows is wanted.
    Last,
}

/// The outermost sections that `choose` keeps. `None` if they cannot be read or are too large.
fn chosen_sections(
    wasm: &[u8],
    mut choose: impl FnMut(&Payload<'_>) -> Section,
) -> Option<Vec<(u8, &[u8])>> {
    let mut parser = Parser::new(0);
    let mut rest = wasm;
    let mut kept = Vec::new();
    let mut bytes = 0;
    loop {
        let Chunk::Parsed { consumed, payload } = parser.parse(rest, true).ok()? else {
            return None;
        };
        rest = rest.get(consumed..)?;
        match choose(&payload) {
            Section::Skipped => {}
            Section::Last => return Some(kept),
            Section::Kept => {
                let (id, range) = payload.as_section()?;
                bytes += range.len();
                if bytes > BYTES_MAX {
                    return None;
                }
                kept.push((id, wasm.get(range)?));
            }
        }
        if let Payload::ModuleSection {
            unchecked_range, ..
        } = &payload
        {
            rest = rest.get(unchecked_range.len()..)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(text: &str) -> Option<String> {
        let wasm = wat::parse_str(text).unwrap();
        let outline = match Parser::is_component(&wasm) {
            true => component_imports(&wasm),
            false => module_imports(&wasm),
        };
        outline.map(|outline| imported_names(&outline))
    }

    /// The names of what is imported.
    fn imported_names(wasm: &[u8]) -> String {
        let mut names = Vec::new();
        for payload in Parser::new(0).parse_all(wasm) {
            match payload.unwrap() {
                Payload::ComponentImportSection(imports) => {
                    names.extend(
                        imports
                            .into_iter()
                            .map(|one| one.unwrap().name.name.to_owned()),
                    );
                }
                Payload::ImportSection(imports) => {
                    names.extend(
                        imports
                            .into_imports()
                            .map(|one| one.unwrap().name.to_owned()),
                    );
                }
                Payload::ModuleSection { .. } | Payload::CodeSectionStart { .. } => {
                    panic!("there is code in it")
                }
                _ => {}
            }
        }
        names.join(" ")
    }

    #[test]
    fn imports_are_all_that_is_left() {
        let module = "(module (@custom \"x\" (before first) \"y\") (import \"a\" \"f\" (func))
            (import \"a\" \"g\" (func (param i32))) (memory 1) (func (export \"h\")))";
        assert_eq!(outline(module).as_deref(), Some("f g"));
        let component = "(component
            (core module (func (export \"h\")))
            (import \"a:b/c\" (instance $c (export \"t\" (type (sub resource)))))
            (alias export $c \"t\" (type $t))
            (import \"a:b/d\" (instance (export \"f\" (func (param \"t\" (own $t))))))
            (core module $m (func (export \"h\")))
            (core instance $i (instantiate $m))
            (alias core export $i \"h\" (core func $h))
            (func (export \"run\") (canon lift (core func $h))))";
        assert_eq!(outline(component).as_deref(), Some("a:b/c a:b/d"));
    }

    #[test]
    fn of_a_module_only_names_are_left() {
        let types = "(type (func (param i32 i64)))".repeat(1000);
        let module = format!(
            "(module {types} (import \"a\" \"f\" (func (param f64))) (import \"a\" \"m\" (memory 1)))"
        );
        let outline = module_imports(&wat::parse_str(module).unwrap()).unwrap();
        assert_eq!(imported_names(&outline), "f m");
        assert!(outline.len() < 50, "{} bytes", outline.len());
    }

    #[test]
    fn what_cannot_be_cut_out_is_left_alone() {
        assert_eq!(outline("(module (func))"), None);
        assert_eq!(outline("(component)"), None);
        let module = wat::parse_str("(module (import \"a\" \"f\" (func)))").unwrap();
        let component = wat::parse_str("(component (import \"a\" (func)) (core module))").unwrap();
        for end in 0..module.len() {
            assert_eq!(module_imports(&module[..end]), None, "{end}");
        }
        for end in 0..component.len() {
            let _ = component_imports(&component[..end]);
        }
        assert_eq!(module_imports(b"no wasm"), None);
    }

    #[test]
    fn imports_after_other_definitions_do_not_count() {
        let late = "(component
            (import \"a\" (func))
            (component $c (import \"inner\" (func)))
            (import \"b\" (func)))";
        assert_eq!(outline(late).as_deref(), Some("a"));
    }
}

//! A component's world, taken back out of its binary form.

use std::collections::BTreeSet;

use wit_component::WitPrinter;
use wit_parser::decoding::{DecodedWasm, decode as decode_wasm};
use wit_parser::{FunctionKind, PackageId, Resolve, WorldId, WorldItem};

/// The most WIT text that is kept: 1 MiB. More says nothing to anyone.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// What decoding found, as far as it came.
#[derive(Debug, Default)]
pub(super) struct DecodedWit {
    pub(super) text: Option<String>,
    pub(super) is_package: bool,
    /// The imports all of whose functions are async.
    pub(super) async_imports: BTreeSet<String>,
    pub(super) error: Option<String>,
}

impl DecodedWit {
    /// The decoder gave up where it should have told why.
    pub(super) fn undecodable() -> DecodedWit {
        DecodedWit {
            error: Some("the decoder of WIT gave up on it".to_owned()),
            ..DecodedWit::default()
        }
    }
}

/// Decodes a component that was validated before. Not every valid component has a world that WIT
/// can express, so a failure is a finding, not an error.
pub(super) fn decode(bytes: &[u8]) -> DecodedWit {
    let decoded = match decode_wasm(bytes) {
        Ok(decoded) => decoded,
        Err(error) => {
            return DecodedWit {
                error: Some(format!("{error:#}")),
                ..DecodedWit::default()
            };
        }
    };
    let (async_imports, is_package) = match &decoded {
        DecodedWasm::Component(resolve, world) => (async_imports(resolve, *world), false),
        DecodedWasm::WitPackage(..) => (BTreeSet::new(), true),
    };
    let mut wit = DecodedWit {
        async_imports,
        is_package,
        ..DecodedWit::default()
    };
    match print(&decoded) {
        Ok(text) if text.len() > TEXT_BYTES_MAX => {
            wit.error = Some(format!("its text of {} bytes exceeds 1 MiB", text.len()));
        }
        Ok(text) => wit.text = Some(text),
        Err(error) => wit.error = Some(error),
    }
    wit
}

/// The world, followed by the packages that are not WASI's: those everybody can look up.
fn print(decoded: &DecodedWasm) -> Result<String, String> {
    let resolve = decoded.resolve();
    let main = decoded.package();
    let others: Vec<PackageId> = resolve
        .packages
        .iter()
        .filter(|(id, package)| *id != main && package.name.namespace != "wasi")
        .map(|(id, _)| id)
        .collect();
    let mut printer = WitPrinter::default();
    printer
        .print(resolve, main, &others)
        .map_err(|error| format!("{error:#}"))?;
    Ok(printer.output.to_string())
}

fn async_imports(resolve: &Resolve, world: WorldId) -> BTreeSet<String> {
    let is_async = |kind: &FunctionKind| {
        matches!(
            kind,
            FunctionKind::AsyncFreestanding
                | FunctionKind::AsyncMethod(_)
                | FunctionKind::AsyncStatic(_)
        )
    };
    let imports = &resolve.worlds[world].imports;
    imports
        .iter()
        .filter(|(_, item)| match item {
            WorldItem::Interface { id, .. } => resolve.interfaces[*id]
                .functions
                .values()
                .all(|function| is_async(&function.kind)),
            WorldItem::Function(function) => is_async(&function.kind),
            WorldItem::Type { .. } => true,
        })
        .map(|(key, _)| resolve.name_world_key(key))
        .collect()
}

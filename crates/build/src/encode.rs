//! From a core module that carries its component type to a component.

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
    WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::ComponentEncoder;

use crate::wasm::Module;

/// Encodes a core module as a component and validates the result.
///
/// WASI 0.1 imports, which other compilers leave in a typed module, are
/// answered by the standard adapter on top of 0.2.
///
/// # Errors
///
/// The encoder's own words, when the module does not fit its type or the
/// result is not valid.
pub(crate) fn encode(bytes: &[u8], module: &Module) -> Result<Vec<u8>, String> {
    let mut encoder = ComponentEncoder::default()
        .validate(true)
        .module(bytes)
        .map_err(words)?;
    if module.imports_wasi_0_1 {
        let adapter = if module.exports_start {
            WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER
        } else {
            WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER
        };
        encoder = encoder
            .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter)
            .map_err(words)?;
    }
    encoder.encode().map_err(words)
}

/// The error and its causes on one line.
fn words(error: impl Into<Box<dyn std::error::Error>>) -> String {
    let error = error.into();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

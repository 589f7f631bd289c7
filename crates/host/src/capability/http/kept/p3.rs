//! The calls of WASI 0.3 that keep text.
//!
//! Bodies and trailers stay with the guest until somebody reads them.

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::TrappableError;
use wasmtime_wasi_http::p3::Request as EngineRequest;
use wasmtime_wasi_http::p3::bindings::http::types::{HeaderError, HostFields, HostRequest, Method};
use wasmtime_wasi_http::{FieldMap, WasiHttpView};

use super::{HANDLE_BYTES, METHOD_BYTES_MAX, of_entry, of_fields};
use crate::capability;
use crate::denial::Denial;
use crate::state::InstanceState;

/// The version that the engine's own bindings define.
const TYPES: &str = "wasi:http/types@0.3.0";

type Fields = Resource<FieldMap>;
type Request = Resource<EngineRequest>;

pub(super) fn link(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    let mut types = linker.instance(TYPES)?;
    keep_text!(types, "request", HostRequest);
    Ok(())
}

/// What does not fit is an error of the guest's, which it may survive.
fn answer<T>(
    state: &InstanceState,
    result: Result<T, TrappableError<HeaderError>>,
) -> wasmtime::Result<(Result<T, HeaderError>,)> {
    let (answer,) = capability::answer(result)?;
    if let Err(HeaderError::SizeExceeded) = &answer {
        state.denials.record(Denial::headers());
    }
    Ok((answer,))
}

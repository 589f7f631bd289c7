//! The calls of WASI 0.3 that keep text.
//!
//! Bodies and trailers stay with the guest until somebody reads them.

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::TrappableError;
use wasmtime_wasi_http::p3::Request as EngineRequest;
use wasmtime_wasi_http::p3::bindings::http::types::{HeaderError, HostFields, HostRequest, Method};
use wasmtime_wasi_http::{FieldMap, WasiHttpView};

use super::{HANDLE_BYTES, METHOD_BYTES_MAX, of_entry, of_fields};
use crate::state::InstanceState;

/// The version that the engine's own bindings define.
const TYPES: &str = "wasi:http/types@0.3.0";

type Fields = Resource<FieldMap>;
type Request = Resource<EngineRequest>;
type Answer<T> = wasmtime::Result<(Result<T, HeaderError>,)>;

pub(super) fn link(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    let mut types = linker.instance(TYPES)?;
    types.func_wrap("[constructor]fields", |mut store, (): ()| {
        let state = store.data_mut();
        state.keep(HANDLE_BYTES)?;
        Ok((HostFields::new(&mut state.http())?,))
    })?;
    types.func_wrap(
        "[static]fields.from-list",
        |mut store, (entries,): (Vec<(String, Vec<u8>)>,)| {
            let state = store.data_mut();
            let each = entries.iter();
            let bytes: usize = each
                .map(|(name, value)| of_entry(name.len(), value.len()))
                .sum();
            state.keep(HANDLE_BYTES + bytes)?;
            answer(HostFields::from_list(&mut state.http(), entries))
        },
    )?;
    types.func_wrap(
        "[method]fields.set",
        |mut store, (fields, name, values): (Fields, String, Vec<Vec<u8>>)| {
            let state = store.data_mut();
            let each = values.iter();
            let bytes = each.map(|value| of_entry(name.len(), value.len())).sum();
            state.keep(bytes)?;
            answer(HostFields::set(&mut state.http(), fields, name, values))
        },
    )?;
    types.func_wrap(
        "[method]fields.append",
        |mut store, (fields, name, value): (Fields, String, Vec<u8>)| {
            let state = store.data_mut();
            state.keep(of_entry(name.len(), value.len()))?;
            answer(HostFields::append(&mut state.http(), fields, name, value))
        },
    )?;
    types.func_wrap("[method]fields.clone", |mut store, (fields,): (Fields,)| {
        let state = store.data_mut();
        // The copy is made when either is changed, which no call can tell.
        let bytes = of_fields(state.table.get(&fields)?);
        state.keep(bytes)?;
        Ok((HostFields::clone(&mut state.http(), fields)?,))
    })?;
    types.func_wrap(
        "[method]request.set-method",
        |mut store, (request, method): (Request, Method)| {
            let state = store.data_mut();
            if let Method::Other(name) = &method {
                if name.len() > METHOD_BYTES_MAX {
                    return Ok((Err(()),));
                }
                state.keep(name.len())?;
            }
            let set = HostRequest::set_method(&mut state.http(), request, method)?;
            Ok((set,))
        },
    )?;
    types.func_wrap(
        "[method]request.set-path-with-query",
        |mut store, (request, path): (Request, Option<String>)| {
            let state = store.data_mut();
            state.keep(path.as_ref().map_or(0, String::len))?;
            let set = HostRequest::set_path_with_query(&mut state.http(), request, path)?;
            Ok((set,))
        },
    )?;
    types.func_wrap(
        "[method]request.set-authority",
        |mut store, (request, authority): (Request, Option<String>)| {
            let state = store.data_mut();
            state.keep(authority.as_ref().map_or(0, String::len))?;
            let set = HostRequest::set_authority(&mut state.http(), request, authority)?;
            Ok((set,))
        },
    )
}

fn answer<T>(result: Result<T, TrappableError<HeaderError>>) -> Answer<T> {
    match result {
        Ok(value) => Ok((Ok(value),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

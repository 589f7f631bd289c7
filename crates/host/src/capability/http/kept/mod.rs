//! What the host keeps of the text that a guest gives it through `wasi:http`, counted to the
//! guest's memory.
//!
//! Fields, methods, paths and the like lie in the host's memory once the guest has handed them
//! over, and a guest may hold thousands of them. Each call by which they come charges their size
//! and then calls the engine's own implementation. Nothing tells when they go; what is there
//! is counted again once much was charged since, so that an instance may live long.

use std::any::Any;

use wasmtime::component::Linker;
use wasmtime_wasi_http::FieldMap;
use wasmtime_wasi_http::p2::types::{HostOutgoingRequest, HostOutgoingResponse};
use wharf_engine::StoreState;

use crate::state::InstanceState;

/// Puts the calls that keep the text of fields and requests before those of the engine: the same in
/// both versions of WASI, on types and traits of each. They are named where this is used: `Fields`
/// and `Request`, `HostFields`, `Method`, and `answer` for what may fail.
macro_rules! keep_text {
    ($types:ident, $request:literal, $HostRequest:ident) => {
        $types.func_wrap("[constructor]fields", |mut store, (): ()| {
            let state = store.data_mut();
            state.keep(HANDLE_BYTES)?;
            Ok((HostFields::new(&mut state.http())?,))
        })?;
        $types.func_wrap(
            "[static]fields.from-list",
            |mut store, (entries,): (Vec<(String, Vec<u8>)>,)| {
                let state = store.data_mut();
                let each = entries.iter();
                let bytes: usize = each
                    .map(|(name, value)| of_entry(name.len(), value.len()))
                    .sum();
                state.keep(HANDLE_BYTES + bytes)?;
                let made = HostFields::from_list(&mut state.http(), entries);
                answer(state, made)
            },
        )?;
        $types.func_wrap(
            "[method]fields.set",
            |mut store, (fields, name, values): (Fields, String, Vec<Vec<u8>>)| {
                let state = store.data_mut();
                let each = values.iter();
                let bytes = each.map(|value| of_entry(name.len(), value.len())).sum();
                state.keep(bytes)?;
                let set = HostFields::set(&mut state.http(), fields, name, values);
                answer(state, set)
            },
        )?;
        $types.func_wrap(
            "[method]fields.append",
            |mut store, (fields, name, value): (Fields, String, Vec<u8>)| {
                let state = store.data_mut();
                state.keep(of_entry(name.len(), value.len()))?;
                let appended = HostFields::append(&mut state.http(), fields, name, value);
                answer(state, appended)
            },
        )?;
        $types.func_wrap("[method]fields.clone", |mut store, (fields,): (Fields,)| {
            let state = store.data_mut();
            // The copy is made when either is changed, which no call can tell.
            let bytes = of_fields(state.table.get(&fields)?);
            state.keep(bytes)?;
            Ok((HostFields::clone(&mut state.http(), fields)?,))
        })?;
        $types.func_wrap(
            concat!("[method]", $request, ".set-method"),
            |mut store, (request, method): (Request, Method)| {
                let state = store.data_mut();
                if let Method::Other(name) = &method {
                    if name.len() > METHOD_BYTES_MAX {
                        return Ok((Err(()),));
                    }
                    state.keep(name.len())?;
                }
                let set = $HostRequest::set_method(&mut state.http(), request, method)?;
                Ok((set,))
            },
        )?;
        $types.func_wrap(
            concat!("[method]", $request, ".set-path-with-query"),
            |mut store, (request, path): (Request, Option<String>)| {
                let state = store.data_mut();
                state.keep(path.as_ref().map_or(0, String::len))?;
                let set = $HostRequest::set_path_with_query(&mut state.http(), request, path)?;
                Ok((set,))
            },
        )?;
        $types.func_wrap(
            concat!("[method]", $request, ".set-authority"),
            |mut store, (request, authority): (Request, Option<String>)| {
                let state = store.data_mut();
                state.keep(authority.as_ref().map_or(0, String::len))?;
                let set = $HostRequest::set_authority(&mut state.http(), request, authority)?;
                Ok((set,))
            },
        )?;
    };
}

mod p2;
mod p3;

/// Links the calls that keep text over those of the engine's own `wasi:http`.
pub(crate) fn link(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    p2::link(linker)?;
    p3::link(linker)
}

/// Bytes that one chunk of a body which a guest writes may have.
pub(super) const BODY_CHUNK_BYTES: usize = 64 << 10;

/// Bytes of a 0.2 body that wait for their reader: the chunk that may wait, and the one more that
/// the engine's queue has room for.
const BODY_BYTES: usize = 2 * BODY_CHUNK_BYTES;

/// Bytes of one resource beside its text.
const HANDLE_BYTES: usize = 256;

/// Bytes of one field beside its name and value. The table of the fields may be half empty, as
/// it doubles.
const ENTRY_BYTES: usize = 256;

/// As many as one set of fields can come to: the trailers of a body, which nobody can look at.
const TRAILERS_BYTES: usize = 640 << 10;

/// Bytes of a method that has no name of its own in the WIT. The longest that is registered has
/// 17.
const METHOD_BYTES_MAX: usize = 64;

/// Bytes that may be charged before what is there is counted again.
const RECOUNT_BYTES: u64 = 1 << 20;

/// What is charged to a store for text.
#[derive(Debug)]
pub(crate) struct Kept {
    charged: u64,
    recount_at: u64,
}

impl Default for Kept {
    fn default() -> Kept {
        Kept {
            charged: 0,
            recount_at: RECOUNT_BYTES,
        }
    }
}

impl InstanceState {
    /// Charges `bytes` that the host is about to keep.
    ///
    /// # Errors
    /// The limit that was met, to end the guest with.
    fn keep(&mut self, bytes: usize) -> wasmtime::Result<()> {
        let bytes = bytes as u64;
        if self.kept.charged.saturating_add(bytes) > self.kept.recount_at {
            self.recount();
        }
        if self.limits().charge(bytes).is_err() {
            self.recount();
            self.limits().charge(bytes)?;
        }
        self.kept.charged += bytes;
        Ok(())
    }

    /// Gives back what was charged for text that is gone.
    fn recount(&mut self) {
        let there: usize = self.table.iter_mut().map(|entry| kept_by(entry)).sum();
        let gone = self.kept.charged.saturating_sub(there as u64);
        self.limits().give_back(gone);
        self.kept.charged -= gone;
        // Looking at all resources costs as much as the charges since the last time.
        self.kept.recount_at = RECOUNT_BYTES.max(self.kept.charged * 2);
    }
}

/// Bytes that one resource may keep: never less than was charged for what it has.
fn kept_by(resource: &dyn Any) -> usize {
    if let Some(fields) = resource.downcast_ref::<FieldMap>() {
        return of_fields(fields);
    }
    if let Some(request) = resource.downcast_ref::<HostOutgoingRequest>() {
        let of = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        return of_fields(&request.headers)
            + METHOD_BYTES_MAX
            + of(&request.path_with_query)
            + of(&request.authority)
            + of_body(request.body.is_some());
    }
    if let Some(response) = resource.downcast_ref::<HostOutgoingResponse>() {
        return of_fields(&response.headers) + of_body(response.body.is_some());
    }
    if let Some(request) = resource.downcast_ref::<wasmtime_wasi_http::p3::Request>() {
        let path = request
            .path_with_query
            .as_ref()
            .map_or("", |it| it.as_str());
        let authority = request.authority.as_ref().map_or("", |it| it.as_str());
        return of_fields(&request.headers) + METHOD_BYTES_MAX + path.len() + authority.len();
    }
    if let Some(response) = resource.downcast_ref::<wasmtime_wasi_http::p3::Response>() {
        return of_fields(&response.headers);
    }
    0
}

fn of_fields(fields: &FieldMap) -> usize {
    let entries = fields.iter();
    HANDLE_BYTES
        + entries
            .map(|(name, value)| of_entry(name.as_str().len(), value.len()))
            .sum::<usize>()
}

fn of_entry(name: usize, value: usize) -> usize {
    ENTRY_BYTES + name + value
}

fn of_body(is_there: bool) -> usize {
    match is_there {
        true => BODY_BYTES + TRAILERS_BYTES,
        false => 0,
    }
}

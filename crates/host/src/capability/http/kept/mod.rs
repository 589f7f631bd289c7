//! What the host keeps of the text that a guest gives it through `wasi:http`, counted to the
//! guest's memory.
//!
//! Fields, methods, paths and the like lie in the host's memory once the guest has handed them
//! over, and a guest may hold thousands of them. Each call by which they come charges their size
//! and then calls the engine's own implementation. Nothing tells when they go; what is there
//! is counted again once much was charged since, so that an instance may live long.

mod p2;
mod p3;

use std::any::Any;

use wasmtime::component::Linker;
use wasmtime_wasi_http::FieldMap;
use wasmtime_wasi_http::p2::types::{HostOutgoingRequest, HostOutgoingResponse};
use wharf_engine::StoreState;

use crate::state::InstanceState;

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

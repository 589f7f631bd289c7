//! Text that the host is made to keep, without end. The SDK keeps nothing, so the calls are made
//! by hand.

use wharf_sdk::{IntoResponse, Response, Result};

/// As much as one path may have.
const PATH_BYTES: usize = 60_000;

/// More and more fields of 120 KiB.
pub(crate) fn fields() -> Result<Response> {
    let value = vec![b'x'; 120 << 10];
    let name = "x-kept";
    loop {
        make_fields(&[(name.as_ptr(), name.len(), value.as_ptr(), value.len())]);
    }
}

/// More and more requests with a path as long as may be.
pub(crate) fn paths() -> Result<Response> {
    let path = format!("/{}", "x".repeat(PATH_BYTES));
    loop {
        // SAFETY: the text outlives the call, which takes a copy.
        unsafe { raw::set_target(make_request(), 1, path.as_ptr(), path.len()) };
    }
}

/// A method of that many MiB: whether the host takes it.
pub(crate) fn method(mebibytes: u64) -> Result<Response> {
    const OTHER: u32 = 9;
    let method = "X".repeat((mebibytes as usize) << 20);
    // SAFETY: the text outlives the call, which takes a copy.
    let refused = unsafe { raw::set_method(make_request(), OTHER, method.as_ptr(), method.len()) };
    Ok(match refused {
        0 => "taken\n",
        _ => "refused\n",
    }
    .into_response())
}

/// Twenty thousand fields of 4 kB, each dropped before the next: nothing is kept.
pub(crate) fn dropped() -> Result<Response> {
    let (name, value) = ("x-dropped", "x".repeat(4000));
    for _ in 0..20_000 {
        let entry = (name.as_ptr(), name.len(), value.as_ptr(), value.len());
        // SAFETY: it is owned here and not used again.
        unsafe { raw::fields_drop(make_fields(&[entry])) };
    }
    Ok("dropped\n".into_response())
}

fn make_fields(entries: &[(*const u8, usize, *const u8, usize)]) -> u32 {
    let entries: Vec<[usize; 4]> = entries
        .iter()
        .map(|entry| [entry.0 as usize, entry.1, entry.2 as usize, entry.3])
        .collect();
    let mut result = [0_u32; 2];
    // SAFETY: the entries are lists of four words each; there is room for a handle or an error.
    unsafe {
        raw::fields_from_list(
            entries.as_ptr().cast(),
            entries.len(),
            result.as_mut_ptr().cast(),
        );
    }
    result[1]
}

#[cfg(feature = "p2")]
fn make_request() -> u32 {
    // SAFETY: the fields are owned here and not used again.
    unsafe { raw::request_new(make_fields(&[])) }
}

#[cfg(not(feature = "p2"))]
fn make_request() -> u32 {
    let mut result = [0_u32; 2];
    // SAFETY: the fields and the future's readable end are owned here and not used again; there is
    // room for two handles.
    unsafe {
        let trailers = raw::trailers_new() as u32;
        let result = result.as_mut_ptr().cast();
        raw::request_new(make_fields(&[]), 0, 0, trailers, 0, 0, result);
    }
    result[0]
}

#[cfg(feature = "p2")]
mod raw {
    #[link(wasm_import_module = "wasi:http/types@0.2.12")]
    unsafe extern "C" {
        #[link_name = "[static]fields.from-list"]
        pub(super) fn fields_from_list(entries: *const u8, count: usize, result: *mut u8);
        #[link_name = "[resource-drop]fields"]
        pub(super) fn fields_drop(fields: u32);
        #[link_name = "[constructor]outgoing-request"]
        pub(super) fn request_new(headers: u32) -> u32;
        #[link_name = "[method]outgoing-request.set-method"]
        pub(super) fn set_method(request: u32, case: u32, text: *const u8, length: usize) -> u32;
        #[link_name = "[method]outgoing-request.set-path-with-query"]
        pub(super) fn set_target(request: u32, some: u32, text: *const u8, length: usize) -> u32;
    }
}

#[cfg(not(feature = "p2"))]
mod raw {
    #[link(wasm_import_module = "wasi:http/types@0.3.0")]
    unsafe extern "C" {
        #[link_name = "[static]fields.from-list"]
        pub(super) fn fields_from_list(entries: *const u8, count: usize, result: *mut u8);
        #[link_name = "[resource-drop]fields"]
        pub(super) fn fields_drop(fields: u32);
        #[link_name = "[future-new-1][static]request.new"]
        pub(super) fn trailers_new() -> u64;
        #[link_name = "[static]request.new"]
        pub(super) fn request_new(
            headers: u32,
            has_contents: u32,
            contents: u32,
            trailers: u32,
            has_options: u32,
            options: u32,
            result: *mut u8,
        );
        #[link_name = "[method]request.set-method"]
        pub(super) fn set_method(request: u32, case: u32, text: *const u8, length: usize) -> u32;
        #[link_name = "[method]request.set-path-with-query"]
        pub(super) fn set_target(request: u32, some: u32, text: *const u8, length: usize) -> u32;
    }
}

//! The imports of WASI 0.2.12, as the canonical ABI flattens them. All of them
//! are there since 0.2.0.

use crate::wasi::abi::imports;

imports! {
    "wasi:http/types@0.2.12" {
        "[resource-drop]fields" fn fields_drop(fields: u32);
        "[static]fields.from-list" fn fields_from_list(entries: *const u8, count: usize, result: *mut u8);
        "[method]fields.entries" fn fields_entries(fields: u32, result: *mut u8);

        "[resource-drop]incoming-request" fn request_drop(request: u32);
        "[method]incoming-request.method" fn request_method(request: u32, result: *mut u8);
        "[method]incoming-request.path-with-query" fn request_target(request: u32, result: *mut u8);
        "[method]incoming-request.scheme" fn request_scheme(request: u32, result: *mut u8);
        "[method]incoming-request.authority" fn request_authority(request: u32, result: *mut u8);
        "[method]incoming-request.headers" fn request_headers(request: u32) -> u32;
        "[method]incoming-request.consume" fn request_consume(request: u32, result: *mut u8);

        "[constructor]outgoing-request" fn request_new(headers: u32) -> u32;
        "[resource-drop]outgoing-request" fn outgoing_request_drop(request: u32);
        "[method]outgoing-request.set-method" fn set_method(request: u32, case: u32, text: *const u8, length: usize) -> u32;
        "[method]outgoing-request.set-path-with-query" fn set_target(request: u32, some: u32, text: *const u8, length: usize) -> u32;
        "[method]outgoing-request.set-scheme" fn set_scheme(request: u32, some: u32, case: u32, text: *const u8, length: usize) -> u32;
        "[method]outgoing-request.set-authority" fn set_authority(request: u32, some: u32, text: *const u8, length: usize) -> u32;
        "[method]outgoing-request.body" fn request_body(request: u32, result: *mut u8);

        "[resource-drop]incoming-response" fn response_drop(response: u32);
        "[method]incoming-response.status" fn response_status(response: u32) -> u32;
        "[method]incoming-response.headers" fn response_headers(response: u32) -> u32;
        "[method]incoming-response.consume" fn response_consume(response: u32, result: *mut u8);

        "[constructor]outgoing-response" fn response_new(headers: u32) -> u32;
        "[method]outgoing-response.set-status-code" fn response_set_status(response: u32, status: u32) -> u32;
        "[method]outgoing-response.body" fn response_body(response: u32, result: *mut u8);
        "[static]response-outparam.set" fn respond(
            outparam: u32, case: u32, response: u32, _3: u32, _4: u64, _5: u32, _6: u32, _7: u32, _8: u32,
        );

        "[resource-drop]incoming-body" fn incoming_body_drop(body: u32);
        "[method]incoming-body.stream" fn incoming_body_stream(body: u32, result: *mut u8);
        "[static]incoming-body.finish" fn incoming_body_finish(body: u32) -> u32;
        "[resource-drop]future-trailers" fn future_trailers_drop(future: u32);
        "[method]future-trailers.subscribe" fn future_trailers_subscribe(future: u32) -> u32;
        "[method]future-trailers.get" fn future_trailers_get(future: u32, result: *mut u8);

        "[resource-drop]outgoing-body" fn outgoing_body_drop(body: u32);
        "[method]outgoing-body.write" fn outgoing_body_write(body: u32, result: *mut u8);
        "[static]outgoing-body.finish" fn outgoing_body_finish(body: u32, some: u32, trailers: u32, result: *mut u8);

        "[resource-drop]future-incoming-response" fn future_response_drop(future: u32);
        "[method]future-incoming-response.subscribe" fn future_response_subscribe(future: u32) -> u32;
        "[method]future-incoming-response.get" fn future_response_get(future: u32, result: *mut u8);
    }
    "wasi:http/outgoing-handler@0.2.12" {
        "handle" fn send(request: u32, has_options: u32, options: u32, result: *mut u8);
    }
    "wasi:io/error@0.2.12" {
        "[resource-drop]error" fn error_drop(error: u32);
    }
    "wasi:io/poll@0.2.12" {
        "[resource-drop]pollable" fn pollable_drop(pollable: u32);
        "poll" fn poll(pollables: *const u32, count: usize, result: *mut u8);
    }
    "wasi:io/streams@0.2.12" {
        "[resource-drop]input-stream" fn input_drop(stream: u32);
        "[method]input-stream.read" fn input_read(stream: u32, length_max: u64, result: *mut u8);
        "[method]input-stream.subscribe" fn input_subscribe(stream: u32) -> u32;
        "[resource-drop]output-stream" fn output_drop(stream: u32);
        "[method]output-stream.check-write" fn output_check_write(stream: u32, result: *mut u8);
        "[method]output-stream.write" fn output_write(stream: u32, data: *const u8, length: usize, result: *mut u8);
        "[method]output-stream.flush" fn output_flush(stream: u32, result: *mut u8);
        "[method]output-stream.blocking-write-and-flush" fn output_blocking_write_and_flush(stream: u32, data: *const u8, length: usize, result: *mut u8);
        "[method]output-stream.subscribe" fn output_subscribe(stream: u32) -> u32;
    }
    "wasi:clocks/monotonic-clock@0.2.12" {
        "now" fn monotonic_now() -> u64;
        "subscribe-duration" fn subscribe_duration(duration_ns: u64) -> u32;
    }
    "wasi:clocks/wall-clock@0.2.12" {
        "now" fn system_now(result: *mut u8);
    }
    "wasi:random/random@0.2.12" {
        "get-random-bytes" fn random_bytes(length: u64, result: *mut u8);
        "get-random-u64" fn random_u64() -> u64;
    }
    "wasi:cli/stderr@0.2.12" {
        "get-stderr" fn get_stderr() -> u32;
    }
}

//! The imports of WASI 0.3.0 and of the component model's async built-ins, as
//! the canonical ABI flattens them.
//!
//! The stream and future built-ins are named after a function whose type holds
//! such a stream or future. `request.new` holds all three: the contents (0),
//! the trailers (1) and the result (2).

use crate::wasi::abi::imports;

imports! {
    "wasi:http/types@0.3.0" {
        "[resource-drop]fields" fn fields_drop(fields: u32);
        "[static]fields.from-list" fn fields_from_list(entries: *const u8, count: usize, result: *mut u8);
        "[method]fields.copy-all" fn fields_entries(fields: u32, result: *mut u8);

        "[resource-drop]request" fn request_drop(request: u32);
        "[static]request.new" fn request_new(
            headers: u32, has_contents: u32, contents: u32, trailers: u32,
            has_options: u32, options: u32, result: *mut u8,
        );
        "[method]request.get-method" fn request_method(request: u32, result: *mut u8);
        "[method]request.get-path-with-query" fn request_target(request: u32, result: *mut u8);
        "[method]request.get-scheme" fn request_scheme(request: u32, result: *mut u8);
        "[method]request.get-authority" fn request_authority(request: u32, result: *mut u8);
        "[method]request.get-headers" fn request_headers(request: u32) -> u32;
        "[method]request.set-method" fn set_method(request: u32, case: u32, text: *const u8, length: usize) -> u32;
        "[method]request.set-path-with-query" fn set_target(request: u32, some: u32, text: *const u8, length: usize) -> u32;
        "[method]request.set-scheme" fn set_scheme(request: u32, some: u32, case: u32, text: *const u8, length: usize) -> u32;
        "[method]request.set-authority" fn set_authority(request: u32, some: u32, text: *const u8, length: usize) -> u32;
        "[static]request.consume-body" fn request_consume(request: u32, outcome: u32, result: *mut u8);

        "[resource-drop]response" fn response_drop(response: u32);
        "[static]response.new" fn response_new(
            headers: u32, has_contents: u32, contents: u32, trailers: u32, result: *mut u8,
        );
        "[method]response.get-status-code" fn response_status(response: u32) -> u32;
        "[method]response.set-status-code" fn response_set_status(response: u32, status: u32) -> u32;
        "[method]response.get-headers" fn response_headers(response: u32) -> u32;
        "[static]response.consume-body" fn response_consume(response: u32, outcome: u32, result: *mut u8);

        "[stream-new-0][static]request.new" fn stream_new() -> u64;
        "[async-lower][stream-read-0][static]request.new" fn stream_read(stream: u32, buffer: *mut u8, length: usize) -> u32;
        "[async-lower][stream-write-0][static]request.new" fn stream_write(stream: u32, data: *const u8, length: usize) -> u32;
        "[stream-cancel-read-0][static]request.new" fn stream_cancel_read(stream: u32) -> u32;
        "[stream-cancel-write-0][static]request.new" fn stream_cancel_write(stream: u32) -> u32;
        "[stream-drop-readable-0][static]request.new" fn stream_drop_readable(stream: u32);
        "[stream-drop-writable-0][static]request.new" fn stream_drop_writable(stream: u32);

        "[future-new-1][static]request.new" fn trailers_new() -> u64;
        "[async-lower][future-read-1][static]request.new" fn trailers_read(future: u32, buffer: *mut u8) -> u32;
        "[async-lower][future-write-1][static]request.new" fn trailers_write(future: u32, data: *const u8) -> u32;
        "[future-cancel-read-1][static]request.new" fn trailers_cancel_read(future: u32) -> u32;
        "[future-cancel-write-1][static]request.new" fn trailers_cancel_write(future: u32) -> u32;
        "[future-drop-readable-1][static]request.new" fn trailers_drop_readable(future: u32);
        "[future-drop-writable-1][static]request.new" fn trailers_drop_writable(future: u32);

        "[future-new-2][static]request.new" fn outcome_new() -> u64;
        "[async-lower][future-write-2][static]request.new" fn outcome_write(future: u32, data: *const u8) -> u32;
        "[future-cancel-write-2][static]request.new" fn outcome_cancel_write(future: u32) -> u32;
        "[future-drop-readable-2][static]request.new" fn outcome_drop_readable(future: u32);
        "[future-drop-writable-2][static]request.new" fn outcome_drop_writable(future: u32);
    }
    "wasi:http/client@0.3.0" {
        "[async-lower]send" fn send(request: u32, result: *mut u8) -> u32;
    }
    "[export]wasi:http/handler@0.3.0" {
        "[task-return]handle" fn task_return(
            case: u32, response: u32, _2: u32, _3: u64, _4: u32, _5: u32, _6: u32, _7: u32,
        );
    }
    "wasi:clocks/monotonic-clock@0.3.0" {
        "now" fn monotonic_now() -> u64;
        "[async-lower]wait-for" fn wait_for(duration_ns: u64) -> u32;
    }
    "wasi:clocks/system-clock@0.3.0" {
        "now" fn system_now(result: *mut u8);
    }
    "wasi:random/random@0.3.0" {
        "get-random-bytes" fn random_bytes(length_max: u64, result: *mut u8);
        "get-random-u64" fn random_u64() -> u64;
    }
    "wasi:cli/stderr@0.3.0" {
        "write-via-stream" fn stderr_write_via_stream(stream: u32) -> u32;
        "[stream-new-0]write-via-stream" fn stderr_stream_new() -> u64;
        "[async-lower][stream-write-0]write-via-stream" fn stderr_stream_write(stream: u32, data: *const u8, length: usize) -> u32;
        "[stream-cancel-write-0]write-via-stream" fn stderr_stream_cancel_write(stream: u32) -> u32;
        "[stream-drop-writable-0]write-via-stream" fn stderr_stream_drop_writable(stream: u32);
        "[future-drop-readable-1]write-via-stream" fn stderr_outcome_drop_readable(future: u32);
    }
    "$root" {
        "[waitable-set-new]" fn waitable_set_new() -> u32;
        "[waitable-set-drop]" fn waitable_set_drop(set: u32);
        "[waitable-join]" fn waitable_join(waitable: u32, set: u32);
        "[subtask-cancel]" fn subtask_cancel(subtask: u32) -> u32;
        "[subtask-drop]" fn subtask_drop(subtask: u32);
        "[context-get-0]" fn context_get() -> *const u8;
        "[context-set-0]" fn context_set(value: *const u8);
        "[stream-new-unit]" fn unit_new() -> u64;
        "[async-lower][stream-read-unit]" fn unit_read(stream: u32, buffer: *mut u8, length: usize) -> u32;
        "[async-lower][stream-write-unit]" fn unit_write(stream: u32, data: *const u8, length: usize) -> u32;
        "[stream-cancel-read-unit]" fn unit_cancel_read(stream: u32) -> u32;
        "[stream-drop-readable-unit]" fn unit_drop_readable(stream: u32);
        "[stream-drop-writable-unit]" fn unit_drop_writable(stream: u32);
    }
    "[export]$root" {
        "[task-cancel]" fn task_cancel();
    }
}

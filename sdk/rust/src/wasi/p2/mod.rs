//! WASI 0.2: the handler is a synchronous export that runs everything to its
//! end, waiting for the host by `wasi:io/poll`.

mod component_type;
mod pollable;
pub(crate) mod raw;
mod transfer;

use std::time::Duration;

use http::StatusCode;

use self::pollable::Pollable;
pub(crate) use self::transfer::Incoming;
use self::transfer::{Message, pump};
use super::abi::Area;
use super::fields::{
    expect_headers, make_headers, no_fields, read_fields, read_request, take_error, write_request,
};
use crate::executor::{Task, spawn};
use crate::{Error, Request, Response, Result};

/// Keeps the type of the imports with them, for guests of any kind.
#[used]
static IMPORTS: fn() = component_type::link_imports;

/// What the exports of a component call.
#[allow(unreachable_pub)]
pub mod exports {
    pub use super::super::fields::answer;
    pub use super::super::{Handler, HandlerFuture};
    pub use super::component_type::HTTP_WORLD;
    pub use super::{drop_request, handle, take_request};
}

/// Exports a handler as `wasi:http/incoming-handler`.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_http {
    (|$request:ident| $body:block) => {
        fn __wharf_handler(handle: u32) -> $crate::__private::HandlerFuture {
            ::std::boxed::Box::pin(async move {
                match $crate::__private::take_request(handle) {
                    Ok($request) => $body,
                    Err(error) => $crate::__private::answer(error),
                }
            })
        }
        $crate::__export_http!(__wharf_handler);
    };
    (|| $body:block) => {
        fn __wharf_handler(handle: u32) -> $crate::__private::HandlerFuture {
            $crate::__private::drop_request(handle);
            ::std::boxed::Box::pin(async move $body)
        }
        $crate::__export_http!(__wharf_handler);
    };
    ($handler:ident) => {
        #[allow(dead_code)]
        #[cfg_attr(
            target_family = "wasm",
            unsafe(link_section = "component-type:wharf-sdk:p2:http")
        )]
        static WORLD: [u8; $crate::__private::HTTP_WORLD.len()] =
            *$crate::__private::HTTP_WORLD.first_chunk().expect("of its own length");

        #[allow(dead_code)]
        #[cfg_attr(
            target_family = "wasm",
            unsafe(export_name = "wasi:http/incoming-handler@0.2.12#handle")
        )]
        extern "C" fn __wharf_start(request: u32, outparam: u32) {
            $crate::__private::handle(request, outparam, $handler);
        }
    };
}

/// Nothing: one task runs at a time, so it is awake when another wakes it.
#[derive(Default)]
pub(crate) struct Parked(());

impl Parked {
    pub(crate) fn unpark(&self) {}
}

/// Runs a call of the handler to its end.
pub fn handle(request: u32, outparam: u32, handler: super::Handler) {
    crate::log::hook_panics();
    let task = Task::new(Parked::default());
    task.spawn(Box::pin(serve(request, outparam, handler)));
    while !task.run() {
        if !pollable::wait() {
            crate::log::error!("the handler waits for something that cannot happen");
            task.abandon();
        }
    }
}

/// Reads the head of a request.
///
/// # Errors
///
/// When it is not valid HTTP: an error with status `400`.
pub fn take_request(handle: u32) -> Result<Request> {
    read_request(handle, Incoming::body(Message::Request(handle)))
}

/// Drops a request that the handler does not look at.
pub fn drop_request(handle: u32) {
    // SAFETY: it is owned here, and not used again.
    unsafe { raw::request_drop(handle) };
}

/// Answers one request: the head first, then the body while it comes.
async fn serve(handle: u32, outparam: u32, handler: super::Handler) {
    let response = handler(handle).await.into_response();
    let (parts, body) = response.into_parts();
    let (fields, status) = match make_headers(&parts.headers, &body) {
        Ok(fields) => (fields, parts.status),
        Err(error) => {
            crate::log::failure(&error);
            (no_fields(), StatusCode::INTERNAL_SERVER_ERROR)
        }
    };
    let mut area = Area::<1>::new();
    // SAFETY: all handles are owned here and given away; the area has room for
    // a result with a handle. A new response's body can be taken once.
    let outgoing = unsafe {
        let response = raw::response_new(fields);
        raw::response_set_status(response, status.as_u16().into());
        raw::response_body(response, area.as_mut_ptr());
        raw::respond(outparam, 0, response, 0, 0, 0, 0, 0, 0);
        area.word(4)
    };
    pump(outgoing, body).await;
}

/// An owned `future-incoming-response`.
struct Answer(u32);

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: it is owned, and pollables of it are dropped before.
        unsafe { raw::future_response_drop(self.0) };
    }
}

pub(crate) async fn send(request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    expect_headers();
    let fields = make_headers(&parts.headers, &body)?;
    let mut area = Area::<7>::new();
    // SAFETY: the fields are given away.
    let request = unsafe { raw::request_new(fields) };
    if let Err(error) = write_request(request, &parts) {
        // SAFETY: it is owned here and not used again.
        unsafe { raw::outgoing_request_drop(request) };
        return Err(error);
    }
    // SAFETY: the request is owned here and given away; the areas have room
    // for the results. A new request's body can be taken once.
    let (outgoing, refused) = unsafe {
        raw::request_body(request, area.as_mut_ptr());
        let outgoing = area.word(4);
        raw::send(request, 0, 0, area.as_mut_ptr());
        (outgoing, area.byte(0) != 0)
    };
    if refused {
        // SAFETY: the body is owned here; the error code is taken once.
        return Err(unsafe {
            raw::outgoing_body_drop(outgoing);
            take_error(&area, 8)
        });
    }
    let answer = Answer(area.word(8));
    spawn(pump(outgoing, body));
    loop {
        // SAFETY: the future is alive; the area has room for the result.
        unsafe { raw::future_response_get(answer.0, area.as_mut_ptr()) };
        if area.byte(0) != 0 {
            break;
        }
        // SAFETY: the future is alive.
        Pollable::new(unsafe { raw::future_response_subscribe(answer.0) }).await;
    }
    drop(answer);
    // From `option<result<result<incoming-response, error-code>>>`.
    if area.byte(8) != 0 {
        return Err(Error::new("the response was taken"));
    }
    if area.byte(16) != 0 {
        // SAFETY: the host wrote an error code; it is taken here.
        return Err(unsafe { take_error(&area, 24) });
    }
    let response = area.word(24);
    let body = Incoming::body(Message::Response(response));
    let mut message = Response::new(body);
    // SAFETY: the response is owned by the body.
    unsafe {
        let status = raw::response_status(response);
        *message.status_mut() = StatusCode::from_u16(status as u16)?;
        *message.headers_mut() = read_fields(raw::response_headers(response));
    }
    Ok(message)
}

pub(crate) async fn sleep(duration_ns: u64) {
    // SAFETY: it has no preconditions.
    Pollable::new(unsafe { raw::subscribe_duration(duration_ns) }).await;
}

pub(crate) fn monotonic_now_ns() -> u64 {
    // SAFETY: it has no preconditions.
    unsafe { raw::monotonic_now() }
}

pub(crate) fn system_now() -> Duration {
    let mut area = Area::<2>::new();
    // SAFETY: the area has room for a date and time.
    unsafe { raw::system_now(area.as_mut_ptr()) };
    Duration::new(area.long(0), area.word(8))
}

pub(crate) fn random_u64() -> u64 {
    // SAFETY: it has no preconditions.
    unsafe { raw::random_u64() }
}

pub(crate) fn random_bytes(count: usize) -> Vec<u8> {
    let mut area = Area::<1>::new();
    // SAFETY: the area has room for a list of bytes, which is taken once.
    unsafe {
        raw::random_bytes(count as u64, area.as_mut_ptr());
        area.take_list(0)
    }
}

/// What the host takes in one blocking write.
const WRITE_BYTES_MAX: usize = 4096;

/// Writes a line, and returns when the host has it: a panic that follows
/// cannot lose it.
pub(crate) fn write_stderr(line: Vec<u8>) {
    let mut area = Area::<2>::new();
    // SAFETY: the stream is owned here; the area has room for the result.
    unsafe {
        let stream = raw::get_stderr();
        for part in line.chunks(WRITE_BYTES_MAX) {
            raw::output_blocking_write_and_flush(
                stream,
                part.as_ptr(),
                part.len(),
                area.as_mut_ptr(),
            );
            if area.byte(0) != 0 {
                if area.byte(4) == 0 {
                    raw::error_drop(area.word(8));
                }
                break;
            }
        }
        raw::output_drop(stream);
    }
}

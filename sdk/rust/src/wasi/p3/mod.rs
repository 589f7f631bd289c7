//! WASI 0.3.0: the handler is an async export with a callback, and many calls
//! of it may run on one instance at once.

mod component_type;
pub(crate) mod raw;
mod stderr;
mod transfer;
mod waitable;

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

pub(crate) use self::stderr::write_stderr;
pub(crate) use self::transfer::Incoming;
use self::transfer::{Message, outgoing};
pub(crate) use self::waitable::Parked;
use self::waitable::{Blocked, RETURNED, deliver};
use super::abi::Area;
use super::fields::{
    expect_headers, make_headers, no_fields, read_fields, read_request, take_error, write_request,
};
use crate::executor::{Task, spawn};
use crate::{Request, Response, Result};

/// Keeps the type of the imports with them, for guests of any kind.
#[used]
static IMPORTS: fn() = component_type::link_imports;

/// What the exports of a component call.
#[allow(unreachable_pub)]
pub mod exports {
    pub use super::super::fields::answer;
    pub use super::super::{Handler, HandlerFuture};
    pub use super::component_type::HTTP_WORLD;
    pub use super::{drop_request, resume, start, take_request};
}

/// Exports a handler as `wasi:http/handler`.
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
            unsafe(link_section = "component-type:wharf-sdk:p3:http")
        )]
        static WORLD: [u8; $crate::__private::HTTP_WORLD.len()] =
            *$crate::__private::HTTP_WORLD.first_chunk().expect("of its own length");

        #[allow(dead_code)]
        #[cfg_attr(
            target_family = "wasm",
            unsafe(export_name = "[async-lift]wasi:http/handler@0.3.0#handle")
        )]
        extern "C" fn __wharf_start(request: u32) -> u32 {
            $crate::__private::start(request, $handler)
        }

        #[allow(dead_code)]
        #[cfg_attr(
            target_family = "wasm",
            unsafe(export_name = "[callback][async-lift]wasi:http/handler@0.3.0#handle")
        )]
        extern "C" fn __wharf_resume(event: u32, handle: u32, code: u32) -> u32 {
            $crate::__private::resume(event, handle, code)
        }
    };
}

const EVENT_TASK_CANCELLED: u32 = 6;
const EXIT: u32 = 0;
const WAIT: u32 = 2;

/// Begins a call of the handler.
pub fn start(request: u32, handler: super::Handler) -> u32 {
    crate::log::hook_panics();
    let task = Task::new(Parked::default());
    task.spawn(Box::pin(serve(request, handler)));
    step(task)
}

/// Goes on with a call of the handler after an event.
pub fn resume(event: u32, handle: u32, code: u32) -> u32 {
    // SAFETY: `step` put the task there when this call last waited, and each
    // wait is resumed once.
    let task = unsafe { Arc::from_raw(raw::context_get().cast::<Task>()) };
    if event == EVENT_TASK_CANCELLED {
        task.abandon();
        task.parked.close();
        // SAFETY: the host has asked for it, and the task has not returned.
        unsafe { raw::task_cancel() };
        return EXIT;
    }
    if !task.parked.silence(handle) {
        // A job of this task that the event wakes needs no alarm.
        task.enter(|| deliver(event, handle, code));
    }
    step(task)
}

fn step(task: Arc<Task>) -> u32 {
    if task.run() {
        task.parked.close();
        return EXIT;
    }
    let set = task.parked.set();
    // SAFETY: the slot belongs to this call, and `resume` takes the task back.
    unsafe { raw::context_set(Arc::into_raw(task).cast()) };
    WAIT | set << 4
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
async fn serve(handle: u32, handler: super::Handler) {
    let response = handler(handle).await.into_response();
    let (parts, body) = response.into_parts();
    let empty = body.length() == Some(0);
    let (fields, status) = match make_headers(&parts.headers, &body) {
        Ok(fields) => (fields, parts.status),
        Err(error) => {
            crate::log::failure(&error);
            (no_fields(), StatusCode::INTERNAL_SERVER_ERROR)
        }
    };
    let (outlet, inlet) = outgoing(empty);
    let mut area = Area::<1>::new();
    // SAFETY: all handles are owned here and given away; the area has room for
    // two handles. The response is returned once.
    unsafe {
        raw::response_new(
            fields,
            u32::from(inlet.stream.is_some()),
            inlet.stream.unwrap_or(0),
            inlet.trailers,
            area.as_mut_ptr(),
        );
        let response = area.word(0);
        raw::response_set_status(response, status.as_u16().into());
        raw::task_return(0, response, 0, 0, 0, 0, 0, 0);
        raw::outcome_drop_readable(area.word(4));
    }
    outlet.pump(body).await;
}

pub(crate) async fn send(request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    expect_headers();
    let empty = body.length() == Some(0);
    let fields = make_headers(&parts.headers, &body)?;
    let (outlet, inlet) = outgoing(empty);
    let mut area = Area::<1>::new();
    // SAFETY: all handles are owned here and given away; the area has room for
    // two handles.
    let request = unsafe {
        raw::request_new(
            fields,
            u32::from(inlet.stream.is_some()),
            inlet.stream.unwrap_or(0),
            inlet.trailers,
            0,
            0,
            area.as_mut_ptr(),
        );
        raw::outcome_drop_readable(area.word(4));
        area.word(0)
    };
    spawn(outlet.pump(body));
    if let Err(error) = write_request(request, &parts) {
        // SAFETY: it is owned here and not used again.
        unsafe { raw::request_drop(request) };
        return Err(error);
    }
    let response = Sending::start(request).finish().await?;
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

/// A call of `client.send`.
struct Sending {
    subtask: u32,
    waiting: Option<Blocked>,
    // `result<response, error-code>`
    area: Box<Area<5>>,
}

impl Sending {
    fn start(request: u32) -> Self {
        let mut area = Box::new(Area::new());
        // SAFETY: the request is given away; the area does not move, and
        // `drop` ends the call before it goes.
        let code = unsafe { raw::send(request, area.as_mut_ptr()) };
        let subtask = code >> 4;
        let waiting = (subtask != 0).then(|| Blocked::new(subtask, raw::subtask_cancel));
        Sending {
            subtask,
            waiting,
            area,
        }
    }

    async fn finish(mut self) -> Result<u32> {
        if let Some(waiting) = &mut self.waiting {
            waiting.await;
            self.waiting = None;
        }
        match self.area.byte(0) {
            0 => Ok(self.area.word(8)),
            // SAFETY: the call returned an error code; it is taken here.
            _ => Err(unsafe { take_error(&self.area, 8) }),
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let Some(mut waiting) = self.waiting.take()
            && waiting.abort() == RETURNED
            && self.area.byte(0) == 0
        {
            // SAFETY: the call returned a response that nobody took.
            unsafe { raw::response_drop(self.area.word(8)) };
        }
        if self.subtask != 0 {
            // SAFETY: it is over.
            unsafe { raw::subtask_drop(self.subtask) };
        }
    }
}

pub(crate) async fn sleep(duration_ns: u64) {
    struct Subtask(u32);

    impl Drop for Subtask {
        fn drop(&mut self) {
            // SAFETY: it is over: the operation is dropped before.
            unsafe { raw::subtask_drop(self.0) };
        }
    }

    // SAFETY: it has no preconditions.
    let handle = unsafe { raw::wait_for(duration_ns) } >> 4;
    if handle != 0 {
        let _subtask = Subtask(handle);
        Blocked::new(handle, raw::subtask_cancel).await;
    }
}

pub(crate) fn monotonic_now_ns() -> u64 {
    // SAFETY: it has no preconditions.
    unsafe { raw::monotonic_now() }
}

pub(crate) fn system_now() -> Duration {
    let mut area = Area::<2>::new();
    // SAFETY: the area has room for an instant.
    unsafe { raw::system_now(area.as_mut_ptr()) };
    // Seconds are signed; a clock before 1970 is broken anyway.
    let seconds = (area.long(0) as i64).max(0) as u64;
    Duration::new(seconds, area.word(8))
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

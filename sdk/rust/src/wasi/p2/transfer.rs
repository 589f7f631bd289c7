//! Bodies across the boundary, by `wasi:io` streams.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};

use super::pollable::Pollable;
use super::raw;
use crate::wasi::abi::Area;
use crate::wasi::fields::{make_trailers, read_fields, take_error, take_error_text};
use crate::{Body, Error, Result};

/// How much is asked for at once.
const CHUNK_BYTES: u64 = 64 << 10;

/// Sends a body into an `outgoing-body`, then its trailers.
pub(crate) async fn pump(outgoing: u32, mut body: Body) {
    let sent = match body.length() {
        Some(0) => Ok(true),
        _ => write_body(outgoing, &mut body).await,
    };
    let trailers = match sent {
        Ok(true) => body.trailers().await,
        Ok(false) => Ok(None),
        Err(error) => Err(error),
    };
    // Whoever feeds the body learns here that it was taken or is gone.
    drop(body);
    let trailers: Result<Option<u32>> = match trailers {
        Ok(Some(trailers)) => make_trailers(&trailers).map(Some),
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    match trailers {
        Ok(fields) => {
            let mut area = Area::<5>::new();
            // SAFETY: both handles are owned here and given away; the stream
            // is dropped.
            unsafe {
                raw::outgoing_body_finish(
                    outgoing,
                    u32::from(fields.is_some()),
                    fields.unwrap_or(0),
                    area.as_mut_ptr(),
                );
                // The client left, or got less than was announced: it sees so.
                if area.byte(0) != 0 {
                    drop(take_error_text(&area, 8));
                }
            }
        }
        Err(error) => {
            crate::log::failure(&error);
            // SAFETY: it is owned here. Dropped unfinished, the body breaks
            // off for its reader.
            unsafe { raw::outgoing_body_drop(outgoing) };
        }
    }
}

/// An owned output stream.
struct Output(u32);

impl Drop for Output {
    fn drop(&mut self) {
        // SAFETY: it is owned, and pollables of it are dropped before.
        unsafe { raw::output_drop(self.0) };
    }
}

/// Writes all chunks; false when the reader left.
async fn write_body(outgoing: u32, body: &mut Body) -> Result<bool> {
    let mut area = Area::<2>::new();
    // SAFETY: the body is owned by the caller; the area has room for a handle.
    unsafe { raw::outgoing_body_write(outgoing, area.as_mut_ptr()) };
    if area.byte(0) != 0 {
        return Ok(false);
    }
    let stream = Output(area.word(4));
    while let Some(chunk) = body.chunk().await? {
        let mut rest = &chunk[..];
        while !rest.is_empty() {
            let Some(room) = room(&stream).await else {
                return Ok(false);
            };
            let (now, later) = rest.split_at(rest.len().min(room));
            // SAFETY: the stream is owned here, and has said that it takes
            // this much.
            unsafe { raw::output_write(stream.0, now.as_ptr(), now.len(), area.as_mut_ptr()) };
            if failed(&area, 4) {
                return Ok(false);
            }
            rest = later;
        }
        // SAFETY: the stream is owned here.
        unsafe { raw::output_flush(stream.0, area.as_mut_ptr()) };
        if failed(&area, 4) {
            return Ok(false);
        }
    }
    Ok(room(&stream).await.is_some())
}

/// How much a stream takes now, after waiting until it takes something; `None`
/// when its reader left.
async fn room(stream: &Output) -> Option<usize> {
    let mut area = Area::<2>::new();
    loop {
        // SAFETY: the stream is alive; the area has room for the result.
        unsafe { raw::output_check_write(stream.0, area.as_mut_ptr()) };
        if failed(&area, 8) {
            return None;
        }
        match usize::try_from(area.long(8)).unwrap_or(usize::MAX) {
            // SAFETY: the stream is alive.
            0 => Pollable::new(unsafe { raw::output_subscribe(stream.0) }).await,
            room => return Some(room),
        }
    }
}

/// Whether a stream's operation failed, whose error lies at an offset.
fn failed(area: &Area<2>, offset: usize) -> bool {
    let failed = area.byte(0) != 0;
    if failed && area.byte(offset) == 0 {
        // SAFETY: the host gave an error, which is owned here.
        unsafe { raw::error_drop(area.word(offset + 4)) };
    }
    failed
}

/// The message that a body comes with.
#[derive(Clone, Copy)]
pub(crate) enum Message {
    Request(u32),
    Response(u32),
}

/// A body that comes in; nothing is fetched before it is read.
pub(crate) struct Incoming {
    state: State,
    message: Message,
}

enum State {
    Unopened,
    Open {
        waiting: Option<Pollable>,
        stream: u32,
        body: u32,
    },
    Trailers {
        waiting: Option<Pollable>,
        future: u32,
    },
    Done,
}

impl Incoming {
    /// The body of a message.
    pub(crate) fn body(message: Message) -> Body {
        Body::boxed(Incoming::new(message))
    }

    fn new(message: Message) -> Self {
        Incoming {
            state: State::Unopened,
            message,
        }
    }
}

impl HttpBody for Incoming {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Done => return Poll::Ready(None),
                State::Unopened => match open(this.message) {
                    Some((stream, body)) => {
                        this.state = State::Open {
                            waiting: None,
                            stream,
                            body,
                        };
                    }
                    None => {
                        this.state = State::Done;
                        return Poll::Ready(Some(Err(Error::new("the body was taken"))));
                    }
                },
                State::Open {
                    waiting,
                    stream,
                    body,
                } => {
                    if let Some(pollable) = waiting {
                        std::task::ready!(Pin::new(pollable).poll(context));
                        *waiting = None;
                    }
                    let mut area = Area::<2>::new();
                    // SAFETY: the stream is owned here; the area has room for
                    // a list, which is taken once.
                    let chunk = unsafe {
                        raw::input_read(*stream, CHUNK_BYTES, area.as_mut_ptr());
                        (area.byte(0) == 0).then(|| area.take_list(4))
                    };
                    match chunk {
                        Some(chunk) if chunk.is_empty() => {
                            // SAFETY: the stream is owned here.
                            let pollable = unsafe { raw::input_subscribe(*stream) };
                            *waiting = Some(Pollable::new(pollable));
                        }
                        Some(chunk) => return Poll::Ready(Some(Ok(Frame::data(chunk.into())))),
                        None => {
                            let broke = area.byte(4) == 0;
                            failed(&area, 4);
                            // SAFETY: both are owned here and given away; the
                            // pollable is dropped.
                            let future = unsafe {
                                raw::input_drop(*stream);
                                raw::incoming_body_finish(*body)
                            };
                            this.state = State::Trailers {
                                waiting: None,
                                future,
                            };
                            if broke {
                                let error = Error::new("the body broke off");
                                return Poll::Ready(Some(Err(error)));
                            }
                        }
                    }
                }
                State::Trailers { waiting, future } => {
                    if let Some(pollable) = waiting {
                        std::task::ready!(Pin::new(pollable).poll(context));
                        *waiting = None;
                    }
                    let mut area = Area::<7>::new();
                    // SAFETY: the future is owned here; the area has room for
                    // the result.
                    unsafe { raw::future_trailers_get(*future, area.as_mut_ptr()) };
                    if area.byte(0) == 0 {
                        // SAFETY: the future is owned here.
                        let pollable = unsafe { raw::future_trailers_subscribe(*future) };
                        *waiting = Some(Pollable::new(pollable));
                        continue;
                    }
                    // SAFETY: it is owned here, and its pollable is dropped.
                    unsafe { raw::future_trailers_drop(*future) };
                    this.state = State::Done;
                    return match take_trailers(&area) {
                        Ok(trailers) => Poll::Ready(trailers.map(|it| Ok(Frame::trailers(it)))),
                        Err(error) => Poll::Ready(Some(Err(error))),
                    };
                }
            }
        }
    }
}

/// From `option<result<result<option<trailers>, error-code>>>` that is there.
fn take_trailers(area: &Area<7>) -> Result<Option<HeaderMap>> {
    if area.byte(8) != 0 {
        return Ok(None);
    }
    if area.byte(16) != 0 {
        // SAFETY: the host wrote an error code; it is taken here.
        return Err(unsafe { take_error(area, 24) });
    }
    Ok((area.byte(24) == 1).then(|| read_fields(area.word(28))))
}

/// Takes the stream and body out of a message, which stays their parent.
fn open(message: Message) -> Option<(u32, u32)> {
    let mut area = Area::<1>::new();
    // SAFETY: the message is owned by the body; the area has room for a
    // result with a handle.
    unsafe {
        match message {
            Message::Request(handle) => raw::request_consume(handle, area.as_mut_ptr()),
            Message::Response(handle) => raw::response_consume(handle, area.as_mut_ptr()),
        }
        if area.byte(0) != 0 {
            return None;
        }
        let body = area.word(4);
        raw::incoming_body_stream(body, area.as_mut_ptr());
        if area.byte(0) != 0 {
            raw::incoming_body_drop(body);
            return None;
        }
        Some((area.word(4), body))
    }
}

/// Drops in the order that WASI asks for: pollables, then streams, then what
/// they came from.
impl Drop for Incoming {
    fn drop(&mut self) {
        match &mut self.state {
            State::Unopened | State::Done => {}
            State::Open {
                waiting,
                stream,
                body,
            } => {
                *waiting = None;
                // SAFETY: both are owned here.
                unsafe {
                    raw::input_drop(*stream);
                    raw::incoming_body_drop(*body);
                }
            }
            State::Trailers { waiting, future } => {
                *waiting = None;
                // SAFETY: it is owned here.
                unsafe { raw::future_trailers_drop(*future) };
            }
        }
        // SAFETY: it is owned here, and its children are gone.
        unsafe {
            match self.message {
                Message::Request(handle) => raw::request_drop(handle),
                Message::Response(handle) => raw::response_drop(handle),
            }
        }
    }
}

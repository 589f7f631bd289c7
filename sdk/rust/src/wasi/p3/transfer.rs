//! Bodies across the boundary: outgoing ones are pumped into a stream, and
//! incoming ones read from it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};

use super::raw;
use super::waitable::{BLOCKED, Blocked, DROPPED};
use crate::wasi::abi::Area;
use crate::wasi::fields::{make_trailers, read_fields, take_error};
use crate::{Body, Error, Result};

/// How much is asked for at once.
const CHUNK_BYTES: usize = 64 << 10;

/// The catch-all among WASI's error codes.
const INTERNAL_ERROR: u32 = 38;

/// `result<option<trailers>, error-code>`, and `result<_, error-code>`.
pub(crate) type Outcome = Area<5>;

/// The guest's ends of a body that goes out.
pub(crate) struct Outlet {
    stream: Option<u32>,
    trailers: u32,
}

/// The ends that the host gets: the stream, if there is one, and the trailers.
pub(crate) struct Inlet {
    pub(crate) stream: Option<u32>,
    pub(crate) trailers: u32,
}

/// Makes the stream and future that an outgoing body goes through.
pub(crate) fn outgoing(empty: bool) -> (Outlet, Inlet) {
    let split = |ends: u64| (ends as u32, (ends >> 32) as u32);
    // SAFETY: they have no preconditions.
    let (trailers_in, trailers_out) = split(unsafe { raw::trailers_new() });
    // SAFETY: as above.
    let stream = (!empty).then(|| split(unsafe { raw::stream_new() }));
    let outlet = Outlet {
        stream: stream.map(|ends| ends.1),
        trailers: trailers_out,
    };
    let inlet = Inlet {
        stream: stream.map(|ends| ends.0),
        trailers: trailers_in,
    };
    (outlet, inlet)
}

impl Outlet {
    /// Sends the body, then its trailers.
    pub(crate) async fn pump(self, mut body: Body) {
        let mut outcome = Outcome::new();
        let sent = match self.stream {
            Some(stream) => {
                let sent = write_body(stream, &mut body).await;
                // SAFETY: it is owned here, and no write is under way.
                unsafe { raw::stream_drop_writable(stream) };
                sent
            }
            None => Ok(true),
        };
        let trailers = match sent {
            Ok(true) => body.trailers().await,
            Ok(false) => Ok(None),
            Err(error) => Err(error),
        };
        // Whoever feeds the body learns here that it was taken or is gone.
        drop(body);
        let trailers = match trailers {
            Ok(Some(trailers)) => make_trailers(&trailers).map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        match trailers {
            Ok(None) => {}
            Ok(Some(fields)) => {
                outcome.set_word(8, 1);
                outcome.set_word(12, fields);
            }
            Err(error) => {
                crate::log::failure(&error);
                outcome.set_word(0, 1);
                outcome.set_word(8, INTERNAL_ERROR);
            }
        }
        // SAFETY: the outcome outlives the write, as it is dropped after the
        // operation that waits for it.
        let code = unsafe { raw::trailers_write(self.trailers, outcome.as_mut_ptr()) };
        if code == BLOCKED {
            Blocked::new(self.trailers, raw::trailers_cancel_write).await;
        }
        // SAFETY: it was written, or its reader is gone.
        unsafe { raw::trailers_drop_writable(self.trailers) };
    }
}

/// Writes all chunks; false when the reader left.
async fn write_body(stream: u32, body: &mut Body) -> Result<bool> {
    while let Some(chunk) = body.chunk().await? {
        let mut rest = &chunk[..];
        while !rest.is_empty() {
            // SAFETY: `chunk` outlives the write, as it is dropped after the
            // operation that waits for it.
            let mut code = unsafe { raw::stream_write(stream, rest.as_ptr(), rest.len()) };
            if code == BLOCKED {
                code = Blocked::new(stream, raw::stream_cancel_write).await;
            }
            rest = rest.get((code >> 4) as usize..).unwrap_or_default();
            if code & 0xf == DROPPED {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// The message that a body comes with.
#[derive(Clone, Copy)]
pub(crate) enum Message {
    Request(u32),
    Response(u32),
}

/// A body that comes in; nothing is fetched before it is read.
pub(crate) struct Incoming(State);

enum State {
    Unopened(Message),
    // The operation stands before its memory: fields are dropped in order.
    Open {
        reading: Option<Blocked>,
        buffer: Vec<u8>,
        stream: u32,
        trailers: u32,
    },
    Trailers {
        reading: Option<Blocked>,
        outcome: Box<Outcome>,
        trailers: u32,
    },
    Done,
}

impl Incoming {
    /// The body of a message.
    pub(crate) fn body(message: Message) -> Body {
        Body::boxed(Incoming::new(message))
    }

    fn new(message: Message) -> Self {
        Incoming(State::Unopened(message))
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
            match &mut this.0 {
                State::Done => return Poll::Ready(None),
                State::Unopened(message) => {
                    let (stream, trailers) = open(*message);
                    this.0 = State::Open {
                        reading: None,
                        buffer: Vec::new(),
                        stream,
                        trailers,
                    };
                }
                State::Open {
                    reading,
                    buffer,
                    stream,
                    trailers,
                } => {
                    let code = match reading {
                        Some(operation) => match Pin::new(operation).poll(context) {
                            Poll::Pending => return Poll::Pending,
                            Poll::Ready(code) => code,
                        },
                        None => {
                            buffer.reserve_exact(CHUNK_BYTES);
                            // SAFETY: the buffer has this room, and neither
                            // grows nor goes before the operation is over.
                            unsafe { raw::stream_read(*stream, buffer.as_mut_ptr(), CHUNK_BYTES) }
                        }
                    };
                    if code == BLOCKED {
                        *reading = Some(Blocked::new(*stream, raw::stream_cancel_read));
                        continue;
                    }
                    *reading = None;
                    let length = (code >> 4) as usize;
                    if code & 0xf == DROPPED && length == 0 {
                        let (stream, trailers) = (*stream, *trailers);
                        this.0 = State::Trailers {
                            reading: None,
                            outcome: Box::new(Outcome::new()),
                            trailers,
                        };
                        // SAFETY: it is owned here, and no read is under way.
                        unsafe { raw::stream_drop_readable(stream) };
                        continue;
                    }
                    if length == 0 {
                        continue;
                    }
                    return Poll::Ready(Some(Ok(Frame::data(take_chunk(buffer, length)))));
                }
                State::Trailers {
                    reading,
                    outcome,
                    trailers,
                } => {
                    let code = match reading {
                        Some(operation) => match Pin::new(operation).poll(context) {
                            Poll::Pending => return Poll::Pending,
                            Poll::Ready(code) => code,
                        },
                        // SAFETY: the outcome does not move, and goes after
                        // the operation.
                        None => unsafe { raw::trailers_read(*trailers, outcome.as_mut_ptr()) },
                    };
                    if code == BLOCKED {
                        *reading = Some(Blocked::new(*trailers, raw::trailers_cancel_read));
                        continue;
                    }
                    *reading = None;
                    let frame = (code & 0xf != DROPPED)
                        .then(|| take_outcome(outcome))
                        .transpose();
                    // SAFETY: it is owned here, and no read is under way.
                    unsafe { raw::trailers_drop_readable(*trailers) };
                    this.0 = State::Done;
                    return match frame {
                        Ok(frame) => Poll::Ready(frame.flatten().map(Ok)),
                        Err(error) => Poll::Ready(Some(Err(error))),
                    };
                }
            }
        }
    }
}

/// The read bytes as a chunk; a mostly empty buffer stays for the next one.
fn take_chunk(buffer: &mut Vec<u8>, length: usize) -> Bytes {
    // SAFETY: the host wrote this many bytes.
    unsafe { buffer.set_len(length) };
    if length >= CHUNK_BYTES / 2 {
        return std::mem::take(buffer).into();
    }
    let chunk = Bytes::copy_from_slice(buffer);
    buffer.clear();
    chunk
}

fn take_outcome(outcome: &Outcome) -> Result<Option<Frame<Bytes>>> {
    if outcome.byte(0) != 0 {
        // SAFETY: the host wrote an error code; it is taken here.
        let error: Error = unsafe { take_error(outcome, 8) };
        return Err(error);
    }
    let fields = (outcome.byte(8) == 1).then(|| outcome.word(12));
    Ok(fields.map(|fields| Frame::trailers(read_fields(fields))))
}

/// Takes the body out of its message.
fn open(message: Message) -> (u32, u32) {
    let mut area = Area::<1>::new();
    // SAFETY: the message is owned by the body; the area has room for two
    // handles.
    let outcome = unsafe {
        let ends = raw::outcome_new();
        match message {
            Message::Request(handle) => {
                raw::request_consume(handle, ends as u32, area.as_mut_ptr());
            }
            Message::Response(handle) => {
                raw::response_consume(handle, ends as u32, area.as_mut_ptr());
            }
        }
        (ends >> 32) as u32
    };
    // The host wants to know whether the message could be handled. It could.
    let mut success = Box::new(Outcome::new());
    // SAFETY: the memory goes into the future that waits for the write.
    if unsafe { raw::outcome_write(outcome, success.as_mut_ptr()) } == BLOCKED {
        let writing = Blocked::new(outcome, raw::outcome_cancel_write);
        crate::spawn(async move {
            writing.await;
            drop(success);
            // SAFETY: it was written, or its reader is gone.
            unsafe { raw::outcome_drop_writable(outcome) };
        });
    } else {
        // SAFETY: it was written, or its reader is gone.
        unsafe { raw::outcome_drop_writable(outcome) };
    }
    (area.word(0), area.word(4))
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // An operation is cancelled before its end is dropped.
        if let State::Open { reading, .. } | State::Trailers { reading, .. } = &mut self.0 {
            *reading = None;
        }
        // SAFETY: the handles are owned here, and not used again.
        unsafe {
            match &self.0 {
                State::Done => {}
                State::Unopened(Message::Request(handle)) => raw::request_drop(*handle),
                State::Unopened(Message::Response(handle)) => raw::response_drop(*handle),
                State::Open {
                    stream, trailers, ..
                } => {
                    raw::stream_drop_readable(*stream);
                    raw::trailers_drop_readable(*trailers);
                }
                State::Trailers { trailers, .. } => raw::trailers_drop_readable(*trailers),
            }
        }
    }
}

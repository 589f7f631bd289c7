//! The stream that hyper reads from, behind which the client's bytes are judged.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::ended::Ended;
use super::head::HEAD_MAX;
use super::ledger::Ledger;
use super::messages::{Judged, Messages, Verdict};
use super::refusal::Refusal;
use crate::alarm::Alarm;
use crate::http2::Frames;
use crate::request::Scheme;

/// What a client of HTTP/2 sends first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What hyper reads in the place of a head that is refused.
const STAND_IN: &[u8] = b"- * HTTP/1.1\r\nHost: -\r\nConnection: close\r\n\r\n";
/// Room below which the reader's own buffer is too small to read into.
const ROOM_MIN: usize = 1 << 10;
/// Bytes read at a time where the reader's buffer is not used.
const PIECE: usize = 4 << 10;
/// Bytes of later messages that are taken in while an earlier one is answered; beyond them the
/// client waits.
const AHEAD_MAX: usize = HEAD_MAX;
/// How long what a refused client goes on sending is still taken, so that it sees the answer.
const LINGER: Duration = Duration::from_secs(2);
/// How long a client that ended its side may wait for an answer's next byte.
const HALF_CLOSED: Duration = Duration::from_secs(1);

/// Lets through to hyper what is HTTP/1 without a fault, and HTTP/2 almost as it is: that has
/// frames, which h2 judges.
///
/// HTTP/1 passes a message at a time, the next one when the last one's answer is done. Hyper reads
/// on only if it has nothing left to look at: so it learns that a client leaves, whatever that
/// client has asked for besides; at once by an error, by the stream's end a while later.
///
/// A head has `head_time` from its first byte, the first one from the connection's beginning, but
/// none before its turn.
pub(crate) struct Gate<S> {
    stream: S,
    ledger: Arc<Ledger>,
    mode: Mode,
    messages: Messages,
    /// Bytes read and not yet handed over.
    held: BytesMut,
    /// So many of them may go.
    free: usize,
    /// Nobody has looked at what is held: it was not its turn.
    is_ahead: bool,
    head_time: Duration,
    /// When the head that is held began.
    since: Option<Instant>,
    alarm: Alarm,
    /// Its end of the stream is shut; until then what still comes is taken.
    lingers: Option<Instant>,
    frames: Frames,
    /// The stream was read to its end.
    is_at_end: bool,
    /// Since when the client, which ended its side, has waited for an answer.
    ended: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// It may be either protocol.
    Opening,
    Http1,
    Http2,
    /// The message with this number is refused by a stand-in; the rest is not looked at.
    Refused(u64),
    /// The content under way is broken off; the rest is not looked at.
    Broken(&'static str),
}

impl<S> Gate<S> {
    pub(crate) fn new(
        stream: S,
        scheme: Scheme,
        head_time: Duration,
        ledger: Arc<Ledger>,
    ) -> Gate<S> {
        Gate {
            stream,
            ledger,
            mode: Mode::Opening,
            messages: Messages::new(scheme),
            held: BytesMut::new(),
            free: 0,
            is_ahead: false,
            head_time,
            since: Some(Instant::now()),
            alarm: Alarm::default(),
            lingers: None,
            frames: Frames::default(),
            is_at_end: false,
            ended: None,
        }
    }

    /// Whether the next byte is of a message that waits for the answer to an earlier one.
    fn is_early(&self) -> bool {
        self.mode == Mode::Http1
            && self.messages.is_between()
            && !self.ledger.is_answered(self.messages.latest())
    }

    /// Judges bytes that begin after the last one that may go; says how many may go, too.
    fn judge(&mut self, bytes: &[u8]) -> Judged {
        let all = Judged {
            passed: bytes.len(),
            verdict: Verdict::More,
        };
        if self.mode == Mode::Opening {
            let known = bytes.len().min(PREFACE.len());
            if bytes[..known] != PREFACE[..known] {
                self.mode = Mode::Http1;
            } else if known < PREFACE.len() {
                return Judged { passed: 0, ..all };
            } else {
                self.mode = Mode::Http2;
                self.ledger.set_h2();
                // Of what comes first h2 forgot nothing yet.
                self.frames.follow(&bytes[PREFACE.len()..]);
            }
        }
        let judged = match self.mode {
            Mode::Http1 => self.messages.judge(bytes),
            _ => all,
        };
        if judged.passed > 0 {
            self.since = None;
        }
        self.is_ahead = judged.passed > 0 && judged.passed < bytes.len();
        judged
    }

    /// Judges what is held.
    fn judge_held(&mut self) {
        let held = std::mem::take(&mut self.held);
        let Judged { passed, verdict } = self.judge(&held);
        self.held = held;
        self.free = passed;
        self.act(verdict);
    }

    /// Acts on a verdict; what may go is out of `held`, or at its beginning.
    fn act(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::More => {}
            Verdict::Head(refusal) => self.refuse(refusal),
            Verdict::Content(refusal) => {
                self.held.truncate(self.free);
                self.ledger.refuse(self.messages.latest(), refusal);
                self.mode = Mode::Broken(refusal.text);
            }
        }
    }

    /// Puts the stand-in where the head should be.
    fn refuse(&mut self, refusal: Refusal) {
        let number = self.messages.latest() + 1;
        self.held.truncate(self.free);
        self.held.extend_from_slice(STAND_IN);
        self.free = self.held.len();
        self.since = None;
        self.ledger.refuse(number, refusal);
        self.mode = Mode::Refused(number);
    }

    /// Hands over what may go.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let count = self.free.min(buffer.remaining());
        buffer.put_slice(&self.held[..count]);
        self.held.advance(count);
        self.free -= count;
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
    }

    /// Whether a client that ended its side has waited for too long, and is taken to have left.
    fn is_gone(&mut self, since: Instant, cx: &mut Context<'_>) -> bool {
        self.alarm.poll(since + HALF_CLOSED, cx).is_ready()
    }

    /// What a write came to: who takes something is there, as who left answers it by a reset.
    fn written(&mut self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if self.ended.is_some() && matches!(result, Poll::Ready(Ok(1..))) {
            self.ended = Some(Instant::now());
        }
        result
    }

    /// There is nothing to read: how long that may last while a head is incomplete.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.held.is_empty() && self.mode != Mode::Opening {
            return Poll::Pending;
        }
        let deadline = *self.since.get_or_insert_with(Instant::now) + self.head_time;
        self.alarm.poll(deadline, cx)
    }
}

impl<S: AsyncRead + Unpin> Gate<S> {
    /// Reads and judges; true at the stream's end.
    fn fill(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let before = buffer.filled().len();
        if self.held.is_empty() && buffer.remaining() >= ROOM_MIN {
            ready!(self.read(cx, buffer))?;
            if self.is_at_end {
                return Poll::Ready(Ok(true));
            }
            let new = &buffer.filled()[before..];
            let Judged { passed, verdict } = self.judge(new);
            self.held.extend_from_slice(&new[passed..]);
            buffer.set_filled(before + passed);
            self.act(verdict);
        } else {
            if ready!(self.take_in(cx))? {
                return Poll::Ready(Ok(true));
            }
            self.judge_held();
        }
        Poll::Ready(Ok(false))
    }

    /// Reads a piece more of what is held; true at the stream's end.
    fn take_in(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut piece = [MaybeUninit::uninit(); PIECE];
        let mut piece = ReadBuf::uninit(&mut piece);
        ready!(self.read(cx, &mut piece))?;
        self.held.extend_from_slice(piece.filled());
        Poll::Ready(Ok(self.is_at_end))
    }

    /// Reads, unless to the stream's end that has been done.
    fn read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_at_end {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.is_at_end = buffer.filled().len() == before;
        // As long as something is read, the end that was seen behind it will be, too.
        self.ended = self.is_at_end.then(Instant::now);
        Poll::Ready(Ok(()))
    }

    /// Reads what it is too early for, until it is not. True comes back if the client has left.
    ///
    /// Hyper would take the stream's end for that, and end what is under way; but a client that
    /// has sent all that it had to say may end its side and wait (RFC 9293, section 3.6). So the
    /// end is kept back for a while.
    fn wait_for_turn(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        while self.is_early() {
            if !self.is_at_end
                && self.held.len() < AHEAD_MAX
                && let Poll::Ready(read) = self.take_in(cx)
            {
                self.is_ahead |= !read?;
                continue;
            }
            match self.ended.filter(|_| self.is_at_end) {
                Some(since) if self.is_gone(since, cx) => return Poll::Ready(Ok(true)),
                // With nothing held, what comes wakes by itself.
                None if self.held.is_empty() => return Poll::Pending,
                _ => ready!(self.ledger.poll_answered(self.messages.latest(), cx)),
            }
        }
        Poll::Ready(Ok(false))
    }

    /// Reads and forgets, to the stream's end.
    fn forget(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut piece = [MaybeUninit::uninit(); PIECE];
        loop {
            let mut piece = ReadBuf::uninit(&mut piece);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece))?;
            if piece.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gate<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        loop {
            if this.free > 0 {
                this.give(buffer);
                return Poll::Ready(Ok(()));
            }
            match this.mode {
                Mode::Http2 => {
                    ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
                    let new = &mut buffer.filled_mut()[before..];
                    if let Some(stream) = this.frames.follow(new) {
                        new[stream].fill(0);
                    }
                    return Poll::Ready(Ok(()));
                }
                Mode::Broken(text) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
                }
                // The client may have left. But if only the refusal is still to be said, it may
                // as well have ended its side.
                Mode::Refused(number) => {
                    ready!(this.forget(cx))?;
                    return match this.ledger.has_arrived(number) {
                        true => Poll::Pending,
                        false => Poll::Ready(Ok(())),
                    };
                }
                Mode::Opening | Mode::Http1 => {}
            }
            if ready!(this.wait_for_turn(cx))? {
                return Poll::Ready(Ok(()));
            }
            if std::mem::take(&mut this.is_ahead) {
                this.judge_held();
                continue;
            }
            match this.fill(cx, buffer) {
                Poll::Ready(Ok(is_end)) => {
                    if is_end || buffer.filled().len() > before {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    ready!(this.wait(cx));
                    if this.mode == Mode::Opening {
                        let text = "the client does not say what it speaks";
                        return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)));
                    }
                    let text = "the request's head takes too long";
                    this.refuse(Refusal::new(StatusCode::REQUEST_TIMEOUT, text));
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Ended + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Where nothing is read, as while a guest leaves its request's content, a client that ends its
    /// side is found here: hyper flushes whenever it is polled.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.mode == Mode::Http1 && this.ledger.is_looked_after() && this.stream.has_ended() {
            this.ended.get_or_insert_with(Instant::now);
        }
        if let Some(since) = this.ended
            && this.ledger.is_at_work()
            && this.is_gone(since, cx)
        {
            let text = "the client has left";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, text)));
        }
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    /// After a refusal what still comes is taken for a while: closing on it would reset the
    /// connection, and the client might lose the answer (RFC 9112, section 9.6).
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let lingers = match this.lingers {
            Some(until) => until,
            None => {
                ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
                *this.lingers.insert(Instant::now() + LINGER)
            }
        };
        if matches!(this.mode, Mode::Refused(_) | Mode::Broken(_)) && this.forget(cx).is_pending() {
            return this.alarm.poll(lingers, cx).map(Ok);
        }
        Poll::Ready(Ok(()))
    }
}

//! A connection whose client must say what it wants and take what it is sent, each in time.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// What a client of HTTP/2 sends first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Ends a connection by an error ([`io::ErrorKind::TimedOut`]) when its client
/// - has not shown within the first limit which protocol it speaks, or
/// - takes nothing for the second limit of what is there for it.
///
/// What comes after the first bytes has limits in the protocols themselves.
pub(crate) struct Patience<S> {
    stream: S,
    /// Until the protocol is known.
    opening: Option<Pin<Box<Sleep>>>,
    /// Bytes of the preface seen.
    seen: usize,
    write: Duration,
    /// While the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Patience<S> {
    pub(crate) fn new(stream: S, opening: Duration, write: Duration) -> Patience<S> {
        Patience {
            stream,
            opening: Some(Box::pin(tokio::time::sleep(opening))),
            seen: 0,
            write,
            stalled: None,
        }
    }

    /// Notes what was read while the protocol is unknown.
    fn note(&mut self, bytes: &[u8]) {
        let expected = &PREFACE[self.seen..];
        let is_preface = bytes
            .iter()
            .zip(expected)
            .all(|(got, wanted)| got == wanted);
        self.seen += bytes.len();
        if !is_preface || self.seen >= PREFACE.len() {
            self.opening = None;
        }
    }

    /// What a write came to; one that waits has until the limit.
    fn written(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if result.is_ready() {
            self.stalled = None;
            return result;
        }
        let limit = self.write;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(late("the client takes nothing")))
    }
}

fn late(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl<S: AsyncRead + Unpin> AsyncRead for Patience<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let result = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let Some(opening) = &mut this.opening else {
            return result;
        };
        if result.is_pending() {
            ready!(opening.as_mut().poll(cx));
            return Poll::Ready(Err(late("the client says nothing")));
        }
        this.note(&buffer.filled()[before..]);
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patience<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::time::{Instant, sleep};

    use super::*;

    const OPENING: Duration = Duration::from_secs(30);
    const WRITE: Duration = Duration::from_secs(60);

    fn pair() -> (Patience<DuplexStream>, DuplexStream) {
        let (server, client) = tokio::io::duplex(16);
        (Patience::new(server, OPENING, WRITE), client)
    }

    async fn read(server: &mut Patience<DuplexStream>) -> io::Result<usize> {
        server.read(&mut [0; 64]).await
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_let_go() {
        let (mut server, _client) = pair();
        let start = Instant::now();
        let error = read(&mut server).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() >= OPENING);
    }

    #[tokio::test(start_paused = true)]
    async fn a_preface_byte_by_byte_is_one_wait() {
        let (mut server, mut client) = pair();
        tokio::spawn(async move {
            for byte in PREFACE {
                sleep(Duration::from_secs(10)).await;
                let _ = client.write_all(&[*byte]).await;
            }
        });
        let start = Instant::now();
        let error = loop {
            if let Err(error) = read(&mut server).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() < 2 * OPENING);
    }

    #[tokio::test(start_paused = true)]
    async fn a_known_protocol_has_limits_of_its_own() {
        for first in [&b"GET"[..], b"PRIMA", &PREFACE[..16]] {
            let (mut server, mut client) = pair();
            client.write_all(first).await.unwrap();
            read(&mut server).await.unwrap();
            if first == &PREFACE[..16] {
                client.write_all(&PREFACE[16..]).await.unwrap();
                read(&mut server).await.unwrap();
            }
            let later = tokio::spawn(async move {
                sleep(2 * OPENING).await;
                client.write_all(b"more").await.unwrap();
            });
            assert_eq!(read(&mut server).await.unwrap(), 4);
            later.await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_let_go() {
        let (mut server, _client) = pair();
        let start = Instant::now();
        let error = server.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() >= WRITE);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_a_little_now_and_then_is_not() {
        let (mut server, mut client) = pair();
        let reader = tokio::spawn(async move {
            for _ in 0..8 {
                sleep(WRITE / 2).await;
                client.read_exact(&mut [0; 8]).await.unwrap();
            }
            client
        });
        server.write_all(&[0; 64]).await.unwrap();
        reader.await.unwrap();
    }
}

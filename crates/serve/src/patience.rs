//! A connection whose client must take what it is sent.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::http1::Ended;
use crate::pace::Pace;

/// Ends a connection by an error ([`io::ErrorKind::TimedOut`]) when its client, waited for, keeps no
/// [`Pace`] in taking what is there for it.
pub(crate) struct Patience<S> {
    stream: S,
    pace: Pace,
    is_stalled: bool,
}

impl<S> Patience<S> {
    pub(crate) fn new(stream: S, write: Duration) -> Patience<S> {
        Patience {
            stream,
            pace: Pace::new(write),
            is_stalled: false,
        }
    }

    /// What a write or a flush came to, and how many bytes it took.
    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(result) = result {
            if std::mem::take(&mut self.is_stalled) {
                self.pace.stop(Instant::now);
            }
            if let Ok(result) = &result {
                self.pace.moved(bytes(result));
            }
            return Poll::Ready(result);
        }
        self.is_stalled = true;
        ready!(self.pace.poll_end(cx));
        let what = "the client takes nothing, or too little";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, what)))
    }
}

impl<S: Ended> Ended for Patience<S> {
    fn has_ended(&self) -> bool {
        self.stream.has_ended()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patience<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patience<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, result, |count| *count)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(cx, result, |count| *count)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        if result.is_ready() && !self.is_stalled {
            return result;
        }
        self.written(cx, result, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio::time::sleep;

    use super::*;

    const WRITE: Duration = Duration::from_secs(60);

    fn pair() -> (Patience<DuplexStream>, DuplexStream) {
        let (server, client) = tokio::io::duplex(16);
        (Patience::new(server, WRITE), client)
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_let_go() {
        let (mut server, _client) = pair();
        let start = Instant::now();
        let error = server.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() >= WRITE);
    }

    /// A client takes `piece` bytes every ten seconds of ten thousand.
    async fn slow(piece: usize) -> (io::Result<()>, Duration) {
        let (server, mut client) = tokio::io::duplex(16);
        let mut server = Patience::new(server, WRITE);
        let reader = tokio::spawn(async move {
            let mut buffer = vec![0; piece];
            loop {
                sleep(Duration::from_secs(10)).await;
                if client.read_exact(&mut buffer).await.is_err() {
                    return;
                }
            }
        });
        let start = Instant::now();
        let result = server.write_all(&[0; 10_000]).await;
        let lasted = start.elapsed();
        drop(server);
        reader.await.unwrap();
        (result, lasted)
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_a_byte_now_and_then_is_let_go_too() {
        let (result, lasted) = slow(1).await;
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(lasted < 2 * WRITE, "{lasted:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_slow_but_keeps_pace_is_not() {
        let (result, lasted) = slow(2_500).await;
        result.unwrap();
        assert!(lasted >= Duration::from_secs(30), "{lasted:?}");
    }

    /// As an event now and then is: between them nothing waits for the client.
    #[tokio::test(start_paused = true)]
    async fn who_takes_what_there_is_may_wait_for_ever() {
        let (mut server, mut client) = pair();
        let reader = tokio::spawn(async move {
            let mut buffer = [0; 1];
            while client.read_exact(&mut buffer).await.is_ok() {
                sleep(Duration::from_millis(1)).await;
            }
        });
        for _ in 0..1_000 {
            server.write_all(&[0; 20]).await.unwrap();
            sleep(10 * WRITE).await;
        }
        drop(server);
        reader.await.unwrap();
    }
}

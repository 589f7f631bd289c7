//! Load without end: so many connections, each with one request under way, as fast as they are
//! answered.
//!
//! It shares the machine with the server, so it does as little as it can: an answer is looked for
//! where the one before it ended, and compared with the first one's length.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::figures::percentile;

/// Bytes of an answer that is looked for at once.
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Hammered {
    /// Whole answers with status 200 and the right body.
    pub(crate) answers: usize,
    pub(crate) time: Duration,
    /// Of each answer, in microseconds, sorted.
    pub(crate) latencies_us: Vec<u32>,
}

impl Hammered {
    /// A percentile of the latencies.
    pub(crate) fn latency_us(&self, percent: usize) -> f64 {
        f64::from(percentile(&self.latencies_us, percent))
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.answers as f64 / self.time.as_secs_f64()
    }
}

/// Asks for `/` over `connections` for `time`. Any answer but 200 with `body` is an error.
pub(crate) fn hammer(
    addr: SocketAddr,
    connections: usize,
    time: Duration,
    body: &'static str,
) -> Result<Hammered> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let request: Rc<str> = format!("GET / HTTP/1.1\r\nHost: {addr}\r\n\r\n").into();
        let mut open = Vec::new();
        for _ in 0..connections {
            let stream = TcpStream::connect(addr).await.context("cannot connect")?;
            stream.set_nodelay(true)?;
            open.push(stream);
        }
        let since = Instant::now();
        let asking: Vec<_> = open
            .into_iter()
            .map(|stream| {
                let asks = ask(stream, Rc::clone(&request), since + time, body);
                tokio::task::spawn_local(asks)
            })
            .collect();
        let mut latencies_us = Vec::new();
        for asks in asking {
            latencies_us.extend(asks.await.context("a client ended")??);
        }
        latencies_us.sort_unstable();
        Ok(Hammered {
            answers: latencies_us.len(),
            time: since.elapsed(),
            latencies_us,
        })
    })
}

async fn ask(
    mut stream: TcpStream,
    request: Rc<str>,
    until: Instant,
    body: &str,
) -> Result<Vec<u32>> {
    let mut latencies = Vec::new();
    let mut buffer = Vec::with_capacity(ANSWER_BYTES_MAX);
    let mut length = 0;
    loop {
        let asked = Instant::now();
        if asked >= until {
            return Ok(latencies);
        }
        stream.write_all(request.as_bytes()).await?;
        buffer.clear();
        let answer = whole(&mut stream, &mut buffer, body, length);
        // A time-out for each answer would cost as much as the answer.
        length = match latencies.is_empty() {
            true => tokio::time::timeout(PATIENCE, answer).await??,
            false => answer.await?,
        };
        latencies.push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
}

/// Reads one answer, of which `length` bytes are expected if that is not 0. Gives its length.
async fn whole(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    body: &str,
    length: usize,
) -> Result<usize> {
    loop {
        ensure!(buffer.len() < ANSWER_BYTES_MAX, "the answer is too large");
        let read = stream.read_buf(buffer).await?;
        ensure!(read > 0, "the connection ended");
        if buffer.len() < length {
            continue;
        }
        let is_200 = buffer.starts_with(b"HTTP/1.1 200 ");
        if let Some(ended) = end_of(buffer, body) {
            ensure!(is_200 && ended, "{}", String::from_utf8_lossy(buffer));
            return Ok(buffer.len());
        }
    }
}

/// Whether what came is a whole answer with `body` and nothing behind it; `None` if more is to
/// come.
fn end_of(answer: &[u8], body: &str) -> Option<bool> {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let content = &answer[head..];
    let body = body.as_bytes();
    if is_chunked(&answer[..head]) {
        let whole = content.ends_with(b"0\r\n\r\n");
        return whole.then(|| content.windows(body.len()).any(|part| part == body));
    }
    (content.len() >= body.len()).then(|| content == body)
}

fn is_chunked(head: &[u8]) -> bool {
    let field = b"transfer-encoding";
    head.windows(field.len())
        .any(|part| part.eq_ignore_ascii_case(field))
}

/// Waits until the server gives that answer.
pub(crate) fn wait_until_good(
    addr: SocketAddr,
    body: &'static str,
    patience: Duration,
) -> Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        let error = match hammer(addr, 1, Duration::from_millis(1), body) {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        if Instant::now() > deadline {
            bail!("no good answer: {error:#}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_or_not_or_wrong() {
        let end = |answer: &str| end_of(answer.as_bytes(), "hello");
        assert_eq!(end("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n"), None);
        assert_eq!(
            end("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell"),
            None
        );
        assert_eq!(
            end("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"),
            Some(true)
        );
        assert_eq!(
            end("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nworld"),
            Some(false)
        );
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
        assert_eq!(end(chunked), None);
        assert_eq!(end(&format!("{chunked}0\r\n\r\n")), Some(true));
    }
}

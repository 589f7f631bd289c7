//! The smallest HTTP/1.1 client that can tell a whole answer from a broken one.

use std::io::{Read, Write};
use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes of a head; more is an error.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// A connection that is kept.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
    keeps: bool,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The first bytes of the body, at most [`BODY_BYTES_KEPT`].
    pub(crate) body: Vec<u8>,
}

/// What of a body is kept: enough to know a good one.
const BODY_BYTES_KEPT: usize = 1024;

impl Connection {
    pub(crate) async fn open(addr: SocketAddr) -> Result<Connection> {
        let stream = TcpStream::connect(addr).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream,
            read: Vec::new(),
            keeps: true,
        })
    }

    /// Whether it may be used for another request.
    pub(crate) fn keeps(&self) -> bool {
        self.keeps && self.read.is_empty()
    }

    pub(crate) async fn send(&mut self, request: &[u8]) -> Result<()> {
        self.stream.write_all(request).await.context("cannot send")
    }

    /// Reads one answer to its end.
    pub(crate) async fn answer(&mut self) -> Result<Answer> {
        let head = self.head().await?;
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .context("no status")?;
        let field = |name: &str| {
            head.lines().skip(1).find_map(|line| {
                let (field, value) = line.split_once(':')?;
                field.eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        self.keeps = !field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let mut body = Vec::new();
        if let Some(length) = field("content-length") {
            self.take(length.parse()?, &mut body).await?;
        } else if field("transfer-encoding").is_some() {
            self.chunks(&mut body).await?;
        } else if !matches!(status, 204 | 304) {
            self.keeps = false;
            while self.fill().await? {
                keep(&mut body, &self.read);
                self.read.clear();
            }
        }
        Ok(Answer { status, body })
    }

    async fn head(&mut self) -> Result<String> {
        let end = self.find(b"\r\n\r\n").await?;
        let head: Vec<u8> = self.read.drain(..end + 4).collect();
        Ok(String::from_utf8(head)?)
    }

    async fn chunks(&mut self, body: &mut Vec<u8>) -> Result<()> {
        loop {
            let end = self.find(b"\r\n").await?;
            let line: Vec<u8> = self.read.drain(..end + 2).collect();
            let size = std::str::from_utf8(&line)?;
            let size = size.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16)?;
            let mut chunk = Vec::new();
            self.take(size, &mut chunk).await?;
            keep(body, &chunk);
            if size == 0 {
                break;
            }
            self.take(2, &mut Vec::new()).await?;
        }
        // Trailers, and the empty line.
        loop {
            let end = self.find(b"\r\n").await?;
            self.read.drain(..end + 2);
            if end == 0 {
                return Ok(());
            }
        }
    }

    async fn find(&mut self, what: &[u8]) -> Result<usize> {
        loop {
            let at = self
                .read
                .windows(what.len())
                .position(|bytes| bytes == what);
            if let Some(at) = at {
                return Ok(at);
            }
            ensure!(self.read.len() < HEAD_BYTES_MAX, "the head is too large");
            ensure!(self.fill().await?, "the connection ended");
        }
    }

    async fn take(&mut self, mut count: usize, to: &mut Vec<u8>) -> Result<()> {
        loop {
            let there = count.min(self.read.len());
            keep(to, &self.read[..there]);
            self.read.drain(..there);
            count -= there;
            if count == 0 {
                return Ok(());
            }
            if !self.fill().await? {
                bail!("the body broke off");
            }
        }
    }

    async fn fill(&mut self) -> Result<bool> {
        self.read.reserve(16 << 10);
        Ok(self.stream.read_buf(&mut self.read).await? > 0)
    }
}

fn keep(to: &mut Vec<u8>, bytes: &[u8]) {
    let room = BODY_BYTES_KEPT.saturating_sub(to.len());
    to.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

/// Asks once over a connection of its own, and gives the whole answer as it came.
pub(crate) fn get(addr: SocketAddr, host: &str, path: &str) -> Result<String> {
    let mut stream = std::net::TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

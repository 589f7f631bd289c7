//! What passes the gate, held against httparse: the same messages, whatever the cuts.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use httparse::Status;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::runtime::Runtime;
use wharf_fuzzkit::{pieces, texts};

use super::head::{FIELDS_MAX, HEAD_MAX};
use super::messages::{Judged, Messages, Verdict};
use super::{Gate, Ledger};
use crate::request::Scheme;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const STAND_IN: &[u8] = b"- * HTTP/1.1\r\nHost: -\r\nConnection: close\r\n\r\n";

/// The verdicts on a connection's bytes, whose first byte says how they are cut.
pub(crate) fn messages(input: &[u8]) {
    let bytes = input.get(1..).unwrap_or_default();
    let (count, judged) = all_at_once(bytes);
    assert_eq!((count, judged), in_pieces(&pieces(input)), "in pieces");
    if judged.verdict == Verdict::More {
        assert!(bytes.len() - judged.passed < HEAD_MAX, "held without end");
    }
    assert_eq!(reread(&bytes[..judged.passed]), count, "other messages");
}

fn all_at_once(bytes: &[u8]) -> (u64, Judged) {
    let mut messages = Messages::new(Scheme::Http);
    let judged = judge_all(&mut messages, bytes);
    (messages.latest(), judged)
}

/// Looks at all messages, one after the other.
pub(super) fn judge_all(messages: &mut Messages, bytes: &[u8]) -> Judged {
    let mut passed = 0;
    loop {
        let step = messages.judge(&bytes[passed..]);
        passed += step.passed;
        if step.passed == 0 || step.verdict != Verdict::More {
            let verdict = step.verdict;
            return Judged { passed, verdict };
        }
    }
}

fn in_pieces(pieces: &[&[u8]]) -> (u64, Judged) {
    let mut messages = Messages::new(Scheme::Http);
    let (mut held, mut passed) = (Vec::new(), 0);
    let mut verdict = Verdict::More;
    for piece in pieces {
        held.extend_from_slice(piece);
        let step = judge_all(&mut messages, &held);
        held.drain(..step.passed);
        passed += step.passed;
        verdict = step.verdict;
        if verdict != Verdict::More {
            break;
        }
        assert!(held.len() < HEAD_MAX, "held without end");
    }
    (messages.latest(), Judged { passed, verdict })
}

/// How many messages httparse and what hyper makes of them find; the last one may be cut off in
/// its content.
fn reread(mut bytes: &[u8]) -> u64 {
    let mut count = 0;
    while !bytes.is_empty() {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut request = httparse::Request::new(&mut fields);
        let parsed = request.parse(bytes);
        let Ok(Status::Complete(length)) = parsed else {
            panic!("{parsed:?} after {count} messages");
        };
        count += 1;
        let target = request.path.expect("the head is whole");
        assert!(target.parse::<http::Uri>().is_ok(), "{target}");
        let (mut lengths, mut codings) = (Vec::new(), Vec::new());
        for field in request.headers.iter() {
            let name = http::HeaderName::try_from(field.name).expect("a name");
            let value = http::HeaderValue::try_from(field.value).expect("a value");
            match name {
                http::header::CONTENT_LENGTH => lengths.push(value),
                http::header::TRANSFER_ENCODING => codings.push(value),
                _ => {}
            }
        }
        bytes = &bytes[length..];
        bytes = match (request.method, &lengths[..], &codings[..]) {
            (Some("CONNECT"), [], []) => {
                assert!(bytes.is_empty(), "what follows CONNECT passes");
                bytes
            }
            (_, [], []) => bytes,
            (_, [length], []) => {
                let length = length.to_str().expect("digits").trim();
                let length: usize = length.parse().expect("a number");
                &bytes[length.min(bytes.len())..]
            }
            (_, [], [coding]) => {
                assert!(coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
                after_chunks(bytes)
            }
            _ => panic!("its content has two lengths: {lengths:?}, {codings:?}"),
        };
    }
    count
}

/// What follows a chunked content; nothing if it is cut off.
fn after_chunks(mut bytes: &[u8]) -> &[u8] {
    loop {
        let parsed = httparse::parse_chunk_size(bytes).expect("the size of a chunk");
        let Status::Complete((length, size)) = parsed else {
            return &[];
        };
        bytes = &bytes[length..];
        if size == 0 {
            let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
            return match httparse::parse_headers(bytes, &mut fields).expect("trailers") {
                Status::Complete((length, _)) => &bytes[length..],
                Status::Partial => &[],
            };
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let Some((_, rest)) = bytes.split_at_checked(size) else {
            return &[];
        };
        let Some(rest) = rest.strip_prefix(b"\r\n") else {
            assert!(b"\r\n".starts_with(rest), "a chunk without an end");
            return &[];
        };
        bytes = rest;
    }
}

/// The gate as a stream: what comes out is what may pass, then what stands for the verdict.
pub(crate) fn gate(input: &[u8]) {
    let bytes = input.get(1..).unwrap_or_default();
    let room = [1, 24, 1500, 1 << 16][usize::from(input.first().copied().unwrap_or(0)) % 4];
    let (read, error) = through(pieces(input), room);
    if PREFACE.starts_with(bytes) && bytes != PREFACE {
        assert!(read.is_empty() && error.is_none());
        return;
    }
    if bytes.starts_with(PREFACE) {
        // A stream's identifier may have been taken away.
        let is_same = |(was, is): (&u8, &u8)| was == is || *is == 0;
        assert!(
            read.len() == bytes.len() && bytes.iter().zip(&read).all(is_same) && error.is_none(),
            "HTTP/2 is not as it was"
        );
        return;
    }
    let (_, Judged { passed, verdict }) = all_at_once(bytes);
    let (end, kind) = match verdict {
        Verdict::More => (&[][..], None),
        Verdict::Head(_) => (STAND_IN, None),
        Verdict::Content(_) => (&[][..], Some(io::ErrorKind::InvalidData)),
    };
    assert_eq!(error, kind, "{verdict:?}");
    let same = read.strip_prefix(&bytes[..passed]) == Some(end);
    assert!(same, "{verdict:?}: {:?}", String::from_utf8_lossy(&read));
}

/// A client that says pieces, and then no more.
struct Client<'a>(VecDeque<&'a [u8]>);

impl AsyncRead for Client<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(piece) = self.0.pop_front() {
            let (now, later) = piece.split_at(piece.len().min(buffer.remaining()));
            buffer.put_slice(now);
            if !later.is_empty() {
                self.0.push_front(later);
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn through(pieces: Vec<&[u8]>, room: usize) -> (Vec<u8>, Option<io::ErrorKind>) {
    thread_local! {
        static RUNTIME: Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime of one thread can be made");
    }
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let ledger = Arc::new(Ledger::all_answered());
            let time = Duration::from_secs(3600);
            let mut gate = Gate::new(Client(pieces.into()), Scheme::Http, time, ledger);
            let (mut read, mut buffer) = (Vec::new(), vec![0; room]);
            loop {
                let mut part = ReadBuf::new(&mut buffer);
                match poll_fn(|cx| Pin::new(&mut gate).poll_read(cx, &mut part)).await {
                    Ok(()) if part.filled().is_empty() => return (read, None),
                    Ok(()) => read.extend_from_slice(part.filled()),
                    Err(error) => return (read, Some(error.kind())),
                }
            }
        })
    })
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let connections = [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\nGET / HTTP/1.0\r\n\r\nHEAD /a?b HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
        "PUT / HTTP/1.1\r\nhOsT:a\r\ncontent-length:\t003 \r\n\r\nabcGET / HTTP/1.0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ChunkeD\r\n\r\n\
         3;a=b\r\nabc\r\n1 ; c = \"d\\\"\"\r\nx\r\n0\r\nX: y\r\n\r\nOPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://A:80/ HTTP/1.1\r\nHost: a\r\nX: \u{e4}\t\"b\"\r\n\r\n",
        "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        // It passed, and hyper refused it.
        "HEAD /`?b HTTP/1.1\r\nHost: a\r\n\r\n",
        "HEAD /?` HTTP/1.1\r\nHost: a\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0",
    ];
    let mut seeds = Vec::new();
    for connection in texts(&connections) {
        for cut in [0, 1, 7, 200] {
            seeds.push([vec![cut], connection.clone()].concat());
        }
    }
    seeds
}

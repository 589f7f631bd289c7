//! The verdicts, whatever the cuts; and the gate as a stream.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, sleep};

use super::fuzz::judge_all;
use super::head::{FIELDS_MAX, HEAD_MAX, LINE_MAX, TARGET_MAX};
use super::messages::{Judged, Messages, Verdict};
use super::{Gate, Ledger};
use crate::request::Scheme;

/// What all of `bytes` comes to if they arrive in pieces of these lengths, in turns.
fn judged(bytes: &[u8], pieces: &[usize]) -> (u64, Judged) {
    let mut messages = Messages::new(Scheme::Http);
    let mut passed = 0;
    let mut read = 0;
    let mut pieces = pieces.iter().cycle();
    loop {
        let piece = pieces.next().map_or(bytes.len(), |length| *length);
        read = bytes.len().min(read + piece);
        let step = judge_all(&mut messages, &bytes[passed..read]);
        passed += step.passed;
        if step.verdict != Verdict::More || read == bytes.len() {
            let verdict = step.verdict;
            return (messages.latest(), Judged { passed, verdict });
        }
    }
}

/// The status of the refusal, or 0 and the number of messages.
fn status(bytes: &[u8]) -> (u16, u64) {
    let whole = judged(bytes, &[]);
    assert_eq!(whole, judged(bytes, &[1]), "byte by byte");
    let status = match whole.1.verdict {
        Verdict::More => 0,
        Verdict::Head(refusal) | Verdict::Content(refusal) => refusal.status.as_u16(),
    };
    (status, whole.0)
}

#[test]
fn messages_follow_each_other() {
    for (bytes, count) in [
        ("", 0),
        ("GET / HT", 0),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1),
        ("\r\nGET / HTTP/1.0\r\n\r\n\r\nGET / HTTP/1.0\r\n\r\n", 2),
        (
            "PUT / HTTP/1.1\r\nhOsT:a\r\ncontent-length:\t007 \r\n\r\n\r\n\r\n\0\0\0GET / HTTP/1.0\r\n\r\n",
            2,
        ),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ChunkeD\r\n\r\n\
             3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\nOPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            2,
        ),
        ("GET http://A:80/ HTTP/1.1\r\nHost: a\r\n\r\n", 1),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 1),
    ] {
        assert_eq!(status(bytes.as_bytes()), (0, count), "{bytes:?}");
    }
}

/// In a path it passed, and the parser behind us refused it.
#[test]
fn a_backtick_is_for_queries() {
    let head = |target: &str| status(format!("GET {target} HTTP/1.0\r\n\r\n").as_bytes());
    assert_eq!(head("/a?b`c"), (0, 1));
    assert_eq!(head("/a`?b"), (400, 0));
    assert_eq!(head("http://a/`"), (400, 0));
}

#[test]
fn what_is_too_long_has_its_own_status() {
    let head = |target: usize, fields: &str| {
        let target = "a".repeat(target);
        status(format!("GET /{target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes())
    };
    assert_eq!(head(TARGET_MAX - 1, ""), (0, 1));
    assert_eq!(head(TARGET_MAX, ""), (414, 0));
    let line = |length: usize| format!("x:{}\r\n", "a".repeat(length - 4));
    assert_eq!(head(0, &line(LINE_MAX)), (0, 1));
    assert_eq!(head(0, &line(LINE_MAX + 1)), (431, 0));
    assert_eq!(
        head(0, &line(LINE_MAX).repeat(HEAD_MAX / LINE_MAX)),
        (431, 0)
    );
    assert_eq!(head(0, &"x:\r\n".repeat(FIELDS_MAX - 1)), (0, 1));
    assert_eq!(head(0, &"x:\r\n".repeat(FIELDS_MAX)), (431, 0));
    let method = "A".repeat(65);
    let request = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(request.as_bytes()), (501, 0));
}

/// Pieces that heads and contents are made of, good and bad.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "POST /a?b HTTP/1.1\r\n",
        "OPTIONS * HTTP/1.0\r\n",
        "GET http://a/ HTTP/1.1\r\n",
        "Host: a\r\n",
        "Host: b\r\n",
        "Content-Length: 3\r\n",
        "Content-Length: 3, 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "X: y\r\n",
        "X :y\r\n",
        " y\r\n",
        "\r\n",
        "\n",
        "\r",
        "abc",
        "3\r\nabc\r\n",
        "0\r\n\r\n",
        "0\r\nX: y\r\n\r\n",
        "0;a=\"b\"\r\n",
        "ffffffffffffffff\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ]);
    prop_oneof![
        9 => known.prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..8),
    ]
}

fn client() -> impl Strategy<Value = Vec<u8>> {
    let start = prop::sample::select(vec![
        "",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    ]);
    (start, prop::collection::vec(piece(), 0..16))
        .prop_map(|(start, pieces)| [start.as_bytes().to_vec(), pieces.concat()].concat())
}

/// A good request, some bytes of which are others.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let request = "POST /a?b=c HTTP/1.1\r\nHost: example.com:80\r\nX-Some: thing, \"else\"\r\n\
                   Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nT: u\r\n\r\n";
    let change = (0..request.len(), any::<u8>());
    prop::collection::vec(change, 1..4).prop_map(|changes| {
        let mut bytes = request.as_bytes().to_vec();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes
    })
}

fn any_client() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        client(),
        mutated(),
        prop::collection::vec(any::<u8>(), 0..64)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn cuts_make_no_difference(
        bytes in any_client(),
        pieces in prop::collection::vec(1..20_usize, 1..8),
    ) {
        prop_assert_eq!(judged(&bytes, &[]), judged(&bytes, &pieces));
    }

    /// What passes is what hyper's parsers take, too, with the same length.
    #[test]
    fn no_head_passes_that_hyper_refuses(bytes in any_client()) {
        let mut messages = Messages::new(Scheme::Http);
        // The head alone: its last byte decides.
        let length = (1..=bytes.len()).find(|end| {
            let step = messages.judge(&bytes[..*end]);
            messages.latest() == 1 || step.verdict != Verdict::More
        });
        if messages.latest() == 1 {
            let length = length.unwrap();
            let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
            let mut request = httparse::Request::new(&mut fields);
            let parsed = request.parse(&bytes[..length]);
            prop_assert_eq!(parsed, Ok(httparse::Status::Complete(length)));
            prop_assert!(request.path.unwrap().parse::<http::Uri>().is_ok(), "{:?}", request.path);
            for field in request.headers.iter() {
                prop_assert!(http::HeaderName::try_from(field.name).is_ok());
                prop_assert!(http::HeaderValue::try_from(field.value).is_ok());
            }
        }
    }
}

const TIME: Duration = Duration::from_secs(30);

/// Answers are done at once.
fn gate() -> (Gate<DuplexStream>, DuplexStream, Arc<Ledger>) {
    gate_with(Ledger::all_answered())
}

fn gate_with(ledger: Ledger) -> (Gate<DuplexStream>, DuplexStream, Arc<Ledger>) {
    let (server, client) = tokio::io::duplex(1 << 20);
    let ledger = Arc::new(ledger);
    let gate = Gate::new(server, Scheme::Http, TIME, Arc::clone(&ledger));
    (gate, client, ledger)
}

/// What hyper would read of `bytes`, to the end or to what only it can go on from.
async fn through(bytes: &[u8], room: usize) -> (Vec<u8>, Arc<Ledger>) {
    let (mut gate, mut client, ledger) = gate();
    client.write_all(bytes).await.unwrap();
    client.shutdown().await.unwrap();
    let mut read = Vec::new();
    let mut buffer = vec![0; room];
    while let Ok(count) = gate.read(&mut buffer).await
        && count > 0
    {
        read.extend_from_slice(&buffer[..count]);
    }
    (read, ledger)
}

#[tokio::test]
async fn the_good_passes_as_it_is() {
    let body = vec![b'x'; 100_000];
    let mut bytes = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3);
    bytes.extend_from_slice(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    bytes.extend_from_slice(&body);
    for room in [1, 24, 4096, 1 << 17] {
        let (read, ledger) = through(&bytes, room).await;
        assert!(read == bytes, "{room}");
        assert_eq!(ledger.refusal_of(5), None);
        assert!(!ledger.is_h2());
    }
}

#[tokio::test]
async fn a_stand_in_takes_the_place_of_a_bad_head() {
    let good = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let bytes = format!("{good}GET / HTTP/1.1\r\nHost : a\r\n\r\n{good}");
    for room in [1, 24, 4096] {
        let (read, ledger) = through(bytes.as_bytes(), room).await;
        let read = String::from_utf8(read).unwrap();
        let stand_in = read.strip_prefix(good).unwrap();
        assert!(stand_in.starts_with("- * HTTP/1.1\r\n"), "{stand_in}");
        assert!(stand_in.ends_with("Connection: close\r\n\r\n"));
        assert_eq!(ledger.refusal_of(1), None);
        assert_eq!(ledger.refusal_of(2).unwrap().status, 400);
    }
}

#[tokio::test]
async fn a_bad_content_breaks_off() {
    let good = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    for room in [1, 24, 4096] {
        let (mut gate, mut client, ledger) = gate();
        let bytes = format!("{good}x\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.write_all(bytes.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        let mut buffer = vec![0; room];
        let error = loop {
            match gate.read(&mut buffer).await {
                Ok(count) => read.extend_from_slice(&buffer[..count]),
                Err(error) => break error,
            }
        };
        assert_eq!(read, good.as_bytes());
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
        assert_eq!(ledger.refusal_of(1).unwrap().status, 400);
    }
}

#[tokio::test]
async fn http_2_is_not_looked_at() {
    let bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0any\nthing";
    for room in [1, 24, 4096] {
        let (read, ledger) = through(bytes, room).await;
        assert_eq!(read, bytes);
        assert!(ledger.is_h2());
    }
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_let_go() {
    for said in [&b""[..], b"PRI * HTTP/2"] {
        let (mut gate, mut client, _) = gate();
        client.write_all(said).await.unwrap();
        let start = Instant::now();
        let error = gate.read(&mut [0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), TIME);
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_in_drops_is_refused_in_time() {
    let (mut gate, mut client, ledger) = gate();
    let good = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    client.write_all(good).await.unwrap();
    assert_eq!(gate.read(&mut [0; 64]).await.unwrap(), good.len());
    tokio::spawn(async move {
        // Between messages there is no limit here.
        sleep(3 * TIME).await;
        while client.write_all(b"x").await.is_ok() {
            sleep(TIME / 10).await;
        }
    });
    let start = Instant::now();
    let mut buffer = [0; 64];
    let count = gate.read(&mut buffer).await.unwrap();
    assert!(buffer[..count].starts_with(b"- * "));
    assert_eq!(start.elapsed(), 4 * TIME);
    assert_eq!(ledger.refusal_of(2).unwrap().status, 408);
}

/// The client may be about to send what was refused, and reads the answer after that.
#[tokio::test(start_paused = true)]
async fn the_end_waits_for_what_is_still_sent_but_not_for_ever() {
    let (mut gate, mut client, _) = gate();
    client.write_all(b"\0").await.unwrap();
    assert!(gate.read(&mut [0; 64]).await.unwrap() > 0);
    let start = Instant::now();
    gate.shutdown().await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(2));
    let (mut gate, mut client, _) = self::gate();
    client.write_all(b"\0").await.unwrap();
    assert!(gate.read(&mut [0; 64]).await.unwrap() > 0);
    drop(client);
    let start = Instant::now();
    gate.shutdown().await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// What comes through now; nothing if it must wait.
async fn now(gate: &mut Gate<DuplexStream>) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 4096];
    let read = tokio::time::timeout(Duration::ZERO, gate.read(&mut buffer));
    let count = read.await.ok()?.unwrap();
    Some(buffer[..count].to_vec())
}

#[tokio::test(start_paused = true)]
async fn a_message_waits_for_the_answer_to_the_one_before() {
    let (mut gate, mut client, ledger) = gate_with(Ledger::default());
    let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
    let put = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc".to_vec();
    let begun = b"GET /b HT".to_vec();
    let all = [&get[..], &put, &get, &begun].concat();
    client.write_all(&all).await.unwrap();
    for message in [&get, &put, &get] {
        assert_eq!(now(&mut gate).await.as_ref(), Some(message));
        assert_eq!(now(&mut gate).await, None);
        // While it waits, no time runs.
        sleep(2 * TIME).await;
        assert_eq!(now(&mut gate).await, None);
        ledger.done();
    }
    assert_eq!(now(&mut gate).await, None, "its head is not whole");
    client
        .write_all(b"TP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let last = now(&mut gate).await.unwrap();
    assert!(last.starts_with(b"GET /b HTTP/1.1\r\n"));
}

/// Whoever reads is woken by the answer's end alone.
#[tokio::test]
async fn the_answer_s_end_lets_the_next_one_through() {
    let (mut gate, mut client, ledger) = gate_with(Ledger::default());
    let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    client.write_all(&get.repeat(2)).await.unwrap();
    let mut buffer = [0; 4096];
    assert_eq!(gate.read(&mut buffer).await.unwrap(), get.len());
    let next = tokio::spawn(async move { gate.read(&mut [0; 4096]).await.unwrap() });
    tokio::task::yield_now().await;
    assert!(!next.is_finished());
    ledger.done();
    assert_eq!(next.await.unwrap(), get.len());
}

/// What a client that ended its side has asked for before is answered, and the end comes after that.
#[tokio::test(start_paused = true)]
async fn the_end_waits_for_answers() {
    let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
    let put = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc".to_vec();
    for rest in [&b""[..], b"GET /b HT"] {
        let (mut gate, mut client, ledger) = gate_with(Ledger::default());
        let all = [&get[..], &put, &get, rest].concat();
        client.write_all(&all).await.unwrap();
        client.shutdown().await.unwrap();
        for message in [&get, &put, &get] {
            assert_eq!(now(&mut gate).await.as_ref(), Some(message));
            ledger.arrive();
            // All in all it is longer than the client may wait, but there is always something.
            for _ in 0..3 {
                sleep(Duration::from_millis(900)).await;
                assert_eq!(now(&mut gate).await, None);
                gate.write_all(b"x").await.unwrap();
            }
            ledger.done();
        }
        assert_eq!(now(&mut gate).await.unwrap(), b"");
        // It may write as long as it likes.
        gate.flush().await.unwrap();
    }
}

/// Whoever reads is woken by the answer's end alone, and by the time's.
#[tokio::test(start_paused = true)]
async fn the_end_wakes_who_waits() {
    for is_answered in [true, false] {
        let (mut gate, mut client, ledger) = gate_with(Ledger::default());
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        client.shutdown().await.unwrap();
        assert!(now(&mut gate).await.is_some());
        let start = Instant::now();
        let end = tokio::spawn(async move { gate.read(&mut [0; 64]).await.unwrap() });
        sleep(Duration::from_millis(10)).await;
        assert!(!end.is_finished());
        if is_answered {
            ledger.done();
        }
        assert_eq!(end.await.unwrap(), 0);
        let wanted = if is_answered { 10 } else { 1_000 };
        assert_eq!(start.elapsed().as_millis(), wanted);
    }
}

/// No answer can make good what will never come.
#[tokio::test(start_paused = true)]
async fn the_end_within_a_content_does_not_wait() {
    let (mut gate, mut client, ledger) = gate_with(Ledger::default());
    client
        .write_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab")
        .await
        .unwrap();
    client.shutdown().await.unwrap();
    assert!(now(&mut gate).await.is_some());
    ledger.arrive();
    assert_eq!(now(&mut gate).await.unwrap(), b"");
    // But the answer has its time.
    gate.flush().await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert!(gate.flush().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn who_leaves_is_seen_to_whatever_was_asked_besides() {
    let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for times in [1, 2, 1_000] {
        let (mut gate, mut client, _) = gate_with(Ledger::default());
        client.write_all(&get.repeat(times)).await.unwrap();
        let mut buffer = [0; 4096];
        assert_eq!(gate.read(&mut buffer).await.unwrap(), get.len());
        drop(client);
        assert_eq!(gate.read(&mut buffer).await.unwrap(), 0, "{times}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_in_ahead_has_a_limit() {
    let (mut gate, mut client, ledger) = gate_with(Ledger::default());
    let put = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n".to_vec();
    let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    client.write_all(&[&get[..], &put].concat()).await.unwrap();
    assert_eq!(now(&mut gate).await.unwrap(), get);
    let content = vec![b'x'; 1_000_000];
    client.write_all(&content).await.unwrap();
    assert_eq!(now(&mut gate).await, None);
    let more = tokio::time::timeout(Duration::ZERO, client.write_all(&content));
    assert!(more.await.is_err(), "the client waits");
    ledger.done();
    let mut read = 0;
    while read < put.len() + content.len() {
        read += now(&mut gate).await.unwrap().len();
    }
}

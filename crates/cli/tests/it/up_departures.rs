//! Clients that leave: whatever they have asked for besides, what is done for them ends.

use crate::up_client::{Raw, Upstream, status_of};
use crate::up_kitchen::{Kitchen, P2_PURE, P3_PURE, Up};

/// Builds, and how each request has an instance of its own.
const OWN: [(Kitchen, &str); 2] = [(P2_PURE, "shared"), (P3_PURE, "request")];

const HELLO: &str = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";

/// With one place in all: it is free again if the next request is answered.
fn up(kitchen: Kitchen, isolation: &str, upstream: &Upstream) -> Up {
    kitchen.up_with(&format!(
        "isolation = \"{isolation}\"\ngrants = {{ http = [\"{}\"] }}\n\
         limits = {{ concurrency = 1, queue = 1 }}",
        upstream.origin()
    ))
}

/// A client whose guest is at work, having asked for more meanwhile.
async fn at_work(up: &Up, upstream: &Upstream, more: &[u8]) -> (Raw, crate::up_client::Asked) {
    let path = upstream.proxy_path();
    let first = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let client = Raw::send(up.addr, [first.as_bytes(), more].concat()).await;
    (client, upstream.request().await)
}

/// What a client may have sent, and the kernel has room for, behind the request that is being answered.
fn sent_besides() -> Vec<(&'static str, Vec<u8>)> {
    let upload = "PUT /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
    vec![
        ("nothing", Vec::new()),
        ("another request", HELLO.into()),
        ("a part of one", b"GET /hel".to_vec()),
        ("a bad one", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n".to_vec()),
        ("many", HELLO.repeat(100).into()),
        ("more than is taken in", HELLO.repeat(2_200).into()),
        (
            "an upload",
            [upload.as_bytes(), &vec![b'x'; 85_000]].concat(),
        ),
    ]
}

/// Once it has left, its guest is ended, seen by a server that it was asking.
#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_is_missed_whatever_is_asked_besides() {
    for (kitchen, isolation) in OWN {
        let upstream = Upstream::start().await;
        let up = up(kitchen, isolation, &upstream);
        for (what, more) in sent_besides() {
            eprintln!("{kitchen}: {what}");
            let mark = up.server.mark();
            let (client, asked) = at_work(&up, &upstream, &more).await;
            drop(client);
            asked.closed().await;
            let logged = up.logged_request(mark, "/proxy");
            assert_eq!(logged["error"], "the client left", "{what}: {logged}");
        }
        let mut next = Raw::send(up.addr, HELLO).await;
        assert_eq!(status_of(&next.head().await), 200, "the place is free");
    }
}

/// Who ends only its own side of the connection may wait, but not for long, whatever it has asked for
/// besides: this upstream never answers.
#[tokio::test(flavor = "multi_thread")]
async fn who_ends_its_side_is_not_waited_for_long() {
    for (kitchen, isolation) in OWN {
        let upstream = Upstream::start().await;
        let up = up(kitchen, isolation, &upstream);
        for (what, more) in sent_besides() {
            eprintln!("{kitchen}: {what}");
            let (client, asked) = at_work(&up, &upstream, &more).await;
            let (mut reader, writer) = client.split();
            drop(writer);
            asked.closed().await;
            // It gets no answer: the connection ends.
            while reader.fill().await {}
        }
    }
}

/// A guest that does not read what is sent to it does not hide that its client left.
#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_behind_unread_content_is_missed() {
    for (kitchen, isolation) in OWN {
        let upstream = Upstream::start().await;
        let up = up(kitchen, isolation, &upstream);
        let head = "POST /unfinished HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
        let upload = [head.as_bytes(), &vec![b'x'; 50_000]].concat();
        let mut client = Raw::send(up.addr, upload).await;
        assert_eq!(status_of(&client.head().await), 200);
        let mark = up.server.mark();
        drop(client);
        let logged = up.logged_request(mark, "/unfinished");
        assert_eq!(logged["error"], "the client left", "{kitchen}: {logged}");
        // Its body says so before the limit would.
        assert!(
            logged["duration_ms"].as_f64().unwrap() < 30_000.0,
            "{logged}"
        );
    }
}

/// Requests sent ahead are answered all the same, in their order and each with its own content.
#[tokio::test(flavor = "multi_thread")]
async fn requests_sent_ahead_are_answered_in_order() {
    for kitchen in [P2_PURE, P3_PURE] {
        let up = kitchen.up(&[]);
        let mut sent = Vec::new();
        for number in 0..300 {
            let content = format!("number {number} ").repeat(number * 7 % 400);
            let length = content.len();
            sent.extend(match number % 3 {
                0 => format!("GET /url?{number} HTTP/1.1\r\nHost: a\r\n\r\n"),
                1 => format!(
                    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{content}"
                ),
                _ => format!(
                    "POST /sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                     {:x}\r\n{content}!\r\n0\r\n\r\n",
                    length + 1
                ),
            }.into_bytes());
        }
        sent.extend_from_slice(b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let raw = Raw::connect(up.addr).await;
        let (mut reader, mut writer) = raw.split();
        let writing = tokio::spawn(async move {
            assert!(writer.try_write(&sent).await);
            writer
        });
        let answers = reader.rest().await;
        drop(writing.await.unwrap());
        let answers = String::from_utf8(answers).unwrap();
        assert_eq!(
            answers.matches("HTTP/1.1 200 OK\r\n").count(),
            301,
            "{kitchen}"
        );
        let mut rest = &answers[..];
        for number in 0..300 {
            let length = format!("number {number} ").len() * (number * 7 % 400);
            let wanted = match number % 3 {
                0 => format!("http://a/url?{number}"),
                1 if length == 0 => continue,
                1 => format!("number {number} number {number} "),
                _ => format!("\r\n{}\r\n", length + 1),
            };
            let at = rest
                .find(wanted.trim())
                .unwrap_or_else(|| panic!("{kitchen}: {wanted}"));
            rest = &rest[at..];
        }
    }
}

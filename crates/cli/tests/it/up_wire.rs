//! HTTP/1 to the byte: what clients may send, what they may not, and what they get.

use crate::up_client::{Raw, get, header_of, status_of};
use crate::up_kitchen::{KITCHENS, P2_PURE, P3_PURE, Up};

/// Sends `request` on a connection of its own; gives the status of the answer.
async fn status(up: &Up, request: &str) -> u16 {
    let mut raw = Raw::send(up.addr, request).await;
    status_of(&raw.head().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_a_row_are_answered_in_their_order() {
    for kitchen in KITCHENS {
        let up = kitchen.up(&[]);
        let mut requests = String::new();
        for number in 0..20 {
            requests.push_str(&format!("GET /url?{number} HTTP/1.1\r\nHost: a\r\n\r\n"));
            requests.push_str("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        }
        let mut raw = Raw::send(up.addr, &requests).await;
        for number in 0..20 {
            let (_, body) = raw.answer().await;
            assert_eq!(body, format!("http://a/url?{number}"), "{kitchen}");
            let head = raw.head().await;
            assert_eq!(status_of(&head), 200, "{kitchen}");
            let echo = match header_of(&head, "content-length") {
                Some(length) => raw.exactly(length.parse().unwrap()).await,
                None => raw.exactly("2\r\nhi\r\n0\r\n\r\n".len()).await,
            };
            assert!(echo.contains("hi"), "{kitchen}: {echo}");
        }
    }
}

/// What is streamed is sent although the next request is there already.
#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_request_does_not_hold_up_the_stream_before_it() {
    for kitchen in KITCHENS {
        let up = kitchen.up(&[]);
        let stream = "GET /sse?n=1000000&ms=5 HTTP/1.1\r\nHost: a\r\n\r\n";
        let next = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut raw = Raw::send(up.addr, format!("{stream}{next}")).await;
        assert_eq!(status_of(&raw.head().await), 200, "{kitchen}");
        let mut read = String::new();
        while !read.contains("data: event 3\n") {
            read.push_str(&raw.exactly(1).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_asked_for_when_the_guest_reads_it() {
    for kitchen in KITCHENS {
        let up = kitchen.up(&[]);
        let head =
            "Host: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n\r\n";
        let mut raw = Raw::send(up.addr, format!("POST /sink HTTP/1.1\r\n{head}")).await;
        assert_eq!(raw.head().await, "HTTP/1.1 100 Continue", "{kitchen}");
        raw.write("12345").await;
        assert_eq!(status_of(&raw.head().await), 200, "{kitchen}");
        assert!(raw.read_to_end().await.contains('5'), "{kitchen}");
        // Nobody reads this one's body, so nobody asks for it.
        let mut raw = Raw::send(up.addr, format!("POST /refuse HTTP/1.1\r\n{head}")).await;
        assert_eq!(status_of(&raw.head().await), 418, "{kitchen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_0_gets_a_body_that_ends_with_the_connection() {
    for kitchen in KITCHENS {
        let up = kitchen.up(&[]);
        let mut raw = Raw::send(up.addr, "GET /hello HTTP/1.0\r\n\r\n").await;
        let head = raw.head().await;
        assert!(head.starts_with("HTTP/1.0 200"), "{kitchen}: {head}");
        assert_eq!(raw.read_to_end().await, "hello\n", "{kitchen}");
        let mut raw = Raw::send(up.addr, "GET /stream?n=2 HTTP/1.0\r\n\r\n").await;
        let head = raw.head().await;
        assert_eq!(header_of(&head, "transfer-encoding"), None, "{kitchen}");
        assert_eq!(raw.read_to_end().await, "chunk 0\nchunk 1\n", "{kitchen}");
    }
}

/// RFC 9112, section 3.2: the forms of a request's target.
#[tokio::test(flavor = "multi_thread")]
async fn the_forms_of_a_target() {
    for kitchen in [P2_PURE, P3_PURE] {
        let up = kitchen.up(&[]);
        let mut raw = Raw::connect(up.addr).await;
        for (target, url) in [
            ("/url", "http://host.example/url"),
            ("/url?", "http://host.example/url?"),
            ("/url?a=/../b", "http://host.example/url?a=/../b"),
            ("http://host.example/url?a", "http://host.example/url?a"),
            ("http://HOST.example:80/url", "http://HOST.example:80/url"),
        ] {
            let request = format!("GET {target} HTTP/1.1\r\nHost: host.example\r\n\r\n");
            raw.write(request).await;
            let (head, body) = raw.answer().await;
            assert_eq!((status_of(&head), &*body), (200, url), "{kitchen} {target}");
        }
        raw.write("OPTIONS * HTTP/1.1\r\nHost: host.example\r\n\r\n")
            .await;
        let (head, body) = raw.answer().await;
        assert_eq!((status_of(&head), &*body), (200, "hello\n"), "{kitchen}");
        raw.write("CONNECT host.example:443 HTTP/1.1\r\nHost: host.example:443\r\n\r\n")
            .await;
        let (head, _) = raw.answer().await;
        assert_eq!(status_of(&head), 405, "{kitchen}");
        assert!(header_of(&head, "allow").is_some_and(|allow| allow.contains("GET")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_is_refused_with_a_reason() {
    let up = P3_PURE.up(&[]);
    let mut raw = Raw::send(
        up.addr,
        "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    .await;
    let (head, body) = raw.answer().await;
    assert_eq!(status_of(&head), 501);
    assert!(body.contains("WebSocket"), "{body}");
    // An offer of cleartext HTTP/2 is ignored, as it may be.
    raw.write(
        "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    )
    .await;
    assert_eq!(status_of(&raw.answer().await.0), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_are_told_so_and_the_server_lives() {
    let up = P2_PURE.up(&[]);
    for (request, why) in [
        ("GET /hello HTTP/1.1\r\n\r\n", "no Host"),
        (
            "GET /hello HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "two Hosts",
        ),
        (
            "GET /hello HTTP/1.1\r\nHost: a b\r\n\r\n",
            "a space in Host",
        ),
        (
            "GET /hello HTTP/1.1\r\nHost: me@a\r\n\r\n",
            "a user in Host",
        ),
        ("GET /hello HTTP/1.1\r\nHost: a/b\r\n\r\n", "a path in Host"),
        (
            "GET http://a/hello HTTP/1.1\r\n\r\n",
            "an absolute target, and no Host",
        ),
        (
            "GET http://a/hello HTTP/1.1\r\nHost: a b\r\n\r\n",
            "an absolute target, and a bad Host",
        ),
        (
            "GET http://me@a/hello HTTP/1.1\r\nHost: a\r\n\r\n",
            "a user in the target",
        ),
        (
            "GET /a/../hello HTTP/1.1\r\nHost: a\r\n\r\n",
            "dot segments",
        ),
        ("GET /./hello HTTP/1.1\r\nHost: a\r\n\r\n", "a dot segment"),
        (
            "GET /%2e%2E/hello HTTP/1.1\r\nHost: a\r\n\r\n",
            "encoded dot segments",
        ),
        (
            "GET /.%2e/hello HTTP/1.1\r\nHost: a\r\n\r\n",
            "half encoded dot segments",
        ),
        (
            "GET http://a/../hello HTTP/1.1\r\nHost: a\r\n\r\n",
            "dot segments in an absolute target",
        ),
        (
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
            "an asterisk without OPTIONS",
        ),
        ("GET hello HTTP/1.1\r\nHost: a\r\n\r\n", "a relative target"),
        (
            "GET /he llo HTTP/1.1\r\nHost: a\r\n\r\n",
            "a space in the target",
        ),
        (
            "GET /hello HTTP/1.1\r\nHost: a\r\nX Y: z\r\n\r\n",
            "a space in a field's name",
        ),
        (
            "GET /hello HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
            "a NUL in a field",
        ),
        (
            "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
            "two lengths",
        ),
        (
            "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
            "a negative length",
        ),
        (
            "POST /sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
            "a coding that is not chunked",
        ),
        ("hello\r\n\r\n", "no HTTP"),
    ] {
        assert_eq!(status(&up, request).await, 400, "{why}");
    }
    let hello = get(up.addr, "/hello").await;
    assert_eq!(hello.status, 200);
}

/// A chunked body that breaks the rules ends its request, not the server.
#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_body_ends_its_request() {
    for kitchen in KITCHENS {
        let up = kitchen.up(&[]);
        let mark = up.server.mark();
        let mut raw = Raw::send(
            up.addr,
            "POST /sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nzz\r\n",
        )
        .await;
        let answer = raw.read_to_end().await;
        assert!(!answer.starts_with("HTTP/1.1 200"), "{kitchen}: {answer}");
        up.logged_request(mark, "/sink");
        assert_eq!(get(up.addr, "/hello").await.status, 200, "{kitchen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_beyond_the_limits_are_refused_and_the_server_lives() {
    let up = P3_PURE.up(&[]);
    let many = (0..1000).map(|number| format!("x-{number}: y\r\n"));
    let large = format!("x-large: {}\r\n", "y".repeat(1 << 20));
    for (fields, what) in [(many.collect(), "many"), (large, "large")] {
        let request = format!("GET /hello HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let status = status(&up, &request).await;
        assert!(matches!(status, 400 | 431), "{what}: {status}");
    }
    let target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "y".repeat(1 << 20));
    let status = status(&up, &target).await;
    assert!(matches!(status, 400 | 414 | 431), "{status}");
    assert_eq!(get(up.addr, "/hello").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_dawdle_do_not_hold_up_others() {
    let up = P2_PURE.up(&[]);
    let mut dawdling = Vec::new();
    for number in 0..50 {
        let some: &[u8] = match number % 4 {
            0 => b"",
            1 => b"GET /hello HT",
            2 => b"GET /hello HTTP/1.1\r\nHost: a\r\nX-Slow",
            _ => b"PRI * HTTP/2.0\r\n",
        };
        dawdling.push(Raw::send(up.addr, some).await);
    }
    for _ in 0..10 {
        assert_eq!(get(up.addr, "/hello").await.text(), "hello\n");
    }
}

/// The first byte decides: HTTP/2 by its preface, on the same port.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_is_no_matter() {
    let up = P2_PURE.up(&[]);
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0\0\0\0\r\n\r\n",
    ] {
        drop(Raw::send(up.addr, bytes).await);
    }
    assert_eq!(get(up.addr, "/hello").await.status, 200);
}

//! Messages through a server: whole, streamed both ways, with trailers; over HTTP/1.1 and HTTP/2.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::BodyExt;

use crate::up_client::{
    Answer, Client, WIRES, Wire, channel, full, get, get_request, read_until, send, within,
};
use crate::up_kitchen::{KITCHENS, P2_STD, P3_PURE};

#[tokio::test(flavor = "multi_thread")]
async fn whole_messages() {
    for kitchen in KITCHENS {
        let up = kitchen.up(&[]);
        for wire in WIRES {
            let mut client = Client::connect(up.addr, wire).await;
            let hello = client.get("/hello").await;
            assert_eq!((hello.status, hello.text()), (200, "hello\n"), "{kitchen}");
            for (method, path, status, text) in [
                ("DELETE", "/method", 200, "DELETE"),
                ("REPORT", "/method", 200, "REPORT"),
                ("GET", "/status?code=204", 204, ""),
                ("GET", "/status?code=404", 404, ""),
                ("GET", "/refuse", 418, "no coffee"),
                ("GET", "/nowhere", 404, "no such route: /nowhere\n"),
            ] {
                let request = Request::builder().method(method).uri(path);
                let answer = client.send(request.body(full("")).unwrap()).await;
                assert_eq!(
                    (answer.status, answer.text()),
                    (status, text),
                    "{kitchen} {wire:?} {method} {path}"
                );
            }
            let empty = up.logged(|line| line["status"] == 204);
            assert!(empty["error"].is_null(), "{kitchen} {wire:?}: {empty}");
            let request = Request::post("/echo").header("content-type", "text/x-shout");
            let echo = client.send(request.body(full("ho")).unwrap()).await;
            assert_eq!(
                (echo.text(), echo.header("content-type")),
                ("ho", "text/x-shout")
            );
            let url = client.get("/url?a=b%20c&d").await;
            let expected = format!("http://{}/url?a=b%20c&d", up.addr);
            assert_eq!(url.text(), expected, "{kitchen} {wire:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_echo_comes_back_while_the_request_goes_on() {
    for kitchen in KITCHENS {
        let up = kitchen.up(&[]);
        for wire in WIRES {
            let mut client = Client::connect(up.addr, wire).await;
            let (feed, body) = channel();
            let request = Request::post("/echo").body(body).unwrap();
            feed.send("one").await;
            let mut answer = client.open(request).await.into_body();
            read_until(&mut answer, "one").await;
            for chunk in ["two", "three", "four"] {
                feed.send(chunk).await;
                let echoed = read_until(&mut answer, chunk).await;
                assert_eq!(echoed, chunk, "{kitchen} {wire:?}");
            }
            drop(feed);
            let rest = within("the echo's end", answer.collect()).await.unwrap();
            assert_eq!(rest.to_bytes().len(), 0, "{kitchen} {wire:?}");
        }
    }
}

/// The largest that the process's memory has been, in bytes.
pub(crate) fn memory_peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() << 10
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_megabytes_pass_through_little_memory() {
    const CHUNK_BYTES: usize = 64 << 10;
    const CHUNKS: usize = (100 << 20) / CHUNK_BYTES;
    for (kitchen, wire) in [(P2_STD, Wire::H1), (P3_PURE, Wire::H1), (P3_PURE, Wire::H2)] {
        let up = kitchen.up_with("limits = { cpu = \"60s\" }");
        get(up.addr, "/echo").await;
        let before = memory_peak(up.server.id());
        let mut client = Client::connect(up.addr, wire).await;
        let (feed, body) = channel();
        let sending = tokio::spawn(async move {
            let chunk = Bytes::from(vec![b'x'; CHUNK_BYTES]);
            for _ in 0..CHUNKS {
                feed.send(chunk.clone()).await;
            }
        });
        let request = Request::post("/echo").body(body).unwrap();
        let mut answer = client.open(request).await.into_body();
        let mut bytes = 0;
        while let Some(frame) = within("the echo", answer.frame()).await {
            bytes += frame.unwrap().into_data().unwrap().len();
        }
        sending.await.unwrap();
        assert_eq!(bytes, CHUNKS * CHUNK_BYTES, "{kitchen} {wire:?}");
        let grown = memory_peak(up.server.id()).saturating_sub(before);
        assert!(
            grown < 40 << 20,
            "{kitchen} {wire:?}: {} MiB more for a body that streams through",
            grown >> 20
        );
    }
}

/// An answer that no one reads must not pile up in the server.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_waits_for_its_reader() {
    for (kitchen, wire) in [
        (P2_STD, Wire::H1),
        (P2_STD, Wire::H2),
        (P3_PURE, Wire::H1),
        (P3_PURE, Wire::H2),
    ] {
        let up = kitchen.up(&[]);
        get(up.addr, "/hello").await;
        let before = memory_peak(up.server.id());
        let mut client = Client::connect(up.addr, wire).await;
        let unread = client.open(get_request("/big?mb=200")).await;
        // Long enough for the first to run ahead.
        let other = get(up.addr, "/big?mb=20").await;
        assert_eq!(other.body.len(), 20 << 20);
        let grown = memory_peak(up.server.id()).saturating_sub(before);
        assert!(
            grown < 40 << 20,
            "{kitchen} {wire:?}: {} MiB more",
            grown >> 20
        );
        drop(unread);
    }
}

fn trailers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_both_ways() {
    for kitchen in KITCHENS {
        let up = kitchen.up(&[]);
        for wire in WIRES {
            let mut client = Client::connect(up.addr, wire).await;
            let (feed, body) = channel();
            let request = Request::post("/trailers")
                .header("te", "trailers")
                .header("trailer", "x-done")
                .body(body)
                .unwrap();
            let sending = tokio::spawn(async move {
                feed.send("12345").await;
                // The guest says this one itself, so it shows that it read what was sent.
                feed.trailers(trailers(&[("x-done", "not yet")])).await;
            });
            let answer = client.send(request).await;
            sending.await.unwrap();
            assert_eq!(answer.text(), "body\n", "{kitchen} {wire:?}");
            let got = |name| answer.trailers.get(name).map(HeaderValue::as_bytes);
            assert_eq!(got("x-length"), Some(&b"5"[..]), "{kitchen} {wire:?}");
            assert_eq!(got("x-done"), Some(&b"yes"[..]), "{kitchen} {wire:?}");
        }
    }
}

/// A gRPC client sends its message with `te: trailers` and looks for the status in the trailers.
#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_status_comes_in_the_trailers() {
    for kitchen in KITCHENS {
        let up = kitchen.up(&[]);
        let mut client = Client::connect(up.addr, Wire::H2).await;
        let (feed, body) = channel();
        let request = Request::post("/trailers")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(body)
            .unwrap();
        let sending = tokio::spawn(async move {
            feed.send(&b"\0\0\0\0\x02hi"[..]).await;
            let status = [("grpc-status", "0"), ("grpc-message", "fine")];
            feed.trailers(trailers(&status)).await;
        });
        let answer = client.send(request).await;
        sending.await.unwrap();
        assert_eq!(answer.status, 200);
        for (name, value) in [
            ("grpc-status", "0"),
            ("grpc-message", "fine"),
            ("x-length", "7"),
        ] {
            let got = answer.trailers.get(name).map(HeaderValue::as_bytes);
            assert_eq!(got, Some(value.as_bytes()), "{kitchen}: {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_while_the_stream_goes_on() {
    for kitchen in KITCHENS {
        let up = kitchen.up(&[]);
        for wire in WIRES {
            let mut client = Client::connect(up.addr, wire).await;
            // More than anybody waits for: what arrives did not wait for the end.
            let response = client.open(get_request("/sse?n=1000000&ms=5")).await;
            assert_eq!(response.headers()["content-type"], "text/event-stream");
            let mut body = response.into_body();
            let mut read = String::new();
            for number in 0..5 {
                let event = format!("data: event {number}\n\n");
                if !read.contains(&event) {
                    read.push_str(&read_until(&mut body, &event).await);
                }
            }
            assert!(
                read.starts_with("id: 0\ndata: event 0\n\nid: 1\n"),
                "{read}"
            );
        }
    }
}

/// HEAD has the headers of GET and no body, and the connection goes on.
#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_the_body() {
    for kitchen in KITCHENS {
        let up = kitchen.up(&[]);
        for wire in WIRES {
            let mut client = Client::connect(up.addr, wire).await;
            for path in ["/hello", "/stream?n=3", "/nowhere"] {
                let get = client.get(path).await;
                let request = Request::head(path).body(full("")).unwrap();
                let head = client.send(request).await;
                assert_eq!(head.body.len(), 0, "{kitchen} {wire:?} {path}");
                assert_eq!(head.status, get.status);
                let fields = |answer: &Answer| {
                    let mut fields: Vec<_> = (answer.headers.iter())
                        .filter(|(name, _)| *name != "date" && *name != "transfer-encoding")
                        .map(|(name, value)| (name.clone(), value.clone()))
                        .collect();
                    fields.sort_by_key(|(name, _)| name.to_string());
                    fields
                };
                assert_eq!(fields(&head), fields(&get), "{kitchen} {wire:?} {path}");
            }
            assert_eq!(client.get("/hello").await.text(), "hello\n");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_one_connection_do_not_wait_for_each_other() {
    for kitchen in KITCHENS {
        let up = kitchen.up(&[]);
        let mut client = Client::connect(up.addr, Wire::H2).await;
        let mut slow = Vec::new();
        for _ in 0..8 {
            let response = client.open(get_request("/unfinished")).await;
            slow.push(response.into_body());
        }
        assert_eq!(client.get("/hello").await.text(), "hello\n", "{kitchen}");
        for body in &mut slow {
            read_until(body, "the beginning\n").await;
        }
    }
}

/// A body of a known length is sent with it, and one of unknown length in chunks.
#[tokio::test(flavor = "multi_thread")]
async fn lengths_are_told_where_they_are_known() {
    for kitchen in KITCHENS {
        let up = kitchen.up(&[]);
        let known = get(up.addr, "/hello").await;
        let length = known.header("content-length");
        assert!(length == "6" || length.is_empty(), "{kitchen}: {length}");
        let streamed = get(up.addr, "/stream?n=3").await;
        assert_eq!(streamed.header("content-length"), "", "{kitchen}");
        assert_eq!(streamed.text(), "chunk 0\nchunk 1\nchunk 2\n", "{kitchen}");
        let request = Request::put("/sink").body(full(vec![b'x'; 300_000]));
        let sink = send(up.addr, request.unwrap()).await;
        assert_eq!(sink.text(), "300000", "{kitchen}");
    }
}

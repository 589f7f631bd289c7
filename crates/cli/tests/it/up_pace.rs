//! How slow a client may be: it is waited for up to a limit, all in all, and what it moves gives
//! time back.

use std::time::{Duration, Instant};

use tokio::time::interval;

use crate::up_client::{Client, Raw, WIRES, channel, get_request, read_until, status_of};
use crate::up_kitchen::{KITCHENS, P2_PURE, P3_PURE};

const TIGHT: &str = "limits = { body_idle = \"1s\" }";
const PAUSE: Duration = Duration::from_millis(200);
const ECHO: &str = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// No pause is as long as the limit, but together they are.
#[tokio::test(flavor = "multi_thread")]
async fn a_content_sent_byte_by_byte_is_broken_off() {
    for kitchen in KITCHENS {
        let up = kitchen.up_with(TIGHT);
        for head in [
            ECHO,
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n",
        ] {
            let piece: &[u8] = match head == ECHO {
                true => b"1\r\nx\r\n",
                false => b"x",
            };
            let mark = up.server.mark();
            let mut raw = Raw::send(up.addr, [head.as_bytes(), piece].concat()).await;
            assert_eq!(status_of(&raw.head().await), 200);
            let start = Instant::now();
            let (mut reader, mut writer) = raw.split();
            let writing = tokio::spawn(async move {
                let mut pauses = interval(PAUSE);
                loop {
                    pauses.tick().await;
                    if !writer.try_write(piece).await {
                        return;
                    }
                }
            });
            while reader.fill().await {}
            assert!(start.elapsed() >= Duration::from_millis(800), "{kitchen}");
            writing.abort();
            let logged = up.logged_request(mark, "/echo");
            assert!(logged["error"].is_string(), "{kitchen}: {logged}");
            let told = up.logged_after(mark, |line| line["level"] == "warn");
            assert_eq!(told["request_id"], logged["request_id"], "{told}");
            let hint = told["hint"].as_str().unwrap();
            assert!(hint.contains("limits.body_idle"), "{told}");
        }
    }
}

/// What comes pays for the pauses; also while the answer has long begun.
#[tokio::test(flavor = "multi_thread")]
async fn a_content_that_keeps_pace_may_take_as_long_as_it_likes() {
    for kitchen in [P2_PURE, P3_PURE] {
        let up = kitchen.up_with(TIGHT);
        for wire in WIRES {
            let mut client = Client::connect(up.addr, wire).await;
            let (feed, sent) = channel();
            let request = http::Request::post("/echo").body(sent);
            let response = client.open(request.unwrap()).await;
            let mut body = response.into_body();
            let mut pauses = interval(PAUSE);
            for number in 0..10 {
                pauses.tick().await;
                feed.send(format!("{}<{number}>", "x".repeat(500))).await;
                read_until(&mut body, &format!("<{number}>")).await;
            }
        }
    }
}

/// Neither a guest that is slow to write is cut, nor one that does not read.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_guest_is_not_the_client_s_fault() {
    for kitchen in [P2_PURE, P3_PURE] {
        let up = kitchen.up_with(TIGHT);
        for wire in WIRES {
            let mut client = Client::connect(up.addr, wire).await;
            let path = "/sse?n=5&ms=400";
            let events = client.get(path).await;
            assert_eq!(events.broken, None, "{kitchen}");
            assert_eq!(events.text().matches("data: ").count(), 5, "{kitchen}");
            // A client that goes on with its content, which nobody reads.
            let (feed, sent) = channel();
            let request = http::Request::post(path).body(sent);
            let response = client.open(request.unwrap()).await;
            feed.send("x").await;
            let mut body = response.into_body();
            for number in 0..5 {
                read_until(&mut body, &format!("data: event {number}\n")).await;
            }
        }
    }
}

/// An answer that is taken as slowly as it comes: nothing waits for its client.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_little_things_may_last() {
    for kitchen in [P2_PURE, P3_PURE] {
        let up = kitchen.up_with(TIGHT);
        for wire in WIRES {
            let mut client = Client::connect(up.addr, wire).await;
            let response = client.open(get_request("/stream?n=20&ms=100")).await;
            let mut body = response.into_body();
            read_until(&mut body, "chunk 19\n").await;
        }
    }
}

//! Who gets an instance, how long it lives, who waits, and what of a guest's output is kept.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use serde_json::Value;

use crate::up_client::{
    Answer, Client, Raw, Upstream, WIRES, Wire, full, get, get_request, read_until, send, within,
};
use crate::up_kitchen::{KITCHENS, Kitchen, P2_PURE, P2_STD, P3_PURE, P3_STD, Up};

/// What `/counter` says to `count` requests, one after the other.
async fn counts(up: &Up, count: usize) -> Vec<u32> {
    let mut client = Client::connect(up.addr, Wire::H1).await;
    let mut counts = Vec::new();
    for _ in 0..count {
        counts.push(client.get("/counter").await.text().parse().unwrap());
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_of_its_own_for_each_request() {
    for (kitchen, settings) in [
        (P2_STD, ""),
        (P2_PURE, ""),
        (P2_PURE, "reuse = true\nisolation = \"request\""),
        (P3_STD, "isolation = \"request\""),
        (P3_PURE, "isolation = \"request\""),
    ] {
        let up = kitchen.up_with(settings);
        assert_eq!(counts(&up, 10).await, [1; 10], "{kitchen} {settings}");
    }
}

/// An instance that waits for a second is replaced, so a busy machine may see some more of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_shared_instance_serves_128_requests_at_most() {
    for (kitchen, settings) in [
        (P2_STD, "reuse = true"),
        (P2_PURE, "reuse = true"),
        (P3_STD, ""),
        (P3_PURE, ""),
    ] {
        let up = kitchen.up_with(settings);
        let counts = counts(&up, 300).await;
        let with = |count| counts.iter().filter(|at| **at == count).count();
        let most = *counts.iter().max().unwrap();
        assert!(most <= 128, "{kitchen}: {most} on one instance");
        // One that has just answered may not be back yet for the next, which then gets another.
        assert!(with(1) <= 30, "{kitchen}: {counts:?}");
        for count in 1..most {
            assert!(with(count) >= with(count + 1), "{kitchen}: {counts:?}");
        }
    }
}

/// Every one waits for an answer that is given only when all have asked.
#[tokio::test(flavor = "multi_thread")]
async fn requests_are_under_way_at_the_same_time() {
    const AT_ONCE: usize = 12;
    for kitchen in KITCHENS {
        let upstream = Upstream::start().await;
        let up = kitchen.up(&["--http", &upstream.origin()]);
        let (addr, path) = (up.addr, upstream.proxy_path());
        let waiting: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let path = path.clone();
                tokio::spawn(async move { get(addr, &path).await })
            })
            .collect();
        let mut asked = Vec::new();
        for _ in 0..AT_ONCE {
            asked.push(upstream.request().await);
        }
        for (number, asked) in asked.into_iter().enumerate() {
            asked.answer(&number.to_string()).await;
        }
        let mut answers = Vec::new();
        for request in waiting {
            answers.push(request.await.unwrap().text().parse::<usize>().unwrap());
        }
        answers.sort_unstable();
        assert_eq!(answers, Vec::from_iter(0..AT_ONCE), "{kitchen}");
    }
}

/// On an instance that several requests share, one that traps takes the others with it. They are
/// safe, so they are run once more, and the server that they ask is asked again. A 0.3 component
/// that imports 0.2 works on one request at a time: nobody is taken along.
#[tokio::test(flavor = "multi_thread")]
async fn a_trap_on_a_shared_instance_is_not_felt() {
    assert_eq!(run_again_by_a_trap(P2_PURE).await, 0);
    assert_eq!(run_again_by_a_trap(P3_STD).await, 0);
    // Which instance the trap meets is the node's choice; before long it is the one with work.
    const ROUNDS: usize = 20;
    for _ in 0..ROUNDS {
        if run_again_by_a_trap(P3_PURE).await > 0 {
            return;
        }
    }
    panic!("in {ROUNDS} rounds no request shared the instance of the trap");
}

/// Has requests wait for a server of ours while another traps. All get their answer; tells how
/// many were run again for it.
async fn run_again_by_a_trap(kitchen: Kitchen) -> usize {
    const AT_ONCE: usize = 8;
    let upstream = Upstream::start().await;
    let up = kitchen.up(&["--http", &upstream.origin()]);
    let (addr, path) = (up.addr, upstream.proxy_path());
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let path = path.clone();
        waiting.spawn(async move { get(addr, &path).await });
    }
    let mut asked = Vec::new();
    for _ in 0..AT_ONCE {
        asked.push(upstream.request().await);
    }
    assert_eq!(get(addr, "/panic").await.status, 500, "{kitchen}");
    for asked in asked {
        asked.answer("an answer").await;
    }
    // A task of its own: a request that is half read must not be dropped for an answer that
    // comes meanwhile.
    let again = Arc::new(AtomicUsize::new(0));
    let answering = tokio::spawn({
        let again = Arc::clone(&again);
        async move {
            loop {
                let asked = upstream.request().await;
                again.fetch_add(1, Ordering::SeqCst);
                asked.answer("an answer").await;
            }
        }
    });
    while let Some(answer) = within("an answer", waiting.join_next()).await {
        assert_eq!(answer.unwrap().text(), "an answer", "{kitchen}");
    }
    answering.abort();
    again.load(Ordering::SeqCst)
}

/// The time limit is for the head; a body may go on while it brings something.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_may_last_longer_than_the_time_to_its_head() {
    for kitchen in KITCHENS {
        let up = kitchen.up_with("limits = { time = \"300ms\" }");
        let stream = get(up.addr, "/stream?n=100&ms=10").await;
        assert_eq!(stream.broken, None, "{kitchen}");
        assert_eq!(stream.text().lines().count(), 100, "{kitchen}");
    }
}

const ONE_BY_ONE: &str = "limits = { concurrency = 1, queue = 1 }";

/// One is at work, one waits, the others are sent away.
#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_queue_requests_are_told_to_come_back() {
    for kitchen in KITCHENS {
        let up = kitchen.up_with(ONE_BY_ONE);
        let addr = up.addr;
        let mut first = Client::connect(addr, Wire::H1).await;
        let response = first.open(get_request("/unfinished")).await;
        let (done, mut answers) = tokio::sync::mpsc::channel(4);
        for _ in 0..4 {
            let done = done.clone();
            tokio::spawn(async move { done.send(get(addr, "/hello").await).await });
        }
        for _ in 0..3 {
            let refused = within("a refusal", answers.recv()).await.unwrap();
            assert_eq!(refused.status, 503, "{kitchen}");
            assert_eq!(refused.header("retry-after"), "1", "{kitchen}");
            assert!(
                refused.text().contains("busy"),
                "{kitchen}: {}",
                refused.text()
            );
        }
        let logged = up.logged(|line| line["status"] == 503);
        assert!(
            logged["error"].as_str().unwrap().contains("limit of 1 "),
            "{logged}"
        );
        drop((response, first));
        let waited = within("the one that waited", answers.recv()).await.unwrap();
        assert_eq!(
            (waited.status, waited.text()),
            (200, "hello\n"),
            "{kitchen}"
        );
    }
}

/// A place in the queue is held no longer than the time limit.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_a_place_has_an_end() {
    for kitchen in [P2_PURE, P3_PURE] {
        let limits = "limits = { concurrency = 1, queue = 1, time = \"300ms\" }";
        // The first holds its place by a body, to which the time limit does not apply.
        let up = kitchen.up_with(limits);
        let mut first = Client::connect(up.addr, Wire::H1).await;
        let _response = first.open(get_request("/unfinished")).await;
        for _ in 0..2 {
            let waited = get(up.addr, "/hello").await;
            assert_eq!(waited.status, 503, "{kitchen}");
            assert!(
                waited.text().contains("waited too long"),
                "{}",
                waited.text()
            );
        }
    }
}

/// The time limit is one for the wait and the work.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_a_place_is_part_of_the_time() {
    for kitchen in [P2_PURE, P3_PURE] {
        let upstream = Upstream::start().await;
        let up = kitchen.up_with(&format!(
            "grants = {{ http = [\"{}\"] }}\n\
             limits = {{ concurrency = 1, queue = 1, time = \"5s\" }}",
            upstream.origin()
        ));
        let (addr, path) = (up.addr, upstream.proxy_path());
        let holding = tokio::spawn(async move { get(addr, &path).await });
        let asked = upstream.request().await;
        let waiting = tokio::spawn(async move { get(addr, "/sleep?ms=4500").await });
        // With the wait it sleeps for longer than its time, without it does not.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        asked.answer("an answer").await;
        assert_eq!(within("an answer", holding).await.unwrap().status, 200);
        let answer = within("the answer", waiting).await.unwrap();
        assert_eq!(answer.status, 504, "{kitchen}: {}", answer.text());
    }
}

/// While a guest works on after its answer, it counts among those at work.
#[tokio::test(flavor = "multi_thread")]
async fn work_after_an_answer_holds_its_place() {
    for (kitchen, isolation) in [(P2_PURE, "shared"), (P3_PURE, "request")] {
        let up = kitchen.up_with(&format!(
            "isolation = \"{isolation}\"\nlimits = {{ concurrency = 1, queue = 1, time = \"2s\" }}"
        ));
        assert_eq!(get(up.addr, "/after?ms=1500").await.status, 200);
        let mark = up.server.mark();
        assert_eq!(get(up.addr, "/hello").await.status, 200);
        up.logged_request(mark, "/hello");
        let lines = up.log();
        let hello = lines.iter().position(|line| line["path"] == "/hello");
        let after = lines.iter().position(|line| {
            line["msg"]
                .as_str()
                .is_some_and(|text| text.contains("worked after the response"))
        });
        assert!(after.is_some() && after < hello, "{kitchen}: {lines:?}");
    }
}

/// Nobody waits behind a guest that computes: who comes later gets another instance.
#[tokio::test(flavor = "multi_thread")]
async fn a_computing_guest_does_not_hold_others_up() {
    let up = P3_PURE.up_with("limits = { cpu = \"60s\", time = \"60s\" }");
    let mut spinning = Vec::new();
    for _ in 0..3 {
        let spin = "GET /spin?ms=60000 HTTP/1.1\r\nHost: a\r\n\r\n";
        spinning.push(Raw::send(up.addr, spin).await);
        for _ in 0..20 {
            assert_eq!(get(up.addr, "/hello").await.status, 200);
        }
    }
    drop(spinning);
    // Their clients left, so they are ended, long before their time.
    let left = |line: &Value| line["path"] == "/spin" && line["error"].is_string();
    up.logged(left);
}

/// With one place in all, the next request shows that the place is free again.
async fn next_is_let_in(kitchen: Kitchen, up: &Up, path: &str, mark: usize) {
    let logged = up.logged_request(mark, path);
    // A guest that reads what its client does not finish sending may answer that it failed.
    let told = logged["error"].is_string() || logged["status"] == 500;
    assert!(told, "{kitchen} {path}: {logged}");
    let hello = get(up.addr, "/hello").await;
    assert_eq!(hello.status, 200, "{kitchen} after {path}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_gives_its_place_back() {
    for kitchen in KITCHENS {
        let up = kitchen.up_with(ONE_BY_ONE);
        for wire in WIRES {
            let mark = up.server.mark();
            let mut client = Client::connect(up.addr, wire).await;
            let response = client.open(get_request("/stream?n=1000000&ms=5")).await;
            let mut body = response.into_body();
            read_until(&mut body, "chunk 2").await;
            drop((body, client));
            next_is_let_in(kitchen, &up, "/stream", mark).await;
        }
        let mark = up.server.mark();
        drop(Raw::send(up.addr, "GET /never HTTP/1.1\r\nHost: a\r\n\r\n").await);
        next_is_let_in(kitchen, &up, "/never", mark).await;
        let mark = up.server.mark();
        let upload = "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n123";
        drop(Raw::send(up.addr, upload).await);
        next_is_let_in(kitchen, &up, "/sink", mark).await;
    }
}

/// The guest itself ends, seen by a server that it was asking.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_takes_its_own_instance_with_it() {
    for (kitchen, isolation) in [
        (P2_STD, "shared"),
        (P2_PURE, "shared"),
        (P3_STD, "request"),
        (P3_PURE, "request"),
    ] {
        let upstream = Upstream::start().await;
        let origin = upstream.origin();
        let up = kitchen.up_with(&format!(
            "isolation = \"{isolation}\"\ngrants = {{ http = [\"{origin}\"] }}\n{ONE_BY_ONE}"
        ));
        let path = upstream.proxy_path();
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        let client = Raw::send(up.addr, request).await;
        let asked = upstream.request().await;
        drop(client);
        asked.closed().await;
        next_is_let_in(kitchen, &up, "/proxy", 0).await;
    }
}

/// One stream is reset, its connection goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_reset_stream_ends_its_guest_alone() {
    for kitchen in KITCHENS {
        let up = kitchen.up_with("limits = { concurrency = 2, queue = 1 }");
        let mut client = Client::connect(up.addr, Wire::H2).await;
        let sse = "/sse?n=1000000&ms=5";
        let mut kept = client.open(get_request(sse)).await.into_body();
        for _ in 0..5 {
            // Dropping a body resets its stream.
            drop(client.open(get_request("/unfinished")).await);
        }
        assert_eq!(client.get("/hello").await.status, 200, "{kitchen}");
        read_until(&mut kept, "data: event").await;
    }
}

/// What a request of `/log` prints: the stream, and a part of the line.
fn printed_by_log(kitchen: Kitchen) -> &'static [(&'static str, &'static str)] {
    let lines = &[
        ("stderr", "a line by the SDK, number 1"),
        ("stdout", "a line to standard output"),
        ("stderr", "a line to standard error"),
    ];
    if kitchen.std { lines } else { &lines[..1] }
}

fn is_line(line: &Value, stream: &str, text: &str) -> bool {
    let message = line["msg"].as_str().unwrap_or_default();
    line["stream"] == stream && message.contains(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_guest_prints_is_logged_with_its_request() {
    for kitchen in KITCHENS {
        let up = kitchen.up(&[]);
        for _ in 0..3 {
            let mark = up.server.mark();
            assert_eq!(get(up.addr, "/log").await.text(), "logged\n", "{kitchen}");
            let request = up.logged_request(mark, "/log");
            for (stream, text) in printed_by_log(kitchen) {
                let line = up.logged_after(mark, |line| is_line(line, stream, text));
                assert_eq!(
                    line["request_id"], request["request_id"],
                    "{kitchen}: {line}"
                );
                assert_eq!(
                    (&line["app"], &line["component"]),
                    (&"kitchen".into(), &"kitchen".into())
                );
            }
        }
    }
}

/// Also while several requests are at work on one instance.
#[tokio::test(flavor = "multi_thread")]
async fn what_guests_print_at_once_is_kept_apart() {
    const AT_ONCE: usize = 24;
    for kitchen in KITCHENS {
        let up = kitchen.up(&[]);
        let addr = up.addr;
        let asking: Vec<_> = (0..AT_ONCE)
            .map(|_| tokio::spawn(get(addr, "/log")))
            .collect();
        for request in asking {
            assert_eq!(request.await.unwrap().status, 200, "{kitchen}");
        }
        let printed = printed_by_log(kitchen);
        let left = Cell::new(AT_ONCE * (1 + printed.len()));
        up.logged(|line| {
            let counts = line["msg"] == "request" || line["stream"].is_string();
            left.set(left.get() - usize::from(counts));
            left.get() == 0
        });
        let log = up.log();
        for request in log.iter().filter(|line| line["msg"] == "request") {
            for (stream, text) in printed {
                let of_it = log.iter().filter(|line| {
                    line["request_id"] == request["request_id"] && is_line(line, stream, text)
                });
                assert_eq!(of_it.count(), 1, "{kitchen}: {text} of {request}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn output_beyond_the_limit_is_told_of_once_a_request() {
    for kitchen in KITCHENS {
        let up = kitchen.up_with("limits = { log = \"12B\" }");
        for _ in 0..2 {
            let mark = up.server.mark();
            get(up.addr, "/log").await;
            let request = up.logged_request(mark, "/log");
            let is_notice = |line: &Value| {
                let text = line["msg"].as_str().unwrap_or_default();
                text.contains("log limit of 12B met")
            };
            let notice = up.logged_after(mark, is_notice);
            assert_eq!(
                notice["request_id"], request["request_id"],
                "{kitchen}: {notice}"
            );
            assert!(
                notice["hint"].as_str().unwrap().contains("limits.log"),
                "{notice}"
            );
        }
        // A last one, whose lines come after all those of the others.
        get(up.addr, "/log").await;
        let log = up.log();
        let ids: Vec<_> = log.iter().filter(|line| line["msg"] == "request").collect();
        for id in ids.iter().take(2).map(|request| &request["request_id"]) {
            let of_it = log.iter().filter(|line| line["request_id"] == *id);
            let (printed, said): (Vec<_>, Vec<_>) =
                of_it.partition(|line| line["stream"].is_string());
            let kept = printed
                .iter()
                .map(|line| line["msg"].as_str().unwrap().len());
            assert!(kept.sum::<usize>() <= 12, "{kitchen}: {printed:?}");
            let notices = said.iter().filter(|line| line["level"] == "warn");
            assert_eq!(notices.count(), 1, "{kitchen}: {said:?}");
        }
    }
}

/// An upload that stalls is a client's fault; it holds its place no longer than the time limit.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_stalls_is_ended() {
    for kitchen in KITCHENS {
        let up = kitchen.up_with("limits = { time = \"3s\", body_idle = \"1s\", concurrency = 1 }");
        let upload = "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n123";
        let mut raw = Raw::send(up.addr, upload).await;
        let answer = raw.read_to_end().await;
        assert!(!answer.starts_with("HTTP/1.1 200"), "{kitchen}: {answer}");
        let request = Request::put("/sink").body(full("1234567890")).unwrap();
        let whole: Answer = send(up.addr, request).await;
        assert_eq!(whole.text(), "10", "{kitchen}");
    }
}

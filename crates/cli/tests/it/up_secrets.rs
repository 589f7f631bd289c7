//! What clients and operators keep secret is in no log, metric or trace.

use http::{Request, StatusCode};

use crate::serve_node::admin_of;
use crate::up_client::{Upstream, full, get, send};
use crate::up_kitchen::{P2_STD, P3_STD, sandbox};
use crate::up_telemetry::{Collector, up_in};

const SECRET: &str = "correct-horse-battery-staple";

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_in_no_log_metric_or_trace() {
    for kitchen in [P2_STD, P3_STD] {
        let mut collector = Collector::start(StatusCode::OK).await;
        let sandbox = sandbox();
        let file = sandbox.copy(kitchen.file(), "kitchen.wasm");
        let upstream = Upstream::start().await;
        let env = format!("TOKEN={SECRET}");
        let origin = upstream.origin();
        let arguments = ["--env", &env, "--http", &origin, "--admin", "127.0.0.1:0"];
        let up = up_in(sandbox, &file, collector.addr, &[], &arguments);
        let admin = admin_of(&up.server);

        // One that succeeds, one that asks elsewhere, one that fails, and one that is no request.
        let secret = |path: &str| {
            Request::post(format!(
                "{path}{}token={SECRET}",
                if path.contains('?') { "&" } else { "?" }
            ))
            .header("authorization", format!("Bearer {SECRET}"))
            .header("cookie", format!("session={SECRET}"))
            .header("x-api-key", SECRET)
            .body(full(SECRET))
            .unwrap()
        };
        let echoed = send(up.addr, secret("/echo")).await;
        assert_eq!(echoed.text(), SECRET, "the guest has it");
        let path = format!("/proxy?url={origin}/deep?key={SECRET}");
        let addr = up.addr;
        let asking = tokio::spawn(async move { get(addr, &path).await });
        let asked = upstream.request().await;
        assert!(asked.head.contains(SECRET), "the other server has it");
        asked.answer(SECRET).await;
        asking.await.unwrap();
        assert_eq!(send(up.addr, secret("/trap")).await.status, 500);
        let bad =
            format!("GET /?t={SECRET} HTTP/1.1\r\nHost: a\r\nAuthorization : {SECRET}\r\n\r\n");
        let mut raw = crate::up_client::Raw::send(up.addr, bad).await;
        raw.read_to_end().await;
        assert_eq!(get(up.addr, "/hello").await.status, 200);

        let exported = collector.all_until("/hello").await;
        up.logged_request(0, "/hello");
        let log = up.server.lines().join("\n");
        let metrics = get(admin, "/metrics").await;
        for (what, text) in [
            ("the log", log.as_str()),
            ("telemetry", &exported),
            ("the metrics", metrics.text()),
        ] {
            assert!(!text.contains(SECRET), "{what} has the secret:\n{text}");
        }
    }
}

//! What a served component may reach, what it is told of its request, and which one is asked.

use http::Request;
use serde_json::Value;

use crate::up_client::{Upstream, full, get, send};
use crate::up_kitchen::{KITCHENS, P2_STD, P3_PURE, P3_STD, Up, sandbox};

fn denials(up: &Up) -> Vec<Value> {
    let is_denial = |line: &Value| {
        line["msg"]
            .as_str()
            .is_some_and(|text| text.starts_with("denied"))
    };
    up.log().into_iter().filter(is_denial).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn outgoing_requests_need_a_grant_and_the_log_names_it_once() {
    for kitchen in KITCHENS {
        let upstream = Upstream::start().await;
        let up = kitchen.up(&[]);
        let path = upstream.proxy_path();
        for _ in 0..3 {
            let answer = get(up.addr, &path).await;
            assert_eq!(answer.status, 502, "{kitchen}: {}", answer.text());
        }
        let origin = upstream.origin();
        let denial = up.logged(|line| line["level"] == "warn");
        assert_eq!(
            denial["msg"],
            format!("denied: outgoing HTTP to {origin}"),
            "{kitchen}"
        );
        let hint = denial["hint"].as_str().unwrap();
        assert!(
            hint.contains(&format!("http = [\"{origin}\"]")),
            "{kitchen}: {hint}"
        );
        assert_eq!(denial["component"], "kitchen");
        // The requests are logged after what was denied to them.
        up.logged_request(0, "/proxy");
        assert_eq!(denials(&up).len(), 1, "{kitchen}: {:?}", denials(&up));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_origin_is_reached_and_no_other() {
    for kitchen in KITCHENS {
        let upstream = Upstream::start().await;
        let other = Upstream::start().await;
        let up = kitchen.up(&["--http", &upstream.origin()]);
        let (addr, path) = (up.addr, upstream.proxy_path());
        let request = Request::post(path).body(full("a question")).unwrap();
        let asking = tokio::spawn(send(addr, request));
        let asked = upstream.request().await;
        assert!(asked.head.starts_with("POST / HTTP/1.1"), "{}", asked.head);
        asked.answer("an answer").await;
        let answer = asking.await.unwrap();
        assert_eq!(
            (answer.status, answer.text()),
            (200, "an answer"),
            "{kitchen}"
        );
        assert_eq!(
            get(addr, &other.proxy_path()).await.status,
            502,
            "{kitchen}"
        );
        let denial = up.logged(|line| line["level"] == "warn");
        let origin = other.origin();
        assert_eq!(
            denial["msg"],
            format!("denied: outgoing HTTP to {origin}"),
            "{kitchen}"
        );
    }
}

/// A cloud machine's metadata service is reached by no wildcard.
#[tokio::test(flavor = "multi_thread")]
async fn metadata_addresses_are_out_of_reach() {
    for kitchen in [P2_STD, P3_PURE] {
        let up = kitchen.up(&["--http", "*"]);
        for host in [
            "169.254.169.254",
            "[fd00:ec2::254]",
            "[::ffff:169.254.169.254]",
        ] {
            let answer = get(up.addr, &format!("/proxy?url=http://{host}/latest/")).await;
            assert_eq!(answer.status, 502, "{kitchen} {host}: {}", answer.text());
            assert!(
                !answer.text().contains("imeout"),
                "{kitchen} {host}: {}",
                answer.text()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn environment_and_files_are_what_was_granted() {
    for kitchen in [P2_STD, P3_STD] {
        let up = kitchen.up(&[]);
        assert_eq!(get(up.addr, "/env").await.text(), "", "{kitchen}");
        let file = get(up.addr, "/fs?path=/data/hello.txt").await;
        assert!(
            file.text().starts_with("error: "),
            "{kitchen}: {}",
            file.text()
        );
        let host = get(up.addr, "/fs?path=/etc/passwd").await;
        assert!(
            host.text().starts_with("error: "),
            "{kitchen}: {}",
            host.text()
        );

        let outside = sandbox();
        outside.put("secret.txt", "a secret\n");
        outside.put("data/hello.txt", "from a file\n");
        let folder = outside.work().join("data");
        let folder = format!("{}::/data:ro", folder.display());
        let up = kitchen.up(&["--env", "COLOUR=green", "--env", "A=b=c", "--dir", &folder]);
        let environment = get(up.addr, "/env").await;
        assert_eq!(environment.text(), "A=b=c\nCOLOUR=green\n", "{kitchen}");
        let file = get(up.addr, "/fs?path=/data/hello.txt").await;
        assert_eq!(file.text(), "from a file\n", "{kitchen}");
        for path in ["/data/../secret.txt", "/etc/passwd", "/data/nothing"] {
            let file = get(up.addr, &format!("/fs?path={path}")).await;
            assert!(
                file.text().starts_with("error: "),
                "{kitchen} {path}: {}",
                file.text()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guest_is_told_of_its_client_by_the_host_alone() {
    for kitchen in KITCHENS {
        let up = kitchen.up(&[]);
        let request = Request::get("/headers")
            .header("host", "example.com:8080")
            .header("forwarded", "for=192.0.2.1")
            .header("x-forwarded-for", "192.0.2.1")
            .header("x-forwarded-for", "192.0.2.2")
            .header("x-forwarded-host", "evil.example")
            .header("x-forwarded-proto", "https")
            .header("x-forwarded-port", "443")
            .header("x-forwarded-prefix", "/evil")
            .header("x-request-id", "mine")
            .header("x-other", "kept");
        let answer = send(up.addr, request.body(full("")).unwrap()).await;
        let headers: Value = serde_json::from_str(answer.text()).unwrap();
        let logged = up.logged_request(0, "/headers");
        for (name, value) in [
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-host", "example.com:8080"),
            ("x-forwarded-proto", "http"),
            (
                "forwarded",
                "for=127.0.0.1;host=\"example.com:8080\";proto=http",
            ),
            ("x-request-id", logged["request_id"].as_str().unwrap()),
            ("x-other", "kept"),
        ] {
            assert_eq!(
                headers[name],
                serde_json::json!([value]),
                "{kitchen} {name}"
            );
        }
        for name in ["x-forwarded-port", "x-forwarded-prefix"] {
            assert!(headers[name].is_null(), "{kitchen}: {name} came through");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_routes_the_longest_is_taken() {
    let sandbox = sandbox();
    sandbox.copy(P2_STD.file(), "old.wasm");
    sandbox.copy(P3_PURE.file(), "new.wasm");
    sandbox.put("public/index.html", "<p>home</p>");
    sandbox.put("public/api/file.txt", "a file\n");
    sandbox.put(
        "wharf.toml",
        r#"manifest = 1
name = "several"
version = "0.1.0"

[component.old]
source = "old.wasm"

[component.new]
source = "new.wasm"

[[trigger.http]]
route = "/..."
files = "public"

[[trigger.http]]
route = "/api/..."
component = "old"

[[trigger.http]]
route = "/api/v2/..."
component = "new"

[[trigger.http]]
route = "/api/v2/old"
component = "old"

[[trigger.http]]
route = "/hello"
component = "new"
"#,
    );
    let up = Up::start_here(sandbox, &[]);
    for (path, status, component) in [
        ("/", 200, None),
        ("/nowhere", 404, None),
        ("/hello", 200, Some("new")),
        ("/hello/", 404, None),
        ("/apis", 404, None),
        ("/api", 404, Some("old")),
        ("/api/", 404, Some("old")),
        ("/api/file.txt", 404, Some("old")),
        ("/api/v2", 404, Some("new")),
        ("/api/v2/x", 404, Some("new")),
        ("/api/v2/old", 404, Some("old")),
        ("/api/v2/old/x", 404, Some("new")),
        ("/api/v22", 404, Some("old")),
    ] {
        let mark = up.server.mark();
        assert_eq!(get(up.addr, path).await.status, status, "{path}");
        let logged = up.logged_request(mark, path);
        assert_eq!(logged["component"].as_str(), component, "{path}");
        assert_eq!(logged["app"], "several");
        assert_eq!(logged["status"], status);
    }
}

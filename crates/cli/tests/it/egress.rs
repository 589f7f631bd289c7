//! Where guests may go: names, odd forms of addresses, redirects, a node's own rules, TLS, and how
//! much may be open at once.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use http::{Request, Response};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::Signal;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;
use wharf_testkit::{Output, Sandbox, Wasi, guests};

use crate::serve_node::Serving;
use crate::up_client::{Upstream, full, get, send};
use crate::up_kitchen::{KITCHENS, P2_PURE, P2_STD, P3_PURE, code_cache};

/// How long it may take until something is told, on a busy machine.
const TOLD_LIMIT: Duration = Duration::from_secs(60);

/// Runs the command guest with `--net` for each of `grants`.
fn run(wasi: Wasi, grants: &[&str], words: &[&str]) -> Output {
    let sandbox = crate::sandbox();
    sandbox.copy(guests::command(wasi), "cmd.wasm");
    let mut arguments = vec!["run"];
    for grant in grants {
        arguments.extend(["--net", grant]);
    }
    arguments.extend(["cmd.wasm", "--"]);
    arguments.extend(words);
    sandbox.wharf(arguments)
}

/// A server that sends back what it gets, in capitals; connections stay until the client leaves.
fn shouting() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut text = String::new();
                // A guest that ends resets what it holds.
                if stream.read_to_string(&mut text).is_ok() {
                    let _ = stream.write_all(text.to_uppercase().as_bytes());
                }
            });
        }
    });
    address
}

#[test]
fn a_guest_looks_up_what_is_granted_only() {
    let granted = ["tcp://localhost:80"];
    let found = run(Wasi::P2, &granted, &["lookup", "localhost"]).expect_success();
    assert!(found.stdout.contains("127.0.0.1\n"), "{}", found.stdout);
    let found = run(Wasi::P3, &granted, &["lookup", "LOCALHOST."]).expect_success();
    assert!(found.stdout.contains("127.0.0.1\n"), "{}", found.stdout);

    for wasi in [Wasi::P2, Wasi::P3] {
        let other = ["lookup", "other.example"];
        let denied = match wasi {
            Wasi::P3 => run(wasi, &granted, &other).expect_success(),
            _ => run(wasi, &granted, &other).expect_code(1),
        };
        if wasi == Wasi::P3 {
            assert_eq!(denied.stdout, "ErrorCode::AccessDenied\n");
        }
        assert!(
            denied.stderr.contains("denied: looking up `other.example`"),
            "{wasi:?}: {}",
            denied.stderr
        );
        assert!(
            denied.stderr.contains("--net tcp://other.example:PORT"),
            "{wasi:?}: {}",
            denied.stderr
        );
    }
}

#[test]
fn odd_forms_of_an_address_are_no_names() {
    for odd in ["2130706433", "0x7f.1", "127.1", "0177.0.0.1", "a b", ""] {
        let refused = run(Wasi::P3, &["*"], &["lookup", odd]).expect_success();
        assert_eq!(refused.stdout, "ErrorCode::InvalidArgument\n", "{odd:?}");
        run(Wasi::P2, &["*"], &["lookup", odd]).expect_code(1);
    }
    let plain = run(Wasi::P3, &["127.0.0.1:1"], &["lookup", "127.0.0.1"]).expect_success();
    assert_eq!(plain.stdout, "127.0.0.1\n");
}

#[test]
fn a_granted_name_is_connected_to_at_its_addresses() {
    let address = shouting();
    let named = format!("tcp://localhost:{}", address.port());
    let by_name = format!("localhost:{}", address.port());
    let answered = run(Wasi::P2, &[&named], &["connect", &by_name, "hello"]).expect_success();
    assert_eq!(answered.stdout, "HELLO");
    // Whoever has the address of a granted name needs not look it up.
    for wasi in [Wasi::P2, Wasi::P3] {
        let connect = ["connect", &address.to_string(), "hello"];
        let answered = run(wasi, &[&named], &connect).expect_success();
        assert_eq!(answered.stdout, "HELLO", "{wasi:?}");
    }
    let other = format!("127.0.0.2:{}", address.port());
    let denied = run(Wasi::P3, &[&named], &["connect", &other, "hello"]).expect_success();
    assert_eq!(denied.stdout, "ErrorCode::AccessDenied\n");
}

#[test]
fn datagrams_go_to_what_is_granted_only() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    for wasi in [Wasi::P2, Wasi::P3] {
        let send = ["send", &*address, "hello"];
        run(wasi, &[&format!("udp://{address}")], &send).expect_success();
        let mut buffer = [0; 16];
        let (length, _) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"hello", "{wasi:?}");
        let denied = run(wasi, &["udp://127.0.0.1:1"], &send);
        assert!(
            denied.stderr.contains(&format!("--net udp://{address}")),
            "{wasi:?}: {}",
            denied.stderr
        );
    }
}

#[test]
fn sockets_are_counted_until_nothing_of_them_is_left() {
    let address = shouting().to_string();
    let limit = "limit of 64 outgoing requests and sockets at once met";
    let many = ["connections", "100", &*address];
    let held = run(Wasi::P2, &[&address], &many).expect_success();
    assert!(
        held.stdout.starts_with("64 held, then: "),
        "{}",
        held.stdout
    );
    assert!(held.stdout.ends_with("\n64 held\n"), "{}", held.stdout);
    assert!(held.stderr.contains(limit), "{}", held.stderr);
    let halves = ["halves", "100", &*address];
    let kept = run(Wasi::P3, &[&address], &halves).expect_success();
    assert!(kept.stdout.starts_with("64 kept, then "), "{}", kept.stdout);
    assert!(kept.stdout.ends_with("\nand again\n"), "{}", kept.stdout);
    assert!(kept.stderr.contains(limit), "{}", kept.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_forms_of_an_origin_reach_nobody() {
    let upstream = Upstream::start().await;
    let port = upstream.origin().rsplit_once(':').unwrap().1.to_owned();
    for kitchen in [P2_PURE, P3_PURE] {
        let up = kitchen.up(&["--http", "*"]);
        for host in [
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "127.1",
            "0177.0.0.1",
            "127.0.0.1.",
            "user@127.0.0.1",
        ] {
            let path = format!("/proxy?url=http://{host}:{port}/");
            let answer = get(up.addr, &path).await;
            // The guest's own library may refuse it first.
            assert!(answer.status >= 400, "{kitchen} {host}: {}", answer.text());
        }
        // The next connection that the upstream sees is that of a proper form.
        let path = format!("/proxy?url=http://[::ffff:127.0.0.1]:{port}/");
        let addr = up.addr;
        let asking = tokio::spawn(async move { get(addr, &path).await });
        let asked = upstream.request().await;
        let host = format!("host: 127.0.0.1:{port}");
        assert!(asked.head.contains(&host), "{}", asked.head);
        asked.answer("reached").await;
        assert_eq!(asking.await.unwrap().text(), "reached");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_leads_nowhere_that_is_not_granted() {
    for kitchen in KITCHENS {
        let granted = Upstream::start().await;
        let other = Upstream::start().await;
        let up = kitchen.up(&["--http", &granted.origin()]);
        for (location, told) in [
            (format!("{}/secret", other.origin()), other.origin()),
            (
                "http://169.254.169.254/".into(),
                "http://169.254.169.254".into(),
            ),
        ] {
            let (addr, path) = (up.addr, format!("/follow?url={}/", granted.origin()));
            let asking = tokio::spawn(async move { get(addr, &path).await });
            granted.request().await.redirect(&location).await;
            let answer = asking.await.unwrap();
            assert_eq!(answer.status, 502, "{kitchen}: {}", answer.text());
            let denied = format!("denied: outgoing HTTP to {told}");
            up.logged(|line| line["msg"] == denied);
        }
    }
}

/// A node with the kitchen, whose manifest grants `http`, and these lines in its node file.
fn node(http: &str, egress: &str) -> Serving {
    node_with(http, egress, "")
}

/// The same with these lines in the app's table.
fn node_with(http: &str, egress: &str, app: &str) -> Serving {
    let sandbox = crate::sandbox();
    sandbox.copy(P3_PURE.file(), "kitchen/kitchen.wasm");
    sandbox.put(
        "kitchen/wharf.toml",
        format!(
            "manifest = 1\nname = \"kitchen\"\nversion = \"0.1.0\"\n\
             [component.kitchen]\nsource = \"kitchen.wasm\"\n\
             [component.kitchen.grants]\nhttp = [\"{http}\"]\n\
             [[trigger.http]]\nroute = \"/...\"\ncomponent = \"kitchen\"\n"
        ),
    );
    Serving::start(sandbox, &node_text(egress, app))
}

fn node_text(egress: &str, app: &str) -> String {
    format!(
        "node = 1\nlisten = [\"127.0.0.1:0\"]\nadmin = \"none\"\n{egress}\n\
         [app.kitchen]\nsource = \"kitchen\"\n{app}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_keeps_private_addresses_to_itself() {
    let upstream = Upstream::start().await;
    let port = upstream.origin().rsplit_once(':').unwrap().1.to_owned();
    for (host, line) in [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost")] {
        let origin = format!("http://{host}:{port}");
        let path = format!("/proxy?url={origin}/");
        let refusing = node(&origin, "");
        assert_eq!(get(refusing.addr, &path).await.status, 502);
        let hint = format!("[egress] private = [\\\"{line}\\\"]");
        refusing.server.wait_for_line(
            |told| told.contains("loopback address") && told.contains(&hint),
            TOLD_LIMIT,
        );

        let allowing = node(&origin, &format!("[egress]\nprivate = [\"{line}\"]"));
        let (addr, asked_path) = (allowing.addr, path.clone());
        let asking = tokio::spawn(async move { get(addr, &asked_path).await });
        upstream.request().await.answer("reached").await;
        assert_eq!(asking.await.unwrap().text(), "reached", "{host}");
        drop(allowing.sandbox);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_may_have_private_addresses_of_its_own() {
    let upstream = Upstream::start().await;
    let origin = upstream.origin();
    let path = format!("/proxy?url={origin}/");
    let reach = async |serving: &Serving| {
        let (addr, path) = (serving.addr, path.clone());
        let asking = tokio::spawn(async move { get(addr, &path).await });
        upstream.request().await.answer("reached").await;
        assert_eq!(asking.await.unwrap().text(), "reached");
    };
    let own = |list: &str| format!("egress = {{ private = [{list}] }}");
    // In place of the node's, be that more or less.
    reach(&node_with(&origin, "", &own("\"127.0.0.1\""))).await;
    let all = "[egress]\nprivate = [\"127.0.0.0/8\"]";
    reach(&node_with(&origin, all, "")).await;
    let refusing = node_with(&origin, all, &own(""));
    assert_eq!(get(refusing.addr, &path).await.status, 502);
    let hint = "[app.kitchen.egress] private = [\\\"127.0.0.1\\\"]";
    refusing
        .server
        .wait_for_line(|told| told.contains(hint), TOLD_LIMIT);

    // A reload obeys, though the node's own list is what it was.
    let mark = refusing.server.mark();
    let text = node_text(all, "");
    refusing.sandbox.put("node.toml", text);
    refusing.server.signal(Signal::HUP);
    let serving = |line: &str| line.contains("\"serving\"");
    refusing
        .server
        .wait_for_line_after(mark, serving, TOLD_LIMIT);
    reach(&refusing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_granted_what_its_manifest_asks_and_the_node_allows() {
    let upstream = Upstream::start().await;
    let origin = upstream.origin();
    let path = format!("/proxy?url={origin}/");
    let private = "[egress]\nprivate = [\"127.0.0.0/8\"]";
    // As much as is asked, or less but enough.
    for (asked, allowed) in [(&*origin, "*"), ("*", &*origin)] {
        let allow = format!("allow = {{ http = [\"{allowed}\"] }}");
        let serving = node_with(asked, private, &allow);
        let (addr, path) = (serving.addr, path.clone());
        let asking = tokio::spawn(async move { get(addr, &path).await });
        upstream.request().await.answer("reached").await;
        assert_eq!(asking.await.unwrap().text(), "reached", "{asked}");
    }
    for allowed in ["", "\"https://*.example.com\"", "\"http://127.0.0.1:1\""] {
        let allow = format!("allow = {{ http = [{allowed}] }}");
        let serving = node_with(&origin, private, &allow);
        assert_eq!(get(serving.addr, &path).await.status, 502, "{allowed}");
        let line = serving.server.wait_for_line(
            |told| told.contains("the node grants less than the manifest asks"),
            TOLD_LIMIT,
        );
        for part in [
            "\"app\":\"kitchen\"",
            "\"given\":\"nothing\"",
            &format!("\"asked\":\"{origin}\""),
            "`app.kitchen.allow.http` in the node file",
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
        let check = serving.sandbox.command(["serve", "--check"]);
        let output = check.env("WHARF_CACHE_DIR", code_cache()).output();
        let told = format!("  kitchen: of the grant http {origin} it gets nothing\n");
        assert!(output.stdout.contains(&told), "{}", output.stdout);
    }
}

/// An HTTPS server for `localhost` that speaks `protocol` and answers with the version of the
/// request and its body; gives its port and its certificate.
async fn https(protocol: &str) -> (u16, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    // Whichever address `localhost` is tried at first.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust the certificate leaves.
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let service = service_fn(|request: Request<hyper::body::Incoming>| async move {
                    let version = format!("{:?} ", request.version());
                    let body = http_body_util::BodyExt::collect(request.into_body()).await?;
                    let answer = [version.into_bytes(), body.to_bytes().to_vec()].concat();
                    Ok::<_, hyper::Error>(Response::new(full(answer)))
                });
                let io = TokioIo::new(stream);
                let _ = match is_h2 {
                    true => {
                        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                            .serve_connection(io, service)
                            .await
                    }
                    false => {
                        hyper::server::conn::http1::Builder::new()
                            .serve_connection(io, service)
                            .await
                    }
                };
            });
        }
    });
    (port, made.cert.pem())
}

#[tokio::test(flavor = "multi_thread")]
async fn https_is_spoken_in_both_versions_with_servers_that_the_system_trusts() {
    for (protocol, version) in [("http/1.1", "HTTP/1.1"), ("h2", "HTTP/2.0")] {
        let (port, pem) = https(protocol).await;
        let path = format!("/proxy?url=https://localhost:{port}/");
        for kitchen in [P2_STD, P3_PURE] {
            let start = |trusts: bool| {
                let sandbox: Sandbox = crate::sandbox();
                let file = sandbox.copy(kitchen.file(), "kitchen.wasm");
                let roots = sandbox.put("roots.pem", if trusts { &*pem } else { "" });
                let server = sandbox
                    .up_command([&file])
                    .arg("--http")
                    .arg(format!("https://localhost:{port}"))
                    .env("WHARF_CACHE_DIR", code_cache())
                    .env("SSL_CERT_FILE", roots)
                    .start_server();
                (server, sandbox)
            };
            let (server, _sandbox) = start(true);
            for question in ["one", "two"] {
                let request = Request::post(&path).body(full(question)).unwrap();
                let answer = send(server.addr, request).await;
                let expected = format!("{version} {question}");
                assert_eq!(answer.text(), expected, "{kitchen} {protocol}");
            }
            let (server, _sandbox) = start(false);
            let request = Request::post(&path).body(full("three")).unwrap();
            let answer = send(server.addr, request).await;
            assert_eq!(
                answer.status,
                502,
                "{kitchen} {protocol}: {}",
                answer.text()
            );
        }
    }
}

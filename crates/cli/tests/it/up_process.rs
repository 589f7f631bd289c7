//! The process: its first line, its port, its signals, its end.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use rustix::process::Signal;

use crate::serve_node::Serving;
use crate::up_client::{Answer, Client, Raw, WIRES, Wire, get, get_request, read_until, within};
use crate::up_kitchen::{KITCHENS, P2_PURE, P3_PURE, Up, sandbox};

#[tokio::test(flavor = "multi_thread")]
async fn the_first_line_is_the_address_and_no_more() {
    let up = P2_PURE.up(&[]);
    let line = format!("listening on http://127.0.0.1:{}", up.addr.port());
    assert_eq!(up.server.lines()[0], line);
    assert_eq!(get(up.addr, "/hello").await.status, 200);
}

#[test]
fn an_occupied_port_is_told_with_a_way_out() {
    let sandbox = sandbox();
    let file = sandbox.copy(P2_PURE.file(), "kitchen.wasm");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let up = sandbox.command(["up"]).arg(&file).arg("--addr").arg(&addr);
    let output = up.output();
    assert_eq!(output.code, 1, "{output:?}");
    assert_eq!(output.stdout, "");
    let error = format!("error: {addr} is in use by another program\n");
    assert!(output.stderr.starts_with(&error), "{output:?}");
    assert!(output.stderr.contains("hint: "), "{output:?}");
    assert!(output.stderr.contains("--addr"), "{output:?}");
    // Nothing was built for it.
    assert_eq!(output.stderr.lines().count(), 2, "{output:?}");
}

#[test]
fn addresses_of_other_machines_are_told() {
    let sandbox = sandbox();
    let file = sandbox.copy(P2_PURE.file(), "kitchen.wasm");
    let up = sandbox.command(["up"]).arg(&file);
    let output = up.arg("--addr").arg("192.0.2.1:3000").output();
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains("192.0.2.1:3000"), "{output:?}");
    assert!(output.stderr.contains("hint: "), "{output:?}");
}

/// The inodes of the sockets that a process holds.
fn sockets_of(pid: u32) -> Vec<String> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    links
        .filter_map(|link| fs::read_link(link.ok()?.path()).ok())
        .filter_map(|target| {
            let target = target.to_str()?.strip_prefix("socket:[")?;
            Some(target.strip_suffix(']')?.to_owned())
        })
        .collect()
}

/// The ports on which a process listens, or to which datagrams may be sent.
fn open_ports(pid: u32) -> Vec<u16> {
    let sockets = sockets_of(pid);
    let mut ports = Vec::new();
    for (table, listening) in [("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")] {
        let table = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        for line in table.lines().skip(1) {
            let fields: Vec<_> = line.split_whitespace().collect();
            let (local, state, inode) = (fields[1], fields[3], fields[9]);
            if state == listening && sockets.iter().any(|socket| socket == inode) {
                let port = local.rsplit(':').next().unwrap();
                ports.push(u16::from_str_radix(port, 16).unwrap());
            }
        }
    }
    ports
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_port_is_open() {
    for arguments in [&[][..], &["--watch"]] {
        let up = P3_PURE.up(arguments);
        up.logged(|line| line["msg"] == "serving");
        assert_eq!(get(up.addr, "/hello").await.status, 200);
        assert_eq!(open_ports(up.server.id()), [up.addr.port()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_opens_the_ports_that_its_file_says() {
    for admin in ["none", "127.0.0.1:0"] {
        let sandbox = sandbox();
        sandbox.copy(P3_PURE.file(), "kitchen.wasm");
        let serving = Serving::start(
            sandbox,
            &format!(
                "node = 1\nlisten = [\"127.0.0.1:0\", \"127.0.0.2:0\"]\nadmin = \"{admin}\"\n\
                 [app.kitchen]\nsource = \"kitchen.wasm\"\n"
            ),
        );
        assert_eq!(get(serving.addr, "/hello").await.status, 200);
        let told = serving.server.wait_for_line(
            |line| line.starts_with("listening on http://127.0.0.2:"),
            Duration::from_secs(60),
        );
        let second: SocketAddr = told["listening on http://".len()..].parse().unwrap();
        let mut wanted = vec![serving.addr.port(), second.port()];
        if admin != "none" {
            wanted.push(serving.admin().port());
        }
        wanted.sort();
        let mut open = open_ports(serving.server.id());
        open.sort();
        assert_eq!(open, wanted, "{admin}");
    }
}

/// Waits until the server takes no new connection, which is when draining has begun.
async fn drains(up: &Up) {
    let refused = async {
        while tokio::net::TcpStream::connect(up.addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    within("draining", refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_lets_requests_under_way_finish() {
    for kitchen in KITCHENS {
        for (signal, wire) in [(Signal::TERM, Wire::H1), (Signal::INT, Wire::H2)] {
            let up = kitchen.up(&[]);
            let mut client = Client::connect(up.addr, wire).await;
            let idle = Raw::connect(up.addr).await;
            let response = client.open(get_request("/stream?n=40&ms=10")).await;
            up.server.signal(signal);
            drains(&up).await;
            let answer = Answer::read(response).await;
            let at = format!("{kitchen} {signal:?}");
            assert_eq!(answer.broken, None, "{at}");
            assert_eq!(answer.text().lines().count(), 40, "{at}");
            assert_eq!(up.server.wait(), 0, "{at}");
            drop(idle);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    for wire in WIRES {
        let up = P2_PURE.up(&[]);
        let mut client = Client::connect(up.addr, wire).await;
        let mut body = client.open(get_request("/unfinished")).await.into_body();
        read_until(&mut body, "the beginning\n").await;
        up.server.signal(Signal::INT);
        drains(&up).await;
        up.server.signal(Signal::INT);
        assert_eq!(up.server.wait(), 130, "{wire:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_an_idle_server_and_a_page_that_listens() {
    let up = P2_PURE.up(&["--watch"]);
    let mut page = Client::connect(up.addr, Wire::H1).await;
    let mut events = page.open(get_request("/.wharf/dev")).await.into_body();
    read_until(&mut events, "\"state\":\"ok\"").await;
    assert_eq!(up.server.terminate(), 0);
}

/// A server that has nothing to serve says so and ends.
#[test]
fn what_cannot_be_served_ends_with_code_1() {
    for (name, contents, error) in [
        ("nothing.wasm", None, "there is no"),
        ("cut.wasm", Some(&b"\0asm\x0d\0\x01\0\x01"[..]), "error: "),
        ("text.wasm", Some(b"hello"), "error: "),
        (
            "core.wat",
            Some(b"(module (func (export \"add\")))"),
            "core.wat answers no HTTP",
        ),
    ] {
        let sandbox = sandbox();
        if let Some(contents) = contents {
            sandbox.put(name, contents);
        }
        let output = sandbox.wharf(["up", name, "--addr", "127.0.0.1:0"]);
        assert_eq!(output.code, 1, "{name}: {output:?}");
        assert!(output.stderr.contains(error), "{name}: {output:?}");
        assert!(output.stderr.contains("hint: "), "{name}: {output:?}");
        assert!(!output.stderr.contains("wharf.toml"), "{name}: {output:?}");
    }
}

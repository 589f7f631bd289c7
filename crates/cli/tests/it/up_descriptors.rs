//! Guests that open without end: they meet their app's share of the descriptors of the process,
//! and others, the server among them, have theirs.

use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use wharf_testkit::{Sandbox, Server, Wasi, guests};

use crate::serve_node::{admin_of, metric};
use crate::up_client::{Client, Wire, full, read_until, within};
use crate::up_kitchen::{code_cache, sandbox};

/// Of which guests have 32, and one app 28 at most.
const DESCRIPTORS: &str = "ulimit -n 256; exec \"$@\"";
const LOAD_LIMIT: Duration = Duration::from_secs(120);

/// Two apps of the hostile guest, with a folder each.
fn serve(wasi: Wasi) -> (Sandbox, Server) {
    let sandbox = sandbox();
    for app in ["one", "two"] {
        for file in ["file", "a", "b", "c", "d"] {
            sandbox.put(format!("{app}/data/{file}"), "text\n");
        }
        sandbox.copy(guests::hostile(wasi), format!("{app}/hostile.wasm"));
        sandbox.put(
            format!("{app}/wharf.toml"),
            format!(
                "manifest = 1\nname = \"{app}\"\nversion = \"0.1.0\"\n\
                 [component.hostile]\nsource = \"hostile.wasm\"\n\
                 grants = {{ files = [\"data:/data\"] }}\n\
                 [[trigger.http]]\nroute = \"/...\"\ncomponent = \"hostile\"\n"
            ),
        );
    }
    sandbox.put(
        "node.toml",
        "node = 1\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n\
         [app.one]\nsource = \"one\"\nhosts = [\"one.example\"]\n\
         [app.two]\nsource = \"two\"\nhosts = [\"two.example\"]\n",
    );
    let command = sandbox.command(["serve"]);
    let server = command
        .env("WHARF_CACHE_DIR", code_cache())
        .through(["sh", "-c", DESCRIPTORS, "sh"])
        .start_server();
    server.wait_for_line(|line| line.contains("the node is ready"), LOAD_LIMIT);
    (sandbox, server)
}

/// How many are open, and what the guest met then.
async fn hold(server: &Server, app: &str, path: &str) -> (u64, String, (Client, Incoming)) {
    let mut client = Client::connect(server.addr, Wire::H1).await;
    let request = Request::get(path).header("host", format!("{app}.example"));
    let response = client.open(request.body(full("")).unwrap()).await;
    let status = response.status();
    let mut body = response.into_body();
    let line = within("a first line", read_until(&mut body, "\n")).await;
    let (open, end) = line
        .split_once(" open, then ")
        .unwrap_or_else(|| panic!("{status} {line}"));
    (open.parse().unwrap(), end.to_owned(), (client, body))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_opens_without_end_leaves_others_their_descriptors() {
    for (wasi, paths) in [
        (Wasi::P2, &["/files"][..]),
        (Wasi::P3, &["/files", "/files/p3", "/files/lists"][..]),
    ] {
        let (_sandbox, server) = serve(wasi);
        let admin = admin_of(&server);
        let used = async |app: &str| -> f64 {
            let name = format!("wharf_guest_descriptors{{app=\"{app}\"}}");
            metric(admin, &name).await.unwrap()
        };
        for path in paths {
            let at = format!("{wasi:?} {path}");
            let (open, end, first) = hold(&server, "one", path).await;
            // A list takes two, and the folder one for all instances.
            let each = if path.ends_with("lists") { 2 } else { 1 };
            assert!((20..=28).contains(&(open * each + 1)), "{at}: {open}");
            assert!(end.contains("Memory"), "{at}: {end}");
            let (more, _, second) = hold(&server, "one", path).await;
            assert!((open + more) * each < 28, "{at}: {open} and {more}");
            assert!(used("one").await <= 28.0, "{at}");
            // The other app has its own, and the server its clients'.
            let (open, end, third) = hold(&server, "two", "/files?1").await;
            assert_eq!((open, end.trim_end()), (1, "enough"), "{at}");
            let mut clients = Vec::new();
            for _ in 0..30 {
                let mut client = Client::connect(server.addr, Wire::H1).await;
                let request = Request::get("/").header("host", "one.example");
                let answer = client.send(request.body(full("")).unwrap()).await;
                assert_eq!((answer.status, answer.text()), (200, "alive\n"), "{at}");
                clients.push(client);
            }
            drop((first, second, third, clients));
            within("the end of guests that hold files", async {
                // Of instances that are kept, each app's have its folder.
                while used("").await > 2.0 {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            })
            .await;
        }
        assert_eq!(
            metric(admin, "wharf_guest_descriptors_limit{app=\"\"}").await,
            Some(32.0)
        );
        let lines = server.lines();
        let told: Vec<_> = lines
            .iter()
            .filter(|line| line.contains("no descriptor is left for this app, of 32"))
            .collect();
        assert_eq!(told.len(), 1, "{lines:?}");
        assert!(told[0].contains("ulimit -n"), "{}", told[0]);
        assert!(told[0].contains("\"app\":\"one\""), "{}", told[0]);
    }
}

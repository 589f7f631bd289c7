//! `wharf up --watch`: a change is built and swapped in, a failed build changes nothing but what
//! pages are told, and no request is lost meanwhile.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;

use crate::up_client::{
    Answer, Client, Wire, channel, full, get, get_request, read_until, send, within,
};
use crate::up_kitchen::{Kitchen, P2_PURE, P2_STD, P3_PURE, P3_STD, Up, sandbox};

/// How long a build from source may take on a busy machine.
const BUILD_LIMIT: Duration = Duration::from_secs(240);

/// The events that an open page gets.
struct Events {
    body: Incoming,
    text: String,
    _client: Client,
}

impl Events {
    async fn of(up: &Up) -> Events {
        let mut client = Client::connect(up.addr, Wire::H1).await;
        let response = client.open(get_request("/.wharf/dev")).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Events {
            body: response.into_body(),
            text: String::new(),
            _client: client,
        }
    }

    async fn next(&mut self) -> Value {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let event: String = self.text.drain(..end + 2).collect();
                let data = event.lines().find_map(|line| line.strip_prefix("data: "));
                if let Some(data) = data {
                    return serde_json::from_str(data).unwrap();
                }
                continue;
            }
            // A stream that has nothing to say says so every 15 seconds.
            let frame = within("an event", self.body.frame())
                .await
                .unwrap()
                .unwrap();
            let data = frame.into_data().unwrap();
            self.text.push_str(std::str::from_utf8(&data).unwrap());
        }
    }

    /// Waits until another version than `old` is served.
    async fn until_not(&mut self, old: &Value) -> Value {
        loop {
            let version = self.until("ok").await["version"].clone();
            if version != *old {
                return version;
            }
        }
    }

    /// Waits until a build ends in `state`; one on the way may end in another.
    async fn until(&mut self, state: &str) -> Value {
        let ends = async {
            loop {
                let event = self.next().await;
                if event["state"] == state {
                    return event;
                }
            }
        };
        let ended = tokio::time::timeout(BUILD_LIMIT, ends).await;
        ended.unwrap_or_else(|_| panic!("no build ended in {state:?}"))
    }
}

/// Asks for `/hello` again and again until told to stop; every answer must be 200.
struct Asking {
    stop: Arc<AtomicBool>,
    asking: tokio::task::JoinHandle<usize>,
}

impl Asking {
    fn start(up: &Up, path: &'static str) -> Asking {
        let stop = Arc::new(AtomicBool::new(false));
        let (addr, stopped) = (up.addr, Arc::clone(&stop));
        let asking = tokio::spawn(async move {
            let mut kept = Client::connect(addr, Wire::H1).await;
            let mut count = 0;
            while !stopped.load(Ordering::Relaxed) {
                for answer in [get(addr, path).await, kept.get(path).await] {
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    count += 1;
                }
            }
            count
        });
        Asking { stop, asking }
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        let count = self.asking.await.expect("no request was lost");
        assert!(count > 0);
    }
}

/// Puts a file in the place of another at once, as editors and compilers do.
fn replace(path: &Path, contents: impl AsRef<[u8]>) {
    let mut fresh = PathBuf::from(path).into_os_string();
    fresh.push(".new");
    fs::write(&fresh, contents).unwrap();
    fs::rename(&fresh, path).unwrap();
}

/// A navigation of a browser.
async fn page(up: &Up, path: &str) -> Answer {
    let request = Request::get(path).header("accept", "text/html");
    send(up.addr, request.body(full("")).unwrap()).await
}

/// Whether the kitchen that answers has std, which tells the builds apart.
async fn has_std(up: &Up) -> bool {
    get(up.addr, "/env").await.status == 200
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_replaced_is_served_anew() {
    for [first, second] in [[P2_PURE, P2_STD], [P3_STD, P2_PURE], [P3_PURE, P3_STD]] {
        let up = first.up(&["--watch"]);
        let file = up.sandbox.work().join("kitchen.wasm");
        let mut events = Events::of(&up).await;
        let version = events.until("ok").await["version"].clone();
        assert_eq!(has_std(&up).await, first.std, "{first}");
        let asking = Asking::start(&up, "/hello");

        replace(&file, b"\0asm\x0d\0\x01\0 not a component");
        let failed = events.until("failed").await;
        let text = failed["text"].as_str().unwrap();
        assert!(
            text.contains("error: ") && text.contains("kitchen.wasm"),
            "{text}"
        );
        assert_eq!(has_std(&up).await, first.std, "{first} is served on");

        replace(&file, component(second));
        let second_version = events.until_not(&version).await;
        assert_eq!(has_std(&up).await, second.std, "{second}");

        // The same bytes again are the same version.
        replace(&file, component(first));
        assert_eq!(events.until_not(&second_version).await, version);
        asking.stop().await;
    }
}

fn component(kitchen: Kitchen) -> Vec<u8> {
    fs::read(kitchen.file()).unwrap()
}

/// A request that began with one version ends with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_outlives_the_version_that_it_is_of() {
    for kitchen in [P2_PURE, P3_PURE] {
        let up = kitchen.up(&["--watch"]);
        let file = up.sandbox.work().join("kitchen.wasm");
        let mut events = Events::of(&up).await;
        let version = events.until("ok").await["version"].clone();
        let (feed, body) = channel();
        let mut client = Client::connect(up.addr, Wire::H1).await;
        feed.send("before").await;
        let request = Request::post("/echo").body(body).unwrap();
        let mut echo = client.open(request).await.into_body();
        read_until(&mut echo, "before").await;
        replace(&file, component(P2_STD));
        events.until_not(&version).await;
        assert!(has_std(&up).await, "{kitchen}");
        feed.send("after").await;
        read_until(&mut echo, "after").await;
    }
}

const SITE: &str = "manifest = 1\nname = \"site\"\nversion = \"0.1.0\"\n\n\
    [[trigger.http]]\nroute = \"/...\"\nfiles = \"public\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn static_files_and_the_manifest_are_watched_too() {
    let sandbox = sandbox();
    sandbox.put("wharf.toml", SITE);
    let index = sandbox.put("public/index.html", "<body><p>one</p></body>");
    let up = Up::start_here(sandbox, &["--watch"]);
    let mut events = Events::of(&up).await;
    let version = events.until("ok").await["version"].clone();
    let served = page(&up, "/").await;
    assert!(served.text().contains("<p>one</p>"), "{}", served.text());
    let script = format!("<script src=\"/.wharf/dev.js\" data-version={version}></script>");
    assert!(
        served.text().contains(&script),
        "{} lacks {script}",
        served.text()
    );
    assert_eq!(served.header("cache-control"), "no-store");
    let asking = Asking::start(&up, "/");
    // What is no navigation gets the file as it is.
    assert_eq!(get(up.addr, "/").await.text(), "<body><p>one</p></body>");

    replace(&index, "<body><p>two</p></body>");
    events.until_not(&version).await;
    assert_eq!(get(up.addr, "/").await.text(), "<body><p>two</p></body>");

    // A new file in a new folder.
    let folder = up.sandbox.work().join("public/more");
    fs::create_dir(&folder).unwrap();
    replace(&folder.join("new.txt"), "new");
    while get(up.addr, "/more/new.txt").await.status != 200 {
        events.until("ok").await;
    }

    let manifest = up.sandbox.work().join("wharf.toml");
    replace(&manifest, SITE.replace("files", "flies"));
    let failed = events.until("failed").await;
    let text = failed["text"].as_str().unwrap();
    assert!(text.contains("flies") && text.contains("files"), "{text}");
    assert_eq!(get(up.addr, "/").await.text(), "<body><p>two</p></body>");
    replace(&manifest, SITE.replace("/...\"", "/site/...\""));
    asking.stop().await;
    events.until("ok").await;
    assert_eq!(get(up.addr, "/site/").await.status, 200);
    assert_eq!(get(up.addr, "/").await.status, 404);
}

/// A page that is asked for before anything could be built says why, and what is built later is
/// served.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_build_that_fails_is_shown_until_it_is_mended() {
    let sandbox = sandbox();
    sandbox.put("wharf.toml", SITE.replace("route", "rout"));
    sandbox.put("public/index.html", "<p>mended</p>");
    let up = Up::start_here(sandbox, &["--watch"]);
    let mut events = Events::of(&up).await;
    assert_eq!(events.until("failed").await["served"], false);
    let failed = page(&up, "/").await;
    assert_eq!(failed.status, 503);
    assert_eq!(failed.header("content-type"), "text/html; charset=utf-8");
    assert!(
        failed.text().contains("The build failed"),
        "{}",
        failed.text()
    );
    assert!(failed.text().contains("unknown key"), "{}", failed.text());
    assert!(
        failed.text().contains("/.wharf/dev.js"),
        "{}",
        failed.text()
    );
    let script = get(up.addr, "/.wharf/dev.js").await;
    assert!(script.text().contains("EventSource"));
    replace(&up.sandbox.work().join("wharf.toml"), SITE);
    events.until("ok").await;
    assert_eq!(get(up.addr, "/").await.text(), "<p>mended</p>");
    // What breaks now leaves that version.
    replace(
        &up.sandbox.work().join("wharf.toml"),
        SITE.replace("route", "rout"),
    );
    assert_eq!(events.until("failed").await["served"], true);
    // The requests of the page's own script would fill the log.
    drop(events);
    let mark = up.log().len();
    get(up.addr, "/.wharf/dev.js").await;
    get(up.addr, "/last").await;
    up.logged_request(mark, "/last");
    let own = |line: &Value| {
        line["path"]
            .as_str()
            .is_some_and(|path| path.starts_with("/.wharf"))
    };
    assert!(!up.log().iter().any(own), "{:?}", up.log());
}

/// The whole way: Rust from a template, edited, broken and mended.
#[tokio::test(flavor = "multi_thread")]
async fn rust_is_built_again_and_its_errors_are_shown() {
    let sandbox = sandbox();
    let made = sandbox.wharf(["new", "http-rust", "hello"]);
    assert_eq!(made.code, 0, "{made:?}");
    let source = sandbox.work().join("hello/src/lib.rs");
    let first = fs::read_to_string(&source).unwrap();
    let up = Up::start(sandbox, Path::new("hello"), &["--watch"]);
    let mut events = Events::of(&up).await;
    let version = events.until("ok").await["version"].clone();
    assert!(get(up.addr, "/").await.text().starts_with("Hello! "));
    let asking = Asking::start(&up, "/");

    let second = first.replace("\"Hello! ", "\"Welcome! ");
    assert_ne!(second, first);
    replace(&source, &second);
    events.until_not(&version).await;
    assert!(get(up.addr, "/").await.text().starts_with("Welcome! "));

    replace(
        &source,
        format!("{second}\nconst WRONG: u32 = \"a text\";\n"),
    );
    let failed = events.until("failed").await;
    let text = failed["text"].as_str().unwrap();
    assert!(
        text.contains("mismatched types") && text.contains("src/lib.rs"),
        "{text}"
    );
    assert!(!text.contains('\x1b'), "{text}");
    assert!(get(up.addr, "/").await.text().starts_with("Welcome! "));
    up.server
        .wait_for_line(|line| line.contains("still being served"), BUILD_LIMIT);

    replace(&source, &first);
    events.until("ok").await;
    assert!(get(up.addr, "/").await.text().starts_with("Hello! "));
    asking.stop().await;
}

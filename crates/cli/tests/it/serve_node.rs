//! `wharf serve`: apps by host name, a node file that changes, ceilings, metrics and health.

use std::net::SocketAddr;
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use rustix::process::Signal;
use wharf_testkit::{Sandbox, Server};

use crate::up_client::{Answer, Client, Wire, full, get_request, send};
use crate::up_kitchen::{P2_PURE, P2_STD, P3_PURE, code_cache};

/// How long an app may take to be built and loaded on a busy machine.
const LOAD_LIMIT: Duration = Duration::from_secs(120);

/// A node and the sandbox that it works in.
pub(crate) struct Serving {
    pub(crate) addr: SocketAddr,
    pub(crate) server: Server,
    pub(crate) sandbox: Sandbox,
}

impl Serving {
    /// Serves what `node`, a node file, says, and waits until the apps are there.
    #[track_caller]
    pub(crate) fn start(sandbox: Sandbox, node: &str) -> Serving {
        sandbox.put("node.toml", node);
        let command = sandbox.command(["serve"]);
        let server = command.env("WHARF_CACHE_DIR", code_cache()).start_server();
        server.wait_for_line(|line| line.contains("the node is ready"), LOAD_LIMIT);
        Serving {
            addr: server.addr,
            server,
            sandbox,
        }
    }

    /// The address that a line of the start tells.
    #[track_caller]
    pub(crate) fn addr_after(&self, prefix: &str) -> SocketAddr {
        let line = self
            .server
            .wait_for_line(|line| line.starts_with(prefix), LOAD_LIMIT);
        line[prefix.len()..].parse().unwrap()
    }

    #[track_caller]
    pub(crate) fn admin(&self) -> SocketAddr {
        admin_of(&self.server)
    }

    async fn get(&self, host: &str, path: &str) -> Answer {
        let request = Request::get(path).header("host", host);
        send(self.addr, request.body(full("")).unwrap()).await
    }
}

/// Where a server answers its operator.
#[track_caller]
pub(crate) fn admin_of(server: &Server) -> SocketAddr {
    let prefix = "metrics and health on http://";
    let line = server.wait_for_line(|line| line.starts_with(prefix), LOAD_LIMIT);
    line[prefix.len()..].parse().unwrap()
}

/// An app of one page that says the app's name.
pub(crate) fn site(sandbox: &Sandbox, name: &str) {
    sandbox.put(format!("{name}/public/index.html"), name);
    sandbox.put(
        format!("{name}/wharf.toml"),
        format!(
            "manifest = 1\nname = \"{name}\"\nversion = \"0.1.0\"\n\
             [[trigger.http]]\nroute = \"/...\"\nfiles = \"public\"\n"
        ),
    );
}

async fn get(addr: SocketAddr, path: &str) -> Answer {
    let mut client = Client::connect(addr, Wire::H1).await;
    client.get(path).await
}

/// The value of a line of `/metrics`.
pub(crate) async fn metric(admin: SocketAddr, line: &str) -> Option<f64> {
    let answer = get(admin, "/metrics").await;
    let mut values = answer
        .text()
        .lines()
        .filter_map(|have| have.strip_prefix(line)?.strip_prefix(' '));
    values.next()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_host_has_its_app_and_no_other() {
    let sandbox = crate::sandbox();
    site(&sandbox, "one");
    site(&sandbox, "two");
    sandbox.copy(P2_PURE.file(), "kitchen.wasm");
    let serving = Serving::start(
        sandbox,
        r#"
node = 1
listen = ["127.0.0.1:0"]
admin = "none"
[app.one]
source = "one"
hosts = ["one.example", "127.0.0.1"]
[app.two]
source = "two"
hosts = ["*.two.example"]
[app.kitchen]
source = "kitchen.wasm"
hosts = ["kitchen.example"]
"#,
    );
    for (host, says) in [
        ("one.example", "one"),
        ("ONE.example:8080", "one"),
        ("127.0.0.1", "one"),
        ("a.two.example", "two"),
        ("kitchen.example", "hello\n"),
    ] {
        assert_eq!(serving.get(host, "/").await.text(), says, "{host}");
    }
    for host in [
        "two.example",
        "localhost",
        "three.example",
        "one.example.evil",
    ] {
        let answer = serving.get(host, "/").await;
        assert_eq!(answer.status, 421, "{host}");
    }
    let answer = serving.get("one.example@evil", "/").await;
    assert_eq!(answer.status, 400);
    // The log tells which app it was, by the node's name for it.
    let of_kitchen =
        |line: &str| line.contains("\"request\"") && line.contains("\"app\":\"kitchen\"");
    serving.server.wait_for_line(of_kitchen, LOAD_LIMIT);
    assert_eq!(serving.server.terminate(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_reads_the_node_file_again_and_a_bad_one_changes_nothing() {
    let sandbox = crate::sandbox();
    site(&sandbox, "one");
    site(&sandbox, "two");
    let head = "node = 1\nlisten = [\"127.0.0.1:0\"]\nadmin = \"none\"\n";
    let serving = Serving::start(sandbox, &format!("{head}[app.one]\nsource = \"one\"\n"));
    let mut client = Client::connect(serving.addr, Wire::H1).await;
    assert_eq!(client.get("/").await.text(), "one");

    let mark = serving.server.mark();
    serving
        .sandbox
        .put("node.toml", format!("{head}[app.one]\nsorce = \"one\"\n"));
    serving.server.signal(Signal::HUP);
    let goes_on = |line: &str| line.contains("goes on with what it had");
    serving
        .server
        .wait_for_line_after(mark, goes_on, LOAD_LIMIT);
    assert_eq!(client.get("/").await.text(), "one");

    let mark = serving.server.mark();
    serving
        .sandbox
        .put("node.toml", format!("{head}[app.two]\nsource = \"two\"\n"));
    serving.server.signal(Signal::HUP);
    let there = |line: &str| line.contains("\"serving\"") && line.contains("\"two\"");
    serving.server.wait_for_line_after(mark, there, LOAD_LIMIT);
    while client.get("/").await.text() != "two" {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_moved_has_the_folders_of_where_it_is_now() {
    let sandbox = crate::sandbox();
    let manifest = "manifest = 1\nname = \"kitchen\"\nversion = \"0.1.0\"\n\
        [component.api]\nsource = \"kitchen.wasm\"\n\
        [component.api.grants]\nfiles = [\"data:/data\"]\n\
        [[trigger.http]]\nroute = \"/...\"\ncomponent = \"api\"\n";
    for folder in ["one", "two"] {
        sandbox.copy(P2_STD.file(), format!("{folder}/kitchen.wasm"));
        sandbox.put(format!("{folder}/wharf.toml"), manifest);
        sandbox.put(format!("{folder}/data/hello.txt"), folder);
    }
    let node = |source: &str| {
        format!(
            "node = 1\nlisten = [\"127.0.0.1:0\"]\nadmin = \"none\"\n[app.kitchen]\nsource = \"{source}\"\n"
        )
    };
    let serving = Serving::start(sandbox, &node("one"));
    let read = || get(serving.addr, "/fs");
    assert_eq!(read().await.text(), "one");
    serving.sandbox.put("node.toml", node("two"));
    serving.server.signal(Signal::HUP);
    // The artifact is the same one.
    crate::up_client::within("the reload", async {
        while read().await.text() != "two" {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_app_is_no_matter_of_the_others() {
    let sandbox = crate::sandbox();
    site(&sandbox, "good");
    sandbox.put("bad.wat", "(component)");
    let head = "node = 1\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n";
    let good = "[app.good]\nsource = \"good\"\nhosts = [\"good.example\"]\n";
    let bad = "[app.bad]\nsource = \"bad.wat\"\nhosts = [\"bad.example\"]\n";
    let serving = Serving::start(sandbox, &format!("{head}{bad}{good}"));
    assert_eq!(serving.get("good.example", "/").await.text(), "good");
    let absent = serving.get("bad.example", "/").await;
    assert_eq!(absent.status, 503);
    assert_eq!(absent.text(), "the app could not be loaded\n");
    assert_eq!(absent.header("retry-after"), "5");
    let told = |line: &str| {
        line.contains("the app could not be loaded") && line.contains("\"app\":\"bad\"")
    };
    serving.server.wait_for_line(told, LOAD_LIMIT);

    // An app that cannot be loaded again stays as it was, and what cannot change is told.
    let mark = serving.server.mark();
    serving.sandbox.put("good/wharf.toml", "manifest = 2");
    let moved = head.replace(
        "\nlisten = [\"127.0.0.1:0\"]",
        "\nlisten = [\"127.0.0.2:0\"]",
    );
    serving
        .sandbox
        .put("node.toml", format!("{moved}{bad}{good}"));
    serving.server.signal(Signal::HUP);
    for told in ["not obeyed yet", "its version before is still being served"] {
        let is_told = |line: &str| line.contains(told);
        serving
            .server
            .wait_for_line_after(mark, is_told, LOAD_LIMIT);
    }
    assert_eq!(serving.get("good.example", "/").await.text(), "good");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_was_taken_out_can_be_put_back() {
    let sandbox = crate::sandbox();
    site(&sandbox, "one");
    site(&sandbox, "two");
    let app =
        |name: &str| format!("[app.{name}]\nsource = \"{name}\"\nhosts = [\"{name}.example\"]\n");
    let head = "node = 1\nlisten = [\"127.0.0.1:0\"]\nadmin = \"none\"\n";
    let both = format!("{head}{}{}", app("one"), app("two"));
    let serving = Serving::start(sandbox, &both);
    assert_eq!(serving.get("two.example", "/").await.text(), "two");
    for (node, status) in [(format!("{head}{}", app("one")), 421), (both, 200)] {
        serving.sandbox.put("node.toml", node);
        serving.server.signal(Signal::HUP);
        crate::up_client::within("the reload", async {
            while serving.get("two.example", "/").await.status != status {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    assert_eq!(serving.get("one.example", "/").await.text(), "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_a_reload_brings_is_awaited_and_what_fails_is_in_the_log() {
    let sandbox = crate::sandbox();
    site(&sandbox, "one");
    let node = "node = 1\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n\
                [app.one]\nsource = \"one\"\nhosts = [\"one.example\"]\n";
    let serving = Serving::start(sandbox, node);
    let sandbox = &serving.sandbox;
    assert!(
        !sandbox.work().join("one/.wharf").exists(),
        "nothing was built"
    );
    sandbox.put(
        "late/wharf.toml",
        "manifest = 1\nname = \"late\"\nversion = \"0.1.0\"\n\
         [component.main]\nsource = \"main.wat\"\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"main\"\n",
    );
    sandbox.put("late/main.wat", "(module)");
    // As another build holds it: the app is being loaded for as long.
    sandbox.put("late/.wharf/build.lock", "");
    let lock = std::fs::File::open(sandbox.work().join("late/.wharf/build.lock")).unwrap();
    lock.lock().unwrap();
    let late = "[app.late]\nsource = \"late\"\nhosts = [\"late.example\"]\n";
    sandbox.put("node.toml", format!("{node}{late}"));
    assert_eq!(serving.get("late.example", "/").await.status, 421);
    let mark = serving.server.mark();
    serving.server.signal(Signal::HUP);
    let waits = |line: &str| line.contains("waiting") && line.contains("\"app\":\"late\"");
    serving.server.wait_for_line_after(mark, waits, LOAD_LIMIT);
    let answer = serving.get("late.example", "/").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.text(), "the app is being loaded\n");
    assert_eq!(serving.get("one.example", "/").await.text(), "one");
    drop(lock);
    let failed = |line: &str| line.contains("\"the app could not be loaded\"");
    let line = serving.server.wait_for_line_after(mark, failed, LOAD_LIMIT);
    for part in ["\"level\":\"error\"", "\"app\":\"late\"", "\"hint\":"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let admin = serving.admin();
    assert_eq!(metric(admin, "wharf_app_up{app=\"one\"}").await, Some(1.0));
    while metric(admin, "wharf_app_up{app=\"late\"}").await != Some(0.0) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_gives_nobody_more() {
    let sandbox = crate::sandbox();
    sandbox.copy(P2_PURE.file(), "kitchen.wasm");
    let node = "node = 1\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n\
                [app.kitchen]\nsource = \"kitchen.wasm\"\nmemory = \"3MiB\"\n";
    let serving = Serving::start(sandbox, node);
    let memory = r#"wharf_guest_memory_bytes{app="kitchen"}"#;
    let mut held = Vec::new();
    let mut hold = async || {
        let mut client = Client::connect(serving.addr, Wire::H1).await;
        let answer = client.open(get_request("/unfinished")).await;
        let status = answer.status();
        held.push((client, answer));
        status
    };
    while hold().await == 200 {}
    let admin = serving.admin();
    let full = metric(admin, memory).await.unwrap();
    assert!(full > 1e6, "{full}");
    // One reload that changes nothing for the app, and one that makes it anew.
    for change in [
        "[app.other]\nsource = \"kitchen.wasm\"\nhosts = [\"other.example\"]\n",
        "[ceilings]\nmemory = \"64MiB\"\n",
    ] {
        let mark = serving.server.mark();
        serving.sandbox.put("node.toml", format!("{node}{change}"));
        serving.server.signal(Signal::HUP);
        let there = |line: &str| line.contains("\"serving\"");
        serving.server.wait_for_line_after(mark, there, LOAD_LIMIT);
        assert_eq!(hold().await, 503, "{change}");
        assert_eq!(metric(admin, memory).await, Some(full), "{change}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_at_once_are_counted_over_a_reload() {
    let sandbox = crate::sandbox();
    sandbox.copy(P2_PURE.file(), "kitchen.wasm");
    let node = |concurrency: u32| {
        format!(
            "node = 1\nlisten = [\"127.0.0.1:0\"]\nadmin = \"none\"\n\
             [ceilings]\nconcurrency = {concurrency}\nqueue = 1\ntime = \"500ms\"\n\
             [app.kitchen]\nsource = \"kitchen.wasm\"\n"
        )
    };
    let serving = Serving::start(sandbox, &node(3));
    let hold = async || {
        let mut client = Client::connect(serving.addr, Wire::H1).await;
        let answer = client.open(get_request("/unfinished")).await;
        (answer.status().as_u16(), client, answer)
    };
    let reload = |concurrency| {
        let mark = serving.server.mark();
        serving.sandbox.put("node.toml", node(concurrency));
        serving.server.signal(Signal::HUP);
        let there = |line: &str| line.contains("\"serving\"");
        serving.server.wait_for_line_after(mark, there, LOAD_LIMIT);
    };
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(hold().await);
    }
    assert!(held.iter().all(|(status, ..)| *status == 200));
    reload(2);
    assert_eq!(hold().await.0, 503, "two of the version before are in");
    held.pop();
    let one_left = async {
        loop {
            let one = hold().await;
            if one.0 == 200 {
                break one;
            }
        }
    };
    held.push(crate::up_client::within("a place", one_left).await);
    assert_eq!(hold().await.0, 503);
    reload(4);
    for status in [200, 200, 503] {
        held.push(hold().await);
        assert_eq!(held.last().unwrap().0, status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_compiled_is_counted_by_app() {
    let sandbox = crate::sandbox();
    sandbox.copy(P2_PURE.file(), "kitchen.wasm");
    let node = "node = 1\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n\
                [app.first]\nsource = \"kitchen.wasm\"\nhosts = [\"a.example\"]\n\
                [app.second]\nsource = \"kitchen.wasm\"\nhosts = [\"b.example\"]\n";
    sandbox.put("node.toml", node);
    // A cache of its own, and an empty one.
    let server = sandbox.command(["serve"]).start_server();
    server.wait_for_line(|line| line.contains("the node is ready"), LOAD_LIMIT);
    let admin = admin_of(&server);
    for (name, first, second) in [
        ("wharf_compilations_total", 1.0, 0.0),
        ("wharf_compilations_failed_total", 0.0, 0.0),
        ("wharf_code_cache_hits_total", 0.0, 1.0),
    ] {
        for (app, expected) in [("first", first), ("second", second)] {
            let value = metric(admin, &format!("{name}{{app=\"{app}\"}}")).await;
            assert_eq!(value, Some(expected), "{name} {app}");
        }
    }
    let seconds = |app: &str| format!("wharf_compilation_seconds_total{{app=\"{app}\"}}");
    assert!(metric(admin, &seconds("first")).await.unwrap() > 0.0);
    assert_eq!(metric(admin, &seconds("second")).await, Some(0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_one_app_hands_to_another_is_never_without_either() {
    let sandbox = crate::sandbox();
    for name in ["before", "last", "new"] {
        site(&sandbox, name);
    }
    // Slow to load, and loaded while the name changes hands.
    sandbox.copy(P2_PURE.file(), "kitchen.wasm");
    let app = |name: &str, source: &str, host: &str| {
        format!("[app.{name}]\nsource = \"{source}\"\nhosts = [\"{host}.example\"]\n")
    };
    let head = "node = 1\nlisten = [\"127.0.0.1:0\"]\nadmin = \"none\"\n";
    let old = format!("{head}{}", app("before", "before", "shop"));
    sandbox.put("node.toml", &old);
    // With an empty cache, what is compiled takes its time.
    let server = sandbox.command(["serve"]).start_server();
    server.wait_for_line(|line| line.contains("the node is ready"), LOAD_LIMIT);
    sandbox.put(
        "node.toml",
        format!(
            "{head}{}{}{}",
            app("a-slow-one", "kitchen.wasm", "slow"),
            app("new", "new", "shop"),
            app("z-last", "last", "last"),
        ),
    );
    server.signal(Signal::HUP);
    let ask = async |host: &str| {
        let request = Request::get("/").header("host", host);
        send(server.addr, request.body(full("")).unwrap()).await
    };
    crate::up_client::within("the reload", async {
        loop {
            let answer = ask("shop.example").await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            if ask("last.example").await.status == 200 {
                break;
            }
        }
    })
    .await;
    assert_eq!(ask("shop.example").await.text(), "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ceiling_holds_and_what_it_costs_is_counted() {
    for kitchen in [P2_PURE, P3_PURE] {
        let sandbox = crate::sandbox();
        sandbox.copy(kitchen.file(), "kitchen.wasm");
        let serving = Serving::start(
            sandbox,
            r#"
node = 1
listen = ["127.0.0.1:0"]
admin = "127.0.0.1:0"
[ceilings]
cpu = "50ms"
memory = "32MiB"
response = "1MiB"
[app.kitchen]
source = "kitchen.wasm"
"#,
        );
        let admin = serving.admin();
        let lowered =
            |line: &str| line.contains("the node gives less") && line.contains("\"limit\":\"cpu\"");
        serving.server.wait_for_line(lowered, LOAD_LIMIT);
        assert_eq!(get(serving.addr, "/").await.text(), "hello\n");
        assert_eq!(get(serving.addr, "/loop").await.status, 500);
        assert_eq!(get(serving.addr, "/oom").await.status, 500);
        let mut client = Client::connect(serving.addr, Wire::H2).await;
        let big = client.open(get_request("/big?mb=2")).await;
        assert!(big.into_body().collect().await.is_err(), "cut off");
        assert_eq!(get(serving.addr, "/recurse").await.status, 500);
        let told = |line: &str| {
            line.contains("larger than 1MiB") && line.contains("`response` under [ceilings]")
        };
        serving.server.wait_for_line(told, LOAD_LIMIT);
        // The host's answer does not say more to strangers than that it failed.
        assert!(!get(serving.addr, "/loop").await.text().contains("CPU"));

        let of = r#"app="kitchen",component="kitchen""#;
        for (line, least) in [
            (format!("wharf_requests_total{{{of},code=\"2xx\"}}"), 1.0),
            (format!("wharf_requests_total{{{of},code=\"5xx\"}}"), 3.0),
            (
                format!("wharf_faults_total{{{of},kind=\"limit\",limit=\"cpu\"}}"),
                2.0,
            ),
            (
                format!("wharf_faults_total{{{of},kind=\"limit\",limit=\"response\"}}"),
                1.0,
            ),
            (
                format!("wharf_faults_total{{{of},kind=\"limit\",limit=\"memory\"}}"),
                1.0,
            ),
            (format!("wharf_guest_cpu_seconds_total{{{of}}}"), 0.08),
            (format!("wharf_guest_ticks_total{{{of}}}"), 2.0),
            (format!("wharf_request_duration_seconds_count{{{of}}}"), 4.0),
            (format!("wharf_instances_made_total{{{of}}}"), 3.0),
        ] {
            let value = metric(admin, &line).await;
            assert!(
                value.is_some_and(|value| value >= least),
                "{line}: {value:?}"
            );
        }
        let limit = metric(admin, "wharf_guest_memory_limit_bytes{app=\"\"}").await;
        assert!(limit.is_some_and(|limit| limit > 0.0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_over_its_memory_gets_503_and_its_neighbour_does_not() {
    let sandbox = crate::sandbox();
    sandbox.copy(P2_PURE.file(), "kitchen.wasm");
    let serving = Serving::start(
        sandbox,
        r#"
node = 1
listen = ["127.0.0.1:0"]
admin = "127.0.0.1:0"
[app.small]
source = "kitchen.wasm"
hosts = ["small.example"]
memory = "1MiB"
[app.large]
source = "kitchen.wasm"
hosts = ["large.example"]
"#,
    );
    let admin = serving.admin();
    let answer = serving.get("small.example", "/").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(serving.get("large.example", "/").await.text(), "hello\n");
    let line =
        r#"wharf_requests_refused_total{app="small",component="kitchen",reason="app_memory"}"#;
    assert_eq!(metric(admin, line).await, Some(1.0));
}

/// The ceiling over all apps: three quarters of what there is, or what the node file says.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_over_its_memory_gives_503_for_whatever_app() {
    let node = |limits: &str| {
        let sandbox = crate::sandbox();
        sandbox.copy(P2_PURE.file(), "kitchen.wasm");
        let app = |name| {
            format!("[app.{name}]\nsource = \"kitchen.wasm\"\nhosts = [\"{name}.example\"]\n")
        };
        let head = "node = 1\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n";
        Serving::start(
            sandbox,
            &format!("{head}{limits}{}{}", app("one"), app("two")),
        )
    };
    let limit = r#"wharf_guest_memory_limit_bytes{app=""}"#;
    let serving = node("");
    let default = metric(serving.admin(), limit).await.unwrap();
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let machine: f64 = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.strip_suffix("kB"))
        .map(|kib| kib.trim().parse().unwrap())
        .unwrap();
    assert!(default <= machine * 1024.0 * 0.75, "{default}");
    drop(serving);

    let serving = node("[limits]\nmemory = \"3MiB\"\n");
    let admin = serving.admin();
    assert_eq!(metric(admin, limit).await, Some(3.0 * 1024.0 * 1024.0));
    let mut held = Vec::new();
    let refused = loop {
        let mut client = Client::connect(serving.addr, Wire::H1).await;
        let request = Request::get("/unfinished").header("host", "one.example");
        let answer = client.open(request.body(full("")).unwrap()).await;
        if answer.status() != 200 {
            break answer;
        }
        held.push((client, answer));
        assert!(held.len() < 100, "no ceiling");
    };
    assert!(!held.is_empty());
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    // The other app has no memory of its own, either.
    assert_eq!(serving.get("two.example", "/unfinished").await.status, 503);
    let used = metric(admin, r#"wharf_guest_memory_bytes{app=""}"#).await;
    assert!(used.unwrap() <= 3.0 * 1024.0 * 1024.0, "{used:?}");
    drop(held);
    crate::up_client::within("room", async {
        while serving.get("two.example", "/").await.status != 200 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_address_tells_health_and_takes_no_name_but_its_own() {
    let sandbox = crate::sandbox();
    site(&sandbox, "one");
    let serving = Serving::start(
        sandbox,
        "node = 1\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n[app.one]\nsource = \"one\"\n",
    );
    let admin = serving.admin();
    assert_eq!(get(admin, "/healthz").await.text(), "ok\n");
    assert_eq!(get(admin, "/readyz").await.text(), "ready\n");
    let metrics = get(admin, "/metrics").await;
    assert!(
        metrics
            .header("content-type")
            .starts_with("application/openmetrics-text")
    );
    assert!(metrics.text().ends_with("# EOF\n"), "{}", metrics.text());
    assert_eq!(get(admin, "/other").await.status, 404);
    let post = Request::post("/metrics").body(full("")).unwrap();
    assert_eq!(send(admin, post).await.status, 405);
    let rebound = Request::get("/metrics").header("host", "evil.example");
    assert_eq!(
        send(admin, rebound.body(full("")).unwrap()).await.status,
        421
    );
    // What is for the operator is not for clients.
    assert_eq!(get(serving.addr, "/metrics").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_is_believed_and_nobody_else() {
    for (trusted, client, scheme) in [
        ("[\"127.0.0.0/8\"]", "192.0.2.9", "https"),
        ("[]", "127.0.0.1", "http"),
    ] {
        let sandbox = crate::sandbox();
        sandbox.copy(P2_PURE.file(), "kitchen.wasm");
        let serving = Serving::start(
            sandbox,
            &format!(
                "node = 1\nlisten = [\"127.0.0.1:0\"]\nadmin = \"none\"\n\
                 [proxies]\ntrusted = {trusted}\n[app.kitchen]\nsource = \"kitchen.wasm\"\n"
            ),
        );
        let request = Request::get("/headers")
            .header("host", "kitchen.example")
            .header("x-forwarded-for", "198.51.100.1, 192.0.2.9, 127.0.0.2")
            .header("x-forwarded-proto", "http, https, http")
            .header("x-request-id", "0123456789abcdef0123456789abcdef");
        let answer = send(serving.addr, request.body(full("")).unwrap()).await;
        let headers = answer.text();
        let seen: serde_json::Value = serde_json::from_str(headers).unwrap();
        let forwarded = format!("for={client};host=\"kitchen.example\";proto={scheme}");
        for (name, expected) in [
            ("forwarded", forwarded.as_str()),
            ("x-forwarded-for", client),
            ("x-forwarded-proto", scheme),
        ] {
            assert_eq!(seen[name], serde_json::json!([expected]), "{trusted}");
        }
        assert!(!headers.contains("198.51.100.1"), "{headers}");
        let believed = trusted != "[]";
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(headers.contains(id), believed, "{headers}");
        let line = serving
            .server
            .wait_for_line(|line| line.contains("\"request\""), LOAD_LIMIT);
        assert!(line.contains(&format!("\"client\":\"{client}\"")), "{line}");
        assert_eq!(line.contains(id), believed, "{line}");
    }
}

#[test]
fn mistakes_in_what_is_given_are_told_with_a_hint() {
    let sandbox = crate::sandbox();
    site(&sandbox, "one");
    let check = |node: Option<&str>, wrong: &[&str]| {
        if let Some(node) = node {
            sandbox.put("node.toml", node);
        }
        for arguments in [&["serve", "--check"][..], &["serve"]] {
            let output = sandbox.wharf(arguments);
            assert_eq!(output.code, 1, "{output:?}");
            for wrong in wrong {
                assert!(output.stderr.contains(wrong), "{wrong}: {}", output.stderr);
            }
        }
    };
    check(
        None,
        &["there is no node.toml", "hint: write one with `node = 1`"],
    );
    check(
        Some("node = 1\n"),
        &["names no app", "hint: add `[app.NAME]`"],
    );
    check(
        Some("node = 1\nhosts = []\n"),
        &["unknown key `hosts`", "--> node.toml:2:1"],
    );
    let app = |source: &str| {
        format!(
            "node = 1\nlisten = [\"127.0.0.1:0\"]\nadmin = \"none\"\n[app.a]\nsource = \"{source}\"\n"
        )
    };
    check(
        Some(&app("nowhere")),
        &["there is no file, folder or app `nowhere`"],
    );
    sandbox.put(
        "empty/wharf.toml",
        "manifest = 1\nname = \"a\"\nversion = \"0.1.0\"\n",
    );
    check(
        Some(&app("empty")),
        &["the app has no component and no route"],
    );
}

#[test]
fn check_builds_and_opens_nothing() {
    let sandbox = crate::sandbox();
    site(&sandbox, "one");
    sandbox.copy(P2_PURE.file(), "kitchen.wasm");
    sandbox.put(
        "node.toml",
        "node = 1\n[ceilings]\ncpu = \"100ms\"\n[app.one]\nsource = \"one\"\nhosts = [\"one.example\"]\n[app.rest]\nsource = \"kitchen.wasm\"\n",
    );
    let command = sandbox.command(["serve", "--check"]);
    let output = command.env("WHARF_CACHE_DIR", code_cache()).output();
    assert_eq!(output.code, 0, "{output:?}");
    let expected = "one  one.example\nrest  (all other hosts)\n  kitchen: cpu is 100ms, not 1s as its manifest asks\n";
    assert_eq!(output.stdout, expected);
    assert!(!output.stderr.contains("listening"), "{}", output.stderr);
}

//! Manifests that are right.

use std::time::Duration;

use expect_test::expect;
use wharf_manifest::{App, ByteSize, HttpTarget, Isolation, Limits, parse_app};

use crate::{HEAD, check, check_body};

pub(crate) const GUESTBOOK: &str = r#"
manifest = 1                        # required
name = "guestbook"
version = "0.1.0"
description = "leave a line"

[component.api]
source = "api"
pure = true
features = ["extra"]
watch = ["./shared/"]
isolation = "request"
limits = { memory = "64MiB", time = "5s", body_idle = "2m", response = "10MB", log = 4096, queue = 5 }
[component.api.grants]
http = ["https://API.example.com", "*"]
net = ["tcp://db:5432"]
files = ["data:/data:rw", "assets"]
env = { MODE = "production", EMPTY = "" }

[component.admin]
source = "admin.wasm"
reuse = true
optimize = false

[[trigger.http]]
route = "/api/..."
component = "api"
[[trigger.http]]
route = "/api/admin"
component = "admin"
[[trigger.http]]
route = "/..."
files = "public"
fallback = "index.html"
cache = "max-age=60"

[trigger.command]
component = "admin"
"#;

fn guestbook() -> App {
    parse_app(GUESTBOOK, "wharf.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn all_keys() {
    let app = guestbook();
    let api = &app.components["api"];
    assert_eq!(api.isolation, Isolation::Request);
    assert_eq!(
        api.limits,
        Limits {
            memory: ByteSize::mib(64),
            time: Duration::from_secs(5),
            body_idle: Duration::from_secs(120),
            response: Some(ByteSize(10_000_000)),
            log: ByteSize::kib(4),
            queue: 5,
            ..Limits::DEFAULT
        }
    );
    assert!(api.build.pure && api.build.optimize && !api.reuse);
    assert_eq!(api.grants.env["MODE"], "production");
    let admin = &app.components["admin"];
    assert!(!admin.build.optimize && admin.reuse);
    assert_eq!(admin.limits, Limits::default());
    assert!(admin.grants.is_empty());
}

#[test]
fn canonical_form() {
    check(
        GUESTBOOK,
        expect![[
            r#"{"components":{"admin":{"build":{"features":[],"optimize":false,"pure":false,"watch":[]},"grants":{"env":{},"files":[],"http":[],"net":[]},"isolation":"shared","limits":{"body_idle":"1m","concurrency":1000,"cpu":"1s","handles":1000,"log":"1MiB","memory":"128MiB","outgoing":64,"queue":1000,"response":null,"time":"30s"},"reuse":true,"source":{"path":"admin.wasm"}},"api":{"build":{"features":["extra"],"optimize":true,"pure":true,"watch":["shared"]},"grants":{"env":{"EMPTY":"","MODE":"production"},"files":["data:/data:rw","assets:/assets"],"http":["https://api.example.com","*"],"net":["tcp://db:5432"]},"isolation":"request","limits":{"body_idle":"2m","concurrency":1000,"cpu":"1s","handles":1000,"log":"4KiB","memory":"64MiB","outgoing":64,"queue":5,"response":"10MB","time":"5s"},"reuse":false,"source":{"path":"api"}}},"description":"leave a line","manifest":1,"name":"guestbook","triggers":{"command":{"component":"admin"},"http":[{"route":"/api/...","target":{"component":"api"}},{"route":"/api/admin","target":{"component":"admin"}},{"route":"/...","target":{"files":{"cache":"max-age=60","dir":"public","fallback":"index.html"}}}]},"version":"0.1.0"}"#
        ]],
    );
}

#[test]
fn canonical_form_reads_back() {
    let app = guestbook();
    let text = app.to_canonical_json();
    assert_eq!(App::from_canonical_json(&text).unwrap(), app);
    assert_eq!(
        App::from_canonical_json(&text).unwrap().to_canonical_json(),
        text
    );
}

#[test]
fn canonical_form_keeps_the_rules() {
    let text = guestbook().to_canonical_json();
    let refused = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        let error = App::from_canonical_json(&text.replacen(from, to, 1)).unwrap_err();
        error.to_string()
    };
    let version = refused("\"manifest\":1", "\"manifest\":2");
    assert_eq!(
        version,
        "the app's canonical form has version 2, and this wharf knows 1"
    );
    assert!(refused("\"/api/admin\"", "\"/...\"").contains("twice"));
    assert!(
        refused(
            "\"command\":{\"component\":\"admin\"}",
            "\"command\":{\"component\":\"x\"}"
        )
        .contains("no component")
    );
    assert!(refused("\"queue\":5", "\"queue\":0").contains("zero"));
    assert!(refused("\"path\":\"api\"", "\"path\":\"../api\"").contains(".."));
    assert!(refused("\"index.html\"", "\"../index.html\"").contains(".."));
    assert!(refused("\"max-age=60\"", "\"a\\nb\"").contains("header"));
    assert!(refused("\"extra\"", "\"--extra\"").contains("feature"));
    assert!(refused("\"EMPTY\"", "\"EMP=TY\"").contains("variable"));
    assert!(refused("\"data:/data:rw\"", "\"/etc:/data:rw\"").contains("absolute"));
    assert!(refused("\"reuse\"", "\"resue\"").contains("unknown field"));
    assert!(App::from_canonical_json("").is_err());
    assert!(App::from_canonical_json(&"[".repeat(100_000)).is_err());
}

#[test]
fn the_longest_route_wins() {
    let app = guestbook();
    let target = |path: &str| match app.route(path).map(|trigger| &trigger.target) {
        Some(HttpTarget::Component(name)) => name.to_string(),
        Some(HttpTarget::Files(files)) => files.dir.to_string(),
        None => "nothing".to_owned(),
    };
    assert_eq!(target("/api"), "api");
    assert_eq!(target("/api/x"), "api");
    assert_eq!(target("/api/admin"), "admin");
    assert_eq!(target("/api/%61dmin"), "admin");
    assert_eq!(target("/api/admin/x"), "api");
    assert_eq!(target("/"), "public");
    assert_eq!(target("*"), "nothing");
}

#[test]
fn files_alone_are_an_app() {
    check_body(
        "[[trigger.http]]\nroute = \"/...\"\nfiles = \".\"\n",
        expect![[
            r#"{"components":{},"description":null,"manifest":1,"name":"guestbook","triggers":{"command":null,"http":[{"route":"/...","target":{"files":{"cache":null,"dir":".","fallback":null}}}]},"version":"0.1.0"}"#
        ]],
    );
}

#[test]
fn a_component_alone_is_an_app() {
    check_body(
        "component.lib.source = \"lib\"\r\n",
        expect![[
            r#"{"components":{"lib":{"build":{"features":[],"optimize":true,"pure":false,"watch":[]},"grants":{"env":{},"files":[],"http":[],"net":[]},"isolation":"shared","limits":{"body_idle":"1m","concurrency":1000,"cpu":"1s","handles":1000,"log":"1MiB","memory":"128MiB","outgoing":64,"queue":1000,"response":null,"time":"30s"},"reuse":false,"source":{"path":"lib"}}},"description":null,"manifest":1,"name":"guestbook","triggers":{"command":null,"http":[]},"version":"0.1.0"}"#
        ]],
    );
}

#[test]
fn bytes_before_the_text_and_windows_lines() {
    let text = format!("\u{feff}{HEAD}[component.a]\nsource = \".\"\n").replace('\n', "\r\n");
    assert!(parse_app(&text, "wharf.toml").is_ok());
}

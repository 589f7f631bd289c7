//! `wharf new`: every template builds with no edit, and does what it says.

use std::fs;

use expect_test::expect;
use http::Request;
use wharf_testkit::{Output, Sandbox};

use crate::sandbox;
use crate::up_client::{Sent, full, send};

/// An app of the template's name, made and built with no edit.
struct Made {
    sandbox: Sandbox,
    name: String,
}

impl Made {
    fn from(template: &str) -> Made {
        let sandbox = sandbox();
        let name = format!("my-{template}");
        // As in the folder of somebody's other project.
        sandbox.put("Cargo.toml", "[workspace]\nresolver = \"3\"\n");
        sandbox.wharf(["new", template, &name]).expect_success();
        let made = Made { sandbox, name };
        let built = made.inside(&["build"]).expect_success();
        let done = format!("{} 0.1.0 built in", made.name);
        assert!(built.stdout.contains(&done), "{built:?}");
        assert!(!built.stderr.contains("warning"), "{built:?}");
        made
    }

    fn inside(&self, arguments: &[&str]) -> Output {
        let command = self.sandbox.command(arguments);
        command.directory(&self.name).output()
    }
}

#[test]
fn http_rust_builds() {
    let made = Made::from("http-rust");
    let seen = made.inside(&["inspect", "."]).expect_success();
    assert!(
        seen.stdout.contains("answers HTTP (wasi:http 0.3)"),
        "{seen:?}"
    );
    let seen = made.inside(&["inspect", ".", "--json"]).expect_success();
    let seen: serde_json::Value = serde_json::from_str(&seen.stdout).unwrap();
    let component = seen["components"].as_object().unwrap().values().next();
    let listed = component.unwrap()["description"]["dependencies"].clone();
    let version = |name: &str| {
        let found = listed.as_array().unwrap().iter();
        { found }.find(|found| found["name"] == name)?["version"].as_str()
    };
    assert_eq!(version("wharf-sdk"), Some("0.1.0"), "{listed}");
    assert!(version("http").is_some_and(|version| version.starts_with("1.")));
    made.inside(&["run", "."])
        .expect_code(126)
        .expect_stderr("serve it with `wharf up`");
}

fn asked(method: &str, path: &str) -> Request<Sent> {
    let request = Request::builder().method(method).uri(path);
    request.body(full("")).unwrap()
}

#[tokio::test]
async fn http_rust_answers_head_as_get() {
    let made = Made::from("http-rust");
    let server = made.sandbox.up([&made.name]);
    for path in ["/", "/hello/you", "/count"] {
        let head = send(server.addr, asked("HEAD", path)).await;
        assert_eq!((head.status, head.text()), (200, ""), "{path}");
    }
    let other = send(server.addr, asked("GET", "/other")).await;
    assert_eq!(other.status, 404);
}

#[tokio::test]
async fn app_says_which_method_its_api_takes() {
    let made = Made::from("app");
    let server = made.sandbox.up([&made.name]);
    let refused = send(server.addr, asked("GET", "/api/words")).await;
    assert_eq!((refused.status, refused.header("allow")), (405, "POST"));
    let page = send(server.addr, asked("GET", "/")).await;
    assert_eq!(page.status, 200);
}

#[test]
fn cli_rust_builds_and_runs() {
    let made = Made::from("cli-rust");
    let greeted = made
        .inside(&["run", ".", "--", "--shout", "Ada"])
        .expect_success();
    assert_eq!(greeted.stdout, "HELLO, ADA!\n");
    assert_eq!(
        greeted.stderr, "",
        "an app that is built runs without a word"
    );
    let lines = made
        .sandbox
        .command(["run", "my-cli-rust"])
        .stdin("Ada\nGrace\n");
    let lines = lines.output().expect_success();
    assert_eq!(lines.stdout, "Hello, Ada!\nHello, Grace!\n");
    // Stable WASI 0.2 tells a host only that a program failed, not with which code.
    made.inside(&["run", ".", "--", "--whisper"])
        .expect_code(1)
        .expect_stderr("my-cli-rust: unknown option --whisper");
}

#[test]
fn library_rust_builds_and_is_called() {
    let made = Made::from("library-rust");
    let call = "count(\"one two\\nthree\")";
    let counted = made
        .inside(&["run", ".wharf/library.wasm", "--invoke", call])
        .expect_success();
    assert_eq!(counted.stdout, "{lines: 2, words: 3, characters: 13}\n");
    let seen = made
        .inside(&["inspect", ".wharf/library.wasm"])
        .expect_success();
    assert!(
        seen.stdout
            .contains("asks for  no outgoing HTTP; no files; no sockets\n"),
        "a library imports nothing: {seen:?}"
    );
}

#[test]
fn app_builds_and_shows_its_parts() {
    let made = Made::from("app");
    let seen = made.sandbox.wharf(["inspect", "my-app"]).expect_success();
    let top: Vec<_> = seen.stdout.lines().take(8).collect();
    expect![[r#"
        app my-app 0.1.0
        sha256:[DIGEST]
          /api/...  → component api
          /...      → files in public
          4 files in public

        component api
          granted: nothing"#]]
    .assert_eq(&made.sandbox.redact(&top.join("\n")));
}

#[test]
fn what_is_made_is_told() {
    let sandbox = sandbox();
    let made = sandbox
        .wharf(["new", "app", "guestbook", "--dir", "deep/down"])
        .expect_success();
    expect![[r#"
        made deep/down (10 files)

        next:
          cd deep/down
          wharf up --watch
    "#]]
    .assert_eq(&made.stdout);
    let manifest = fs::read_to_string(sandbox.work().join("deep/down/wharf.toml")).unwrap();
    assert!(manifest.contains("name = \"guestbook\""), "{manifest}");
}

#[test]
fn a_folder_with_something_in_it_is_left_alone() {
    let sandbox = sandbox();
    sandbox.put("hello/notes.txt", "mine");
    let refused = sandbox.wharf(["new", "http-rust", "hello"]).expect_code(1);
    expect![[r#"
        error: hello exists and is not empty
        hint: choose another name, or remove the folder first
    "#]]
    .assert_eq(&refused.stderr);
    let left: Vec<_> = fs::read_dir(sandbox.work().join("hello"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["notes.txt"]);
}

#[test]
fn a_file_in_the_way_is_left_alone() {
    let sandbox = sandbox();
    let file = sandbox.put("hello", "mine");
    sandbox
        .wharf(["new", "http-rust", "hello"])
        .expect_code(1)
        .expect_stderr("hint: ");
    assert_eq!(fs::read_to_string(file).unwrap(), "mine");
}

#[test]
fn names_that_are_none_are_refused() {
    let sandbox = sandbox();
    let mut texts = String::new();
    for name in ["My App", "Hello", "../up", "", "-x", "9lives"] {
        let refused = sandbox.wharf(["new", "http-rust", "--", name]);
        assert_eq!(refused.code, 1, "{refused:?}");
        texts.push_str(&refused.stderr);
    }
    expect![[r#"
        error: `My App` cannot be an app's name: names are words of a-z and 0-9 joined by `-`
        hint: `my-app` would do
        error: `Hello` cannot be an app's name: names are words of a-z and 0-9 joined by `-`
        hint: `hello` would do
        error: `../up` cannot be an app's name: names are words of a-z and 0-9 joined by `-`
        hint: `up` would do
        error: `` cannot be an app's name: the app name is empty
        hint: `my` would do
        error: `-x` cannot be an app's name: names are words of a-z and 0-9 joined by `-`
        hint: `x` would do
        error: `9lives` cannot be an app's name: a Rust crate's name begins with a letter
        hint: `my-9lives` would do
    "#]]
    .assert_eq(&texts);
    assert_eq!(fs::read_dir(sandbox.work()).unwrap().count(), 0);
}

//! `wharf build`: the report, and the errors that its users meet.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;

use expect_test::{Expect, expect};
use serde_json::Value;
use wharf_testkit::{Output, Sandbox, Wasi, guests};

use crate::sandbox;

const HEAD: &str = "manifest = 1\nname = \"tried\"\nversion = \"0.1.0\"\n";
const MAIN: &str = "[component.main]\nsource = \"main.wat\"\n";
const ADD: &str = "(module (func (export \"add\") (param i32 i32) (result i32) \
                   local.get 0 local.get 1 i32.add))";

/// An app whose component is a module given as text.
fn small_app() -> Sandbox {
    let sandbox = sandbox();
    sandbox.put("main.wat", ADD);
    sandbox.put("wharf.toml", format!("{HEAD}{MAIN}"));
    sandbox
}

/// An app whose component is a Rust crate. The crate's name is for this test alone.
fn rust_app(name: &str, source: &str, manifest: &str, dependencies: &str) -> Sandbox {
    let sandbox = sandbox();
    sandbox.put(
        "Cargo.toml",
        format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
             [dependencies]\n{dependencies}"
        ),
    );
    sandbox.put(source, "");
    sandbox.put(
        "wharf.toml",
        format!("{HEAD}[component.main]\nsource = \".\"\n{manifest}"),
    );
    sandbox
}

const COMMAND: &str = "[trigger.command]\ncomponent = \"main\"\n";
const ROUTE: &str = "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"main\"\n";

fn json(output: &Output) -> Value {
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn the_report_says_what_was_made() {
    let sandbox = small_app();
    sandbox.put("public/index.html", "<p>");
    let route = "[[trigger.http]]\nroute = \"/...\"\nfiles = \"public\"\n";
    sandbox.put("wharf.toml", format!("{HEAD}{MAIN}{route}"));
    let built = sandbox.wharf(["build"]).expect_success();
    expect![[r#"
        main: core module, library, 41 B (64 B gzip)
          .wharf/main.wasm
          asks for: no outgoing HTTP; no files; no sockets
        public: 1 file, 3 B
        tried 0.1.0 built in [TIME]
    "#]]
    .assert_eq(&sandbox.redact(&built.stdout));
    expect![[r#"
        reading main from [ROOT]/work/main.wat
        packing the app
        compiling main to native code
    "#]]
    .assert_eq(&sandbox.redact(&built.stderr));
    let again = sandbox.wharf(["build"]).expect_success();
    expect![[r#"
        main: core module, library, 41 B (64 B gzip)
          .wharf/main.wasm
          asks for: no outgoing HTTP; no files; no sockets
        public: 1 file, 3 B
        tried 0.1.0 is up to date in [TIME]
    "#]]
    .assert_eq(&sandbox.redact(&again.stdout));
    assert_eq!(again.stderr, "", "nothing is done");
}

#[test]
fn json_is_for_programs() {
    let sandbox = small_app();
    let first = json(&sandbox.wharf(["build", "--json"]).expect_success());
    assert_eq!(first["app"], "tried");
    assert_eq!(first["up_to_date"], false);
    assert_eq!(first["components"][0]["name"], "main");
    assert!(first["components"][0]["size"].as_u64().unwrap() > 0);
    let second = sandbox.wharf(["build", "--json"]).expect_success();
    assert_eq!(second.stderr, "");
    let second = json(&second);
    assert_eq!(second["up_to_date"], true);
    assert_eq!(second["artifact"], first["artifact"]);
    let forced = json(
        &sandbox
            .wharf(["build", "--json", "--force"])
            .expect_success(),
    );
    assert_eq!(forced["up_to_date"], false);
    sandbox.put("main.wat", ADD.replace("\"add\"", "\"sum\""));
    let changed = json(&sandbox.wharf(["build", "--json"]).expect_success());
    assert_eq!(changed["up_to_date"], false);
    assert_ne!(changed["artifact"], first["artifact"]);
}

#[test]
fn an_app_is_built_from_anywhere() {
    let sandbox = small_app();
    let built = sandbox.command(["build", "work"]).directory("..").output();
    built.expect_success();
    sandbox.wharf(["inspect", "tried:0.1.0"]).expect_success();
}

#[test]
fn a_compile_error_is_shown_with_its_place() {
    let sandbox = rust_app("it-compile-error", "src/main.rs", COMMAND, "");
    sandbox.put(
        "src/main.rs",
        "fn main() {\n    let _x: u32 = \"text\";\n}\n",
    );
    let failed = sandbox.wharf(["build"]).expect_code(1);
    for part in [
        "error[E0308]: mismatched types",
        "src/main.rs:2:19",
        "error: component `main` did not compile\n",
    ] {
        assert!(failed.stderr.contains(part), "{part}: {failed:?}");
    }
    assert_eq!(failed.stdout, "");
    // Mended, it builds.
    sandbox.put("src/main.rs", "fn main() {\n    let _x: u32 = 1;\n}\n");
    sandbox.wharf(["build"]).expect_success();
}

#[test]
fn a_pure_component_that_asks_a_system_is_refused_by_line() {
    let manifest = format!("pure = true\n{ROUTE}");
    let sandbox = rust_app(
        "it-not-pure",
        "src/lib.rs",
        &manifest,
        "wharf-sdk = \"0.1\"\n",
    );
    sandbox.put(
        "src/lib.rs",
        "#[wharf_sdk::http]\n\
         async fn handle() -> String {\n\
         \x20   let now = std::time::Instant::now();\n\
         \x20   let home = std::env::var(\"HOME\");\n\
         \x20   let file = std::fs::read_to_string(\"/etc/passwd\");\n\
         \x20   format!(\"{now:?} {home:?} {file:?}\")\n\
         }\n",
    );
    let refused = sandbox.wharf(["build"]).expect_code(1);
    let ours = refused.stderr.split_once("error: ").unwrap().1;
    expect![[r#"
        component `main` is `pure`, but its code uses `std::time::Instant::now` (src/lib.rs:3), `std::env::var` (src/lib.rs:4), `std::fs::read_to_string` (src/lib.rs:5)
        hint: use wharf_sdk's clock, log and random instead, or remove `pure = true` from [component.main]
    "#]].assert_eq(ours);
}

#[test]
fn a_missing_rust_target_is_named_with_the_line_that_adds_it() {
    let sandbox = rust_app("it-no-target", "src/main.rs", COMMAND, "");
    fs::create_dir_all(sandbox.root().join("toolchain/lib/rustlib")).unwrap();
    let tool = |name: &str, script: &str| {
        let path = sandbox.put(format!("../bin/{name}"), format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    // A Rust from a distribution: no rustup, and std for one target only.
    tool("cargo", "exit 1");
    tool(
        "rustc",
        &format!("echo {}/toolchain", sandbox.root().display()),
    );
    let build = sandbox
        .command(["build"])
        .env("PATH", sandbox.root().join("bin"))
        .env("CARGO_HOME", sandbox.root().join("no-cargo"));
    let failed = build.clone().output().expect_code(1);
    expect![[r#"
        error: the Rust target wasm32-wasip2 is not installed: wharf installs it by rustup, which is not here
        hint: install Rust from https://rustup.rs, then run `rustup target add wasm32-wasip2`; or install this target's std as this Rust was installed
    "#]]
    .assert_eq(&failed.stderr);
    let failed = build.env("PATH", "/nowhere").output().expect_code(1);
    expect![[r#"
        error: component `main` is a Rust crate, and cargo was not found
        hint: install Rust from https://rustup.rs, then open a new terminal
    "#]]
    .assert_eq(&failed.stderr);
}

#[test]
fn two_builds_at_once_both_end_well() {
    let sandbox = rust_app("it-two-builds", "src/main.rs", COMMAND, "");
    sandbox.put("src/main.rs", "fn main() {}");
    let reports: Vec<Value> = thread::scope(|scope| {
        let build = || json(&sandbox.wharf(["build", "--json"]).expect_success());
        let builds = [scope.spawn(build), scope.spawn(build)];
        builds.map(|build| build.join().unwrap()).into()
    });
    assert_eq!(reports[0]["artifact"], reports[1]["artifact"]);
    let idle = reports.iter().filter(|report| report["up_to_date"] == true);
    assert_eq!(idle.count(), 1, "one builds, the other finds it done");
}

#[test]
fn ready_components_are_taken_as_they_are() {
    let sandbox = sandbox();
    let ready = sandbox.copy(guests::http_kitchen(Wasi::P2), "ready.wasm");
    sandbox.put(
        "wharf.toml",
        format!("{HEAD}[component.main]\nsource = \"ready.wasm\"\n{ROUTE}"),
    );
    let report = json(&sandbox.wharf(["build", "--json"]).expect_success());
    let main = &report["components"][0];
    assert_eq!(main["kind"], "component, answers HTTP (wasi:http 0.2)");
    assert_eq!(main["size"], fs::metadata(ready).unwrap().len());
}

#[test]
fn a_route_needs_a_component_that_answers_http() {
    let sandbox = small_app();
    sandbox.put("wharf.toml", format!("{HEAD}{MAIN}{ROUTE}"));
    let refused = sandbox.wharf(["build"]).expect_code(1);
    let ours = &refused.stderr[refused.stderr.find("error: ").unwrap()..];
    expect![[r#"
        error: the route `/...` needs component `main` to export wasi:http/handler (WASI 0.3) or wasi:http/incoming-handler (0.2), but it is a core module that exports `add`
        hint: write a handler with `#[wharf_sdk::http]`, or see `wharf new http-rust`
    "#]].assert_eq(ours);
    sandbox.copy(guests::command(Wasi::P2), "cmd.wasm");
    let main = MAIN.replace("main.wat", "cmd.wasm");
    sandbox.put("wharf.toml", format!("{HEAD}{main}{ROUTE}"));
    let refused = sandbox.wharf(["build"]).expect_code(1);
    let ours = &refused.stderr[refused.stderr.find("error: ").unwrap()..];
    expect![[r#"
        error: the route `/...` needs component `main` to export wasi:http/handler (WASI 0.3) or wasi:http/incoming-handler (0.2), but it is a component that exports `wasi:cli/run@0.2.0`
        hint: run it with `wharf run`, or let [trigger.command] name `main` instead
    "#]].assert_eq(ours);
}

#[test]
fn sources_that_are_none_are_explained() {
    let sandbox = small_app();
    let check = |source: &str, expected: &Expect| {
        let main = MAIN.replace("main.wat", source);
        sandbox.put("wharf.toml", format!("{HEAD}{main}"));
        let refused = sandbox.wharf(["build"]).expect_code(1);
        let ours = &refused.stderr[refused.stderr.find("error: ").unwrap()..];
        expected.assert_eq(&sandbox.redact(ours));
    };
    sandbox.put("empty/notes.txt", "");
    sandbox.put("go/go.mod", "module x\n");
    sandbox.put("bad.wat", "(module\n  (func (export 7)))\n");
    sandbox.put("bad.wasm", b"\0asm\x01\0\0\0\x01\xff");
    check(
        "nowhere",
        &expect![[r#"
        error: the source of component `main` does not exist: [ROOT]/work/nowhere
        hint: set `source` in [component.main] to a folder or file beside wharf.toml
    "#]],
    );
    check(
        "empty",
        &expect![[r#"
        error: wharf cannot tell how to build component `main` from [ROOT]/work/empty
        hint: a source is a folder with a Cargo.toml, or a .wasm or .wat file
    "#]],
    );
    check(
        "go",
        &expect![[r#"
        error: component `main` is written in Go ([ROOT]/work/go/go.mod is there), which wharf does not build yet
        hint: build it with wit-bindgen go and set `source` in [component.main] to the .wasm it writes
    "#]],
    );
    check(
        "bad.wat",
        &expect![[r#"
        error: [ROOT]/work/bad.wat is not valid WebAssembly: unknown operator or unexpected token
             --> [ROOT]/work/bad.wat:2:10
              |
            2 |   (func (export 7)))
              |          ^
    "#]],
    );
    check(
        "bad.wasm",
        &expect![[r#"
            error: [ROOT]/work/bad.wasm: truncated at byte 0xa: unexpected end-of-file
            hint: the file is incomplete: download or build it again
        "#]],
    );
}

#[test]
fn a_folder_without_a_manifest_is_told_from_a_file() {
    let sandbox = small_app();
    fs::create_dir(sandbox.work().join("bare")).unwrap();
    let bare = sandbox.wharf(["build", "bare"]).expect_code(1);
    expect![[r#"
        error: there is no manifest at [ROOT]/work/bare/wharf.toml
        hint: start an app with `wharf new http-rust my-app`, or give a .wasm file
    "#]]
    .assert_eq(&sandbox.redact(&bare.stderr));
    let file = sandbox.wharf(["build", "main.wat"]).expect_code(1);
    expect![[r#"
        error: main.wat is a file, not an app's folder
        hint: `wharf up FILE` serves it, `wharf run FILE` runs it
    "#]]
    .assert_eq(&file.stderr);
}

fn check_manifest(manifest: &str, expected: &Expect) {
    let sandbox = small_app();
    sandbox.put("wharf.toml", manifest);
    let refused = sandbox.wharf(["build"]).expect_code(1);
    assert_eq!(refused.stdout, "");
    expected.assert_eq(&refused.stderr);
}

#[test]
fn an_unknown_key_is_pointed_at() {
    check_manifest(
        &format!("{HEAD}{MAIN}puer = true\n"),
        &expect![[r#"
        error: unknown key `puer` in the component
         --> wharf.toml:6:1
          |
        6 | puer = true
          | ^^^^
        hint: did you mean `pure`?
    "#]],
    );
}

#[test]
fn all_mistakes_are_told_at_once() {
    check_manifest(
        &format!(
            "{HEAD}[component.main]\nsource = \"../elsewhere\"\n\
             limits = {{ memory = \"lots\", cpu = 1 }}\n\
             [[trigger.http]]\nroute = \"/a/...\"\ncomponent = \"main\"\n\
             [[trigger.http]]\nroute = \"/a/...\"\nfiles = \"public\"\n\
             [[trigger.http]]\nroute = \"b\"\ncomponent = \"mian\"\n"
        ),
        &expect![[r#"
            error: the path `../elsewhere` has a `..`
             --> wharf.toml:5:10
              |
            5 | source = "../elsewhere"
              |          ^^^^^^^^^^^^^^
            hint: paths are relative to the folder of wharf.toml and stay in it

            error: `lots` is not a size
             --> wharf.toml:6:21
              |
            6 | limits = { memory = "lots", cpu = 1 }
              |                     ^^^^^^
            hint: write a whole number and a unit, such as `128MiB` or `10MB`

            error: expected a duration such as `"30s"`, found an integer
             --> wharf.toml:6:35
              |
            6 | limits = { memory = "lots", cpu = 1 }
              |                                   ^
            hint: give it a unit: `"1s"` or `"1ms"`

            error: the route `/a/...` is there twice
              --> wharf.toml:11:9
               |
            11 | route = "/a/..."
               |         ^^^^^^^^
            hint: it is first on line 8

            error: the route `b` does not start with `/`
              --> wharf.toml:14:9
               |
            14 | route = "b"
               |         ^^^
            hint: write `/b`

            error: there is no component `mian`
              --> wharf.toml:15:13
               |
            15 | component = "mian"
               |             ^^^^^^
            hint: did you mean `main`?
        "#]],
    );
}

#[test]
fn a_manifest_that_is_no_toml_is_pointed_at() {
    check_manifest(
        "manifest = 1\nname = \n",
        &expect![[r#"
        error: string values must be quoted, expected literal string
         --> wharf.toml:2:8
          |
        2 | name =
          |        ^
    "#]],
    );
}

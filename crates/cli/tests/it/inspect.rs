//! `wharf inspect`: what a file or an app is and may ask for.

use std::path::Path;

use expect_test::expect;
use serde_json::Value;
use wharf_testkit::{Sandbox, Wasi, guests};

use crate::sandbox;

fn with_file(file: &Path, name: &str) -> Sandbox {
    let sandbox = sandbox();
    sandbox.copy(file, name);
    sandbox
}

fn json(sandbox: &Sandbox, what: &str) -> Value {
    let output = sandbox.wharf(["inspect", what, "--json"]).expect_success();
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Whether any of `names` begins with `start`.
fn names_hold(names: &Value, start: &str) -> bool {
    let names = names.as_array().unwrap().iter();
    names
        .filter_map(|name| name["name"].as_str())
        .any(|name| name.starts_with(start))
}

#[test]
fn a_module_is_shown_with_its_functions() {
    let sandbox = with_file(&guests::core_add("add.wat"), "add.wat");
    let seen = sandbox.wharf(["inspect", "add.wat"]).expect_success();
    expect![[r#"
        kind      core module, library
        wasi      none
        asks for  no outgoing HTTP; no files; no sockets

        exports 1
          add  func(i32, i32) -> i32

        size 66 bytes
          name                             23   34.8%
          headers                          18   27.3%
          code                              9   13.6%
          core types                        7   10.6%
          core imports, exports             7   10.6%
          tables, globals                   2    3.0%
    "#]]
    .assert_eq(&seen.stdout);
    let no_wit = sandbox.wharf(["inspect", "add.wat", "--wit"]);
    expect![[r#"
        error: add.wat has no WIT
        hint: core modules have none; without `--wit` their imports and exports are listed
    "#]]
    .assert_eq(&no_wit.expect_code(1).stderr);
}

#[test]
fn a_module_that_carries_a_component_type_is_shown_as_the_component() {
    let sandbox = with_file(&guests::lib_math_typed(), "math.wasm");
    let seen = json(&sandbox, "math.wasm");
    assert_eq!(seen["kind"], "component");
    assert!(
        names_hold(&seen["exports"], "wharf:math/geometry"),
        "{seen}"
    );
    let note = "the file is a core module that carries this component's type; wharf encodes it";
    assert_eq!(seen["notes"][0], note);
    // One whose type cannot be read is still shown as what it is.
    sandbox.put(
        "odd.wat",
        "(module (func (export \"f\")) (@custom \"component-type:x\" \"no type\"))",
    );
    let seen = json(&sandbox, "odd.wat");
    assert_eq!(seen["kind"], "module");
    let note = seen["notes"][0].as_str().unwrap();
    assert!(note.contains("cannot be encoded"), "{note}");
}

#[test]
fn a_command_module_tells_its_version_of_wasi() {
    let sandbox = with_file(&guests::command(Wasi::P1), "cmd.wasm");
    let seen = sandbox.wharf(["inspect", "cmd.wasm"]).expect_success();
    let top: Vec<_> = seen.stdout.lines().take(3).collect();
    expect![[r#"
        kind      core module, command
        wasi      0.1
        asks for  no outgoing HTTP; files; no sockets; clock"#]]
    .assert_eq(&top.join("\n"));
    let seen = json(&sandbox, "cmd.wasm");
    assert_eq!(seen["kind"], "module");
    assert!(
        names_hold(&seen["imports"], "wasi_snapshot_preview1"),
        "{seen}"
    );
}

#[test]
fn http_components_tell_their_version() {
    for (wasi, version, handler) in [
        (Wasi::P2, "0.2", "wasi:http/incoming-handler@0.2"),
        (Wasi::P3, "0.3", "wasi:http/handler@0.3"),
    ] {
        let sandbox = with_file(&guests::http_kitchen(wasi), "kitchen.wasm");
        let seen = sandbox.wharf(["inspect", "kitchen.wasm"]).expect_success();
        let kind = format!("kind      component, answers HTTP (wasi:http {version})\n");
        assert!(seen.stdout.starts_with(&kind), "{seen:?}");
        let seen = json(&sandbox, "kitchen.wasm");
        assert_eq!(seen["kind"], "component");
        let versions = seen["wasi"].as_array().unwrap().iter();
        assert!(
            { versions }.any(|wasi| wasi.as_str().unwrap().starts_with(version)),
            "{seen}"
        );
        assert!(names_hold(&seen["exports"], handler), "{seen}");
        assert!(names_hold(&seen["imports"], "wasi:http/types@"), "{seen}");
    }
}

#[test]
fn a_pure_component_asks_for_little() {
    let sandbox = with_file(&guests::http_kitchen_pure(Wasi::P3), "pure.wasm");
    let seen = sandbox.wharf(["inspect", "pure.wasm"]).expect_success();
    let asks = seen
        .stdout
        .lines()
        .find(|line| line.starts_with("asks for"));
    expect!["asks for  outgoing HTTP; no files; no sockets; clock; random; stdin/stdout/stderr"]
        .assert_eq(asks.unwrap());
}

#[test]
fn a_library_is_shown_as_wit_alone() {
    let sandbox = with_file(&guests::lib_math(), "math.wasm");
    let seen = sandbox.wharf(["inspect", "math.wasm", "--wit"]);
    let wit = seen.expect_success().stdout;
    for part in [
        "export add: func(left: s32, right: s32) -> s32;",
        "export wharf:math/geometry@1.0.0;",
        "variant shape {",
        "resource counter {",
    ] {
        assert!(wit.contains(part), "{part}: {wit}");
    }
    sandbox
        .wharf(["inspect", "math.wasm", "--wit", "--json"])
        .expect_code(2);
}

#[test]
fn an_app_is_shown_with_its_routes_and_grants() {
    let sandbox = with_file(&guests::http_kitchen(Wasi::P2), "api.wasm");
    sandbox.put("public/index.html", "<p>");
    sandbox.put(
        "wharf.toml",
        "manifest = 1\nname = \"guestbook\"\nversion = \"1.2.3\"\n\
         [component.api]\nsource = \"api.wasm\"\n\
         [component.api.grants]\n\
         http = [\"https://api.example.com\"]\nfiles = [\"data:/data:rw\"]\n\
         net = [\"tcp://db.local:5432\"]\nenv = { MODE = \"fast\" }\n\
         [[trigger.http]]\nroute = \"/api/...\"\ncomponent = \"api\"\n\
         [[trigger.http]]\nroute = \"/...\"\nfiles = \"public\"\n",
    );
    sandbox.put("data/.keep", "");
    let seen = sandbox.wharf(["inspect", "."]).expect_success();
    let top: Vec<_> = seen.stdout.lines().take(9).collect();
    expect![[r#"
        app guestbook 1.2.3
        sha256:[DIGEST]
          /api/...  → component api
          /...      → files in public
          1 file in public

        component api
          granted: http https://api.example.com; net tcp://db.local:5432; files data:/data:rw; env MODE
          kind      component, answers HTTP (wasi:http 0.2)"#]].assert_eq(&sandbox.redact(&top.join("\n")));
    assert!(
        seen.stdout.lines().all(|line| line.trim_end() == line),
        "no blanks at line ends: {seen:?}"
    );

    let folder = json(&sandbox, ".");
    assert_eq!(folder["routes"][0]["target"], "component api");
    assert_eq!(folder["files"]["public"], 1);
    assert_eq!(
        folder["components"]["api"]["grants"]["http"][0],
        "https://api.example.com"
    );
    assert_eq!(
        folder["components"]["api"]["description"]["kind"],
        "component"
    );
    // The same from the store, without its folder.
    assert_eq!(json(&sandbox, "guestbook:1.2.3"), folder);
    assert_eq!(json(&sandbox, folder["digest"].as_str().unwrap()), folder);
}

#[test]
fn what_is_not_there_is_told_apart() {
    let sandbox = sandbox();
    let missing = sandbox.wharf(["inspect", "nothing:1.0.0"]).expect_code(1);
    expect![[r#"
        error: there is no file, folder or app `nothing:1.0.0`: the store [ROOT]/store holds nothing named `nothing:1.0.0`
        hint: give a .wasm file, an app's folder, or NAME:VERSION of an app that was built
    "#]].assert_eq(&sandbox.redact(&missing.stderr));
}

//! Files that are no programs: a clear error and the right code, never a panic.

use std::fs::{self, File};
use std::path::Path;

use expect_test::{Expect, expect};
use wharf_testkit::{Output, Sandbox, Wasi, guests};

use crate::sandbox;

/// Codes of our own when a file is no program that can be run, when there is no such file, and
/// when a file cannot be inspected.
const NOT_RUNNABLE: i32 = 126;
const NOT_FOUND: i32 = 127;
const INSPECT_FAILED: i32 = 1;

/// Checks that an error was told as users should see it.
#[track_caller]
fn is_clear(output: &Output) {
    let said = &output.stderr;
    assert!(said.contains("error: "), "{output:?}");
    assert!(!said.contains("panicked"), "{output:?}");
    assert!(!said.contains("RUST_BACKTRACE"), "{output:?}");
    assert_eq!(output.stdout, "", "{output:?}");
}

fn run_fails(sandbox: &Sandbox, name: &str) -> Output {
    let output = sandbox.wharf(["run", name]).expect_code(NOT_RUNNABLE);
    is_clear(&output);
    output
}

fn inspect_fails(sandbox: &Sandbox, name: &str) -> Output {
    let output = sandbox.wharf(["inspect", name]).expect_code(INSPECT_FAILED);
    is_clear(&output);
    output
}

fn check_run(name: &str, contents: impl AsRef<[u8]>, expected: &Expect) {
    let sandbox = sandbox();
    sandbox.put(name, contents);
    expected.assert_eq(&sandbox.redact(&run_fails(&sandbox, name).stderr));
}

#[test]
fn what_is_no_program_is_said_so() {
    check_run(
        "empty.wasm",
        "",
        &expect![[r#"
            error: empty.wasm: not WebAssembly: the file is empty
            hint: give a .wasm file; text needs the ending .wat, sources need `wharf build`
        "#]],
    );
    check_run(
        "notes.txt",
        "hello\n",
        &expect![[r#"
            error: notes.txt: not WebAssembly: it begins with byte 0x68, not with "\0asm"
            hint: give a .wasm file; text needs the ending .wat, sources need `wharf build`
        "#]],
    );
    check_run(
        "bad.wat",
        "(module (func",
        &expect![[r#"
        error: bad.wat is not valid WebAssembly: expected `)`
             --> bad.wat:1:14
              |
            1 | (module (func
              |              ^
    "#]],
    );
    check_run(
        "short.wasm",
        b"\0asm",
        &expect![[r#"
            error: short.wasm: truncated at byte 0x4: unexpected end-of-file
            hint: the file is incomplete: download or build it again
        "#]],
    );
    check_run(
        "future.wasm",
        b"\0asm\x02\0\0\0",
        &expect![[r#"
            error: future.wasm: malformed at byte 0x4: unknown binary version: 0x2
            hint: the file is damaged or made by a tool that is broken: build it again
        "#]],
    );
    let sandbox = sandbox();
    let missing = |name| {
        let output = sandbox.wharf(["run", name]).expect_code(NOT_FOUND);
        is_clear(&output);
        output
    };
    expect![[r#"
        error: cannot read missing.wasm: No such file or directory (os error 2)
        hint: look at the path; it is taken from the current folder
    "#]]
    .assert_eq(&missing("missing.wasm").stderr);
    sandbox.put("notes.txt", "hello\n");
    missing("notes.txt/inner.wasm");
    expect![[r#"
        error: there is no manifest at [ROOT]/work/wharf.toml
        hint: start an app with `wharf new http-rust my-app`, or give a .wasm file
    "#]]
    .assert_eq(&sandbox.redact(&run_fails(&sandbox, ".").stderr));
}

#[test]
fn native_code_is_not_taken_from_files() {
    let sandbox = sandbox();
    sandbox.put("main.wat", "(module (func (export \"_start\")))");
    sandbox.wharf(["run", "main.wat"]).expect_success();
    let image = cached_images(&sandbox).pop().unwrap();
    sandbox.copy(image, "main.cwasm");
    expect![[r#"
        error: main.cwasm holds native code, which is never taken from a file
        hint: give the .wasm that it was made from
    "#]]
    .assert_eq(&run_fails(&sandbox, "main.cwasm").stderr);
    inspect_fails(&sandbox, "main.cwasm");
}

fn cached_images(sandbox: &Sandbox) -> Vec<std::path::PathBuf> {
    crate::cache::files_below(&sandbox.cache().join("code"))
}

#[test]
fn what_nobody_provides_is_named() {
    let start = "(func (export \"_start\"))";
    check_run(
        "env.wat",
        format!("(module (import \"env\" \"foo\" (func)) {start})"),
        &expect![[r#"
            error: the module imports `foo` from `env`, which nobody provides
            hint: it was linked with undefined symbols, or for Emscripten; build it for wasm32-wasip1
        "#]],
    );
    check_run(
        "bindgen.wat",
        format!("(module (import \"wbg\" \"x\" (func)) {start})"),
        &expect![[r#"
            error: the module imports `x` from `wbg`, which nobody provides
            hint: it is made for a browser by wasm-bindgen
        "#]],
    );
    check_run(
        "component.wat",
        "(component (import \"acme:shop/cart@1.0.0\" (instance (export \"add\" (func)))))",
        &expect![[r#"
            error: the component imports `acme:shop/cart@1.0.0`, which nobody provides
            hint: compose it with a component that exports this interface, or build it without
        "#]],
    );
    check_run(
        "wasi.wat",
        "(component (import \"wasi:telepathy/send@0.9.0\" (instance (export \"x\" (func)))))",
        &expect![[r#"
            error: the component imports `wasi:telepathy/send@0.9.0`, which nobody provides
            hint: this version of wharf does not have wasi:telepathy/send@0.9.0; `wharf inspect` shows all that the component imports
        "#]],
    );
}

#[test]
fn what_nobody_provides_is_refused_before_anything_is_compiled() {
    // A body that does not validate: the compiler would say so.
    let body = "(func (export \"_start\") i32.const 1)";
    check_run(
        "env.wat",
        format!("(module (import \"wasi_unstable\" \"no_such_call\" (func)) {body})"),
        &expect![[r#"
            error: the module imports `no_such_call` from `wasi_unstable`, which nobody provides
            hint: only WASI 0.1 can be imported by core modules
        "#]],
    );
    check_run(
        "component.wat",
        format!("(component {CART} (core module {body}))"),
        &expect![[r#"
            error: the component imports `acme:shop/cart@1.0.0`, which nobody provides
            hint: compose it with a component that exports this interface, or build it without
        "#]],
    );
}

#[test]
fn an_import_of_another_type_is_named() {
    check_run(
        "odd.wat",
        "(module (import \"wasi_snapshot_preview1\" \"fd_write\" (func)) (func (export \"_start\")))",
        &expect![[r#"
            error: its imports do not fit the host: incompatible import type for `wasi_snapshot_preview1::fd_write`: types incompatible: expected type `(func)`, found type `(func (param i32 i32 i32 i32) (result i32))`
            hint: it was built against another version of the interface; update its bindings
        "#]],
    );
}

const CART: &str = "(import \"acme:shop/cart@1.0.0\" (instance (export \"add\" (func))))";

/// A component that imports what nobody provides and exports a function in `interface`.
fn with_cart(interface: &str, function: &str) -> String {
    format!(
        "(component {CART}
            (core module $m (func (export \"f\") (result i32) i32.const 0))
            (core instance $i (instantiate $m))
            (func $f (result (result)) (canon lift (core func $i \"f\")))
            (instance $e (export \"{function}\" (func $f)))
            (export \"{interface}\" (instance $e)))"
    )
}

#[test]
fn an_app_that_imports_what_nobody_provides_is_not_compiled() {
    let sandbox = sandbox();
    let manifest = "manifest = 1\nname = \"shop\"\nversion = \"0.1.0\"\n\
                    [component.main]\nsource = \"main.wat\"\n";
    let command = "[trigger.command]\ncomponent = \"main\"\n";
    sandbox.put("main.wat", with_cart("wasi:cli/run@0.2.0", "run"));
    sandbox.put("wharf.toml", format!("{manifest}{command}"));
    let refused = sandbox.wharf(["build"]).expect_code(1);
    let expected = expect![[r#"
        error: component `main`: the component imports `acme:shop/cart@1.0.0`, which nobody provides
        hint: compose it with a component that exports this interface, or build it without
    "#]];
    let (_, told) = refused
        .stderr
        .split_at(refused.stderr.find("error").unwrap());
    expected.assert_eq(told);
    sandbox.put(
        "main.wat",
        with_cart("wasi:http/incoming-handler@0.2.0", "handle"),
    );
    let refused = sandbox
        .wharf(["up", "main.wat", "--addr", "127.0.0.1:0"])
        .expect_code(1);
    let (_, told) = refused
        .stderr
        .split_at(refused.stderr.find("error").unwrap());
    expected.assert_eq(told);
    // Nothing runs it here: others may, or it may be composed.
    sandbox.put("wharf.toml", manifest);
    sandbox.wharf(["build"]).expect_success();
    assert_eq!(cached_images(&sandbox), Vec::<std::path::PathBuf>::new());
}

#[test]
fn threads_are_refused_with_a_reason() {
    let sandbox = sandbox();
    sandbox.copy(guests::core_add("threads.wat"), "threads.wat");
    let call = ["run", "threads.wat", "--invoke", "add(1, 2)"];
    let refused = sandbox.wharf(call).expect_code(NOT_RUNNABLE);
    is_clear(&refused);
    let hint =
        "hint: WebAssembly threads are not supported; build without shared memory and atomics";
    assert!(refused.stderr.contains(hint), "{refused:?}");
    // The engine's own settings are nothing to its users.
    assert!(!refused.stderr.contains("Config::"), "{refused:?}");
}

#[test]
fn what_answers_http_is_to_be_served() {
    for wasi in [Wasi::P2, Wasi::P3] {
        let sandbox = sandbox();
        sandbox.copy(guests::http_kitchen(wasi), "kitchen.wasm");
        expect![[r#"
            error: this component answers HTTP requests and has nothing to run
            hint: serve it with `wharf up FILE`
        "#]]
        .assert_eq(&run_fails(&sandbox, "kitchen.wasm").stderr);
    }
}

#[test]
fn traps_and_endless_recursion_end_with_134() {
    let sandbox = sandbox();
    for (body, message) in [
        ("unreachable", "the guest aborted"),
        (
            "(drop (i32.div_u (i32.const 1) (i32.const 0)))",
            "divide by zero",
        ),
        (
            "(drop (i32.load (i32.const 100000)))",
            "the guest used memory that it does not have",
        ),
        ("(call $start)", "the guest's stack overflowed"),
    ] {
        let text = format!("(module (memory 1) (func $start (export \"_start\") {body}))");
        sandbox.put("trap.wat", text);
        let trapped = sandbox.wharf(["run", "trap.wat"]).expect_code(134);
        assert!(trapped.stderr.contains(message), "{message}: {trapped:?}");
        assert!(trapped.stderr.contains("backtrace"), "{trapped:?}");
    }
}

/// The same words wherever the file is met.
#[test]
fn a_truncated_file_is_one_error_for_all_commands() {
    let sandbox = sandbox();
    let whole = fs::read(guests::http_kitchen(Wasi::P2)).unwrap();
    sandbox.put("cut.wasm", &whole[..300]);
    sandbox.put(
        "wharf.toml",
        "manifest = 1\nname = \"cut\"\nversion = \"0.1.0\"\n\
         [component.main]\nsource = \"cut.wasm\"\n",
    );
    let told = |arguments: &[&str]| {
        let output = sandbox.wharf(arguments);
        let lines = output.stderr.lines();
        let lines = lines.skip_while(|line| !line.starts_with("error: "));
        let text = lines.collect::<Vec<_>>().join("\n");
        text.replace(&format!("{}/", sandbox.work().display()), "")
    };
    let run = told(&["run", "cut.wasm"]);
    let (error, hint) = run.split_once('\n').unwrap();
    assert!(
        error.starts_with("error: cut.wasm: truncated at byte 0x"),
        "{run}"
    );
    assert_eq!(
        hint,
        "hint: the file is incomplete: download or build it again"
    );
    for arguments in [
        &["inspect", "cut.wasm"][..],
        &["up", "cut.wasm", "--addr", "127.0.0.1:0"],
        &["build"],
    ] {
        assert_eq!(told(arguments), run, "{arguments:?}");
    }
}

/// Each of these starts processes; a sample of offsets stands for all.
fn check_truncated(file: &Path) {
    let sandbox = sandbox();
    let whole = fs::read(file).unwrap();
    let step = whole.len() / 12;
    let offsets = (0..12).map(|number| number * step + number);
    // The first 8 bytes alone are an empty module: the shortest that is whole.
    for offset in offsets.chain([1, 7, 9, whole.len() - 1]) {
        sandbox.put("cut.wasm", &whole[..offset]);
        run_fails(&sandbox, "cut.wasm");
        inspect_fails(&sandbox, "cut.wasm");
    }
}

#[test]
fn truncated_modules_are_refused() {
    check_truncated(&guests::command(Wasi::P1));
}

#[test]
fn truncated_components_are_refused() {
    check_truncated(&guests::command(Wasi::P2));
}

/// The generator of Numerical Recipes: the same bytes on every run.
fn noise(seed: u32) -> impl Iterator<Item = u8> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
}

#[test]
fn noise_is_refused() {
    let sandbox = sandbox();
    for (seed, head) in [
        (1, &b""[..]),
        (2, b"\0asm"),
        (3, b"\0asm\x01\0\0\0"),
        (4, b"\0asm\x0d\0\x01\0"),
        (5, b"\x7fELF"),
    ] {
        let bytes: Vec<u8> = head.iter().copied().chain(noise(seed).take(4096)).collect();
        sandbox.put("noise.wasm", bytes);
        run_fails(&sandbox, "noise.wasm");
        inspect_fails(&sandbox, "noise.wasm");
    }
}

#[test]
fn flipped_bytes_never_end_in_a_panic() {
    let sandbox = sandbox();
    let whole = fs::read(guests::command(Wasi::P2)).unwrap();
    for (number, place) in noise(6).take(12).enumerate() {
        let mut bytes = whole.clone();
        // Early bytes hold the structure.
        let offset = 8 + usize::from(place) * (number + 1);
        bytes[offset] ^= 0x55;
        sandbox.put("flipped.wasm", bytes);
        for output in [
            sandbox.wharf(["run", "--time", "5s", "flipped.wasm"]),
            sandbox.wharf(["inspect", "flipped.wasm"]),
        ] {
            assert!(output.code >= 0, "{offset}: {output:?}");
            assert!(!output.stderr.contains("panicked"), "{offset}: {output:?}");
        }
    }
}

#[test]
fn a_huge_file_is_refused_without_reading_all_of_it() {
    let sandbox = sandbox();
    let path = sandbox.put("huge.wasm", b"\0asm\x01\0\0\0");
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(300 << 20).unwrap();
    // A limit on the address space would be met by the engine's own reservations.
    run_fails(&sandbox, "huge.wasm");
    inspect_fails(&sandbox, "huge.wasm");
}

#[test]
fn deep_nesting_is_refused() {
    let sandbox = sandbox();
    let deep = |open: &str, close: &str, count: usize| open.repeat(count) + &close.repeat(count);
    sandbox.put("components.wat", deep("(component ", ")", 5_000));
    run_fails(&sandbox, "components.wat");
    inspect_fails(&sandbox, "components.wat");
    // Component after component inside of each other, as bytes: no text parser in the way.
    sandbox.put("nested.wasm", nested_components(2_000));
    run_fails(&sandbox, "nested.wasm");
    inspect_fails(&sandbox, "nested.wasm");
}

#[test]
fn deep_blocks_are_no_reason_to_fail() {
    let sandbox = sandbox();
    let blocks = "(block ".repeat(5_000) + &")".repeat(5_000);
    let text = format!("(module (func (export \"_start\") {blocks}))");
    sandbox.put("blocks.wat", text);
    sandbox.wharf(["inspect", "blocks.wat"]).expect_success();
    sandbox.wharf(["run", "blocks.wat"]).expect_success();
}

/// A module with one function of that many empty blocks, one after the other.
fn many_blocks(count: usize) -> Vec<u8> {
    let leb = |mut number: usize| {
        let mut bytes = Vec::new();
        while number > 0x7f {
            bytes.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    };
    let sized = |bytes: Vec<u8>| [leb(bytes.len()), bytes].concat();
    // No locals, the blocks, the function's end.
    let body = [vec![0], [2, 0x40, 0x0b].repeat(count), vec![0x0b]].concat();
    let section = |id: u8, bytes: Vec<u8>| [vec![id], sized(bytes)].concat();
    [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, vec![1, 0x60, 0, 0]),
        section(3, vec![1, 0]),
        section(7, [&[1, 6][..], b"_start", &[0, 0]].concat()),
        section(10, [vec![1], sized(body)].concat()),
    ]
    .concat()
}

#[test]
fn code_that_takes_too_long_to_compile_is_given_up() {
    let sandbox = sandbox();
    // The compiler takes the square of it: some five seconds here, minutes for ten times as much.
    sandbox.put("bomb.wasm", many_blocks(50_000));
    let run = |time| {
        let run = sandbox.command(["run", "bomb.wasm"]);
        run.env("WHARF_COMPILE_TIME", time).output()
    };
    expect![[r#"
        error: bomb.wasm: compiling took more than 1s of CPU time, the limit for 150005 bytes of code, and was stopped
        hint: code is mostly made on purpose to take that long; if you trust it, allow more, as in WHARF_COMPILE_TIME=10m
    "#]]
    .assert_eq(&run("1s").expect_code(NOT_RUNNABLE).stderr);
    expect![[r#"
        error: WHARF_COMPILE_TIME: `fast` is not a duration
        hint: write a whole number and a unit, such as `500ms`, `30s` or `2m`
    "#]]
    .assert_eq(&run("fast").expect_code(125).stderr);
    // Not nearly as much is no reason.
    sandbox.put("few.wasm", many_blocks(5_000));
    sandbox.wharf(["run", "few.wasm"]).expect_success();
}

fn nested_components(depth: usize) -> Vec<u8> {
    let head = b"\0asm\x0d\0\x01\0";
    let mut bytes = head.to_vec();
    for _ in 0..depth {
        let mut outer = head.to_vec();
        // A section of a nested component, and its length in LEB128.
        outer.push(4);
        let mut length = bytes.len();
        while length > 0x7f {
            outer.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        outer.push(length as u8);
        outer.extend(bytes);
        bytes = outer;
    }
    bytes
}

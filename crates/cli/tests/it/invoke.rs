//! `wharf run --invoke`: a function of a library, its values written in WAVE.

use expect_test::{Expect, expect};
use wharf_testkit::{Output, guests};

use crate::sandbox;

fn invoke(file: &std::path::Path, call: &str) -> Output {
    sandbox().wharf([
        "run".as_ref(),
        file.as_os_str(),
        "--invoke".as_ref(),
        call.as_ref(),
    ])
}

fn check_library(pairs: &[(&str, &str)]) {
    let sandbox = sandbox();
    sandbox.copy(guests::lib_math(), "math.wasm");
    for (call, expected) in pairs {
        let returned = sandbox.wharf(["run", "math.wasm", "--invoke", call]);
        let returned = returned.expect_success();
        assert_eq!(returned.stdout, format!("{expected}\n"), "{call}");
        assert_eq!(returned.stderr, "", "{call}");
    }
}

#[test]
fn simple_values() {
    check_library(&[
        ("add(1, 2)", "3"),
        ("add(-5, 2147483647)", "2147483642"),
        ("not(true)", "false"),
        ("repeat(\"ab\", 3)", "\"ababab\""),
        ("repeat(\"a \\\"b\\\" ü\\n\", 1)", "\"a \\\"b\\\" ü\\n\""),
        ("swap((7, \"x\"))", "(\"x\", 7)"),
    ]);
}

#[test]
fn lists_options_and_results() {
    check_library(&[
        ("mean([1, 2.5, 4])", "some(2.5)"),
        ("mean([])", "none"),
        ("initial(\"über\")", "some('ü')"),
        ("initial(\"\")", "none"),
        ("divide(1, 4)", "ok(0.25)"),
        ("divide(1, 0)", "err(\"division by zero\")"),
        ("nested([[some(1), none], [], [some(2)]])", "[1, 2]"),
    ]);
}

#[test]
fn records_variants_enums_and_flags() {
    check_library(&[
        (
            "measure(rectangle((2, 3)), metre, {area, perimeter})",
            "{area: some(6), perimeter: some(10)}",
        ),
        (
            "measure(polygon([{x: 0, y: 0}, {x: 4, y: 0}, {y: 3, x: 4}]), metre, {area})",
            "{area: some(6)}",
        ),
        // WAVE's way to write a record whose fields are all left out.
        ("measure(nothing, foot, {})", "{:}"),
    ]);
}

#[test]
fn a_module_that_carries_a_component_type_is_called_as_the_component() {
    let sandbox = sandbox();
    sandbox.copy(guests::lib_math_typed(), "math.wasm");
    let call = ["run", "math.wasm", "--invoke", "swap((7, \"x\"))"];
    let returned = sandbox.wharf(call).expect_success();
    assert_eq!(returned.stdout, "(\"x\", 7)\n");
}

#[test]
fn core_modules_take_and_give_numbers() {
    for (name, call, expected) in [
        ("add.wat", "add(40, 2)", "42"),
        ("add.wat", "add(4294967295, -1)", "-2"),
        ("memory64.wat", "add(40, 2)", "42"),
        ("memory64.wat", "grow(1)", "1"),
    ] {
        let returned = invoke(&guests::core_add(name), call).expect_success();
        assert_eq!(returned.stdout, format!("{expected}\n"), "{name} {call}");
    }
}

fn check_mistake(file: &std::path::Path, call: &str, expected: &Expect) {
    let output = invoke(file, call).expect_code(125);
    assert_eq!(output.stdout, "");
    expected.assert_eq(&output.stderr);
}

#[test]
fn calls_that_do_not_fit_are_explained() {
    let math = guests::lib_math();
    check_mistake(
        &math,
        "add(1)",
        &expect![[r#"
            error: the arguments do not fit `add(s32, s32)`: invalid params: missing required param(s), column 6
              |
              | add(1)
              |      ^
        "#]],
    );
    check_mistake(
        &math,
        "add(1, 2, 3)",
        &expect![[r#"
            error: the arguments do not fit `add(s32, s32)`: invalid params: more param(s) than expected, column 11
              |
              | add(1, 2, 3)
              |           ^
        "#]],
    );
    check_mistake(
        &math,
        "add(1, \"two\")",
        &expect![[r#"
            error: the arguments do not fit `add(s32, s32)`: invalid value type, column 8
              |
              | add(1, "two")
              |        ^^^^^
        "#]],
    );
    check_mistake(
        &math,
        "add(1, 2147483648)",
        &expect![[r#"
            error: the arguments do not fit `add(s32, s32)`: invalid value, column 8
              |
              | add(1, 2147483648)
              |        ^^^^^^^^^^
        "#]],
    );
    check_mistake(
        &math,
        "measure(cube(1), metre, {})",
        &expect![[r#"
            error: the arguments do not fit `measure(variant { circle(f64), rectangle(tuple<f64, f64>), polygon(list<record { x: f64, y: f64 }>), nothing }, enum { metre, foot }, flags { area, perimeter })`: error converting Wasm value: unknown case "cube", column 9
              |
              | measure(cube(1), metre, {})
              |         ^^^^^^^
        "#]],
    );
    check_mistake(
        &math,
        "add(1, 2",
        &expect![[r#"
            error: cannot read the call: unexpected end of input, column 9
              |
              | add(1, 2
              |         ^
            hint: write it as `name(1, "text", [1, 2], {field: true})`, in quotes for the shell
        "#]],
    );
    check_mistake(
        &math,
        "add",
        &expect![[r#"
            error: cannot read the call: unexpected end of input, column 4
              |
              | add
              |    ^
            hint: write it as `name(1, "text", [1, 2], {field: true})`, in quotes for the shell
        "#]],
    );
    check_mistake(
        &math,
        "subtract(1, 2)",
        &expect![[r#"
        error: there is no exported function `subtract`; there is `add`, `divide`, `mean`, `repeat`, `initial`, `not`, `swap`, `nested`, `crash`, `wharf:math/geometry@1.0.0#measure`, `wharf:math/counting@1.0.0#[constructor]counter`, `wharf:math/counting@1.0.0#[method]counter.add`, `wharf:math/counting@1.0.0#[method]counter.value`, `wharf:math/counting@1.0.0#[static]counter.sum`
        hint: `wharf inspect` shows its exports
    "#]],
    );
}

#[test]
fn calls_of_core_modules_that_do_not_fit_are_explained() {
    let add = guests::core_add("add.wat");
    check_mistake(
        &add,
        "add(1)",
        &expect![[r#"
        error: the arguments do not fit `add(i32, i32) -> (i32)`: it takes 2, 1 given
    "#]],
    );
    check_mistake(
        &add,
        "add(1, x)",
        &expect![[r#"
            error: the arguments do not fit `add(i32, i32) -> (i32)`: `x` is no i32, column 8
              |
              | add(1, x)
              |        ^
        "#]],
    );
    check_mistake(
        &add,
        "sub(1, 2)",
        &expect![[r#"
        error: there is no exported function `sub`; there is `add`
        hint: `wharf inspect` shows its exports
    "#]],
    );
}

#[test]
fn a_trap_in_a_function_is_a_trap() {
    let crashed = invoke(&guests::lib_math(), "crash()").expect_code(134);
    assert!(crashed.stderr.contains("backtrace"), "{crashed:?}");
}

#[test]
fn without_invoke_a_library_says_how_to_call_it() {
    let sandbox = sandbox();
    sandbox.copy(guests::lib_math(), "math.wasm");
    let refused = sandbox.wharf(["run", "math.wasm"]).expect_code(126);
    expect![[r#"
        error: this component exports no `wasi:cli/run`, so there is nothing to run
        hint: call one of its functions with `--invoke 'name(1, "x")'`; `wharf inspect` lists them
    "#]]
    .assert_eq(&refused.stderr);
    let add = guests::core_add("add.wat");
    let refused = sandbox.wharf(["run".as_ref(), add.as_os_str()]);
    expect![[r#"
        error: this module exports no `_start`, so there is nothing to run
        hint: call one of its functions with `--invoke 'name(1, 2)'`; `wharf inspect` lists them
    "#]]
    .assert_eq(&refused.expect_code(126).stderr);
}

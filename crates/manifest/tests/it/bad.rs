//! Mistakes, each with all that is shown for it.

use expect_test::expect;

use crate::{check, check_body};

#[test]
fn empty() {
    check(
        "",
        expect![[r#"
            missing key `manifest` in the manifest
             --> wharf.toml:1:1
            hint: add `manifest = 1`

            error: missing key `name` in the manifest
             --> wharf.toml:1:1
            hint: add `name = "my-app"`

            error: missing key `version` in the manifest
             --> wharf.toml:1:1
            hint: add `version = "0.1.0"`

            error: the app has no component and no route
             --> wharf.toml:1:1
            hint: add a table `[component.NAME]` with `source = "FOLDER"`
        "#]],
    );
}

#[test]
fn not_toml() {
    check(
        r#"manifest = 1
name = "a
version = 
[component
"#,
        expect![[r#"
            invalid basic string, expected `"`
             --> wharf.toml:2:10
              |
            2 | name = "a
              |          ^

            error: string values must be quoted, expected literal string
             --> wharf.toml:3:11
              |
            3 | version =
              |           ^

            error: unclosed table, expected `]`
             --> wharf.toml:4:11
              |
            4 | [component
              |           ^
        "#]],
    );
}

#[test]
fn key_twice() {
    check_body(
        r#"name = "b"
"#,
        expect![[r#"
            duplicate key
             --> wharf.toml:4:1
              |
            4 | name = "b"
              | ^^^^
        "#]],
    );
}

#[test]
fn no_version_of_the_format() {
    check(
        r#"name = "a"
version = "1.0.0"
[component.a]
source = "a"
"#,
        expect![[r#"
            missing key `manifest` in the manifest
             --> wharf.toml:1:1
              |
            1 | name = "a"
              | ^
            hint: add `manifest = 1`
        "#]],
    );
}

#[test]
fn newer_version_of_the_format() {
    check(
        r#"manifest = 2
future = true
"#,
        expect![[r#"
            manifest version 2 is newer than this wharf knows (1)
             --> wharf.toml:1:12
              |
            1 | manifest = 2
              |            ^
            hint: update wharf
        "#]],
    );
}

#[test]
fn version_of_the_format_as_text() {
    check(
        r#"manifest = "1"
"#,
        expect![[r#"
            expected `1`, found a string
             --> wharf.toml:1:12
              |
            1 | manifest = "1"
              |            ^^^
            hint: write `manifest = 1`
        "#]],
    );
}

#[test]
fn nothing_in_it() {
    check_body(
        "",
        expect![[r#"
        the app has no component and no route
         --> wharf.toml:1:1
          |
        1 | manifest = 1
          | ^
        hint: add a table `[component.NAME]` with `source = "FOLDER"`
    "#]],
    );
}

#[test]
fn unknown_keys_get_suggestions() {
    check_body(
        r#"descripton = "x"
[componet.api]
source = "api"
[component.api]
sorce = "api"
bananas = 1
[component.api.grants]
htpp = []
"#,
        expect![[r#"
            unknown key `descripton` in the manifest
             --> wharf.toml:4:1
              |
            4 | descripton = "x"
              | ^^^^^^^^^^
            hint: did you mean `description`?

            error: unknown key `componet` in the manifest
             --> wharf.toml:5:2
              |
            5 | [componet.api]
              |  ^^^^^^^^
            hint: did you mean `component`?

            error: missing key `source` in the component
             --> wharf.toml:7:1
              |
            7 | [component.api]
              | ^^^^^^^^^^^^^^^
            hint: add `source = "FOLDER"`

            error: unknown key `sorce` in the component
             --> wharf.toml:8:1
              |
            8 | sorce = "api"
              | ^^^^^
            hint: did you mean `source`?

            error: unknown key `bananas` in the component
             --> wharf.toml:9:1
              |
            9 | bananas = 1
              | ^^^^^^^
            hint: the keys are source, pure, optimize, features, watch, isolation, reuse, grants, limits

            error: unknown key `htpp` in the grants
              --> wharf.toml:11:1
               |
            11 | htpp = []
               | ^^^^
            hint: did you mean `http`?
        "#]],
    );
}

#[test]
fn limits_and_grants_in_the_wrong_table() {
    check_body(
        r#"[component.api]
source = "api"
memory = "1GiB"
http = ["*"]
"#,
        expect![[r#"
            unknown key `memory` in the component
             --> wharf.toml:6:1
              |
            6 | memory = "1GiB"
              | ^^^^^^
            hint: it is a limit: write it in `limits = { … }`

            error: unknown key `http` in the component
             --> wharf.toml:7:1
              |
            7 | http = ["*"]
              | ^^^^
            hint: it is a grant: write it under `[component.NAME.grants]`
        "#]],
    );
}

#[test]
fn later_keys() {
    check_body(
        r#"[component.api]
source = "api"
grants = { keyvalue = ["default"], sql = [], models = [], config = [], secrets = [], blobs = [], queues = [] }
[[trigger.cron]]
schedule = "*"
[trigger.queue]
[model.chat]
"#,
        expect![[r#"
            `keyvalue` is not available in this version of wharf
             --> wharf.toml:6:12
              |
            6 | grants = { keyvalue = ["default"], sql = [], models = [], config = [], secrets = [], blobs = [], queues = [] }
              |            ^^^^^^^^

            error: `sql` is not available in this version of wharf
             --> wharf.toml:6:36
              |
            6 | grants = { keyvalue = ["default"], sql = [], models = [], config = [], secrets = [], blobs = [], queues = [] }
              |                                    ^^^

            error: `models` is not available in this version of wharf
             --> wharf.toml:6:46
              |
            6 | grants = { keyvalue = ["default"], sql = [], models = [], config = [], secrets = [], blobs = [], queues = [] }
              |                                              ^^^^^^

            error: `config` is not available in this version of wharf
             --> wharf.toml:6:59
              |
            6 | grants = { keyvalue = ["default"], sql = [], models = [], config = [], secrets = [], blobs = [], queues = [] }
              |                                                           ^^^^^^

            error: `secrets` is not available in this version of wharf
             --> wharf.toml:6:72
              |
            6 | grants = { keyvalue = ["default"], sql = [], models = [], config = [], secrets = [], blobs = [], queues = [] }
              |                                                                        ^^^^^^^

            error: `blobs` is not available in this version of wharf
             --> wharf.toml:6:86
              |
            6 | grants = { keyvalue = ["default"], sql = [], models = [], config = [], secrets = [], blobs = [], queues = [] }
              |                                                                                      ^^^^^

            error: `queues` is not available in this version of wharf
             --> wharf.toml:6:98
              |
            6 | grants = { keyvalue = ["default"], sql = [], models = [], config = [], secrets = [], blobs = [], queues = [] }
              |                                                                                                  ^^^^^^

            error: `cron` is not available in this version of wharf
             --> wharf.toml:7:11
              |
            7 | [[trigger.cron]]
              |           ^^^^

            error: `queue` is not available in this version of wharf
             --> wharf.toml:9:10
              |
            9 | [trigger.queue]
              |          ^^^^^

            error: `model` is not available in this version of wharf
              --> wharf.toml:10:2
               |
            10 | [model.chat]
               |  ^^^^^
        "#]],
    );
}

#[test]
fn bad_names() {
    check(
        r#"manifest = 1
name = "My App"
version = "1"
[component.Web_UI]
source = "a"
[component.""]
source = "a"
"#,
        expect![[r#"
            `My App` is not a valid app name
             --> wharf.toml:2:8
              |
            2 | name = "My App"
              |        ^^^^^^^^
            hint: names are words of a-z and 0-9 joined by `-`; try `my-app`

            error: `1` is not a version
             --> wharf.toml:3:11
              |
            3 | version = "1"
              |           ^^^
            hint: a version is three numbers, as in `0.1.0`

            error: `Web_UI` is not a valid component name
             --> wharf.toml:4:12
              |
            4 | [component.Web_UI]
              |            ^^^^^^
            hint: names are words of a-z and 0-9 joined by `-`; try `web-ui`

            error: the component name is empty
             --> wharf.toml:6:12
              |
            6 | [component.""]
              |            ^^
        "#]],
    );
}

#[test]
fn wrong_types() {
    check_body(
        r#"description = 5
component = []
[trigger]
http = "/"
command = true
"#,
        expect![[r#"
            expected a string, found an integer
             --> wharf.toml:4:15
              |
            4 | description = 5
              |               ^

            error: expected tables `[component.NAME]`, found an array
             --> wharf.toml:5:13
              |
            5 | component = []
              |             ^^
            hint: write `[component.NAME]` in single brackets

            error: expected an array, found a string
             --> wharf.toml:7:8
              |
            7 | http = "/"
              |        ^^^
            hint: write each as a table under double brackets: `[[…]]`

            error: expected a table, found a boolean
             --> wharf.toml:8:11
              |
            8 | command = true
              |           ^^^^
        "#]],
    );
}

#[test]
fn wrong_types_below() {
    check_body(
        r#"[component.a]
source = ["a"]
pure = "yes"
features = "fast"
watch = ["a", 5]
reuse = 2020-01-01
isolation = 1.5
limits = "1GiB"
[component.a.grants]
http = "*"
env = { A = 1 }
"#,
        expect![[r#"
            expected a folder or file such as `"api"` or `"api.wasm"`, found an array
             --> wharf.toml:5:10
              |
            5 | source = ["a"]
              |          ^^^^^

            error: expected `true` or `false`, found a string
             --> wharf.toml:6:8
              |
            6 | pure = "yes"
              |        ^^^^^

            error: expected an array, found a string
             --> wharf.toml:7:12
              |
            7 | features = "fast"
              |            ^^^^^^
            hint: write it in brackets: ["fast"]

            error: expected a path such as `"public"`, found an integer
             --> wharf.toml:8:15
              |
            8 | watch = ["a", 5]
              |               ^

            error: expected `true` or `false`, found a date
             --> wharf.toml:9:9
              |
            9 | reuse = 2020-01-01
              |         ^^^^^^^^^^

            error: expected `"shared"` or `"request"`, found a float
              --> wharf.toml:10:13
               |
            10 | isolation = 1.5
               |             ^^^

            error: expected a table, found a string
              --> wharf.toml:11:10
               |
            11 | limits = "1GiB"
               |          ^^^^^^

            error: expected an array, found a string
              --> wharf.toml:13:8
               |
            13 | http = "*"
               |        ^^^
            hint: write it in brackets: ["*"]

            error: expected a string, found an integer
              --> wharf.toml:14:13
               |
            14 | env = { A = 1 }
               |             ^
        "#]],
    );
}

#[test]
fn single_brackets() {
    check_body(
        r#"[component.a]
source = "a"
[trigger.http]
route = "/..."
component = "a"
"#,
        expect![[r#"
            expected an array, found a table
             --> wharf.toml:6:1
              |
            6 | [trigger.http]
              | ^^^^^^^^^^^^^^
            hint: write each as a table under double brackets: `[[…]]`
        "#]],
    );
}

#[test]
fn double_brackets() {
    check_body(
        r#"[[component]]
name = "a"
source = "a"
[[trigger.http]]
route = "/..."
component = "a"
"#,
        expect![[r#"
            expected tables `[component.NAME]`, found an array
             --> wharf.toml:4:1
              |
            4 | [[component]]
              | ^^^^^^^^^^^^^
            hint: write `[component.NAME]` in single brackets
        "#]],
    );
}

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

        missing key `name` in the manifest
         --> wharf.toml:1:1
        hint: add `name = "my-app"`

        missing key `version` in the manifest
         --> wharf.toml:1:1
        hint: add `version = "0.1.0"`

        the app has no component and no route
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

            string values must be quoted, expected literal string
             --> wharf.toml:3:11
              |
            3 | version =
              |           ^

            unclosed table, expected `]`
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

            unknown key `componet` in the manifest
             --> wharf.toml:5:2
              |
            5 | [componet.api]
              |  ^^^^^^^^
            hint: did you mean `component`?

            missing key `source` in the component
             --> wharf.toml:7:1
              |
            7 | [component.api]
              | ^^^^^^^^^^^^^^^
            hint: add `source = "FOLDER"`

            unknown key `sorce` in the component
             --> wharf.toml:8:1
              |
            8 | sorce = "api"
              | ^^^^^
            hint: did you mean `source`?

            unknown key `bananas` in the component
             --> wharf.toml:9:1
              |
            9 | bananas = 1
              | ^^^^^^^
            hint: the keys are source, pure, optimize, features, watch, isolation, reuse, grants, limits

            unknown key `htpp` in the grants
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

            unknown key `http` in the component
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

            `sql` is not available in this version of wharf
             --> wharf.toml:6:36
              |
            6 | grants = { keyvalue = ["default"], sql = [], models = [], config = [], secrets = [], blobs = [], queues = [] }
              |                                    ^^^

            `models` is not available in this version of wharf
             --> wharf.toml:6:46
              |
            6 | grants = { keyvalue = ["default"], sql = [], models = [], config = [], secrets = [], blobs = [], queues = [] }
              |                                              ^^^^^^

            `config` is not available in this version of wharf
             --> wharf.toml:6:59
              |
            6 | grants = { keyvalue = ["default"], sql = [], models = [], config = [], secrets = [], blobs = [], queues = [] }
              |                                                           ^^^^^^

            `secrets` is not available in this version of wharf
             --> wharf.toml:6:72
              |
            6 | grants = { keyvalue = ["default"], sql = [], models = [], config = [], secrets = [], blobs = [], queues = [] }
              |                                                                        ^^^^^^^

            `blobs` is not available in this version of wharf
             --> wharf.toml:6:86
              |
            6 | grants = { keyvalue = ["default"], sql = [], models = [], config = [], secrets = [], blobs = [], queues = [] }
              |                                                                                      ^^^^^

            `queues` is not available in this version of wharf
             --> wharf.toml:6:98
              |
            6 | grants = { keyvalue = ["default"], sql = [], models = [], config = [], secrets = [], blobs = [], queues = [] }
              |                                                                                                  ^^^^^^

            `cron` is not available in this version of wharf
             --> wharf.toml:7:11
              |
            7 | [[trigger.cron]]
              |           ^^^^

            `queue` is not available in this version of wharf
             --> wharf.toml:9:10
              |
            9 | [trigger.queue]
              |          ^^^^^

            `model` is not available in this version of wharf
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

            `1` is not a version
             --> wharf.toml:3:11
              |
            3 | version = "1"
              |           ^^^
            hint: a version is three numbers, as in `0.1.0`

            `Web_UI` is not a valid component name
             --> wharf.toml:4:12
              |
            4 | [component.Web_UI]
              |            ^^^^^^
            hint: names are words of a-z and 0-9 joined by `-`; try `web-ui`

            the component name is empty
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

            expected tables `[component.NAME]`, found an array
             --> wharf.toml:5:13
              |
            5 | component = []
              |             ^^
            hint: write `[component.NAME]` in single brackets

            expected an array, found a string
             --> wharf.toml:7:8
              |
            7 | http = "/"
              |        ^^^
            hint: write each as a table under double brackets: `[[…]]`

            expected a table, found a boolean
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

            expected `true` or `false`, found a string
             --> wharf.toml:6:8
              |
            6 | pure = "yes"
              |        ^^^^^

            expected an array, found a string
             --> wharf.toml:7:12
              |
            7 | features = "fast"
              |            ^^^^^^
            hint: write it in brackets: ["fast"]

            expected a path such as `"public"`, found an integer
             --> wharf.toml:8:15
              |
            8 | watch = ["a", 5]
              |               ^

            expected `true` or `false`, found a date
             --> wharf.toml:9:9
              |
            9 | reuse = 2020-01-01
              |         ^^^^^^^^^^

            expected `"shared"` or `"request"`, found a float
              --> wharf.toml:10:13
               |
            10 | isolation = 1.5
               |             ^^^

            expected a table, found a string
              --> wharf.toml:11:10
               |
            11 | limits = "1GiB"
               |          ^^^^^^

            expected an array, found a string
              --> wharf.toml:13:8
               |
            13 | http = "*"
               |        ^^^
            hint: write it in brackets: ["*"]

            expected a string, found an integer
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

#[test]
fn bad_limits() {
    check_body(
        r#"[component.a]
source = "a"
[component.a.limits]
memory = "128M"
time = 30
cpu = "0s"
body_idle = "1m30s"
concurrency = 0
queue = -1
handles = 5_000_000_000
outgoing = "64"
response = 0
log = 99999999999999999999999
"#,
        expect![[r#"
            `128M` is not a size
             --> wharf.toml:7:10
              |
            7 | memory = "128M"
              |          ^^^^^^
            hint: did you mean `128MiB`?

            expected a duration such as `"30s"`, found an integer
             --> wharf.toml:8:8
              |
            8 | time = 30
              |        ^^
            hint: give it a unit: `"30s"` or `"30ms"`

            a limit cannot be zero
             --> wharf.toml:9:7
              |
            9 | cpu = "0s"
              |       ^^^^

            `1m30s` is not a duration
              --> wharf.toml:10:13
               |
            10 | body_idle = "1m30s"
               |             ^^^^^^^
            hint: the units are `ms`, `s`, `m` and `h`, one to a duration

            a limit cannot be zero
              --> wharf.toml:11:15
               |
            11 | concurrency = 0
               |               ^

            the number is not from 1 to 4294967295
              --> wharf.toml:12:9
               |
            12 | queue = -1
               |         ^^

            the number is not from 1 to 4294967295
              --> wharf.toml:13:11
               |
            13 | handles = 5_000_000_000
               |           ^^^^^^^^^^^^^

            expected a whole number, found a string
              --> wharf.toml:14:12
               |
            14 | outgoing = "64"
               |            ^^^^

            a limit cannot be zero
              --> wharf.toml:15:12
               |
            15 | response = 0
               |            ^

            a size is from 1 byte to 2⁶⁴-1 bytes
              --> wharf.toml:16:7
               |
            16 | log = 99999999999999999999999
               |       ^^^^^^^^^^^^^^^^^^^^^^^
        "#]],
    );
}

#[test]
fn bad_grants() {
    check_body(
        r#"[component.a]
source = "a"
[component.a.grants]
http = ["example.com", "https://a.org/x"]
net = ["db", "http://db:80"]
files = ["/etc", "data:data"]
env = { "A=B" = "x" }
"#,
        expect![[r#"
            the HTTP grant `example.com` has no scheme
             --> wharf.toml:7:9
              |
            7 | http = ["example.com", "https://a.org/x"]
              |         ^^^^^^^^^^^^^
            hint: write `https://example.com`

            the HTTP grant `https://a.org/x` has a path
             --> wharf.toml:7:24
              |
            7 | http = ["example.com", "https://a.org/x"]
              |                        ^^^^^^^^^^^^^^^^^
            hint: a grant is for a whole server: write `https://a.org`

            the socket grant `db` has no port
             --> wharf.toml:8:8
              |
            8 | net = ["db", "http://db:80"]
              |        ^^^^
            hint: write `db:*` for every port

            `http` is not a kind of socket; there are `tcp` and `udp`
             --> wharf.toml:8:14
              |
            8 | net = ["db", "http://db:80"]
              |              ^^^^^^^^^^^^^^
            hint: HTTP requests are granted under `http`

            the path `/etc` is absolute
             --> wharf.toml:9:10
              |
            9 | files = ["/etc", "data:data"]
              |          ^^^^^^
            hint: paths are relative to the folder of wharf.toml and stay in it

            the guest's path `data` is not absolute
             --> wharf.toml:9:18
              |
            9 | files = ["/etc", "data:data"]
              |                  ^^^^^^^^^^^
            hint: a file grant is `HOST:GUEST` or `HOST:GUEST:rw`, as in `data:/data:rw`

            `A=B` cannot name a variable
              --> wharf.toml:10:9
               |
            10 | env = { "A=B" = "x" }
               |         ^^^^^
        "#]],
    );
}

#[test]
fn two_folders_at_one_path() {
    check_body(
        r#"[component.a]
source = "a"
grants.files = ["x:/data", "data"]
"#,
        expect![[r#"
            two folders have the guest's path `/data`
             --> wharf.toml:6:16
              |
            6 | grants.files = ["x:/data", "data"]
              |                ^^^^^^^^^^^^^^^^^^^
        "#]],
    );
}

#[test]
fn paths_that_leave_the_app() {
    check_body(
        r#"[component.a]
source = "../a"
watch = ["/usr"]
[component.b]
source = 'C:\b'
[[trigger.http]]
route = "/..."
files = "public/../.."
fallback = "../index.html"
"#,
        expect![[r#"
            the path `../a` has a `..`
             --> wharf.toml:5:10
              |
            5 | source = "../a"
              |          ^^^^^^
            hint: paths are relative to the folder of wharf.toml and stay in it

            the path `/usr` is absolute
             --> wharf.toml:6:10
              |
            6 | watch = ["/usr"]
              |          ^^^^^^
            hint: paths are relative to the folder of wharf.toml and stay in it

            the path `C:\b` holds the character `:`, which paths in an app may not
             --> wharf.toml:8:10
              |
            8 | source = 'C:\b'
              |          ^^^^^^

            the path `public/../..` has a `..`
              --> wharf.toml:11:9
               |
            11 | files = "public/../.."
               |         ^^^^^^^^^^^^^^
            hint: paths are relative to the folder of wharf.toml and stay in it

            the path `../index.html` has a `..`
              --> wharf.toml:12:12
               |
            12 | fallback = "../index.html"
               |            ^^^^^^^^^^^^^^^
            hint: paths are relative to the folder of wharf.toml and stay in it
        "#]],
    );
}

#[test]
fn sources_of_later_versions() {
    check_body(
        r#"[component.a]
source = "ghcr.io/someone/thing:1.0"
[component.b]
source = "https://example.com/b.wasm"
"#,
        expect![[r#"
            `ghcr.io/someone/thing:1.0` is no path, and other sources are not available in this version of wharf
             --> wharf.toml:5:10
              |
            5 | source = "ghcr.io/someone/thing:1.0"
              |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^
            hint: give a folder, or download the component and give its `.wasm` file

            `https://example.com/b.wasm` is no path, and other sources are not available in this version of wharf
             --> wharf.toml:7:10
              |
            7 | source = "https://example.com/b.wasm"
              |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
            hint: give a folder, or download the component and give its `.wasm` file
        "#]],
    );
}

#[test]
fn component_without_source() {
    check_body(
        r#"[component.a]
[component.b.grants]
http = []
"#,
        expect![[r#"
            missing key `source` in the component
             --> wharf.toml:4:1
              |
            4 | [component.a]
              | ^^^^^^^^^^^^^
            hint: add `source = "FOLDER"`

            missing key `source` in the component
             --> wharf.toml:5:12
              |
            5 | [component.b.grants]
              |            ^
            hint: add `source = "FOLDER"`
        "#]],
    );
}

#[test]
fn duplicate_routes() {
    check_body(
        r#"[component.a]
source = "a"
[[trigger.http]]
route = "/~x/..."
component = "a"
[[trigger.http]]
route = "/%7ex/..."
component = "a"
"#,
        expect![[r#"
            the route `/~x/...` is there twice
              --> wharf.toml:10:9
               |
            10 | route = "/%7ex/..."
               |         ^^^^^^^^^^^
            hint: it is first on line 7
        "#]],
    );
}

#[test]
fn bad_routes() {
    check_body(
        r#"[component.a]
source = "a"
[[trigger.http]]
route = "api"
component = "a"
[[trigger.http]]
route = "/api/*"
component = "a"
[[trigger.http]]
route = "/a/../b"
component = "a"
[[trigger.http]]
component = "a"
"#,
        expect![[r#"
            the route `api` does not start with `/`
             --> wharf.toml:7:9
              |
            7 | route = "api"
              |         ^^^^^
            hint: write `/api`

            the route `/api/*` holds the character `*`, which a route cannot
              --> wharf.toml:10:9
               |
            10 | route = "/api/*"
               |         ^^^^^^^^
            hint: a route is an exact path, or ends in `/...` for all below

            the route `/a/../b` has a `.` or `..` segment
              --> wharf.toml:13:9
               |
            13 | route = "/a/../b"
               |         ^^^^^^^^^

            missing key `route` in the route
              --> wharf.toml:15:1
               |
            15 | [[trigger.http]]
               | ^^^^^^^^^^^^^^^^
            hint: add `route = "/..."`
        "#]],
    );
}

#[test]
fn unknown_components() {
    check_body(
        r#"[component.guestbook-api]
source = "a"
[[trigger.http]]
route = "/..."
component = "guestbok-api"
[trigger.command]
component = "x"
"#,
        expect![[r#"
            there is no component `guestbok-api`
             --> wharf.toml:8:13
              |
            8 | component = "guestbok-api"
              |             ^^^^^^^^^^^^^^
            hint: did you mean `guestbook-api`?

            there is no component `x`
              --> wharf.toml:10:13
               |
            10 | component = "x"
               |             ^^^
            hint: add a table `[component.x]`, or name one of `guestbook-api`
        "#]],
    );
}

#[test]
fn unknown_component_where_there_is_none() {
    check_body(
        r#"trigger.command.component = "x"
"#,
        expect![[r#"
            there is no component `x`
             --> wharf.toml:4:29
              |
            4 | trigger.command.component = "x"
              |                             ^^^
            hint: add a table `[component.x]`
        "#]],
    );
}

#[test]
fn both_and_neither() {
    check_body(
        r#"[component.a]
source = "a"
[[trigger.http]]
route = "/a"
component = "a"
files = "public"
[[trigger.http]]
route = "/b"
[[trigger.http]]
route = "/c"
component = "a"
fallback = "index.html"
cache = "x"
"#,
        expect![[r#"
            the route has both `component` and `files`
             --> wharf.toml:9:9
              |
            9 | files = "public"
              |         ^^^^^^^^
            hint: give each a route of its own

            the route has neither `component` nor `files`
              --> wharf.toml:10:1
               |
            10 | [[trigger.http]]
               | ^^^^^^^^^^^^^^^^
            hint: add `component = "NAME"` or `files = "FOLDER"`

            `fallback` goes with `files` only
              --> wharf.toml:15:12
               |
            15 | fallback = "index.html"
               |            ^^^^^^^^^^^^

            `cache` goes with `files` only
              --> wharf.toml:16:9
               |
            16 | cache = "x"
               |         ^^^
        "#]],
    );
}

#[test]
fn bad_files_keys() {
    check_body(
        r#"[[trigger.http]]
route = "/..."
files = "public"
fallback = "."
cache = "a\nb"
"#,
        expect![[r#"
            `.` is not a file
             --> wharf.toml:7:12
              |
            7 | fallback = "."
              |            ^^^

            `a�b` is not the value of a header
             --> wharf.toml:8:9
              |
            8 | cache = "a\nb"
              |         ^^^^^^
            hint: it is of printable ASCII characters, with no space at either end
        "#]],
    );
}

#[test]
fn bad_words() {
    check_body(
        r#"[component.a]
source = "a"
isolation = "requests"
features = ["a,b", "--all"]
[component.b]
source = "b"
isolation = "none"
"#,
        expect![[r#"
            there is no isolation `requests`
             --> wharf.toml:6:13
              |
            6 | isolation = "requests"
              |             ^^^^^^^^^^
            hint: did you mean `request`?

            `a,b` is not the name of a feature
             --> wharf.toml:7:13
              |
            7 | features = ["a,b", "--all"]
              |             ^^^^^
            hint: give each feature as a string of its own

            `--all` is not the name of a feature
             --> wharf.toml:7:20
              |
            7 | features = ["a,b", "--all"]
              |                    ^^^^^^^

            there is no isolation `none`
              --> wharf.toml:10:13
               |
            10 | isolation = "none"
               |             ^^^^^^
            hint: there are `shared` and `request`
        "#]],
    );
}

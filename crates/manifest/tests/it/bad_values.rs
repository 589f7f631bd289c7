//! Mistakes in values and in how parts refer to each other, each with all that is shown for it.

use expect_test::expect;

use crate::check_body;

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

            error: expected a duration such as `"30s"`, found an integer
             --> wharf.toml:8:8
              |
            8 | time = 30
              |        ^^
            hint: give it a unit: `"30s"` or `"30ms"`

            error: a limit cannot be zero
             --> wharf.toml:9:7
              |
            9 | cpu = "0s"
              |       ^^^^

            error: `1m30s` is not a duration
              --> wharf.toml:10:13
               |
            10 | body_idle = "1m30s"
               |             ^^^^^^^
            hint: the units are `ms`, `s`, `m` and `h`, one to a duration

            error: a limit cannot be zero
              --> wharf.toml:11:15
               |
            11 | concurrency = 0
               |               ^

            error: the number is not from 1 to 4294967295
              --> wharf.toml:12:9
               |
            12 | queue = -1
               |         ^^

            error: the number is not from 1 to 4294967295
              --> wharf.toml:13:11
               |
            13 | handles = 5_000_000_000
               |           ^^^^^^^^^^^^^

            error: expected a whole number, found a string
              --> wharf.toml:14:12
               |
            14 | outgoing = "64"
               |            ^^^^

            error: a limit cannot be zero
              --> wharf.toml:15:12
               |
            15 | response = 0
               |            ^

            error: a size is from 1 byte to 2⁶⁴-1 bytes
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

            error: the HTTP grant `https://a.org/x` has a path
             --> wharf.toml:7:24
              |
            7 | http = ["example.com", "https://a.org/x"]
              |                        ^^^^^^^^^^^^^^^^^
            hint: a grant is for a whole server: write `https://a.org`

            error: the socket grant `db` has no port
             --> wharf.toml:8:8
              |
            8 | net = ["db", "http://db:80"]
              |        ^^^^
            hint: write `db:*` for every port

            error: `http` is not a kind of socket; there are `tcp` and `udp`
             --> wharf.toml:8:14
              |
            8 | net = ["db", "http://db:80"]
              |              ^^^^^^^^^^^^^^
            hint: HTTP requests are granted under `http`

            error: the path `/etc` is absolute
             --> wharf.toml:9:10
              |
            9 | files = ["/etc", "data:data"]
              |          ^^^^^^
            hint: paths are relative to the folder of wharf.toml and stay in it

            error: the guest's path `data` is not absolute
             --> wharf.toml:9:18
              |
            9 | files = ["/etc", "data:data"]
              |                  ^^^^^^^^^^^
            hint: a file grant is `HOST:GUEST` or `HOST:GUEST:rw`, as in `data:/data:rw`

            error: `A=B` cannot name a variable
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

            error: the path `/usr` is absolute
             --> wharf.toml:6:10
              |
            6 | watch = ["/usr"]
              |          ^^^^^^
            hint: paths are relative to the folder of wharf.toml and stay in it

            error: the path `C:\b` holds the character `:`, which paths in an app may not
             --> wharf.toml:8:10
              |
            8 | source = 'C:\b'
              |          ^^^^^^

            error: the path `public/../..` has a `..`
              --> wharf.toml:11:9
               |
            11 | files = "public/../.."
               |         ^^^^^^^^^^^^^^
            hint: paths are relative to the folder of wharf.toml and stay in it

            error: the path `../index.html` has a `..`
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

            error: `https://example.com/b.wasm` is no path, and other sources are not available in this version of wharf
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

            error: missing key `source` in the component
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

            error: the route `/api/*` holds the character `*`, which a route cannot
              --> wharf.toml:10:9
               |
            10 | route = "/api/*"
               |         ^^^^^^^^
            hint: a route is an exact path, or ends in `/...` for all below

            error: the route `/a/../b` has a `.` or `..` segment
              --> wharf.toml:13:9
               |
            13 | route = "/a/../b"
               |         ^^^^^^^^^

            error: missing key `route` in the route
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

            error: there is no component `x`
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

            error: the route has neither `component` nor `files`
              --> wharf.toml:10:1
               |
            10 | [[trigger.http]]
               | ^^^^^^^^^^^^^^^^
            hint: add `component = "NAME"` or `files = "FOLDER"`

            error: `fallback` goes with `files` only
              --> wharf.toml:15:12
               |
            15 | fallback = "index.html"
               |            ^^^^^^^^^^^^

            error: `cache` goes with `files` only
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

            error: `a�b` is not the value of a header
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

            error: `a,b` is not the name of a feature
             --> wharf.toml:7:13
              |
            7 | features = ["a,b", "--all"]
              |             ^^^^^
            hint: give each feature as a string of its own

            error: `--all` is not the name of a feature
             --> wharf.toml:7:20
              |
            7 | features = ["a,b", "--all"]
              |                    ^^^^^^^

            error: there is no isolation `none`
              --> wharf.toml:10:13
               |
            10 | isolation = "none"
               |             ^^^^^^
            hint: there are `shared` and `request`
        "#]],
    );
}

//! `--help`, `--version`, and words that the command does not know.

use expect_test::{Expect, expect};

use crate::sandbox;

#[test]
fn version_is_one_line() {
    let output = sandbox().wharf(["--version"]).expect_success();
    assert_eq!(
        output.stdout,
        concat!("wharf ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

fn check(arguments: &[&str], expected: &Expect) {
    let output = sandbox().wharf(arguments).expect_success();
    assert_eq!(output.stderr, "");
    expected.assert_eq(&output.stdout);
}

#[test]
fn help() {
    check(
        &["--help"],
        &expect![[r#"
            Make, build, run, inspect and serve WebAssembly components

            Usage: wharf <COMMAND>

            Commands:
              new      Make a new app from a template
              build    Build an app: sources to components, packed into the store
              up       Serve an app or a component over HTTP, here
              serve    Serve many apps by host name, with TLS, as a node file says
              run      Run a command: a component, a WASI 0.1 module, or a function of either
              inspect  Show what a file or an app is, imports, exports and may ask for
              help     Print this message or the help of the given subcommand(s)

            Options:
              -h, --help     Print help
              -V, --version  Print version

            Examples:
              wharf new app guestbook && cd guestbook && wharf up --watch
              wharf run hello.wasm -- Ada
              wharf inspect hello.wasm

            Environment:
              WHARF_STORE_DIR     where artifacts are kept           [~/.local/share/wharf/store]
              WHARF_CACHE_DIR     where native code is kept          [~/.cache/wharf]
              WHARF_COMPILE_TIME  CPU time to compile one program    [20s and 16s for each MiB of code]
              WHARF_WASM_OPT      the wasm-opt to use                [the one on PATH]
              OTEL_EXPORTER_OTLP_ENDPOINT
                                  where up and serve send traces and logs, over HTTP [nowhere]
              NO_COLOR            no colours
        "#]],
    );
}

#[test]
fn help_of_new() {
    check(
        &["new", "--help"],
        &expect![[r#"
        Make a new app from a template

        Usage: wharf new [OPTIONS] <TEMPLATE> <NAME>

        Arguments:
          <TEMPLATE>  What to make
          <NAME>      Its name: small letters, digits and hyphens

        Options:
              --dir <DIR>  The folder to make [default: ./NAME]
          -h, --help       Print help

        Templates:
          http-rust     answers HTTP requests, in Rust
          cli-rust      a command with arguments and exit codes, in Rust
          library-rust  functions for other programs, described in WIT, in Rust
          app           an API in Rust and a static front end

        Examples:
          wharf new http-rust hello
          wharf new app guestbook --dir ~/code/guestbook
    "#]],
    );
}

#[test]
fn help_of_build() {
    check(
        &["build", "--help"],
        &expect![[r#"
        Build an app: sources to components, packed into the store

        Usage: wharf build [OPTIONS] [DIR]

        Arguments:
          [DIR]  The app's folder, with its wharf.toml [default: .]

        Options:
              --json     Print the report as JSON
              --force    Build even if nothing changed
              --offline  Fetch nothing from the network
          -v, --verbose  Show every command that the build runs
          -h, --help     Print help

        Examples:
          wharf build
          wharf build examples/darkroom --json | jq '.components[].size'
    "#]],
    );
}

#[test]
fn help_of_up() {
    check(
        &["up", "--help"],
        &expect![[r#"
            Serve an app or a component over HTTP, here

            Usage: wharf up [OPTIONS] [DIR|FILE]

            Arguments:
              [DIR|FILE]  An app's folder, or a .wasm or .wat file that answers HTTP [default: .]

            Options:
                  --addr <IP:PORT>   Where to listen: an IP address, a port or both; port 0 takes a free one
                                     [default: 127.0.0.1:3000]
                  --watch            Build and swap when a source changes; pages in a browser reload
                  --admin <IP:PORT>  Answer /metrics, /healthz and /readyz there [default: nowhere]
                  --force            Build even if nothing changed
                  --offline          Fetch nothing from the network
              -v, --verbose          Show every command that the build runs
              -h, --help             Print help

            Grants:
                  --dir <HOST[::GUEST][:ro]>  A folder, read and write unless :ro
              -e, --env <NAME[=VALUE]>        An environment variable; without a value, the one of this shell
                  --net <HOST:PORT>           Sockets to an address, such as tcp://db.local:5432; * for all
                  --http <ORIGIN>             Outgoing HTTP to an origin, such as https://api.example.com; * for
                                              all

            Nothing but the address is opened; a port alone is one of 127.0.0.1. SIGINT and SIGTERM let
            requests under way finish, then end the server with code 0; a second one ends it at once.

            Examples:
              wharf up
              wharf up examples/darkroom --watch
              wharf up hello.wasm --addr 8080
              wharf up proxy.wasm --http https://api.example.com
        "#]],
    );
}

#[test]
fn help_of_serve() {
    check(
        &["serve", "--help"],
        &expect![[r#"
        Serve many apps by host name, with TLS, as a node file says

        Usage: wharf serve [OPTIONS] [FILE]

        Arguments:
          [FILE]  The node file [default: node.toml]

        Options:
              --check    Read the file and the certificates, build the apps, and end
              --force    Build even if nothing changed
              --offline  Fetch nothing from the network
          -v, --verbose  Show every command that the build runs
          -h, --help     Print help

        SIGINT and SIGTERM let requests under way finish, then end the node with code 0; a second one ends
        it at once. SIGHUP reads the node file again: apps, hosts and ceilings change without a request
        lost; addresses and the node's own limits stay. Certificates are read again when they change.

        A node file:
          node = 1
          [app.guestbook]
          source = "apps/guestbook"
          hosts = ["guestbook.example.com"]

        Examples:
          wharf serve
          wharf serve /etc/wharf/node.toml
          wharf serve --check
    "#]],
    );
}

#[test]
fn help_of_run() {
    check(
        &["run", "--help"],
        &expect![[r#"
            Run a command: a component, a WASI 0.1 module, or a function of either

            Usage: wharf run [OPTIONS] <FILE|DIR> [ARGS]...

            Arguments:
              <FILE|DIR>  A .wasm or .wat file, or the folder of an app with a command
              [ARGS]...   The program's arguments

            Options:
                  --invoke <CALL>  Call a function, in WAVE: 'add(1, 2)', 'greet({name: "Ada"})'
                  --time <TIME>    End it after this time, such as 30s or 500ms (code 124)
                  --memory <SIZE>  Memory that it may use in all, such as 256MiB (code 137)
              -h, --help           Print help

            Grants:
                  --dir <HOST[::GUEST][:ro]>  A folder, read and write unless :ro
              -e, --env <NAME[=VALUE]>        An environment variable; without a value, the one of this shell
                  --net <HOST:PORT>           Sockets to an address, such as tcp://db.local:5432; * for all
                  --http <ORIGIN>             Outgoing HTTP to an origin, such as https://api.example.com; * for
                                              all

            Nothing is granted by default: no files, no network, no environment.

            Exit codes:
              the program's own, whatever it is, when it ended by itself
              124  it met --time
              125  wharf was used wrongly or failed: a bad flag, a --dir that is not there
              126  the file cannot be run: no program, or it imports what nobody provides
              127  there is no such file
              134  it trapped: a panic, an abort, a bad memory access
              137  it met --memory

            Examples:
              wharf run hello.wasm
              wharf run rg.wasm --dir . -- unsafe src
              wharf run python.wasm --dir lib::/lib:ro --env PYTHONHOME=/ -- -c 'print(1)'
              wharf run math.wasm --invoke 'add(1, 2)'
        "#]],
    );
}

#[test]
fn help_of_inspect() {
    check(
        &["inspect", "--help"],
        &expect![[r#"
        Show what a file or an app is, imports, exports and may ask for

        Usage: wharf inspect [OPTIONS] <FILE|DIR|APP>

        Arguments:
          <FILE|DIR|APP>  A .wasm or .wat file, an app's folder, or an app in the store (NAME:VERSION)

        Options:
              --json  Print all as JSON
              --wit   Print only the WIT
          -h, --help  Print help

        Examples:
          wharf inspect hello.wasm
          wharf inspect hello.wasm --wit
          wharf inspect examples/darkroom --json
    "#]],
    );
}

#[test]
fn without_a_command_the_help_is_shown_and_the_code_is_2() {
    let output = sandbox()
        .wharf::<&str>([])
        .expect_code(2)
        .expect_stderr("Usage: wharf <COMMAND>");
    assert_eq!(output.stdout, "");
}

fn check_mistake(arguments: &[&str], expected: &Expect) {
    // A program that `run` runs has the codes below 125 for itself.
    let code = if arguments[0] == "run" { 125 } else { 2 };
    let output = sandbox().wharf(arguments).expect_code(code);
    assert_eq!(output.stdout, "");
    expected.assert_eq(&output.stderr);
}

#[test]
fn words_that_are_not_known_are_named() {
    check_mistake(
        &["biuld"],
        &expect![[r#"
        error: unrecognized subcommand 'biuld'

          tip: a similar subcommand exists: 'build'

        Usage: wharf <COMMAND>

        For more information, try '--help'.
    "#]],
    );
    check_mistake(
        &["build", "--forse"],
        &expect![[r#"
        error: unexpected argument '--forse' found

          tip: a similar argument exists: '--force'

        Usage: wharf build --force [DIR]

        For more information, try '--help'.
    "#]],
    );
    check_mistake(
        &["run"],
        &expect![[r#"
        error: the following required arguments were not provided:
          <FILE|DIR>

        Usage: wharf run <FILE|DIR> [ARGS]...

        For more information, try '--help'.
    "#]],
    );
    check_mistake(
        &["new", "http-go", "hello"],
        &expect![[r#"
        error: invalid value 'http-go' for '<TEMPLATE>': the templates are http-rust, cli-rust, library-rust, app

        For more information, try '--help'.
    "#]],
    );
}

#[test]
fn values_that_do_not_fit_are_explained() {
    check_mistake(
        &["run", "x.wasm", "--time", "soon"],
        &expect![[r#"
        error: invalid value 'soon' for '--time <TIME>': `soon` is not a duration; write a whole number and a unit, such as `500ms`, `30s` or `2m`

        For more information, try '--help'.
    "#]],
    );
    check_mistake(
        &["run", "x.wasm", "--memory", "1XB"],
        &expect![[r#"
        error: invalid value '1XB' for '--memory <SIZE>': `1XB` is not a size; write a whole number and a unit, such as `128MiB` or `10MB`

        For more information, try '--help'.
    "#]],
    );
    check_mistake(
        &["run", "x.wasm", "--net", "db.local"],
        &expect![[r#"
        error: invalid value 'db.local' for '--net <HOST:PORT>': the socket grant `db.local` has no port; write `db.local:*` for every port

        For more information, try '--help'.
    "#]],
    );
    check_mistake(
        &["up", "x.wasm", "--addr", "example.com:80"],
        &expect![[r#"
            error: invalid value 'example.com:80' for '--addr <IP:PORT>': `example.com` is no IP address; write it as 3000, localhost:3000, 127.0.0.1:3000 or [::1]:3000

            For more information, try '--help'.
        "#]],
    );
}

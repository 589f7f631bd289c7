//! The arguments of every command.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args as ClapArgs, Parser, Subcommand};
use wharf_build::Template;
use wharf_manifest::{ByteSize, HttpGrant, NetGrant, parse_duration};

use crate::address::listen_address;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Make, build, run, inspect and serve WebAssembly components.
#[derive(Debug, Parser)]
#[command(name = "wharf", version, styles = STYLES, max_term_width = 100, after_help = "\
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
  NO_COLOR            no colours")]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a new app from a template
    New(New),
    /// Build an app: sources to components, packed into the store
    Build(Build),
    /// Serve an app or a component over HTTP, here
    Up(Up),
    /// Serve many apps by host name, with TLS, as a node file says
    Serve(Serve),
    /// Run a command: a component, a WASI 0.1 module, or a function of either
    Run(Run),
    /// Show what a file or an app is, imports, exports and may ask for
    Inspect(Inspect),
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Templates:
  http-rust     answers HTTP requests, in Rust
  cli-rust      a command with arguments and exit codes, in Rust
  library-rust  functions for other programs, described in WIT, in Rust
  app           an API in Rust and a static front end

Examples:
  wharf new http-rust hello
  wharf new app guestbook --dir ~/code/guestbook")]
pub(crate) struct New {
    /// What to make
    #[arg(value_parser = template)]
    pub(crate) template: Template,
    /// Its name: small letters, digits and hyphens
    pub(crate) name: String,
    /// The folder to make [default: ./NAME]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

fn template(text: &str) -> Result<Template, String> {
    Template::ALL
        .into_iter()
        .find(|template| template.name() == text)
        .ok_or_else(|| {
            let names: Vec<_> = Template::ALL
                .iter()
                .map(|template| template.name())
                .collect();
            format!("the templates are {}", names.join(", "))
        })
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  wharf build
  wharf build examples/darkroom --json | jq '.components[].size'")]
pub(crate) struct Build {
    /// The app's folder, with its wharf.toml
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) how: How,
}

/// How to build.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct How {
    /// Build even if nothing changed
    #[arg(long)]
    pub(crate) force: bool,
    /// Fetch nothing from the network
    #[arg(long)]
    pub(crate) offline: bool,
    /// Show every command that the build runs
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Nothing but the address is opened; a port alone is one of 127.0.0.1. SIGINT and SIGTERM let
requests under way finish, then end the server with code 0; a second one ends it at once.

Examples:
  wharf up
  wharf up examples/darkroom --watch
  wharf up hello.wasm --addr 8080
  wharf up proxy.wasm --http https://api.example.com")]
pub(crate) struct Up {
    /// An app's folder, or a .wasm or .wat file that answers HTTP
    #[arg(default_value = ".", value_name = "DIR|FILE")]
    pub(crate) what: PathBuf,
    /// Where to listen: an IP address, a port or both; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:3000", value_name = "IP:PORT", value_parser = listen_address)]
    pub(crate) addr: SocketAddr,
    /// Build and swap when a source changes; pages in a browser reload
    #[arg(long)]
    pub(crate) watch: bool,
    /// Answer /metrics, /healthz and /readyz there [default: nowhere]
    #[arg(long, value_name = "IP:PORT", value_parser = listen_address)]
    pub(crate) admin: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) how: How,
    // Last: its heading holds for all that follow.
    #[command(flatten)]
    pub(crate) grants: GrantFlags,
}

#[derive(Debug, Clone, ClapArgs)]
#[command(after_help = "\
SIGINT and SIGTERM let requests under way finish, then end the node with code 0; a second one ends
it at once. SIGHUP reads the node file again: apps, hosts and ceilings change without a request
lost; addresses and the node's own limits stay. Certificates are read again when they change.

A node file:
  node = 1
  [app.guestbook]
  source = \"apps/guestbook\"
  hosts = [\"guestbook.example.com\"]

Examples:
  wharf serve
  wharf serve /etc/wharf/node.toml
  wharf serve --check")]
pub(crate) struct Serve {
    /// The node file
    #[arg(default_value = "node.toml", value_name = "FILE")]
    pub(crate) node: PathBuf,
    /// Read the file and the certificates, build the apps, and end
    #[arg(long)]
    pub(crate) check: bool,
    #[command(flatten)]
    pub(crate) how: How,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
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
  wharf run math.wasm --invoke 'add(1, 2)'")]
pub(crate) struct Run {
    /// A .wasm or .wat file, or the folder of an app with a command
    #[arg(value_name = "FILE|DIR")]
    pub(crate) what: PathBuf,
    /// The program's arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) args: Vec<String>,
    /// Call a function, in WAVE: 'add(1, 2)', 'greet({name: "Ada"})'
    #[arg(long, value_name = "CALL")]
    pub(crate) invoke: Option<String>,
    /// End it after this time, such as 30s or 500ms (code 124)
    #[arg(long, value_name = "TIME", value_parser = positive)]
    pub(crate) time: Option<Duration>,
    /// Memory that it may use in all, such as 256MiB (code 137)
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) memory: Option<ByteSize>,
    #[command(flatten)]
    pub(crate) grants: GrantFlags,
}

/// Authority given on the command line, by the manifest's words.
#[derive(Debug, Clone, Default, ClapArgs)]
#[command(next_help_heading = "Grants")]
pub(crate) struct GrantFlags {
    /// A folder, read and write unless :ro
    #[arg(long = "dir", value_name = "HOST[::GUEST][:ro]")]
    pub(crate) dirs: Vec<String>,
    /// An environment variable; without a value, the one of this shell
    #[arg(long = "env", short = 'e', value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// Sockets to an address, such as tcp://db.local:5432; * for all
    #[arg(long = "net", value_name = "HOST:PORT", value_parser = net)]
    pub(crate) net: Vec<NetGrant>,
    // Given as an attribute, since rustdoc wants links in doc comments.
    #[arg(help = "Outgoing HTTP to an origin, such as https://api.example.com; * for all")]
    #[arg(long = "http", value_name = "ORIGIN", value_parser = http)]
    pub(crate) http: Vec<HttpGrant>,
}

fn with_hint(error: &wharf_manifest::InvalidValue) -> String {
    match error.hint() {
        Some(hint) => format!("{}; {hint}", error.message()),
        None => error.message().to_owned(),
    }
}

fn net(text: &str) -> Result<NetGrant, String> {
    text.parse().map_err(|error| with_hint(&error))
}

fn http(text: &str) -> Result<HttpGrant, String> {
    text.parse().map_err(|error| with_hint(&error))
}

fn size(text: &str) -> Result<ByteSize, String> {
    text.parse().map_err(|error| with_hint(&error))
}

fn positive(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text).map_err(|error| with_hint(&error))?;
    if time.is_zero() {
        return Err("no time at all; leave the flag out for no limit".to_owned());
    }
    Ok(time)
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  wharf inspect hello.wasm
  wharf inspect hello.wasm --wit
  wharf inspect examples/darkroom --json")]
pub(crate) struct Inspect {
    /// A .wasm or .wat file, an app's folder, or an app in the store (NAME:VERSION)
    #[arg(value_name = "FILE|DIR|APP")]
    pub(crate) what: String,
    /// Print all as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Print only the WIT
    #[arg(long, conflicts_with = "json")]
    pub(crate) wit: bool,
}

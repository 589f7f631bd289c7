//! Many small apps on one node: what each costs while nobody asks for it, and how soon it answers
//! when somebody does.
//!
//! The apps are one component whose copies differ in a few bytes that do nothing, so that each has
//! native code of its own, as apps of different makers have.

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lexopt::ValueExt;
use serde::Serialize;

use crate::client::get;
use crate::figures::percentile;
use crate::given::{self, Given};
use crate::serve::HELLO;
use crate::server::{Server, text, words};

const HELP: &str = "\
Serves many small apps from one node: memory for each while nobody asks, time of each app's first
answer, and memory and mappings before, after, and when all is quiet again.

Usage: cargo xtask bench apps [OPTIONS]

Options:
  --apps N      How many [default: 1000]
  --json        Print JSON instead of a table
  -h, --help    Print this

All apps are compiled first, which takes some minutes. Built by xtask and given here: --wharf FILE,
--guests FOLDER.
";

/// How long the apps may take to be compiled and loaded.
const LOADING: Duration = Duration::from_secs(1800);
/// After so long without a request no instance is kept.
const QUIET: Duration = Duration::from_secs(5);

/// What a node was seen to take.
#[derive(Debug, Clone, Copy, Serialize)]
struct Taken {
    rss_mib: f64,
    /// Of that, what is not a file's.
    own_mib: f64,
    mappings: usize,
    descriptors: usize,
}

#[derive(Debug, Serialize)]
struct Outcome {
    apps: usize,
    one: Taken,
    all: Taken,
    rss_mib_each: f64,
    own_mib_each: f64,
    first_answer_p50_us: f64,
    first_answer_p99_us: f64,
    second_answer_p50_us: f64,
    second_answer_p99_us: f64,
    asked: Taken,
    quiet: Taken,
}

pub(crate) fn command(arguments: lexopt::Parser) -> Result<()> {
    let mut apps = 1000;
    let given = given::parse(arguments, HELP, |name, arguments| {
        match name {
            "apps" => apps = arguments.value()?.parse::<usize>()?.clamp(2, 20_000),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let Some(given) = given else {
        return Ok(());
    };
    let work = tempfile::tempdir()?;
    let guest = given.guests.join("plain-p2.wasm");
    let guest = fs::read(&guest).with_context(|| format!("cannot read {}", guest.display()))?;
    for number in 0..apps {
        let copy = distinct(&guest, number);
        fs::write(work.path().join(format!("app{number}.wasm")), copy)?;
    }
    eprintln!("compiling {apps} apps");
    drop(node(&given, work.path(), apps)?);
    eprintln!("a node with one app");
    let one = {
        let (server, _) = node(&given, work.path(), 1)?;
        std::thread::sleep(QUIET);
        taken(&server)?
    };
    eprintln!("a node with {apps} apps");
    let (server, addr) = node(&given, work.path(), apps)?;
    std::thread::sleep(QUIET);
    let all = taken(&server)?;
    let first = ask_each(addr, apps)?;
    let second = ask_each(addr, apps)?;
    let asked = taken(&server)?;
    std::thread::sleep(QUIET);
    let quiet = taken(&server)?;
    let each = |of: fn(&Taken) -> f64| (of(&all) - of(&one)) / (apps - 1) as f64;
    let outcome = Outcome {
        apps,
        one,
        all,
        rss_mib_each: each(|taken| taken.rss_mib),
        own_mib_each: each(|taken| taken.own_mib),
        first_answer_p50_us: percentile(&first, 50),
        first_answer_p99_us: percentile(&first, 99),
        second_answer_p50_us: percentile(&second, 50),
        second_answer_p99_us: percentile(&second, 99),
        asked,
        quiet,
    };
    given.print(&outcome, table)
}

/// The component with a custom section of its own at the end.
fn distinct(wasm: &[u8], number: usize) -> Vec<u8> {
    let content = format!("number {number:08}");
    let name = "copy";
    // All lengths are below 128, and so of one byte.
    let mut section = vec![0, (1 + name.len() + content.len()) as u8, name.len() as u8];
    section.extend(name.bytes());
    section.extend(content.bytes());
    [wasm, &section].concat()
}

/// Starts a node with the first `apps`, and waits until all are there.
fn node(given: &Given, work: &Path, apps: usize) -> Result<(Server, SocketAddr)> {
    let admin = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut file = format!("node = 1\nlisten = [\"127.0.0.1:0\"]\nadmin = \"{admin}\"\n");
    for number in 0..apps {
        let _ = write!(
            file,
            "[app.app{number}]\nsource = \"app{number}.wasm\"\nhosts = [\"{}\"]\n",
            host(number)
        );
    }
    let path = work.join("node.toml");
    fs::write(&path, file)?;
    let command = words(&given.wharf, &["serve", &text(&path)]);
    let server = Server::start(&command, None, work)?;
    let since = Instant::now();
    while !get(admin, "localhost", "/readyz").is_ok_and(|answer| is_200(&answer)) {
        ensure!(since.elapsed() < LOADING, "the apps are not there");
        std::thread::sleep(Duration::from_millis(20));
    }
    let addr = server.addr;
    Ok((server, addr))
}

fn host(number: usize) -> String {
    format!("app{number}.example")
}

/// Asks each app once, one after the other, over connections of their own. In microseconds, sorted.
fn ask_each(addr: SocketAddr, apps: usize) -> Result<Vec<f64>> {
    let mut took = Vec::new();
    for number in 0..apps {
        let since = Instant::now();
        let answer = get(addr, &host(number), "/")?;
        took.push(since.elapsed().as_secs_f64() * 1e6);
        if !is_200(&answer) || !answer.ends_with(HELLO) {
            bail!("app {number} answered {answer:?}");
        }
    }
    took.sort_by(f64::total_cmp);
    Ok(took)
}

fn is_200(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 200 ")
}

fn taken(server: &Server) -> Result<Taken> {
    let process = PathBuf::from(format!("/proc/{}", server.id()));
    let status = fs::read_to_string(process.join("status"))?;
    let mib = |field: &str| -> f64 {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
        kib.unwrap_or(0.0) / 1024.0
    };
    Ok(Taken {
        rss_mib: mib("VmRSS:"),
        own_mib: mib("RssAnon:"),
        mappings: fs::read_to_string(process.join("maps"))?.lines().count(),
        descriptors: fs::read_dir(process.join("fd"))?.count(),
    })
}

fn table(outcome: &Outcome) -> String {
    let mut out = String::from(
        "| | RSS MiB | of it not a file's | mappings | descriptors |\n|---|---:|---:|---:|---:|\n",
    );
    for (what, taken) in [
        ("one app", &outcome.one),
        ("all apps, nobody asked", &outcome.all),
        ("each was asked", &outcome.asked),
        ("all is quiet", &outcome.quiet),
    ] {
        let _ = writeln!(
            out,
            "| {what} | {:.1} | {:.1} | {} | {} |",
            taken.rss_mib, taken.own_mib, taken.mappings, taken.descriptors
        );
    }
    let _ = writeln!(
        out,
        "\n{} apps: {:.3} MiB of RSS each, {:.3} of it not a file's. First answer, with the connection: \
         p50 {:.0} µs, p99 {:.0} µs; second: p50 {:.0} µs, p99 {:.0} µs.",
        outcome.apps,
        outcome.rss_mib_each,
        outcome.own_mib_each,
        outcome.first_answer_p50_us,
        outcome.first_answer_p99_us,
        outcome.second_answer_p50_us,
        outcome.second_answer_p99_us,
    );
    out
}

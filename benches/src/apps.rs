//! Many small apps on one node: what each costs while nobody asks for it, and how soon it answers
//! when somebody does.
//!
//! The apps are one component whose copies differ in a few bytes that do nothing, so that each has
//! native code of its own, as apps of different makers have.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lexopt::prelude::*;
use serde::Serialize;

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

struct Options {
    apps: usize,
    json: bool,
    wharf: PathBuf,
    guests: PathBuf,
}

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
    let Some(options) = parse(arguments)? else {
        return Ok(());
    };
    let work = tempfile::tempdir()?;
    let guest = options.guests.join("plain-p2.wasm");
    let guest = fs::read(&guest).with_context(|| format!("cannot read {}", guest.display()))?;
    for number in 0..options.apps {
        let copy = distinct(&guest, number);
        fs::write(work.path().join(format!("app{number}.wasm")), copy)?;
    }
    eprintln!("compiling {} apps", options.apps);
    drop(node(&options, work.path(), options.apps)?);
    eprintln!("a node with one app");
    let one = {
        let (server, _) = node(&options, work.path(), 1)?;
        std::thread::sleep(QUIET);
        taken(&server)?
    };
    eprintln!("a node with {} apps", options.apps);
    let (server, addr) = node(&options, work.path(), options.apps)?;
    std::thread::sleep(QUIET);
    let all = taken(&server)?;
    let first = ask_each(addr, options.apps)?;
    let second = ask_each(addr, options.apps)?;
    let asked = taken(&server)?;
    std::thread::sleep(QUIET);
    let quiet = taken(&server)?;
    let each = |of: fn(&Taken) -> f64| (of(&all) - of(&one)) / (options.apps - 1) as f64;
    let outcome = Outcome {
        apps: options.apps,
        one,
        all,
        rss_mib_each: each(|taken| taken.rss_mib),
        own_mib_each: each(|taken| taken.own_mib),
        first_answer_p50_us: percentile(&first, 0.5),
        first_answer_p99_us: percentile(&first, 0.99),
        second_answer_p50_us: percentile(&second, 0.5),
        second_answer_p99_us: percentile(&second, 0.99),
        asked,
        quiet,
    };
    if options.json {
        println!("{}", serde_json::to_string_pretty(&outcome)?);
    } else {
        print!("{}", table(&outcome));
    }
    Ok(())
}

fn parse(mut arguments: lexopt::Parser) -> Result<Option<Options>> {
    let mut options = Options {
        apps: 1000,
        json: false,
        wharf: PathBuf::new(),
        guests: PathBuf::new(),
    };
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("apps") => options.apps = arguments.value()?.parse::<usize>()?.clamp(2, 20_000),
            Long("json") => options.json = true,
            // For xtask: whether all this is understood, and a peer that there is not.
            Long("check") => return Ok(None),
            Long("wasmtime") => drop(arguments.value()?),
            Long("wharf") => options.wharf = arguments.value()?.into(),
            Long("guests") => options.guests = arguments.value()?.into(),
            Short('h') | Long("help") => {
                print!("{HELP}");
                return Ok(None);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some(options))
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
fn node(options: &Options, work: &Path, apps: usize) -> Result<(Server, SocketAddr)> {
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
    let command = words(&options.wharf, &["serve", &text(&path)]);
    let server = Server::start(&command, None, work)?;
    let since = Instant::now();
    while !ask(admin, "localhost", "/readyz").is_ok_and(|answer| is_200(&answer)) {
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
        let answer = ask(addr, &host(number), "/")?;
        took.push(since.elapsed().as_secs_f64() * 1e6);
        if !is_200(&answer) || !answer.ends_with(HELLO) {
            bail!("app {number} answered {answer:?}");
        }
    }
    took.sort_by(f64::total_cmp);
    Ok(took)
}

fn ask(addr: SocketAddr, host: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
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

fn percentile(sorted: &[f64], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let at = (last as f64 * part).round() as usize;
    sorted.get(at).copied().unwrap_or_default()
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

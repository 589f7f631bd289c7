//! Hello, served: requests a second, processor time a request, latency and memory of wharf, of
//! `wasmtime serve` and of native code, in turns.
//!
//! The same component goes to wharf and to `wasmtime serve`. A turn starts each server anew, has
//! it answer for a while, and measures. What is told is the median of the turns.

mod report;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lexopt::ValueExt;
use serde::Serialize;

use crate::given::{self, Given};
use crate::hammer::{self, hammer};
use crate::server::{Server, text, words};

const HELP: &str = "\
Serves hello from wharf, from `wasmtime serve` with the same component and from native code, in
turns, and measures requests a second, processor time a request, latency and memory. The load comes
from the same machine.

Usage: cargo xtask bench serve [OPTIONS]

Options:
  --only NAME         Only servers whose name has this in it; may be repeated (`--list` names them)
  --connections N     At once, each with one request under way; may be repeated
                      [default: 1, 16, 64, 256]
  --turns N           Turns, of which the median is told [default: 5]
  --seconds N         Seconds a measurement [default: 2]
  --json              Print JSON instead of a table
  --list              Name the servers and end
  -h, --help          Print this

Built by xtask and given here: --wharf FILE, --wasmtime FILE, --guests FOLDER.
";

/// What the guest `plain` answers.
pub(crate) const HELLO: &str = "Hello, world!\n";
/// How long a server answers before it is measured.
const WARM_UP: Duration = Duration::from_secs(1);
const START: Duration = Duration::from_secs(60);

struct Options {
    only: Vec<String>,
    connections: Vec<usize>,
    turns: usize,
    time: Duration,
    is_list: bool,
    given: Given,
}

/// A server with its settings.
struct Contender {
    kind: Kind,
    name: &'static str,
    command: Vec<String>,
}

/// Which figures may be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    /// An instance for each request, WASI 0.2.
    Fresh2,
    /// Instances that answer one request after the other, WASI 0.2.
    Reused2,
    /// An instance for each request, WASI 0.3.
    Fresh3,
    /// Instances that many requests share, WASI 0.3.
    Reused3,
    Native,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Fresh2 => "0.2, fresh",
            Kind::Reused2 => "0.2, reused",
            Kind::Fresh3 => "0.3, fresh",
            Kind::Reused3 => "0.3, reused",
            Kind::Native => "native",
        }
    }

    fn guest(self) -> &'static str {
        match self {
            Kind::Fresh2 | Kind::Reused2 => "plain-p2.wasm",
            _ => "plain-p3.wasm",
        }
    }
}

/// One measurement.
#[derive(Debug, Clone, Copy, Serialize)]
struct Figures {
    per_second: f64,
    cpu_us: f64,
    p50_us: f64,
    p99_us: f64,
    rss_peak_mib: f64,
}

#[derive(Debug, Serialize)]
struct Row {
    kind: Kind,
    server: &'static str,
    connections: usize,
    turns: Vec<Figures>,
}

pub(crate) fn command(arguments: lexopt::Parser) -> Result<()> {
    let Some(options) = parse(arguments)? else {
        return Ok(());
    };
    let work = tempfile::tempdir()?;
    let contenders = contenders(&options, work.path())?;
    if options.is_list {
        for contender in &contenders {
            println!("{}, {}", contender.kind.name(), contender.name);
        }
        return Ok(());
    }
    let mut rows: Vec<Row> = Vec::new();
    for turn in 1..=options.turns {
        for contender in &contenders {
            eprintln!(
                "turn {turn} of {}: {}, {}",
                options.turns,
                contender.kind.name(),
                contender.name
            );
            for (connections, figures) in measure(&options, contender, work.path())? {
                let row = rows.iter_mut().find(|row| {
                    (row.kind, row.server, row.connections)
                        == (contender.kind, contender.name, connections)
                });
                match row {
                    Some(row) => row.turns.push(figures),
                    None => rows.push(Row {
                        kind: contender.kind,
                        server: contender.name,
                        connections,
                        turns: vec![figures],
                    }),
                }
            }
        }
    }
    options.given.print(&rows[..], report::table)
}

fn parse(arguments: lexopt::Parser) -> Result<Option<Options>> {
    let (mut only, mut connections) = (Vec::new(), Vec::new());
    let (mut turns, mut seconds, mut is_list) = (5, 2, false);
    let given = given::parse(arguments, HELP, |name, arguments| {
        match name {
            "only" => only.push(arguments.value()?.string()?),
            "connections" => {
                connections.push(arguments.value()?.parse::<usize>()?.clamp(1, 10_000));
            }
            "turns" => turns = arguments.value()?.parse::<usize>()?.max(1),
            "seconds" => seconds = arguments.value()?.parse::<u64>()?.max(1),
            "list" => is_list = true,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if connections.is_empty() {
        connections = vec![1, 16, 64, 256];
    }
    Ok(given.map(|given| Options {
        only,
        connections,
        turns,
        time: Duration::from_secs(seconds),
        is_list,
        given,
    }))
}

fn contenders(options: &Options, work: &Path) -> Result<Vec<Contender>> {
    let mut all = Vec::new();
    for (kind, folder, settings) in [
        (Kind::Fresh2, "fresh2", ""),
        (Kind::Reused2, "reused2", "reuse = true"),
        (Kind::Fresh3, "fresh3", "isolation = \"request\""),
        (Kind::Reused3, "reused3", ""),
    ] {
        let app = work.join(folder);
        if !options.is_list {
            put_app(&app, &options.given.guests.join(kind.guest()), settings)?;
        }
        let arguments = ["up", &text(&app), "--addr", "127.0.0.1:0"];
        all.push(Contender {
            kind,
            name: "wharf",
            command: words(&options.given.wharf, &arguments),
        });
        let wasmtime = options.given.wasmtime.as_deref();
        // Nobody says where it is if only names are asked for.
        let wasmtime = wasmtime.or(options.is_list.then_some(Path::new("wasmtime")));
        if let Some(wasmtime) = wasmtime {
            all.extend(peers(options, kind, wasmtime));
        }
    }
    let own = std::env::current_exe().context("where is this program?")?;
    all.push(Contender {
        kind: Kind::Native,
        name: "hyper",
        command: words(&own, &["native"]),
    });
    let is_wanted = |contender: &Contender| {
        let name = format!("{}, {}", contender.kind.name(), contender.name);
        options.only.is_empty() || options.only.iter().any(|only| name.contains(only))
    };
    all.retain(is_wanted);
    if all.is_empty() {
        bail!("no server is named so; `--list` names them");
    }
    Ok(all)
}

/// Puts an app of one component at `app`, with `settings` of it.
pub(crate) fn put_app(app: &Path, guest: &Path, settings: &str) -> Result<()> {
    fs::create_dir_all(app)?;
    fs::copy(guest, app.join("plain.wasm"))
        .with_context(|| format!("cannot copy {}", guest.display()))?;
    let manifest = format!(
        "manifest = 1\nname = \"plain\"\nversion = \"0.1.0\"\n\n\
         [component.plain]\nsource = \"plain.wasm\"\n{settings}\n\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"plain\"\n"
    );
    fs::write(app.join("wharf.toml"), manifest)?;
    Ok(())
}

/// All that makes `wasmtime serve` faster and that it takes by flags.
const BEST: &[&str] = &[
    "-O",
    "pooling-allocator=y",
    "-O",
    "pooling-pagemap-scan=y",
    "-O",
    "pooling-memory-keep-resident=1048576",
    "-O",
    "pooling-table-keep-resident=1048576",
    "-O",
    "pooling-async-stack-keep-resident=65536",
    "-O",
    "pooling-decommit-batch-size=16",
];

fn peers(options: &Options, kind: Kind, wasmtime: &Path) -> Vec<Contender> {
    let file = text(&options.given.guests.join(kind.guest()));
    let reuse: &[&str] = match kind {
        Kind::Reused2 => &["--max-instance-reuse-count", "128"],
        Kind::Fresh3 => &["--max-instance-reuse-count", "1"],
        _ => &[],
    };
    let plain = ["serve", "--addr", "127.0.0.1:0", "-S", "cli"];
    [
        ("wasmtime serve", &[][..]),
        ("wasmtime serve, best flags", BEST),
    ]
    .map(|(name, flags)| Contender {
        kind,
        name,
        command: words(wasmtime, &[&plain[..], reuse, flags, &[&file]].concat()),
    })
    .into()
}

/// One start of a server, and a measurement for each number of connections.
fn measure(options: &Options, contender: &Contender, work: &Path) -> Result<Vec<(usize, Figures)>> {
    let at = || format!("{}, {}", contender.kind.name(), contender.name);
    let server = Server::start(&contender.command, None, work).with_context(at)?;
    hammer::wait_until_good(server.addr, HELLO, START).with_context(at)?;
    hammer(server.addr, 16, WARM_UP, HELLO).with_context(at)?;
    let mut figures = Vec::new();
    for connections in &options.connections {
        let before = server.cpu();
        let seen = hammer(server.addr, *connections, options.time, HELLO).with_context(at)?;
        let cpu = server.cpu().saturating_sub(before);
        figures.push((
            *connections,
            Figures {
                per_second: seen.per_second(),
                cpu_us: cpu.as_secs_f64() * 1e6 / seen.answers.max(1) as f64,
                p50_us: seen.latency_us(50),
                p99_us: seen.latency_us(99),
                rss_peak_mib: server.rss_peak_bytes() as f64 / f64::from(1 << 20),
            },
        ));
    }
    Ok(figures)
}

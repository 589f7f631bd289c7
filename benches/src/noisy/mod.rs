//! Noisy neighbours: each hostile route in turn against wharf and `wasmtime serve`.
//!
//! A run is: start the server, measure good requests at a steady rate while nothing else goes
//! on, then the same with hostile clients, then have those leave and see whether, and how soon,
//! the server answers. Good requests go to the component of the hostile route and, where a
//! server can hold several, to another.

mod report;
mod routes;

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lexopt::ValueExt;
use serde::Serialize;

use self::routes::{ROUTES, Route};
use crate::given::{self, Given};
use crate::group::{self, Group};
use crate::load::{self, Hostile, Neighbour, Seen};
use crate::server::{Server, text, words};

const HELP: &str = "\
Runs each hostile route against wharf and `wasmtime serve`, in turns, beside good requests at a
steady rate.

Usage: cargo xtask bench noisy [OPTIONS]

Options:
  --only ROUTE      Only this route; may be repeated (`--list` names them)
  --server NAME     Only servers whose name begins with it: wharf, wasmtime
  --wasi VERSION    0.2 or 0.3; both by default
  --seconds N       Seconds of hostile load a run [default: 5]
  --rate N          Good requests a second to each neighbour [default: 100]
  --json            Print JSON instead of a table
  --list            Name the routes and end
  -h, --help        Print this

Built by xtask and given here: --wharf FILE, --wasmtime FILE, --guests FOLDER.
";

/// The ceiling of the kernel for routes that take memory.
const GROUP_BYTES: u64 = 2 << 30;
const IDLE_TIME: Duration = Duration::from_secs(2);
const GOOD: &str = "alive\n";

struct Options {
    only: Vec<String>,
    server: String,
    wasi: Vec<&'static str>,
    time: Duration,
    rate: u32,
    given: Given,
}

/// A server with its settings.
struct Contender {
    name: &'static str,
    command: Vec<String>,
    neighbours: Vec<(&'static str, Neighbour)>,
    /// Only where the limit on processor time matters.
    cpu_only: bool,
}

/// What came of one route on one server.
#[derive(Debug, Serialize)]
struct Outcome {
    route: &'static str,
    wasi: &'static str,
    server: &'static str,
    hostile_clients: usize,
    /// Whether the kernel had a ceiling of 2 GiB on it.
    memory_ceiling: bool,
    neighbours: Vec<NeighbourOutcome>,
    rss_peak_bytes: u64,
    /// Its process was there at the end.
    lives: bool,
    /// Until the first good answer after the hostile clients left; none within a second.
    alive_after_ms: Option<f64>,
    /// Share of one core that it still used a second after they had left.
    cpu_after_percent: f64,
    /// What the hostile clients were answered.
    answered: BTreeMap<String, usize>,
    /// What it logged.
    errors: BTreeMap<String, usize>,
}

#[derive(Debug, Serialize)]
struct NeighbourOutcome {
    who: &'static str,
    idle: Seen,
    noisy: Seen,
}

pub(crate) fn command(arguments: lexopt::Parser) -> Result<()> {
    let Some(options) = parse(arguments)? else {
        return Ok(());
    };
    let work = tempfile::tempdir()?;
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let silent_origin = format!("http://{}/", silent.local_addr()?);
    // Takes connections and never says anything.
    std::thread::spawn(move || {
        let mut held = Vec::new();
        while let Ok((stream, _)) = silent.accept() {
            held.push(stream);
            if held.len() > 1000 {
                held.clear();
            }
        }
    });
    if Group::new(GROUP_BYTES).is_none() {
        eprintln!("note: {}", group::NONE);
    }
    let mut outcomes = Vec::new();
    for wasi in &options.wasi {
        let contenders = contenders(&options, wasi, work.path(), &silent_origin)?;
        for route in ROUTES {
            if !options.only.is_empty() && !options.only.iter().any(|name| name == route.name) {
                continue;
            }
            for contender in &contenders {
                let left_out = contender.cpu_only && !route.spends_cpu()
                    || !contender.name.starts_with(&options.server);
                if left_out {
                    continue;
                }
                eprintln!("WASI {wasi}, /{}: {}", route.name, contender.name);
                let outcome = measure(
                    &options,
                    contender,
                    route,
                    wasi,
                    work.path(),
                    &silent_origin,
                )
                .with_context(|| format!("{} on {}", route.name, contender.name))?;
                outcomes.push(outcome);
            }
        }
    }
    options.given.print(&outcomes[..], report::table)
}

fn parse(arguments: lexopt::Parser) -> Result<Option<Options>> {
    let (mut only, mut server, mut wasi) = (Vec::new(), String::new(), vec!["0.2", "0.3"]);
    let (mut seconds, mut rate, mut is_list) = (5, 100, false);
    let given = given::parse(arguments, HELP, |name, arguments| {
        match name {
            "only" => {
                let name = arguments.value()?.string()?;
                let name = name.trim_start_matches('/').to_owned();
                if !ROUTES.iter().any(|route| route.name == name) {
                    bail!("no such route: `{name}`; `--list` names them");
                }
                only.push(name);
            }
            "server" => server = arguments.value()?.string()?,
            "wasi" => {
                wasi = match arguments.value()?.string()?.as_str() {
                    "0.2" => vec!["0.2"],
                    "0.3" => vec!["0.3"],
                    other => bail!("no such version of WASI here: `{other}`; 0.2 or 0.3"),
                }
            }
            "seconds" => seconds = arguments.value()?.parse::<u64>()?.max(1),
            "rate" => rate = arguments.value()?.parse::<u32>()?.max(1),
            "list" => is_list = true,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if is_list {
        for route in ROUTES {
            println!("{}", route.name);
        }
        return Ok(None);
    }
    Ok(given.map(|given| Options {
        only,
        server,
        wasi,
        time: Duration::from_secs(seconds),
        rate,
        given,
    }))
}

fn contenders(
    options: &Options,
    wasi: &'static str,
    work: &Path,
    silent: &str,
) -> Result<Vec<Contender>> {
    let component = match wasi {
        "0.2" => "hostile-p2.wasm",
        _ => "hostile-p3.wasm",
    };
    let good = |path| Neighbour {
        path,
        body: GOOD,
        per_second: options.rate,
    };
    let same = ("same component", good("/"));
    let both = vec![same.clone(), ("another component", good("/other"))];
    let mut contenders = Vec::new();
    for (name, limits, cpu_only) in [
        ("wharf", "", false),
        ("wharf, cpu = 10s", "limits = { cpu = \"10s\" }", true),
    ] {
        let app = work.join(format!("{wasi}-{}", limits.len()));
        fs::create_dir_all(&app)?;
        fs::copy(
            options.given.guests.join(component),
            app.join("hostile.wasm"),
        )?;
        let origin = silent.trim_end_matches('/');
        fs::write(
            app.join("wharf.toml"),
            format!(
                "manifest = 1\nname = \"noisy\"\nversion = \"0.1.0\"\n\n\
                 [component.hostile]\nsource = \"hostile.wasm\"\n\
                 grants = {{ http = [\"{origin}\"] }}\n{limits}\n\n\
                 [component.other]\nsource = \"hostile.wasm\"\n\n\
                 [[trigger.http]]\nroute = \"/...\"\ncomponent = \"hostile\"\n\n\
                 [[trigger.http]]\nroute = \"/other/...\"\ncomponent = \"other\"\n"
            ),
        )?;
        contenders.push(Contender {
            name,
            command: words(
                &options.given.wharf,
                &["up", &text(&app), "--addr", "127.0.0.1:0"],
            ),
            neighbours: both.clone(),
            cpu_only,
        });
    }
    if let Some(wasmtime) = &options.given.wasmtime {
        let file = text(&options.given.guests.join(component));
        let plain = ["serve", "--addr", "127.0.0.1:0", "-S", "cli"];
        let limited = ["-W", "timeout=1s", "-W", "max-memory-size=134217728"];
        for (name, flags) in [
            ("wasmtime serve", &[][..]),
            ("wasmtime serve, 1s and 128MiB", &limited[..]),
        ] {
            let arguments = [&plain[..], flags, &[&file]].concat();
            contenders.push(Contender {
                name,
                command: words(wasmtime, &arguments),
                // It serves one component.
                neighbours: vec![same.clone()],
                cpu_only: false,
            });
        }
    }
    Ok(contenders)
}

fn measure(
    options: &Options,
    contender: &Contender,
    route: &Route,
    wasi: &'static str,
    work: &Path,
    silent: &str,
) -> Result<Outcome> {
    let group = route
        .takes_memory()
        .then(|| Group::new(GROUP_BYTES))
        .flatten();
    let mut server = Server::start(&contender.command, group.as_ref(), work)?;
    let addr = server.addr;
    wait_until_good(addr)?;
    let neighbours: Vec<_> = contender
        .neighbours
        .iter()
        .map(|(_, who)| who.clone())
        .collect();
    let idle = load::ask(addr, &neighbours, IDLE_TIME)?;
    let hostile = Hostile::start(addr, route.request(&server, silent), route.clients);
    let noisy = load::ask(addr, &neighbours, options.time)?;
    let answered = hostile.stop();
    let alive_after_ms = alive(addr);
    // What a guest does for a client that left ends within a second.
    std::thread::sleep(Duration::from_secs(1));
    let (before, since) = (server.cpu(), Instant::now());
    std::thread::sleep(Duration::from_millis(500));
    let used = server.cpu().saturating_sub(before);
    let names = contender.neighbours.iter().map(|(who, _)| *who);
    let neighbours = names.zip(idle.into_iter().zip(noisy));
    Ok(Outcome {
        route: route.name,
        wasi,
        server: contender.name,
        hostile_clients: route.clients,
        memory_ceiling: group.is_some(),
        neighbours: neighbours
            .map(|(who, (idle, noisy))| NeighbourOutcome { who, idle, noisy })
            .collect(),
        rss_peak_bytes: server.rss_peak_bytes(),
        lives: server.lives(),
        alive_after_ms,
        cpu_after_percent: 100.0 * used.as_secs_f64() / since.elapsed().as_secs_f64(),
        answered,
        errors: server.errors(),
    })
}

fn once(addr: std::net::SocketAddr, patience: Duration) -> Option<Duration> {
    let start = Instant::now();
    let neighbour = Neighbour {
        path: "/",
        body: GOOD,
        per_second: 1,
    };
    load::ask_once(addr, &neighbour, patience)
        .is_ok()
        .then(|| start.elapsed())
}

/// Waits until the app is there: a server listens before it has one.
fn wait_until_good(addr: std::net::SocketAddr) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(120);
    while once(addr, Duration::from_secs(1)).is_none() {
        if Instant::now() > deadline {
            bail!("no good answer before any harm was done");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Until the first good answer, if one comes within a second.
fn alive(addr: std::net::SocketAddr) -> Option<f64> {
    let start = Instant::now();
    loop {
        let left = Duration::from_secs(1).checked_sub(start.elapsed())?;
        if once(addr, left).is_some() {
            return Some(start.elapsed().as_secs_f64() * 1000.0);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

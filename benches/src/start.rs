//! From nothing to an answer: how long a server takes from being started to its first answer, and a
//! program from being started to its end.
//!
//! What is built and compiled beforehand stays so: wharf has it in its store and cache, `wasmtime`
//! gets a precompiled file. Starts of all contenders take turns, one each.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lexopt::prelude::*;
use serde::Serialize;

use crate::serve::{HELLO, put_app};
use crate::server::{text, words};

const HELP: &str = "\
Measures how long it takes from starting a process to its first answer, for servers, and to its end,
for programs: wharf, `wasmtime` on precompiled files, and native code, in turns.

Usage: cargo xtask bench start [OPTIONS]

Options:
  --turns N     Starts of each, of which the median is told [default: 41]
  --json        Print JSON instead of a table
  -h, --help    Print this

Built by xtask and given here: --wharf FILE, --wasmtime FILE, --guests FOLDER.
";

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait between two tries to connect.
const PAUSE: Duration = Duration::from_micros(100);

struct Options {
    turns: usize,
    json: bool,
    wharf: PathBuf,
    wasmtime: Option<PathBuf>,
    guests: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum What {
    /// To the first answer.
    Server,
    /// To the end.
    Program,
}

/// `{addr}` in the command is where a server listens.
struct Contender {
    what: What,
    name: &'static str,
    command: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Row {
    what: What,
    name: &'static str,
    starts_us: Vec<f64>,
}

pub(crate) fn command(arguments: lexopt::Parser) -> Result<()> {
    let Some(options) = parse(arguments)? else {
        return Ok(());
    };
    let work = tempfile::tempdir()?;
    let contenders = contenders(&options, work.path())?;
    for contender in &contenders {
        // What is made once is made.
        start(contender).with_context(|| contender.name)?;
    }
    let mut rows: Vec<Row> = contenders
        .iter()
        .map(|contender| Row {
            what: contender.what,
            name: contender.name,
            starts_us: Vec::new(),
        })
        .collect();
    for _ in 0..options.turns {
        for (contender, row) in contenders.iter().zip(&mut rows) {
            let took = start(contender).with_context(|| contender.name)?;
            row.starts_us.push(took.as_secs_f64() * 1e6);
        }
    }
    for row in &mut rows {
        row.starts_us.sort_by(f64::total_cmp);
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        print!("{}", table(&rows));
    }
    Ok(())
}

fn parse(mut arguments: lexopt::Parser) -> Result<Option<Options>> {
    let mut options = Options {
        turns: 41,
        json: false,
        wharf: PathBuf::new(),
        wasmtime: None,
        guests: PathBuf::new(),
    };
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("turns") => options.turns = arguments.value()?.parse::<usize>()?.max(1),
            Long("json") => options.json = true,
            // For xtask: whether all this is understood.
            Long("check") => return Ok(None),
            Long("wharf") => options.wharf = arguments.value()?.into(),
            Long("wasmtime") => options.wasmtime = Some(arguments.value()?.into()),
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

fn contenders(options: &Options, work: &Path) -> Result<Vec<Contender>> {
    let (plain, say) = (
        options.guests.join("plain-p2.wasm"),
        options.guests.join("say.wasm"),
    );
    let app = work.join("app");
    put_app(&app, &plain, "")?;
    let own = std::env::current_exe().context("where is this program?")?;
    let up = ["up", &text(&app), "--addr", "{addr}"];
    let mut all = vec![
        Contender {
            what: What::Server,
            name: "wharf up",
            command: words(&options.wharf, &up),
        },
        Contender {
            what: What::Program,
            name: "wharf run",
            command: words(&options.wharf, &["run", &text(&say)]),
        },
        Contender {
            what: What::Server,
            name: "native",
            command: words(&own, &["native", "--addr", "{addr}"]),
        },
        Contender {
            what: What::Program,
            name: "native",
            command: words(&own, &["say"]),
        },
    ];
    if let Some(wasmtime) = &options.wasmtime {
        let precompiled = |wasm: &Path| -> Result<String> {
            let name = wasm.file_stem().context("a guest has a name")?;
            let to = work.join(name).with_extension("cwasm");
            let arguments = ["compile", &text(wasm), "-o", &text(&to)];
            run(&words(wasmtime, &arguments), Stdio::inherit())?;
            Ok(text(&to))
        };
        let (plain, say) = (precompiled(&plain)?, precompiled(&say)?);
        let serve = ["serve", "-S", "cli", "--allow-precompiled"];
        let serve = [&serve[..], &["--addr", "{addr}", &plain]].concat();
        all.push(Contender {
            what: What::Server,
            name: "wasmtime serve",
            command: words(wasmtime, &serve),
        });
        all.push(Contender {
            what: What::Program,
            name: "wasmtime run",
            command: words(wasmtime, &["run", "--allow-precompiled", &say]),
        });
    }
    Ok(all)
}

fn run(command: &[String], stdout: Stdio) -> Result<()> {
    let status = Command::new(&command[0])
        .args(&command[1..])
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null())
        .stdout(stdout)
        .status()
        .with_context(|| format!("cannot start {command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}

fn start(contender: &Contender) -> Result<Duration> {
    match contender.what {
        What::Server => start_server(&contender.command),
        What::Program => start_program(&contender.command),
    }
}

fn start_program(command: &[String]) -> Result<Duration> {
    let since = Instant::now();
    let output = Command::new(&command[0])
        .args(&command[1..])
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    let took = since.elapsed();
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(said == HELLO, "{command:?} said {said:?}");
    Ok(took)
}

/// A server that is killed in the end.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_server(command: &[String]) -> Result<Duration> {
    // Free now, and nobody else is about to take it.
    let addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let arguments = command[1..]
        .iter()
        .map(|word| word.replace("{addr}", &addr.to_string()));
    let since = Instant::now();
    let child = Command::new(&command[0])
        .args(arguments)
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    let mut started = Started(child);
    loop {
        if answers(addr)? {
            return Ok(since.elapsed());
        }
        if let Some(status) = started.0.try_wait()? {
            bail!("{command:?} ended with {status}");
        }
        ensure!(since.elapsed() < PATIENCE, "{command:?} does not answer");
        std::thread::sleep(PAUSE);
    }
}

/// Whether the server is there and has its app.
fn answers(addr: SocketAddr) -> Result<bool> {
    let Ok(mut stream) = TcpStream::connect(addr) else {
        return Ok(false);
    };
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.starts_with("HTTP/1.1 200 ") && answer.contains(HELLO.trim_end()))
}

fn table(rows: &[Row]) -> String {
    let mut out = String::from(
        "| | | median ms | lowest | highest | wharf to it |\n|---|---|---:|---:|---:|---:|\n",
    );
    let at = |row: &Row, part: f64| {
        let last = row.starts_us.len().saturating_sub(1);
        row.starts_us[(last as f64 * part) as usize] / 1000.0
    };
    for what in [What::Server, What::Program] {
        let of = || rows.iter().filter(move |row| row.what == what);
        for row in of() {
            let own = of().find(|own| own.name.starts_with("wharf") && own.name != row.name);
            let ratio = own.map(|own| format!("{:.2}", at(own, 0.5) / at(row, 0.5)));
            let _ = writeln!(
                out,
                "| {} | {} | {:.2} | {:.2} | {:.2} | {} |",
                match what {
                    What::Server => "to the first answer",
                    What::Program => "to the end",
                },
                row.name,
                at(row, 0.5),
                at(row, 0.0),
                at(row, 1.0),
                ratio.unwrap_or_default(),
            );
        }
    }
    out
}

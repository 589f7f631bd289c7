//! From nothing to an answer: how long a server takes from being started to its first answer, and a
//! program from being started to its end.
//!
//! What is built and compiled beforehand stays so: wharf has it in its store and cache, `wasmtime`
//! gets a precompiled file. Starts of all contenders take turns, one each.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lexopt::ValueExt;
use serde::Serialize;

use crate::client::get;
use crate::figures::percentile;
use crate::given::{self, Given};
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
    let mut turns = 41;
    let given = given::parse(arguments, HELP, |name, arguments| {
        match name {
            "turns" => turns = arguments.value()?.parse::<usize>()?.max(1),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let Some(given) = given else {
        return Ok(());
    };
    let work = tempfile::tempdir()?;
    let contenders = contenders(&given, work.path())?;
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
    for _ in 0..turns {
        for (contender, row) in contenders.iter().zip(&mut rows) {
            let took = start(contender).with_context(|| contender.name)?;
            row.starts_us.push(took.as_secs_f64() * 1e6);
        }
    }
    for row in &mut rows {
        row.starts_us.sort_by(f64::total_cmp);
    }
    given.print(&rows[..], table)
}

fn contenders(given: &Given, work: &Path) -> Result<Vec<Contender>> {
    let (plain, say) = (
        given.guests.join("plain-p2.wasm"),
        given.guests.join("say.wasm"),
    );
    let app = work.join("app");
    put_app(&app, &plain, "")?;
    let own = std::env::current_exe().context("where is this program?")?;
    let up = ["up", &text(&app), "--addr", "{addr}"];
    let mut all = vec![
        Contender {
            what: What::Server,
            name: "wharf up",
            command: words(&given.wharf, &up),
        },
        Contender {
            what: What::Program,
            name: "wharf run",
            command: words(&given.wharf, &["run", &text(&say)]),
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
    if let Some(wasmtime) = &given.wasmtime {
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
        if get(addr, "localhost", "/").is_ok_and(|answer| is_hello(&answer)) {
            return Ok(since.elapsed());
        }
        if let Some(status) = started.0.try_wait()? {
            bail!("{command:?} ended with {status}");
        }
        ensure!(since.elapsed() < PATIENCE, "{command:?} does not answer");
        std::thread::sleep(PAUSE);
    }
}

/// Whether the server has its app.
fn is_hello(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 200 ") && answer.contains(HELLO.trim_end())
}

fn table(rows: &[Row]) -> String {
    let mut out = String::from(
        "| | | median ms | lowest | highest | wharf to it |\n|---|---|---:|---:|---:|---:|\n",
    );
    let at = |row: &Row, percent| percentile(&row.starts_us, percent) / 1000.0;
    for what in [What::Server, What::Program] {
        let of = || rows.iter().filter(move |row| row.what == what);
        for row in of() {
            let own = of().find(|own| own.name.starts_with("wharf") && own.name != row.name);
            let ratio = own.map(|own| format!("{:.2}", at(own, 50) / at(row, 50)));
            let _ = writeln!(
                out,
                "| {} | {} | {:.2} | {:.2} | {:.2} | {} |",
                match what {
                    What::Server => "to the first answer",
                    What::Program => "to the end",
                },
                row.name,
                at(row, 50),
                at(row, 0),
                at(row, 100),
                ratio.unwrap_or_default(),
            );
        }
    }
    out
}

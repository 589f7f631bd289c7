//! Large bodies: one that is hashed, one that streams through, and many small events.
//!
//! The same component goes to wharf and to `wasmtime serve`, in turns.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lexopt::ValueExt;
use serde::Serialize;

use crate::figures;
use crate::given::{self, Given};
use crate::serve::put_app;
use crate::server::{Server, text, words};

const HELP: &str = "\
Posts 1 MB that the guest hashes, streams 100 MB through the guest and back, and has it send 10,000
server-sent events: wharf and `wasmtime serve` with the same component, in turns.

Usage: cargo xtask bench body [OPTIONS]

Options:
  --turns N     Turns, of which the median is told [default: 5]
  --json        Print JSON instead of a table
  -h, --help    Print this

Built by xtask and given here: --wharf FILE, --wasmtime FILE, --guests FOLDER.
";

const PATIENCE: Duration = Duration::from_secs(60);

/// What is asked, and what must come.
struct Job {
    name: &'static str,
    path: &'static str,
    posted: usize,
    /// Asked so many times a turn, one after the other.
    times: u32,
    is_right: fn(&Answer) -> bool,
}

/// The beginning of SHA-256 of 1,000,000 times `x`.
const HASH: &str = "1b977e9f84f1b26b";

const JOBS: &[Job] = &[
    Job {
        name: "1 MB hashed",
        path: "/hash",
        posted: 1_000_000,
        times: 20,
        is_right: |answer| answer.bytes == 64 && answer.beginning.starts_with(HASH),
    },
    Job {
        name: "100 MB through",
        path: "/echo",
        posted: 100_000_000,
        times: 1,
        is_right: |answer| answer.bytes == 100_000_000 && answer.beginning.starts_with("xxxx"),
    },
    Job {
        name: "10,000 events",
        path: "/events",
        posted: 0,
        times: 3,
        is_right: |answer| answer.bytes == EVENTS_BYTES && answer.beginning.starts_with("id: 0\n"),
    },
];

/// `id: N\ndata: event N\n\n`, N from 0 to 9,999.
const EVENTS_BYTES: u64 = 10_000 * 19 + 2 * (10 + 2 * 90 + 3 * 900 + 4 * 9000);

/// A whole answer.
#[derive(Debug)]
struct Answer {
    bytes: u64,
    beginning: String,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Figures {
    ms: f64,
    cpu_ms: f64,
}

#[derive(Debug, Serialize)]
struct Row {
    job: &'static str,
    wasi: &'static str,
    server: &'static str,
    turns: Vec<Figures>,
}

pub(crate) fn command(arguments: lexopt::Parser) -> Result<()> {
    let mut turns = 5;
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
    let mut rows = BTreeMap::<_, Vec<Figures>>::new();
    for turn in 1..=turns {
        for (wasi, version) in [("0.2", "p2"), ("0.3", "p3")] {
            for (server, command) in contenders(&given, version, work.path())? {
                eprintln!("turn {turn} of {turns}: {server}, {wasi}");
                let at = || format!("{server}, {wasi}");
                let started = Server::start(&command, None, work.path()).with_context(at)?;
                wait_until_there(started.addr).with_context(at)?;
                for (number, job) in JOBS.iter().enumerate() {
                    let figures = measure(&started, job).with_context(at)?;
                    rows.entry((number, wasi, server))
                        .or_default()
                        .push(figures);
                }
            }
        }
    }
    let rows: Vec<Row> = rows
        .into_iter()
        .map(|((number, wasi, server), turns)| Row {
            job: JOBS[number].name,
            wasi,
            server,
            turns,
        })
        .collect();
    given.print(&rows[..], table)
}

fn contenders(
    given: &Given,
    version: &str,
    work: &Path,
) -> Result<Vec<(&'static str, Vec<String>)>> {
    let guest = given.guests.join(format!("bodies-{version}.wasm"));
    let app = work.join(version);
    put_app(&app, &guest, "limits = { cpu = \"30s\" }")?;
    let up = ["up", &text(&app), "--addr", "127.0.0.1:0"];
    let mut all = vec![("wharf", words(&given.wharf, &up))];
    if let Some(wasmtime) = &given.wasmtime {
        let serve = ["serve", "--addr", "127.0.0.1:0", "-S", "cli", &text(&guest)];
        all.push(("wasmtime serve", words(wasmtime, &serve)));
    }
    Ok(all)
}

fn wait_until_there(addr: SocketAddr) -> Result<()> {
    let since = Instant::now();
    while !ask(addr, "/", 0).is_ok_and(|answer| answer.beginning == "here\n") {
        ensure!(since.elapsed() < PATIENCE, "no good answer");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn measure(server: &Server, job: &Job) -> Result<Figures> {
    let before = server.cpu();
    let since = Instant::now();
    for _ in 0..job.times {
        let answer = ask(server.addr, job.path, job.posted).context(job.name)?;
        ensure!((job.is_right)(&answer), "{}: {answer:?}", job.name);
    }
    let ms = |time: Duration| time.as_secs_f64() * 1000.0 / f64::from(job.times);
    Ok(Figures {
        ms: ms(since.elapsed()),
        cpu_ms: ms(server.cpu().saturating_sub(before)),
    })
}

/// Sends `posted` bytes while it reads the answer.
fn ask(addr: SocketAddr, path: &str, posted: usize) -> Result<Answer> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let method = if posted > 0 { "POST" } else { "GET" };
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {addr}\r\nContent-Length: {posted}\r\nConnection: close\r\n\r\n"
    )?;
    let mut to = stream.try_clone()?;
    let sending = std::thread::spawn(move || -> std::io::Result<()> {
        let piece = [b'x'; 64 << 10];
        let mut left = posted;
        while left > 0 {
            let sent = left.min(piece.len());
            to.write_all(&piece[..sent])?;
            left -= sent;
        }
        Ok(())
    });
    let answer = answer(BufReader::with_capacity(256 << 10, stream));
    match sending.join() {
        Ok(sent) => sent?,
        Err(_) => bail!("the sender panicked"),
    }
    answer
}

fn answer(mut from: impl BufRead) -> Result<Answer> {
    let mut is_chunked = false;
    let mut line = String::new();
    from.read_line(&mut line)?;
    ensure!(line.starts_with("HTTP/1.1 200 "), "answered {line:?}");
    while line != "\r\n" {
        line.clear();
        ensure!(from.read_line(&mut line)? > 0, "the head broke off");
        let field = line.to_ascii_lowercase();
        is_chunked |= field.starts_with("transfer-encoding:");
    }
    let mut answer = Answer {
        bytes: 0,
        beginning: String::new(),
    };
    if !is_chunked {
        take(&mut from, u64::MAX, &mut answer)?;
        return Ok(answer);
    }
    loop {
        line.clear();
        from.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim_end(), 16).context("a chunk's size")?;
        if size == 0 {
            return Ok(answer);
        }
        let before = answer.bytes;
        take(&mut from, size, &mut answer)?;
        ensure!(answer.bytes - before == size, "the body broke off");
        from.read_line(&mut line)?;
    }
}

/// Reads up to `count` bytes and keeps the first few.
fn take(from: &mut impl BufRead, mut count: u64, to: &mut Answer) -> Result<()> {
    while count > 0 {
        let there = from.fill_buf()?;
        if there.is_empty() {
            break;
        }
        let taken = there
            .len()
            .min(usize::try_from(count).unwrap_or(usize::MAX));
        let kept = taken.min(64_usize.saturating_sub(to.beginning.len()));
        to.beginning
            .push_str(&String::from_utf8_lossy(&there[..kept]));
        from.consume(taken);
        to.bytes += taken as u64;
        count -= taken as u64;
    }
    Ok(())
}

fn median(row: &Row, of: fn(&Figures) -> f64) -> f64 {
    figures::median(row.turns.iter().map(of))
}

fn table(rows: &[Row]) -> String {
    let mut out = String::from(
        "| | WASI | server | ms | CPU ms | time, wharf to it | CPU, wharf to it |\n\
         |---|---|---|---:|---:|---:|---:|\n",
    );
    for row in rows {
        let own = rows
            .iter()
            .find(|own| (own.job, own.wasi) == (row.job, row.wasi) && own.server == "wharf");
        let ratio = |of: fn(&Figures) -> f64| {
            own.filter(|own| own.server != row.server)
                .map(|own| format!("{:.2}", median(own, of) / median(row, of)))
                .unwrap_or_default()
        };
        let _ = writeln!(
            out,
            "| {} | {} | {} | {:.2} | {:.2} | {} | {} |",
            row.job,
            row.wasi,
            row.server,
            median(row, |figures| figures.ms),
            median(row, |figures| figures.cpu_ms),
            ratio(|figures| figures.ms),
            ratio(|figures| figures.cpu_ms),
        );
    }
    out
}

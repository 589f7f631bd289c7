//! Random and mutated WebAssembly, thousands of pieces: refused or run, never a crash.
//!
//! The program makes each case from a seed and its number, and takes it through all that wharf
//! does with bytes of a tenant: describing, looking at imports, compiling, linking, making an
//! instance in the serving pool under limits, calling it. Worker processes do it, so that a crash
//! is seen and told with the case that it belongs to; now and then a worker shows that it still
//! answers with a component that is good.
//!
//! ```text
//! cargo xtask test --only hostile
//! cargo test -p wharf-host --test hostile -- --seed 7 --seconds 600
//! cargo test -p wharf-host --test hostile -- --seed 7 --write 1234 case.wasm
//! ```

#![allow(clippy::unwrap_used)]

mod cases;
mod mutate;
mod random;
mod walk;
mod worker;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use cases::Guests;

/// Processes at work at once.
const WORKERS: u64 = 2;
/// What one case may take on a busy machine, its limits included, before it counts as hung.
const CASE_TIME_MAX: Duration = Duration::from_secs(120);
const SECONDS: u64 = 100;

struct Options {
    seed: u64,
    seconds: u64,
    write: Option<(u64, PathBuf)>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(worker::COMPILE) => return wharf_engine::compile_child_main(&arguments[1..]),
        Some(worker::WORK) => return worker::main(&arguments[1..]),
        _ => {}
    }
    let options = options(&arguments);
    let guests = Guests::build();
    if let Some((index, path)) = &options.write {
        std::fs::write(path, cases::case(&guests, options.seed, *index).bytes).unwrap();
        return ExitCode::SUCCESS;
    }
    println!("hostile: seed {}, {} s", options.seed, options.seconds);
    let folder = tempfile::tempdir().unwrap();
    let failures: Vec<String> = thread::scope(|scope| {
        let lanes: Vec<_> = (0..WORKERS)
            .map(|lane| {
                let (options, guests, folder) = (&options, &guests, folder.path());
                scope.spawn(move || watch(lane, options, guests, folder))
            })
            .collect();
        let mut total = BTreeMap::new();
        let mut failures = Vec::new();
        for lane in lanes {
            let (outcomes, failure) = lane.join().unwrap();
            for (outcome, count) in outcomes {
                *total.entry(outcome).or_insert(0) += count;
            }
            failures.extend(failure);
        }
        let cases: u64 = total.values().sum();
        println!("hostile: {cases} cases: {total:?}");
        // A machine so slow that nothing is tried, or a harness that tries nothing, is no pass.
        for outcome in ["refused", "ended", "ran"] {
            if !total
                .keys()
                .any(|known: &String| known.starts_with(outcome))
            {
                failures.push(format!("not one case {outcome}"));
            }
        }
        failures
    });
    for failure in &failures {
        println!("hostile: {failure}");
    }
    // In the words of the standard harness, which xtask counts.
    let failed = failures.len();
    let word = if failed == 0 { "ok" } else { "FAILED" };
    let passed = usize::from(failed == 0);
    println!(
        "\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out"
    );
    ExitCode::from(u8::from(failed > 0))
}

fn options(arguments: &[String]) -> Options {
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let mut options = Options {
        seed: time.unwrap().as_secs(),
        seconds: SECONDS,
        write: None,
    };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut number = || words.next().unwrap().parse().unwrap();
        match word.as_str() {
            "--seed" => options.seed = number(),
            "--seconds" => options.seconds = number(),
            "--write" => {
                let index = number();
                options.write = Some((index, words.next().unwrap().into()));
            }
            other => panic!("unknown argument {other}"),
        }
    }
    options
}

/// Keeps one worker at work until time is up. What each case came to, and what went wrong.
fn watch(
    lane: u64,
    options: &Options,
    guests: &Guests,
    folder: &Path,
) -> (BTreeMap<String, u64>, Option<String>) {
    let mut outcomes = BTreeMap::new();
    let socket = folder.join(format!("lane-{lane}"));
    let listener = UnixListener::bind(&socket).unwrap();
    let until = Instant::now() + Duration::from_secs(options.seconds);
    let mut worker = start(lane, options, guests, folder, &socket);
    let (connection, _) = listener.accept().unwrap();
    let (sender, lines) = mpsc::sync_channel(16);
    thread::spawn(move || {
        for line in BufReader::new(connection).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let mut at_work = None;
    loop {
        match lines.recv_timeout(CASE_TIME_MAX) {
            Ok(line) => match line.split_once(' ').unwrap() {
                ("case", number) => at_work = Some(number.parse::<u64>().unwrap()),
                ("came-to", outcome) => {
                    at_work = None;
                    *outcomes.entry(outcome.to_owned()).or_insert(0) += 1;
                    if Instant::now() > until {
                        worker.kill().unwrap();
                        worker.wait().unwrap();
                        return (outcomes, None);
                    }
                }
                (_, why) => {
                    let _ = worker.kill();
                    return (outcomes, Some(blame(options, guests, at_work, why)));
                }
            },
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let _ = worker.kill();
                let why = format!("took more than {CASE_TIME_MAX:?}");
                return (outcomes, Some(blame(options, guests, at_work, &why)));
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let why = format!("the process ended: {}", worker.wait().unwrap());
                return (outcomes, Some(blame(options, guests, at_work, &why)));
            }
        }
    }
}

fn start(lane: u64, options: &Options, guests: &Guests, folder: &Path, socket: &Path) -> Child {
    let numbers = [options.seed, lane, WORKERS].map(|number| number.to_string());
    let code = folder.join(format!("code-{lane}"));
    Command::new(std::env::current_exe().unwrap())
        .arg(worker::WORK)
        .args(numbers)
        .args([socket, &code])
        .args(guests.paths())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Keeps the bytes of the case at fault, and tells where.
fn blame(options: &Options, guests: &Guests, index: Option<u64>, why: &str) -> String {
    let seed = options.seed;
    let Some(index) = index else {
        return format!("seed {seed}, between two cases: {why}");
    };
    let program = std::env::current_exe().unwrap();
    let path = program.with_file_name(format!("hostile-{seed}-{index}.wasm"));
    let case = cases::case(guests, seed, index);
    std::fs::write(&path, case.bytes).unwrap();
    format!(
        "seed {seed}, case {index} ({}), kept as {}: {why}",
        case.kind,
        path.display()
    )
}

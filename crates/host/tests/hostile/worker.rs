//! A process that takes one case after another, and says which before it does.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::cases::{self, Guests};
use crate::walk::Walk;

/// The first argument of a worker, and of the compiler's process.
pub(crate) const WORK: &str = "--work";
pub(crate) const COMPILE: &str = "--compile";

/// Every so many cases a good component has to answer, and one case is compiled in a process of
/// its own.
const GOOD_EVERY: u64 = 40;
/// What a worker may hold between two cases: engines, pools and what was not given back.
const RESIDENT_KIB_MAX: u64 = 2 << 20;

/// `arguments` are `SEED LANE LANES SOCKET CODE-CACHE GUEST...`.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let [seed, lane, lanes, socket, code, guests @ ..] = arguments else {
        return ExitCode::from(2);
    };
    let [seed, lane, lanes]: [u64; 3] = [seed, lane, lanes].map(|text| text.parse().unwrap());
    let mut report = UnixStream::connect(socket).unwrap();
    let guests = Guests::read(guests.iter().map(PathBuf::from).collect());
    let mut walk = Walk::new(code.into());
    for round in 0.. {
        let index = lane + round * lanes;
        let case = cases::case(&guests, seed, index);
        writeln!(report, "case {index}").unwrap();
        let outcome = walk.through(&case, round % GOOD_EVERY == 1);
        if round % GOOD_EVERY == 0
            && let Err(why) = walk.answers(&guests.components[0])
        {
            writeln!(report, "broken a good component fails now: {why}").unwrap();
        }
        let resident = resident_kib();
        if resident > RESIDENT_KIB_MAX {
            writeln!(report, "broken {resident} KiB are resident").unwrap();
        }
        writeln!(report, "came-to {outcome}").unwrap();
    }
    ExitCode::SUCCESS
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap_or(0)
}

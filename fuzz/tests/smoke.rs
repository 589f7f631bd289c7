//! Each target for some seconds, without coverage to guide it: seeds, and seeds spoilt.
//!
//! `WHARF_FUZZ_SECONDS` sets the time of each, `WHARF_FUZZ_SEED` the seed.

#![allow(clippy::unwrap_used)]

use std::panic;
use std::time::{Duration, Instant, SystemTime};

use wharf_fuzz::{TARGETS, Target};

const SECONDS: u64 = 3;
/// Bytes of an input.
const LENGTH_MAX: usize = 1 << 16;
/// What means something to one of the parsers.
const WORDS: &[&str] = &[
    "\"",
    "\\",
    "\n",
    "\r\n",
    "=",
    "[",
    "]",
    "[[",
    "{",
    "}",
    "'''",
    "#",
    ".",
    "...",
    "..",
    "/",
    "//",
    ":",
    "*",
    "*.",
    "%00",
    "%2f",
    "::",
    "[::1]",
    "0",
    "-1",
    "18446744073709551616",
    "1e999",
    "KiB",
    "MiB",
    "GiB",
    "ms",
    "s",
    "m",
    "h",
    "\0",
    "\u{feff}",
    "\u{202e}",
    "\u{1b}[2J",
    "é",
    "https://",
    "http://",
    "tcp:",
    "udp:",
    ":rw",
    "sha256:",
    "null",
    "true",
    "component",
    "route",
    "trigger",
    "files",
    "limits",
    "manifest",
    "\0asm",
    "\x01\0\0\0",
    "\x0d\0\x01\0",
    "\u{7f}",
];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn spoil(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(bytes.len() + 1);
        let end = (at + self.below(16)).min(bytes.len());
        match self.below(9) {
            0 if !bytes.is_empty() => bytes[at.min(end.max(1) - 1)] ^= 1 << self.below(8),
            1 => drop(bytes.drain(at..end)),
            2 => drop(bytes.splice(at..at, [self.next() as u8])),
            3 => {
                let piece = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, piece));
            }
            4 => bytes.truncate(at),
            5 => {
                let from = self.below(other.len());
                let piece = other[from..].iter().take(64).copied();
                drop(bytes.splice(at..end, piece));
            }
            6 => {
                let piece = bytes[at..end].repeat(1 + self.below(200));
                drop(bytes.splice(at..end, piece));
            }
            _ => {
                let word = WORDS[self.below(WORDS.len())].bytes();
                drop(bytes.splice(at..end, word));
            }
        }
        bytes.truncate(LENGTH_MAX);
    }
}

fn from_environment(name: &str, otherwise: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(otherwise, |text| text.parse().unwrap())
}

fn smoke(target: &Target, seed: u64, time: Duration) {
    let seeds = (target.seeds)();
    for bytes in &seeds {
        (target.run)(bytes);
    }
    let mut random = Random(seed);
    let mut kept = seeds;
    let until = Instant::now() + time;
    let mut inputs: u64 = 0;
    while Instant::now() < until {
        let mut bytes = kept[random.below(kept.len())].clone();
        let other = kept[random.below(kept.len())].clone();
        for _ in 0..=random.below(6) {
            random.spoil(&mut bytes, &other);
        }
        let result = panic::catch_unwind(|| (target.run)(&bytes));
        inputs += 1;
        assert!(
            result.is_ok(),
            "{} fails, seed {seed}: {:?} = {bytes:?}",
            target.name,
            String::from_utf8_lossy(&bytes)
        );
        // Some faults build on others.
        if random.below(64) == 0 && kept.len() < 256 {
            kept.push(bytes);
        }
    }
    println!("{}: {inputs} inputs, seed {seed}", target.name);
}

#[test]
fn no_input_breaks_a_parser() {
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seed = from_environment("WHARF_FUZZ_SEED", time.unwrap().as_secs());
    let seconds = Duration::from_secs(from_environment("WHARF_FUZZ_SECONDS", SECONDS));
    for target in TARGETS {
        smoke(target, seed, seconds);
    }
}

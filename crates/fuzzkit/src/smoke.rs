//! Targets for some seconds, without coverage to guide them: seeds, and seeds spoilt.

use std::panic;
use std::time::{Duration, Instant, SystemTime};

use crate::words::WORDS;
use crate::{Random, Target};

/// Bytes of an input.
const LENGTH_MAX: usize = 1 << 16;
/// Inputs that others are made of.
const KEPT_MAX: usize = 256;

/// Runs each target for `seconds`, first on its seeds, then on mutations of them. Prints how many
/// inputs there were, the longest time that one took, and the random seed.
///
/// `WHARF_FUZZ_SECONDS` sets another time for each, `WHARF_FUZZ_SEED` the random seed, and
/// `WHARF_FUZZ_TARGET` takes only the target of that name.
///
/// # Panics
/// A target found a fault, or one of the variables is no number.
pub fn smoke(targets: &[Target], seconds: u64) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seed = number("WHARF_FUZZ_SEED", now.unwrap_or_default().as_secs());
    let time = Duration::from_secs(number("WHARF_FUZZ_SECONDS", seconds));
    let only = std::env::var("WHARF_FUZZ_TARGET").ok();
    for target in targets {
        if only.as_deref().is_none_or(|name| name == target.name) {
            run(target, seed, time);
        }
    }
}

fn number(variable: &str, otherwise: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: `{text}`")),
        Err(_) => otherwise,
    }
}

fn run(target: &Target, seed: u64, time: Duration) {
    let mut slowest = Duration::ZERO;
    let mut one = |bytes: &[u8]| {
        let start = Instant::now();
        let result = panic::catch_unwind(|| (target.run)(bytes));
        slowest = slowest.max(start.elapsed());
        assert!(
            result.is_ok(),
            "{} fails, seed {seed}: {:?} = {bytes:?}",
            target.name,
            String::from_utf8_lossy(bytes)
        );
    };
    let mut kept = (target.seeds)();
    for bytes in &kept {
        one(bytes);
    }
    let mut random = Random(seed);
    let until = Instant::now() + time;
    let mut inputs: u64 = 0;
    while Instant::now() < until {
        let mut bytes = kept[random.below(kept.len())].clone();
        let other = kept[random.below(kept.len())].clone();
        for _ in 0..=random.below(6) {
            spoil(&mut bytes, &other, &mut random);
        }
        one(&bytes);
        inputs += 1;
        // Some faults build on others.
        if random.below(64) == 0 && kept.len() < KEPT_MAX {
            kept.push(bytes);
        }
    }
    println!(
        "{}: {inputs} inputs, the slowest in {slowest:.1?}, seed {seed}",
        target.name
    );
}

/// Makes one change to `bytes`, perhaps with a part of another input.
fn spoil(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let end = (at + random.below(16)).min(bytes.len());
    match random.below(9) {
        0 if !bytes.is_empty() => bytes[at.min(end.max(1) - 1)] ^= 1 << random.below(8),
        1 => drop(bytes.drain(at..end)),
        2 => drop(bytes.splice(at..at, [random.next() as u8])),
        3 => {
            let piece = bytes[at..end].to_vec();
            drop(bytes.splice(at..at, piece));
        }
        4 => bytes.truncate(at),
        5 => {
            let from = random.below(other.len());
            let piece = other[from..].iter().take(64).copied();
            drop(bytes.splice(at..end, piece));
        }
        6 => {
            let piece = bytes[at..end].repeat(1 + random.below(200));
            drop(bytes.splice(at..end, piece));
        }
        _ => {
            let word = WORDS[random.below(WORDS.len())].bytes();
            drop(bytes.splice(at..end, word));
        }
    }
    bytes.truncate(LENGTH_MAX);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_found() {
        let run = |bytes: &[u8]| assert!(!bytes.contains(&b'%'), "a fault");
        let faulty = Target::new("faulty", run, || vec![b"good".to_vec()]);
        let found = panic::catch_unwind(|| super::run(&faulty, 1, Duration::from_secs(600)));
        let text = found.unwrap_err();
        let text = text.downcast_ref::<String>().unwrap();
        assert!(text.starts_with("faulty fails, seed 1: "), "{text}");
    }
}

//! A process that is confined tries what it must not be able to do.
//!
//! The test program starts itself again with one test as the argument; that one, told by a
//! variable, confines itself and tries.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, unsafe_code)]

mod attempts;

use std::process::{Command, Output, Stdio};

use wharf_sandbox::{Confinement, Limits, Piece, Sandbox};

/// Tells the program that it is the one that is confined, and what to try.
const ATTEMPT: &str = "WHARF_SANDBOX_ATTEMPT";
/// The one piece that confines it, if not both do.
const PIECE: &str = "WHARF_SANDBOX_PIECE";

/// Starts this very program to try `name`.
fn confined(name: &str) -> Output {
    confined_by("both", name)
}

fn confined_by(piece: &str, name: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_confined_process", "--nocapture"])
        .env(ATTEMPT, name)
        .env(PIECE, piece)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Does nothing unless it was started by another test.
#[test]
fn the_confined_process() {
    let Ok(name) = std::env::var(ATTEMPT) else {
        return;
    };
    let (_, attempt) = attempts::ALL
        .iter()
        .find(|(known, _)| *known == name)
        .unwrap();
    // Made before: afterwards nothing can be.
    let before = attempts::Before::new();
    let sandbox = Sandbox {
        limits: Limits {
            memory_bytes: Some(4 << 30),
            cpu: None,
            file_bytes: Some(1 << 20),
        },
    };
    let confinement = match std::env::var(PIECE).unwrap().as_str() {
        "Landlock" => sandbox.enter_with(Piece::Landlock),
        "seccomp" => sandbox.enter_with(Piece::Seccomp),
        _ => sandbox.enter(),
    };
    eprintln!("confined by {confinement}");
    match attempt(&before) {
        Ok(()) => eprintln!("outcome: it went through"),
        Err(error) => eprintln!("outcome: refused: {error}"),
    }
}

fn outcome(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find_map(|line| line.strip_prefix("outcome: "));
    line.unwrap_or_else(|| panic!("{:?} {text}", output.status))
        .to_owned()
}

#[test]
fn this_machine_gives_a_filter_on_system_calls() {
    let confinement = Confinement::of_this_machine();
    assert!(confinement.seccomp, "{confinement}");
    // Only a thread that ended was confined.
    assert!(std::fs::read("/proc/self/status").is_ok());
}

#[test]
fn what_is_forbidden_is_refused() {
    let forbidden = |name: &str| !name.starts_with("may ") && name != "panic";
    for (name, _) in attempts::ALL.iter().filter(|(name, _)| forbidden(name)) {
        let outcome = outcome(&confined(name));
        assert!(outcome.starts_with("refused"), "{name}: {outcome}");
    }
}

/// What Landlock refuses, by the version from which on it does.
const BY_LANDLOCK: &[(u32, &str)] = &[
    (1, "read a file"),
    (1, "read its own memory map"),
    (1, "list a folder"),
    (1, "write a file"),
    (1, "append to a device"),
    (1, "start a program"),
    (1, "become a program"),
    (1, "trace its parent"),
    (1, "do so on a thread of its own"),
    (4, "connect"),
    (4, "listen"),
    (6, "signal its parent"),
];

#[test]
fn landlock_alone_closes_files_and_the_network() {
    let version = Confinement::of_this_machine().landlock;
    for (since, name) in BY_LANDLOCK {
        let output = confined_by("Landlock", name);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("no seccomp"), "{text}");
        let refused = outcome(&output).starts_with("refused");
        assert!(refused || version < *since, "{name}: {text}");
    }
}

#[test]
fn seccomp_alone_closes_files_and_the_network() {
    let forbidden = |name: &str| !name.starts_with("may ") && name != "panic";
    for (name, _) in attempts::ALL.iter().filter(|(name, _)| forbidden(name)) {
        let output = confined_by("seccomp", name);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("confined by no Landlock, seccomp"), "{text}");
        let outcome = outcome(&output);
        assert!(outcome.starts_with("refused"), "{name}: {outcome}");
    }
}

#[test]
fn what_computing_needs_is_allowed() {
    for (name, _) in attempts::ALL
        .iter()
        .filter(|(name, _)| name.starts_with("may "))
    {
        assert_eq!(outcome(&confined(name)), "it went through", "{name}");
    }
}

#[test]
fn a_panic_ends_the_process_and_no_other() {
    let output = confined("panic");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("a compiler's bug"), "{text}");
    assert_eq!(output.status.code(), Some(101), "{text}");
}

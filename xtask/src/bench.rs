//! `cargo xtask bench NAME`: builds what a bench needs, and starts it.
//!
//! The measuring itself is in `benches`, a workspace of its own, so that this crate stays small.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::setup::{self, Purpose};
use crate::workspace::Workspace;
use crate::{Usage, process};

const HELP: &str = "\
Measure wharf beside its peers, in turns, on this machine.

Usage: cargo xtask bench NAME [OPTIONS]

Benches:
  apps    A thousand small apps on one node
  body    Large bodies: hashed, streamed through, and sent in small pieces
  noisy   Good requests beside hostile guests: wharf and `wasmtime serve`
  serve   Hello: wharf, `wasmtime serve` and native code
  start   From a process's start to its first answer, or its end

Options:
  --no-peer   Measure wharf alone; nothing is installed
  -h, --help  Print this; `cargo xtask bench NAME --help` says more

wharf is built in release; a peer is installed into target/tools, once, which takes as long.
";

/// The peer's version is that of the engine in wharf.
const WASMTIME: &str = "wasmtime-cli@48.0.8";
const WASM: &str = "wasm32-wasip2";

/// A bench, and the guests that it runs.
#[derive(Debug, PartialEq, Eq)]
struct Bench {
    name: &'static str,
    guests: &'static [Guest],
}

#[derive(Debug, PartialEq, Eq)]
struct Guest {
    package: &'static str,
    /// The feature for each version of WASI, which is also in its file's name; none for a command.
    versions: &'static [&'static str],
}

const PLAIN: Guest = Guest {
    package: "plain",
    versions: &["p2", "p3"],
};

const BENCHES: [Bench; 5] = [
    Bench {
        name: "apps",
        guests: &[PLAIN],
    },
    Bench {
        name: "body",
        guests: &[Guest {
            package: "bodies",
            versions: &["p2", "p3"],
        }],
    },
    Bench {
        name: "noisy",
        guests: &[Guest {
            package: "hostile",
            versions: &["p2", "p3"],
        }],
    },
    Bench {
        name: "serve",
        guests: &[PLAIN],
    },
    Bench {
        name: "start",
        guests: &[
            PLAIN,
            Guest {
                package: "say",
                versions: &[],
            },
        ],
    },
];

#[derive(Debug, PartialEq, Eq)]
struct Options {
    bench: &'static Bench,
    has_peer: bool,
    /// It only prints something: nothing has to be there for that.
    is_question: bool,
    /// What the bench itself understands.
    passed_on: Vec<OsString>,
}

pub(crate) fn command(workspace: &Workspace, arguments: Vec<OsString>) -> Result<ExitCode> {
    let Some(options) = parse(arguments)? else {
        print!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    };
    let bench = || {
        let mut bench = process::cargo(workspace);
        bench
            .args(["run", "--quiet", "--release", "--manifest-path"])
            .arg(workspace.root().join("benches/Cargo.toml"))
            .env("CARGO_TARGET_DIR", workspace.side_target())
            .args(["--", options.bench.name])
            .args(&options.passed_on);
        bench
    };
    if !options.is_question {
        // Mistakes are told before anything else is built.
        process::run(bench().arg("--check"))?;
    }
    let mut bench = bench();
    if !options.is_question {
        setup::prepare(workspace, Purpose::Demo)?;
        process::run(process::cargo(workspace).args([
            "build",
            "--release",
            "--package",
            "wharf-cli",
        ]))?;
        let wharf = workspace.target().join("release/wharf");
        bench.arg("--wharf").arg(wharf);
        bench
            .arg("--guests")
            .arg(guests(workspace, options.bench.guests)?);
        if options.has_peer {
            bench.arg("--wasmtime").arg(wasmtime(workspace)?);
        }
    }
    process::run(&mut bench)?;
    Ok(ExitCode::SUCCESS)
}

/// `None` asks for the help text.
fn parse(arguments: Vec<OsString>) -> Result<Option<Options>, Usage> {
    let mut arguments = arguments.into_iter();
    let name = arguments.next();
    let bench = match name.as_ref().and_then(|name| name.to_str()) {
        Some("-h" | "--help") => return Ok(None),
        Some(option) if option.starts_with('-') => {
            return Err(Usage(format!("invalid option '{option}'")));
        }
        Some(name) => (BENCHES.iter().find(|bench| bench.name == name))
            .ok_or_else(|| Usage(format!("no such bench: `{name}`")))?,
        None => {
            return Err(Usage(
                "which bench? `apps`, `body`, `noisy`, `serve` or `start`".to_owned(),
            ));
        }
    };
    let (own, passed_on): (Vec<_>, Vec<_>) = arguments.partition(|word| word == "--no-peer");
    let is_question = |word: &OsString| ["-h", "--help", "--list"].iter().any(|it| word == it);
    Ok(Some(Options {
        bench,
        has_peer: own.is_empty(),
        is_question: passed_on.iter().any(is_question),
        passed_on,
    }))
}

/// Builds guests, each in its versions. Returns the folder with their files.
fn guests(workspace: &Workspace, guests: &[Guest]) -> Result<PathBuf> {
    let folder = workspace.side_target().join("bench-guests");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    for Guest { package, versions } in guests {
        let build = |feature: Option<&str>| {
            process::run(
                process::cargo(workspace)
                    .current_dir(workspace.root().join("guests"))
                    .env("CARGO_TARGET_DIR", workspace.side_target())
                    .args(["build", "--release", "--target", WASM])
                    .args(["--package", package, "--no-default-features"])
                    .args(["--features", feature.unwrap_or_default()]),
            )?;
            // Cargo puts all versions at one place.
            let built = workspace
                .side_target()
                .join(WASM)
                .join(format!("release/{package}.wasm"));
            let name = [Some(*package), feature].into_iter().flatten();
            let name: Vec<_> = name.collect();
            let place = folder.join(name.join("-")).with_extension("wasm");
            std::fs::copy(&built, &place)
                .with_context(|| format!("cannot copy {}", built.display()))?;
            anyhow::Ok(())
        };
        if versions.is_empty() {
            build(None)?;
        }
        for version in *versions {
            build(Some(version))?;
        }
    }
    Ok(folder)
}

/// The peer, installed if it is not there. One that is in our tools is of the right version;
/// the user's own may be of another.
fn wasmtime(workspace: &Workspace) -> Result<PathBuf> {
    let program = workspace.tools().join("bin/wasmtime");
    if is_of_the_version(workspace, &program) {
        return Ok(program);
    }
    eprintln!("bench: building {WASMTIME} from crates.io into target/tools (ten minutes, once)");
    let objects = workspace.tools().join("build");
    process::run(
        process::cargo(workspace)
            .args(["install", "--locked", "--force", "--root"])
            .arg(workspace.tools())
            .arg(WASMTIME)
            .env("CARGO_TARGET_DIR", &objects),
    )?;
    std::fs::remove_dir_all(&objects)
        .with_context(|| format!("cannot remove {}", objects.display()))?;
    Ok(program)
}

fn is_of_the_version(workspace: &Workspace, program: &Path) -> bool {
    let version = WASMTIME.rsplit('@').next().unwrap_or_default();
    process::output(process::command(workspace, program).arg("--version"))
        .is_some_and(|text| text.split_whitespace().any(|word| word == version))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parsed(words: &[&str]) -> Result<Option<Options>, Usage> {
        parse(words.iter().map(OsString::from).collect())
    }

    #[test]
    fn what_is_not_ours_is_passed_on() {
        let options = parsed(&["noisy", "--only", "spin", "--no-peer", "--json"]);
        let expected = Options {
            bench: &BENCHES[2],
            has_peer: false,
            is_question: false,
            passed_on: ["--only", "spin", "--json"].map(OsString::from).to_vec(),
        };
        assert_eq!(options.unwrap(), Some(expected));
        assert!(parsed(&["noisy", "--list"]).unwrap().unwrap().is_question);
    }

    #[test]
    fn mistakes_are_told_before_anything_is_built() {
        assert!(parsed(&[]).is_err());
        assert!(parsed(&["nosy"]).is_err());
        assert!(parsed(&["--bogus"]).is_err());
        assert_eq!(parsed(&["--help"]).unwrap(), None);
    }
}

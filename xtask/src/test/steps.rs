//! The steps of `cargo xtask test`, in the order in which they run: what is
//! quick and often wrong comes first.

use anyhow::{Context as _, Result, bail};

use super::count::{Count, Runner, run_counting};
use super::{browser, side};
use crate::workspace::Workspace;
use crate::{process, tidy};

/// One step. `run` is given the test filter, by which only some can choose.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) takes_filter: bool,
    pub(crate) by_default: bool,
    pub(crate) run: fn(&Workspace, Option<&str>) -> Result<Count>,
}

pub(crate) const STEPS: &[Step] = &[
    check(
        "fmt",
        "rustfmt over the workspace and what templates make",
        |workspace, _| {
            cargo(workspace, &["fmt", "--all", "--check"])?;
            let tree = tidy::Tree::read(workspace.root())?;
            let is_made = |name: &&str| name.starts_with("templates/") && name.ends_with(".rs");
            process::run(
                process::command(workspace, "rustfmt")
                    .args(["--check", "--edition", "2024"])
                    .args(tree.names().filter(is_made)),
            )?;
            Ok(Count::default())
        },
    ),
    check("tidy", "cargo xtask tidy", |workspace, _| {
        let problems = tidy::report(workspace)?;
        if problems > 0 {
            bail!("tidy found {problems} problems");
        }
        Ok(Count::default())
    }),
    check(
        "deny",
        "licences, bans and sources of all dependencies",
        |workspace, _| {
            cargo(
                workspace,
                &[
                    "deny",
                    "--all-features",
                    "check",
                    "--hide-inclusion-graph",
                    "bans",
                    "licenses",
                    "sources",
                ],
            )
        },
    ),
    check(
        "portable",
        "the manifest crate for the browser's target",
        |workspace, _| {
            cargo(
                workspace,
                &[
                    "check",
                    "--package",
                    "wharf-manifest",
                    "--target",
                    "wasm32-unknown-unknown",
                ],
            )
        },
    ),
    check(
        "clippy",
        "clippy over the workspace, warnings are errors",
        |workspace, _| {
            cargo(
                workspace,
                &[
                    "clippy",
                    "--workspace",
                    "--all-targets",
                    "--",
                    "-D",
                    "warnings",
                ],
            )
        },
    ),
    check(
        "side-check",
        "rustfmt and clippy over SDK, guests and examples",
        |workspace, _| side::check(workspace),
    ),
    check(
        "doc",
        "the API documentation builds, without dead links",
        |workspace, _| {
            process::run(
                process::cargo(workspace)
                    .args(["doc", "--workspace", "--no-deps"])
                    .env("RUSTDOCFLAGS", "-D warnings"),
            )?;
            Ok(Count::default())
        },
    ),
    tests(
        "test",
        "unit and integration tests of the workspace",
        |workspace, filter| {
            let mut command = process::cargo(workspace);
            command.args([
                "test",
                "--workspace",
                "--no-fail-fast",
                "--lib",
                "--bins",
                "--tests",
            ]);
            command.args(filter);
            run_counting(Runner::Libtest, &mut command)
        },
    ),
    tests(
        "doctest",
        "examples in the documentation of the workspace",
        |workspace, filter| {
            let mut command = process::cargo(workspace);
            command.args(["test", "--workspace", "--no-fail-fast", "--doc"]);
            command.args(filter);
            run_counting(Runner::Libtest, &mut command)
        },
    ),
    tests(
        "side-test",
        "tests of the SDK and the examples, and the fuzz targets for seconds",
        side::test,
    ),
    check(
        "hostile",
        "thousands of random and mutated modules: refused or run",
        |workspace, _| {
            let mut command = process::cargo(workspace);
            command.args(["test", "--package", "wharf-host", "--test", "hostile"]);
            run_counting(Runner::Libtest, &mut command)
        },
    ),
    check(
        "browser",
        "darkroom, the template app and --watch in Chromium",
        |workspace, _| browser::test(workspace),
    ),
    #[cfg(unix)]
    check(
        "programs",
        "CPython, clang, ripgrep and others under `wharf run`",
        |workspace, _| super::programs::test(workspace),
    ),
    Step {
        by_default: false,
        ..check(
            "advisories",
            "known vulnerabilities; fetches RustSec's list",
            |workspace, _| {
                cargo(
                    workspace,
                    &["deny", "--all-features", "check", "advisories"],
                )
                .context("either there are some, or RustSec's list cannot be reached from here")
            },
        )
    },
];

const fn check(
    name: &'static str,
    what: &'static str,
    run: fn(&Workspace, Option<&str>) -> Result<Count>,
) -> Step {
    Step {
        name,
        what,
        takes_filter: false,
        by_default: true,
        run,
    }
}

const fn tests(
    name: &'static str,
    what: &'static str,
    run: fn(&Workspace, Option<&str>) -> Result<Count>,
) -> Step {
    Step {
        name,
        what,
        takes_filter: true,
        by_default: true,
        run,
    }
}

/// The steps as `--help` shows them.
pub(crate) fn listing() -> String {
    let row = |step: &Step| {
        let note = if step.by_default {
            ""
        } else {
            " (only by name)"
        };
        format!("  {:<12} {}{note}\n", step.name, step.what)
    };
    STEPS.iter().map(row).collect()
}

fn cargo(workspace: &Workspace, arguments: &[&str]) -> Result<Count> {
    process::run(process::cargo(workspace).args(arguments))?;
    Ok(Count::default())
}

//! The command as its users meet it: arguments in; text, files and exit codes out.

#![allow(clippy::unwrap_used)]

mod help;
mod invoke;
mod new;
mod run;

use wharf_testkit::Sandbox;

/// A sandbox for the command under test.
fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_wharf"))
}

//! Measures wharf beside its peers, in turns, on one machine.
//!
//! One command a figure. `cargo xtask bench NAME` builds what is needed and starts this program;
//! it lies outside the workspace so that nothing else pays for what it links.

mod client;
mod group;
mod load;
mod noisy;
mod server;

use std::process::ExitCode;

use anyhow::{Result, bail};
use lexopt::prelude::*;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut arguments = lexopt::Parser::from_env();
    match arguments.next()? {
        Some(Value(name)) if name == "noisy" => noisy::command(arguments),
        Some(other) => bail!("no such bench: {}", other.unexpected()),
        None => bail!("which bench? `noisy`"),
    }
}

//! Measures wharf beside its peers, in turns, on one machine.
//!
//! One command a figure. `cargo xtask bench NAME` builds what is needed and starts this program;
//! it lies outside the workspace so that nothing else pays for what it links.

mod apps;
mod body;
mod client;
mod figures;
mod given;
mod group;
mod hammer;
mod load;
mod native;
mod noisy;
mod serve;
mod server;
mod start;

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
        Some(Value(name)) if name == "apps" => apps::command(arguments),
        Some(Value(name)) if name == "body" => body::command(arguments),
        Some(Value(name)) if name == "noisy" => noisy::command(arguments),
        Some(Value(name)) if name == "serve" => serve::command(arguments),
        Some(Value(name)) if name == "start" => start::command(arguments),
        // Contenders, each in a process of its own.
        Some(Value(name)) if name == "native" => native::serve(arguments, serve::HELLO),
        Some(Value(name)) if name == "say" => {
            print!("{}", serve::HELLO);
            Ok(())
        }
        Some(other) => bail!("no such bench: {}", other.unexpected()),
        None => bail!("which bench? `apps`, `body`, `noisy`, `serve` or `start`"),
    }
}

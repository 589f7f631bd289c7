//! What all benches are told on the command line, and how they tell what came of it.

use std::path::PathBuf;

use anyhow::Result;
use lexopt::prelude::*;
use serde::Serialize;

/// What xtask built, and the options that all benches have.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) wharf: PathBuf,
    /// `None` measures wharf alone.
    pub(crate) wasmtime: Option<PathBuf>,
    pub(crate) guests: PathBuf,
    is_json: bool,
}

/// Reads a command line. An option that not all benches have goes to `own`, which says whether it
/// knows it. `None` if nothing is to be measured.
pub(crate) fn parse(
    mut arguments: lexopt::Parser,
    help: &str,
    mut own: impl FnMut(&str, &mut lexopt::Parser) -> Result<bool>,
) -> Result<Option<Given>> {
    let mut given = Given::default();
    while let Some(argument) = arguments.next()? {
        let name = match argument {
            Long(name) => name.to_owned(),
            Short('h') => "help".to_owned(),
            other => return Err(other.unexpected().into()),
        };
        match &*name {
            "json" => given.is_json = true,
            "wharf" => given.wharf = arguments.value()?.into(),
            "wasmtime" => given.wasmtime = Some(arguments.value()?.into()),
            "guests" => given.guests = arguments.value()?.into(),
            // For xtask: whether all this is understood.
            "check" => return Ok(None),
            "help" => {
                print!("{help}");
                return Ok(None);
            }
            name if own(name, &mut arguments)? => {}
            name => return Err(Long(name).unexpected().into()),
        }
    }
    Ok(Some(given))
}

impl Given {
    /// Prints an outcome: as a table, or as JSON if that was asked for.
    pub(crate) fn print<T: Serialize + ?Sized>(
        &self,
        outcome: &T,
        table: impl FnOnce(&T) -> String,
    ) -> Result<()> {
        match self.is_json {
            true => println!("{}", serde_json::to_string_pretty(outcome)?),
            false => print!("{}", table(outcome)),
        }
        Ok(())
    }
}

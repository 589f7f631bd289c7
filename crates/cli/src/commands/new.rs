//! `wharf new`: an app from a template.

use std::path::PathBuf;
use std::process::ExitCode;

use wharf_build::{NewOptions, new_app};

use crate::args::New;
use crate::error::CliError;
use crate::{Outcome, paths};

pub(crate) fn main(args: &New) -> Outcome {
    let folder = args
        .dir
        .clone()
        .unwrap_or_else(|| PathBuf::from(&args.name));
    let files = new_app(&NewOptions {
        template: args.template,
        name: args.name.clone(),
        folder: folder.clone(),
        cache_dir: paths::cache_dir()?,
    })
    .map_err(|error| CliError::from_parts(&error, error.hint()))?;
    println!("made {} ({} files)", folder.display(), files.len());
    println!();
    println!("next:");
    println!("  cd {}", folder.display());
    println!("  {}", args.template.next_command());
    Ok(ExitCode::SUCCESS)
}

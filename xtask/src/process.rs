//! Starting other programs, each shown before it runs.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

/// A command in the project's root that finds our tools.
///
/// What cargo told *this* program about itself (its manifest, its package) is
/// taken away: build scripts watch some of those variables, and would rebuild
/// their crates whenever cargo is called from here and then from a shell.
pub(crate) fn command(workspace: &Workspace, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(workspace.root());
    // A relative one would mean another folder wherever a command runs elsewhere.
    if std::env::var_os("CARGO_TARGET_DIR").is_some_and(|named| !named.is_empty()) {
        command.env("CARGO_TARGET_DIR", workspace.target());
    }
    command.env("PATH", search_path(workspace));
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("CARGO_PKG_") || name_text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// The cargo that runs us, or the one on `PATH`.
pub(crate) fn cargo(workspace: &Workspace) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    command(workspace, program)
}

/// Shows a command, runs it with our own input and output, and waits for it.
///
/// # Errors
/// The program cannot be started, or ends with anything but success.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    show(command);
    let status = command
        .status()
        .with_context(|| format!("cannot start `{}`", program_name(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", line(command));
    }
    Ok(())
}

/// What a command prints, or nothing where it cannot run or fails.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

pub(crate) fn show(command: &Command) {
    eprintln!("  $ {}", line(command));
}

/// A command as one would type it: the program's bare name and its arguments,
/// quoted where a shell needs it.
pub(crate) fn line(command: &Command) -> String {
    let mut words = vec![program_name(command)];
    words.extend(command.get_args().map(quote));
    words.join(" ")
}

fn program_name(command: &Command) -> String {
    let program = PathBuf::from(command.get_program());
    program
        .file_name()
        .unwrap_or(program.as_os_str())
        .to_string_lossy()
        .into_owned()
}

fn quote(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The first program of that name on `PATH` or among our tools.
pub(crate) fn find_program(workspace: &Workspace, name: &str) -> Option<PathBuf> {
    std::env::split_paths(&search_path(workspace))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

fn search_path(workspace: &Workspace) -> OsString {
    let own = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&own).chain(workspace.tool_paths());
    // A folder with a separator in its name cannot be on PATH: do without our tools then.
    std::env::join_paths(folders).unwrap_or(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_command_can_be_pasted_into_a_shell() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["test", "--", "a name", "it's", ""]);
        assert_eq!(line(&command), r"cargo test -- 'a name' 'it'\''s' ''");
    }
}

//! Binaryen's `wasm-opt`, when the machine has one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::cancel::Cancel;
use crate::error::{BuildError, read_limited};
use crate::process::{self, Line, RunError};

/// Names the `wasm-opt` to use; it wins over every place that is searched.
pub const WASM_OPT_VARIABLE: &str = "WHARF_WASM_OPT";

/// How to get the optimiser, for the report.
pub(crate) const GET_WASM_OPT: &str = "for smaller components, install wasm-opt: `npm install --save-dev binaryen`, or Debian's `binaryen`";

/// The longest that one module is optimised.
const TIME_MAX: Duration = Duration::from_secs(120);

/// What came of optimising a core module.
pub(crate) enum Optimized {
    /// The smaller module.
    Done(Vec<u8>),
    /// The module stays as it was, for this reason.
    Failed(String),
}

/// Finds `wasm-opt`: named by the environment, in `node_modules/.bin` of
/// `folder` or of a folder above it, or on the search path.
pub(crate) fn find(folder: &Path) -> Option<PathBuf> {
    find_in(
        folder,
        std::env::var_os(WASM_OPT_VARIABLE),
        std::env::var_os("PATH"),
    )
}

fn find_in(folder: &Path, named: Option<OsString>, path: Option<OsString>) -> Option<PathBuf> {
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        return Some(PathBuf::from(named));
    }
    folder
        .ancestors()
        .map(|folder| folder.join("node_modules/.bin/wasm-opt"))
        .find(|file| process::is_executable(file))
        .or_else(|| process::find_program("wasm-opt", path.as_deref()))
}

/// Optimises a core module for size. A tool that fails, is too slow, or writes
/// what is no module costs the optimisation, never the build.
///
/// # Errors
///
/// Cancelled, or the files around the tool cannot be written.
pub(crate) fn optimize(
    tool: &Path,
    module: &[u8],
    keep_names: bool,
    scratch: &Path,
    size_max: u64,
    cancel: &Cancel,
) -> Result<Optimized, BuildError> {
    let input = scratch.join("unoptimised.wasm");
    let output = scratch.join("optimised.wasm");
    std::fs::write(&input, module).map_err(BuildError::io("write", &input))?;
    let mut command = Command::new(tool);
    command.arg(&input).args(["-Os", "--output"]).arg(&output);
    if keep_names {
        command.arg("--debuginfo");
    }
    let mut said = String::new();
    let result = process::run(&mut command, cancel, Some(TIME_MAX), |line| {
        let (Line::Stdout(line) | Line::Stderr(line)) = line;
        if said.len() < 4096 {
            said.push_str(&line);
            said.push(' ');
        }
    });
    let failed = |reason: String| Ok(Optimized::Failed(format!("{}: {reason}", tool.display())));
    let outcome = match result {
        Err(RunError::Cancelled) => return Err(BuildError::Cancelled),
        Err(RunError::TimedOut) => failed(format!("stopped after {} s", TIME_MAX.as_secs())),
        Err(RunError::Io(error)) => failed(error.to_string()),
        Ok(status) if !status.success() => failed(format!("{status} {}", said.trim())),
        Ok(_) => {
            let bytes = read_limited(&output, size_max)?;
            match crate::wasm::read(&bytes) {
                Ok(crate::wasm::Binary::Module(_)) => Ok(Optimized::Done(bytes)),
                Ok(_) => failed("wrote something that is no core module".into()),
                Err(error) => failed(format!("wrote an invalid module: {error}")),
            }
        }
    };
    for file in [input, output] {
        let _ = std::fs::remove_file(file);
    }
    outcome
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[cfg(unix)]
    fn script(folder: &Path, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        std::fs::create_dir_all(folder).unwrap();
        let file = folder.join("wasm-opt");
        std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        file
    }

    #[cfg(unix)]
    #[test]
    fn the_nearest_tool_is_found() {
        let root = tempfile::tempdir().unwrap();
        let app = root.path().join("a/b");
        let on_path = script(&root.path().join("bin"), "");
        let path = Some(OsString::from(root.path().join("bin")));
        assert_eq!(find_in(&app, None, None), None);
        assert_eq!(find_in(&app, None, path.clone()), Some(on_path));
        let installed = script(&root.path().join("a/node_modules/.bin"), "");
        assert_eq!(find_in(&app, None, path.clone()), Some(installed));
        assert_eq!(
            find_in(&app, Some("/named".into()), path),
            Some("/named".into())
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_failing_tool_costs_only_the_optimisation() {
        let root = tempfile::tempdir().unwrap();
        let module = wat::parse_str("(module)").unwrap();
        let check = |text: &str, expected: &str| {
            let tool = script(root.path(), text);
            let outcome = optimize(&tool, &module, false, root.path(), 1 << 20, &Cancel::new());
            match outcome.unwrap() {
                Optimized::Done(bytes) => assert_eq!((expected, &bytes), ("done", &module)),
                Optimized::Failed(reason) => assert!(reason.contains(expected), "{reason}"),
            }
        };
        check("cp \"$1\" \"$4\"", "done");
        check("echo 'bad feature' >&2; exit 1", "bad feature");
        check("echo rubbish > \"$4\"", "invalid module");
    }
}

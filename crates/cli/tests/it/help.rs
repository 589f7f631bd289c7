//! `--help`, `--version`, and words that the command does not know.

use crate::sandbox;

#[test]
fn version_is_one_line() {
    let output = sandbox().wharf(["--version"]).expect_success();
    assert_eq!(output.stdout, concat!("wharf ", env!("CARGO_PKG_VERSION"), "\n"));
}

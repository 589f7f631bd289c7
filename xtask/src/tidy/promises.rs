//! Each test that `docs/guides/security.md` names for a promise is there.

use super::Problem;
use super::tree::Tree;

const PAGE: &str = "docs/guides/security.md";
/// Where a name without a folder is a module of.
const END_TO_END: &str = "crates/cli/tests/it";
/// What the names of tests stand behind.
const MARK: &str = "*Test";

pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let lines = tree.text(PAGE).unwrap_or_default().lines().enumerate();
    let mut problems = Vec::new();
    for (index, line) in lines {
        let Some(start) = line.find(MARK) else {
            continue;
        };
        // Every second piece is between backticks.
        for name in line[start..].split('`').skip(1).step_by(2) {
            let missing = alternatives(name)
                .into_iter()
                .find(|name| !is_there(tree, name));
            if let Some(missing) = missing {
                let message = format!("`{missing}` is no test, nor a file that has any");
                problems.push(Problem::new(PAGE, index + 1, message));
            }
        }
    }
    problems
}

/// `a/{b,c}.rs` is two names.
fn alternatives(name: &str) -> Vec<String> {
    let parts = name
        .split_once('{')
        .and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
    match parts {
        Some((before, (inner, after))) => inner
            .split(',')
            .map(|one| format!("{before}{one}{after}"))
            .collect(),
        None => vec![name.to_owned()],
    }
}

fn is_there(tree: &Tree, name: &str) -> bool {
    if name.starts_with("cargo ") {
        return true;
    }
    if name.contains('/') {
        let folder = format!("{}/", name.trim_end_matches('/'));
        return tree
            .texts()
            .any(|(file, text)| (file == name || file.starts_with(&folder)) && has_tests(text));
    }
    let module = |module: &str| tree.text(&format!("{END_TO_END}/{module}.rs"));
    match name.split_once("::") {
        Some((file, test)) => module(file).is_some_and(|text| has_test(text, test)),
        None => {
            module(name).is_some()
                || tree
                    .texts()
                    .any(|(file, text)| file.ends_with(".rs") && has_test(text, name))
        }
    }
}

fn has_tests(text: &str) -> bool {
    ["#[test]", "#[tokio::test", "proptest!", "mod tests;"]
        .iter()
        .any(|mark| text.contains(mark))
}

fn has_test(text: &str, test: &str) -> bool {
    text.contains(&format!("fn {test}("))
}

#[cfg(test)]
mod tests {
    use super::super::rendered;
    use super::*;

    #[track_caller]
    fn check_line(line: &str, missing: &str) {
        let tree = Tree::from([
            (PAGE, line),
            ("crates/cli/tests/it/up_x.rs", "#[test]\nfn it_holds() {}"),
            ("crates/a/src/one.rs", "#[test]\nfn a_unit() {}"),
            ("crates/a/src/two.rs", "fn nothing() {}"),
        ]);
        let expected = match missing {
            "" => String::new(),
            _ => format!("{PAGE}:1: `{missing}` is no test, nor a file that has any\n"),
        };
        assert_eq!(rendered(&check(&tree)), expected, "{line}");
    }

    #[test]
    fn tests_that_are_there_are_fine() {
        check_line("`gone` may be said. *Tests:* `up_x`, `up_x::it_holds`.", "");
        check_line(
            "*Test:* `a_unit`, `crates/a/src/one.rs`, `crates/a/src`.",
            "",
        );
        check_line("*Measured by* `x`; *test:* `y`", "");
        check_line("*Test:* `cargo xtask bench noisy`", "");
    }

    #[test]
    fn what_is_missing_is_named() {
        check_line("*Tests:* `up_y`", "up_y");
        check_line(
            "*Tests:* `up_x::it_holds_no_more`",
            "up_x::it_holds_no_more",
        );
        check_line("*Tests:* `crates/a/src/two.rs`", "crates/a/src/two.rs");
        check_line(
            "*Tests:* `crates/a/src/{one,two}.rs`",
            "crates/a/src/two.rs",
        );
    }
}

//! What no file of ours may hold, whatever its language.

use super::Problem;
use super::lexer::{Kind, tokens};
use super::tree::Tree;

const LINES_MAX: usize = 800;

/// Files that are long by nature, or texts of others.
const NOT_OURS: &[&str] = &["LICENSE", "/wit/deps/"];
const LOCK_FILES: &[&str] = &["Cargo.lock", "package-lock.json"];

/// Folders where pictures and their like may lie: pages show them.
const PICTURE_FOLDERS: &[&str] = &["docs/", "examples/", "templates/"];
const PICTURES: &[&str] = &[".png", ".jpg", ".jpeg", ".webp", ".ico", ".woff2"];

/// Words that mark unfinished work. They are written in halves, here and in the
/// tests, so that this file does not report itself.
const MARKERS: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("HA", "CK"),
];

/// Macros that stand for code that is not there.
const UNFINISHED: &[&str] = &["todo", "unimplemented"];

/// Beginnings of a developer's own paths.
const PRIVATE_PATHS: &[&str] = &[
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("C:\\Us", "ers\\"),
];

pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in tree.binaries() {
        let is_picture = PICTURES.iter().any(|ending| file.ends_with(ending))
            && PICTURE_FOLDERS
                .iter()
                .any(|folder| file.starts_with(folder));
        if !is_picture {
            problems.push(Problem::new(
                file,
                1,
                "a binary file; build it from source where it is needed",
            ));
        }
    }
    for (file, text) in tree.texts() {
        let name = file.rsplit('/').next().unwrap_or(file);
        let is_ours = !NOT_OURS
            .iter()
            .any(|part| format!("/{file}").contains(part))
            && !LOCK_FILES.contains(&name);
        if is_ours {
            check_text(file, text, &mut problems);
        }
    }
    problems
}

fn check_text(file: &str, text: &str, problems: &mut Vec<Problem>) {
    let lines = text.lines().count();
    // An interface is as long as it is, and most are texts of others.
    if lines > LINES_MAX && !file.ends_with(".wit") {
        let message = format!("{lines} lines; {LINES_MAX} at most, and 500 read better");
        problems.push(Problem::new(file, LINES_MAX + 1, message));
    }
    for (index, line) in text.lines().enumerate() {
        if let Some(path) = private_path(line) {
            problems.push(Problem::new(
                file,
                index + 1,
                format!("a path of one machine: `{path}`"),
            ));
        }
    }
    if file.ends_with(".rs") {
        check_rust(file, text, problems);
    } else {
        check_markers(file, 1, text, problems);
    }
}

/// In Rust, words count in comments only and attributes in code only: a string
/// may say anything.
fn check_rust(file: &str, text: &str, problems: &mut Vec<Problem>) {
    let tokens = tokens(text);
    let kind = |index: usize| tokens.get(index).map(|token| token.kind);
    for (index, token) in tokens.iter().enumerate() {
        match (token.kind, kind(index + 1), kind(index + 2)) {
            (Kind::Comment(comment), ..) => check_markers(file, token.line, comment, problems),
            (Kind::Sign('#'), Some(Kind::Sign('[')), Some(Kind::Word("ignore"))) => {
                problems.push(Problem::new(
                    file,
                    token.line,
                    "an ignored test; make it pass or remove it",
                ));
            }
            (Kind::Word(name), Some(Kind::Sign('!')), Some(Kind::Sign('(')))
                if UNFINISHED.contains(&name) =>
            {
                problems.push(Problem::new(
                    file,
                    token.line,
                    format!("unfinished code: `{name}!`"),
                ));
            }
            _ => {}
        }
    }
}

fn check_markers(file: &str, first_line: usize, text: &str, problems: &mut Vec<Problem>) {
    for (index, line) in text.lines().enumerate() {
        let words = line.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        for word in words.filter(|word| MARKERS.contains(word)) {
            let message = format!("`{word}`: do it, or open an issue for it");
            problems.push(Problem::new(file, first_line + index, message));
        }
    }
}

/// A private path with the name that follows it.
fn private_path(line: &str) -> Option<&str> {
    PRIVATE_PATHS.iter().find_map(|start| {
        let at = line.find(start)?;
        // `https://x/home/y` and `a/root/b` are not absolute.
        let is_absolute =
            !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}>)".contains(c));
        let rest = &line[at + start.len()..];
        let length = rest
            .find(|c: char| !(c.is_alphanumeric() || "._-".contains(c)))
            .unwrap_or(rest.len());
        (is_absolute && length > 0).then(|| &line[at..at + start.len() + length])
    })
}

#[cfg(test)]
mod tests {
    use super::super::rendered;
    use super::*;

    #[track_caller]
    fn check_file(file: &str, text: &str, expected: &str) {
        assert_eq!(
            rendered(&check(&Tree::from([(file, text)]))),
            expected,
            "{text}"
        );
    }

    #[test]
    fn marker_words_are_found_in_comments_and_prose() {
        let marker = MARKERS[0];
        let message = format!("`{marker}`: do it, or open an issue for it\n");
        check_file(
            "a.rs",
            &format!("fn a() {{}}\n// {marker}: b"),
            &format!("a.rs:2: {message}"),
        );
        check_file(
            "a.rs",
            &format!("/*\n{marker}\n*/"),
            &format!("a.rs:2: {message}"),
        );
        check_file(
            "a.md",
            &format!("{marker} write this"),
            &format!("a.md:1: {message}"),
        );
        check_file("a.rs", &format!("const A: &str = \"{marker}\";"), "");
        check_file("a.md", &format!("mktemp {0}{0}", MARKERS[2]), "");
    }

    #[test]
    fn ignored_tests_and_unfinished_code_are_found_in_code_only() {
        check_file(
            "a.rs",
            "\n#[ignore = \"slow\"]\nfn a() {}",
            "a.rs:2: an ignored test; make it pass or remove it\n",
        );
        check_file(
            "a.rs",
            "fn a() { todo!() }",
            "a.rs:1: unfinished code: `todo!`\n",
        );
        check_file(
            "a.rs",
            "/// `#[ignore]` and `todo!()`\nconst A: &str = \"#[ignore]\";",
            "",
        );
    }

    #[test]
    fn long_files_are_found_but_lock_files_are_not() {
        let long = "x\n".repeat(LINES_MAX + 1);
        check_file(
            "a.rs",
            &long,
            "a.rs:801: 801 lines; 800 at most, and 500 read better\n",
        );
        check_file("a.rs", &"x\n".repeat(LINES_MAX), "");
        check_file("sdk/rust/wit/sockets.wit", &long, "");
        check_file("Cargo.lock", &long, "");
        check_file("sdk/rust/Cargo.lock", &long, "");
    }

    #[test]
    fn binary_files_are_found_unless_pages_show_them() {
        let message = "a binary file; build it from source where it is needed\n";
        check_file(
            "guests/a.wasm",
            "\0asm",
            &format!("guests/a.wasm:1: {message}"),
        );
        check_file(
            "crates/a/x.png",
            "\0",
            &format!("crates/a/x.png:1: {message}"),
        );
        check_file("docs/x.png", "\0", "");
    }

    #[test]
    fn a_developers_paths_are_found() {
        let own = format!("{}ann", PRIVATE_PATHS[1]);
        check_file(
            "a.toml",
            &format!("x = \"{own}/y\""),
            &format!("a.toml:1: a path of one machine: `{own}`\n"),
        );
        check_file("a.md", &format!("https://example.com{own}"), "");
        check_file("a.md", &format!("under `{}`", PRIVATE_PATHS[1]), "");
    }
}

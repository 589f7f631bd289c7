//! Input that is made to hurt: each ends with few errors, of bounded length.

use std::fmt::Write as _;

use proptest::prelude::*;
use wharf_manifest::{App, parse_app};

use crate::HEAD;
use crate::good::GUESTBOOK;

/// The longest text that may be shown for any input: 50 mistakes of some lines.
const SHOWN_BYTES_MAX: usize = 50 * 2_000;

fn shown(text: &str) -> String {
    let shown = parse_app(text, "wharf.toml").unwrap_err().to_string();
    assert!(
        shown.len() < SHOWN_BYTES_MAX,
        "{} bytes are shown",
        shown.len()
    );
    assert!(
        shown.chars().all(|c| c == '\n' || !c.is_control()),
        "control characters reach the terminal"
    );
    shown
}

#[test]
fn too_large() {
    let shown = shown(&"# nothing\n".repeat(400_000));
    assert_eq!(
        shown,
        "the file has 4000000 bytes; at most 1MiB are read\n --> wharf.toml:1:1\n  |\n1 | # nothing\n  | ^"
    );
}

#[test]
fn deep_nesting() {
    shown(&format!("a = {}", "[".repeat(1_000_000)));
    shown(&format!("a = {}", "{a=".repeat(300_000)));
    shown(&format!("{}a = 1", "a.".repeat(500_000)));
    shown(&format!("{HEAD}[{}a]", "a.".repeat(500_000)));
}

#[test]
fn garbage() {
    shown(&"\u{1b}[31m\u{202e}\0".repeat(100_000));
    shown(&"= ]\n".repeat(200_000));
    shown(&"\"".repeat(1_000_000));
    shown(&"ü".repeat(500_000));
    shown(&format!("{HEAD}{}", "x".repeat(1_000_000)));
    shown(&format!("{HEAD}{} = 1", "x".repeat(1_000_000)));
}

#[test]
fn colours_in_values_are_not_obeyed() {
    let shown = shown(&format!(
        "{HEAD}component.a.source = \"../\\u001b[31m\u{202e}\"\n"
    ));
    assert!(!shown.contains('\u{202e}'));
}

#[test]
fn many_mistakes() {
    let mut text = HEAD.to_owned();
    for number in 0..50_000 {
        writeln!(text, "k{number} = 1").unwrap();
    }
    assert!(shown(&text).ends_with("and 49951 more"));
}

#[test]
fn many_components_and_routes() {
    let mut text = HEAD.to_owned();
    for number in 0..257 {
        writeln!(text, "[component.c{number}]\nsource = \"a\"").unwrap();
    }
    assert!(shown(&text).contains("the app has 257 components; at most 256 are allowed"));
    let mut text = HEAD.to_owned();
    for number in 0..1001 {
        writeln!(
            text,
            "[[trigger.http]]\nroute = \"/{number}\"\nfiles = \"a\""
        )
        .unwrap();
    }
    assert!(shown(&text).contains("the app has 1001 routes; at most 1000 are allowed"));
}

/// `text` with the character at `index` (counted round) replaced by `piece`.
fn damage(text: &str, index: usize, piece: &str) -> String {
    let index = index % text.chars().count();
    let mut damaged: String = text.chars().take(index).collect();
    damaged.push_str(piece);
    damaged.extend(text.chars().skip(index + 1));
    damaged
}

proptest! {
    #[test]
    fn a_damaged_manifest_is_refused_or_means_something(
        damages in prop::collection::vec((any::<usize>(), "[\\[\\]{}=\"'.,/#\n\r\t:*é%a-c0-2-]{0,3}"), 1..4)
    ) {
        let text = damages
            .iter()
            .fold(GUESTBOOK.to_owned(), |text, (index, piece)| damage(&text, *index, piece));
        match parse_app(&text, "wharf.toml") {
            Ok(app) => {
                let canonical = app.to_canonical_json();
                prop_assert_eq!(App::from_canonical_json(&canonical).unwrap(), app);
            }
            Err(errors) => {
                for error in &errors {
                    let line = text.split('\n').nth(error.line() - 1);
                    prop_assert!(line.is_some_and(|line| error.column() <= line.chars().count() + 1));
                }
            }
        }
    }
}

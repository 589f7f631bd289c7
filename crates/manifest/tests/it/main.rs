//! `wharf.toml` and `node.toml` as people write them: good, wrong and hostile.
#![allow(clippy::unwrap_used)]

mod bad;
mod bad_values;
mod docs;
mod good;
mod hostile;
mod node;

use expect_test::Expect;

/// The two lines that every manifest begins with, and the third line that most need.
const HEAD: &str = "manifest = 1\nname = \"guestbook\"\nversion = \"0.1.0\"\n";

/// Checks what is shown for `text`, or for a good one the canonical form.
#[track_caller]
fn check(text: &str, expected: Expect) {
    let shown = match wharf_manifest::parse_app(text, "wharf.toml") {
        Ok(app) => app.to_canonical_json(),
        Err(errors) => format!("{errors}\n"),
    };
    expected.assert_eq(&shown);
}

/// Checks `body` as it follows [`HEAD`], so that it begins on line 4.
#[track_caller]
fn check_body(body: &str, expected: Expect) {
    check(&format!("{HEAD}{body}"), expected);
}

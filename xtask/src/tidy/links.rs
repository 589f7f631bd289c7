//! Links in Markdown lead somewhere, and paths of ours that code in it names exist.

use super::Problem;
use super::markdown::{self, Page};
use super::tree::{Tree, resolve};

/// Folders with pages that are texts of others, or not yet filled in.
const LEFT_OUT: &[&str] = &["/templates/", "/wit/deps/"];

/// Decisions name what was there when they were taken: their code spans may be old.
const HISTORY: &str = "docs/adr/";

pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (file, text) in tree.texts() {
        if !file.ends_with(".md")
            || LEFT_OUT
                .iter()
                .any(|folder| format!("/{file}").contains(folder))
        {
            continue;
        }
        let page = markdown::parse(text);
        for link in &page.links {
            if let Some(message) = dead_link(tree, file, &page, &link.target) {
                problems.push(Problem::new(file, link.line, message));
            }
        }
        if file.starts_with(HISTORY) {
            continue;
        }
        for word in &page.code_words {
            if let Some(path) = missing_path(tree, file, &word.target) {
                problems.push(Problem::new(
                    file,
                    word.line,
                    format!("`{path}` does not exist"),
                ));
            }
        }
    }
    problems
}

fn dead_link(tree: &Tree, file: &str, page: &Page, target: &str) -> Option<String> {
    let is_elsewhere = target.split_once(':').is_some_and(|(scheme, _)| {
        scheme.len() > 1
            && scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    });
    if is_elsewhere || target.is_empty() {
        return None;
    }
    if target.starts_with('/') {
        return Some(format!(
            "the link `{target}` is absolute; make it relative to this file"
        ));
    }
    let (path, anchor) = target
        .split_once('#')
        .map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    if path.is_empty() {
        return anchor
            .filter(|anchor| !has_anchor(page, anchor))
            .map(|anchor| format!("this page has no heading `#{anchor}`"));
    }
    let Some(path) = resolve(file, &path.replace("%20", " ")) else {
        return Some(format!("the link `{target}` leaves the project"));
    };
    if !tree.has_file(&path) && !tree.has_folder(&path) {
        return Some(format!("dead link: `{path}` does not exist"));
    }
    let anchor = anchor.filter(|_| path.ends_with(".md"))?;
    let other = markdown::parse(tree.text(&path)?);
    (!has_anchor(&other, anchor)).then(|| format!("`{path}` has no heading `#{anchor}`"))
}

fn has_anchor(page: &Page, anchor: &str) -> bool {
    page.anchors.iter().any(|known| known == anchor)
}

/// A word that begins with one of our folders is a path of ours, unless it has
/// a placeholder in it. It is looked for from the root and from the page.
fn missing_path<'a>(tree: &Tree, file: &str, word: &'a str) -> Option<&'a str> {
    let path = word.trim_start_matches("./").trim_end_matches(['.', '/']);
    let (first, _) = path.split_once('/')?;
    let is_placeholder = path.contains(['*', '<', '>', '{', '}', '$', '…'])
        || path.contains("...")
        || path
            .split(['/', '.'])
            .any(|part| part.len() > 1 && part.chars().all(|c| c.is_ascii_uppercase()));
    if is_placeholder || first == "target" || first.is_empty() || !tree.has_folder(first) {
        return None;
    }
    let near = resolve(file, path)?;
    let exists = |path: &str| tree.has_file(path) || tree.has_folder(path);
    (!exists(path) && !exists(&near)).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::super::rendered;
    use super::*;

    #[track_caller]
    fn check_page(text: &str, expected: &str) {
        let tree = Tree::from([
            ("docs/page.md", text),
            ("docs/other.md", "# A heading\n"),
            ("docs/adr/1.md", "was in `crates/old/x.rs`"),
            ("crates/a/src/lib.rs", ""),
            ("templates/x/README.md", "[gone](gone.md)"),
        ]);
        assert_eq!(rendered(&check(&tree)), expected, "{text}");
    }

    #[test]
    fn links_that_lead_somewhere_are_fine() {
        check_page(
            "[a](other.md#a-heading) [b](../crates/a) [c](https://example.com/x) [d](mailto:a@b.c)",
            "",
        );
        check_page("# Here\n[a](#here)", "");
    }

    #[test]
    fn dead_links_are_named_with_their_line() {
        check_page(
            "\n[a](gone.md)",
            "docs/page.md:2: dead link: `docs/gone.md` does not exist\n",
        );
        check_page(
            "[a](other.md#b)",
            "docs/page.md:1: `docs/other.md` has no heading `#b`\n",
        );
        check_page("[a](#b)", "docs/page.md:1: this page has no heading `#b`\n");
        check_page(
            "[a](/x)",
            "docs/page.md:1: the link `/x` is absolute; make it relative to this file\n",
        );
        check_page(
            "[a](../../x)",
            "docs/page.md:1: the link `../../x` leaves the project\n",
        );
    }

    #[test]
    fn paths_in_code_exist() {
        check_page(
            "`crates/a/src/lib.rs` `crates/*/x` `crates/NAME` `api/x.rs` `a/b`",
            "",
        );
        check_page(
            "```sh\ncat crates/a/src/gone.rs\n```",
            "docs/page.md:2: `crates/a/src/gone.rs` does not exist\n",
        );
        check_page(
            "see `docs/gone.md`.",
            "docs/page.md:1: `docs/gone.md` does not exist\n",
        );
    }
}

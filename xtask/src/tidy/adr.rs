//! The list of decisions in `docs/adr/README.md` is complete.

use super::Problem;
use super::markdown;
use super::tree::Tree;

const FOLDER: &str = "docs/adr/";
const LIST: &str = "docs/adr/README.md";

pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    let listed = tree
        .text(LIST)
        .map(markdown::parse)
        .unwrap_or_default()
        .links;
    let decisions = tree
        .texts()
        .filter_map(|(file, text)| Some((file, file.strip_prefix(FOLDER)?, text)))
        .filter(|(file, _, _)| *file != LIST);
    let mut expected = 1;
    for (file, name, text) in decisions {
        let number = name.split_once('-').map_or("", |(number, _)| number);
        if number != format!("{expected:04}") || !name.ends_with(".md") {
            let message = format!(
                "the name of the next decision begins with `{expected:04}-` and ends with `.md`"
            );
            problems.push(Problem::new(file, 1, message));
            continue;
        }
        expected += 1;
        if !text.starts_with(&format!("# {number}: ")) {
            problems.push(Problem::new(
                file,
                1,
                format!("the first line is `# {number}: ` and the decision"),
            ));
        }
        for section in ["Context", "Decision", "Rejected", "Consequences"] {
            if !text
                .lines()
                .any(|line| line.strip_prefix("## ") == Some(section))
            {
                problems.push(Problem::new(
                    file,
                    1,
                    format!("has no section `## {section}`"),
                ));
            }
        }
        if !listed.iter().any(|link| link.target == name) {
            problems.push(Problem::new(LIST, 1, format!("does not list `{name}`")));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::super::rendered;
    use super::*;

    const PAGE: &str = "# 0001: a\n## Context\n## Decision\n## Rejected\n## Consequences\n";

    #[test]
    fn a_complete_list_is_fine() {
        let tree = Tree::from([
            ("docs/adr/0001-a.md", PAGE),
            (LIST, "- [0001](0001-a.md) a"),
        ]);
        assert_eq!(rendered(&check(&tree)), "");
    }

    #[test]
    fn what_is_missing_is_named() {
        let tree = Tree::from([
            ("docs/adr/0001-a.md", PAGE),
            (
                "docs/adr/0002-b.md",
                "# b\n## Context\n## Decision\n## Consequences\n",
            ),
            ("docs/adr/0002-c.md", ""),
            (LIST, "- [0001](0001-a.md) a"),
        ]);
        assert_eq!(
            rendered(&check(&tree)),
            "docs/adr/0002-b.md:1: the first line is `# 0002: ` and the decision\n\
             docs/adr/0002-b.md:1: has no section `## Rejected`\n\
             docs/adr/README.md:1: does not list `0002-b.md`\n\
             docs/adr/0002-c.md:1: the name of the next decision begins with `0003-` and ends with `.md`\n"
        );
    }
}

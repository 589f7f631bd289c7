//! Just enough of Markdown to find links, anchors, and the paths that code names.

use std::collections::BTreeMap;

/// A reference with its line, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) line: usize,
    pub(crate) target: String,
}

/// What a page refers to and what it can be referred to by.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    /// Targets of links and pictures, as written.
    pub(crate) links: Vec<Reference>,
    /// Anchors of headings, as GitHub forms them, and of `<a id="…">`.
    pub(crate) anchors: Vec<String>,
    /// Words of fenced code and of code spans.
    pub(crate) code_words: Vec<Reference>,
}

/// Languages of fences that show what a user's file may say: paths in them are the user's.
const USERS_FILES: &[&str] = &["toml", "json", "yaml"];

pub(crate) fn parse(text: &str) -> Page {
    let mut page = Page::default();
    let mut seen = BTreeMap::new();
    let mut fence: Option<&str> = None;
    let mut shows_users_files = false;
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let trimmed = line.trim_start();
        let mark = fence_mark(trimmed);
        match (fence, mark) {
            (Some(open), Some(mark)) if mark.starts_with(open) && trimmed.len() == mark.len() => {
                fence = None
            }
            (Some(_), _) if shows_users_files => {}
            (Some(_), _) => add_words(&mut page, number, line),
            (None, Some(mark)) => {
                let language = trimmed[mark.len()..].trim();
                shows_users_files = USERS_FILES.contains(&language);
                fence = Some(mark);
            }
            (None, None) => {
                let (prose, code) = split_code_spans(line);
                for span in code {
                    add_words(&mut page, number, span);
                }
                if let Some(title) = heading(trimmed) {
                    page.anchors.push(anchor(title, &mut seen));
                }
                page.anchors
                    .extend(attributes(&prose, &["id=\"", "name=\""]).map(str::to_owned));
                page.links.extend(links(&prose).map(|target| Reference {
                    line: number,
                    target,
                }));
            }
        }
    }
    page
}

/// The run of backticks or tildes that opens or closes a fence.
fn fence_mark(line: &str) -> Option<&str> {
    let first = line.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let length = line.len() - line.trim_start_matches(first).len();
    // A line with backticks after its opening ones is a code span.
    (length >= 3 && !line[length..].contains('`')).then(|| &line[..length])
}

fn add_words(page: &mut Page, line: usize, code: &str) {
    let is_part = |c: char| c.is_alphanumeric() || "_./-*<>{}$…".contains(c);
    let words = code
        .split(|c| !is_part(c))
        .filter(|word| word.contains('/'));
    page.code_words.extend(words.map(|word| Reference {
        line,
        target: word.to_owned(),
    }));
}

/// A line without its code spans, and those.
fn split_code_spans(line: &str) -> (String, Vec<&str>) {
    let mut prose = String::new();
    let mut spans = Vec::new();
    let mut rest = line;
    while let Some(start) = rest.find('`') {
        let behind = &rest[start..];
        let length = behind.len() - behind.trim_start_matches('`').len();
        let Some(end) = behind[length..].find(&behind[..length]) else {
            break;
        };
        prose.push_str(&rest[..start]);
        // Something must stand for the span, or `[a](b)` around it would be no link.
        prose.push('_');
        spans.push(&behind[length..length + end]);
        rest = &behind[length + end + length..];
    }
    prose.push_str(rest);
    (prose, spans)
}

fn heading(line: &str) -> Option<&str> {
    let title = line.trim_start_matches('#');
    let level = line.len() - title.len();
    ((1..=6).contains(&level) && title.starts_with(' '))
        .then(|| title.trim().trim_end_matches('#').trim())
}

/// GitHub's rule: lower case, punctuation dropped, spaces to hyphens, and a
/// number behind what was there before.
fn anchor(title: &str, seen: &mut BTreeMap<String, usize>) -> String {
    let mut text = String::new();
    let mut rest = title;
    // Of a link only its words count.
    while let Some((before, after)) = rest.split_once("](") {
        text.push_str(&before.replace('[', ""));
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    text.push_str(rest);
    let slug: String = text
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect();
    let count = seen.entry(slug.clone()).or_insert(0);
    *count += 1;
    if *count == 1 {
        slug
    } else {
        format!("{slug}-{}", *count - 1)
    }
}

/// Targets of `[a](target "title")`, of `[a]: target`, and of HTML's `href` and `src`.
fn links(prose: &str) -> impl Iterator<Item = String> {
    let inline = prose
        .match_indices("](")
        .map(|(at, _)| &prose[at + 2..])
        .filter_map(|rest| {
            let mut depth = 0_usize;
            let end = rest.find(|c| match c {
                '(' => {
                    depth += 1;
                    false
                }
                ')' if depth == 0 => true,
                ')' => {
                    depth -= 1;
                    false
                }
                _ => false,
            })?;
            rest[..end].split_whitespace().next()
        });
    let definition = prose.trim_start().strip_prefix('[').and_then(|rest| {
        let (name, target) = rest.split_once("]:")?;
        (!name.starts_with('^') && !name.contains(']')).then(|| target.split_whitespace().next())?
    });
    inline
        .chain(definition)
        .chain(attributes(prose, &["href=\"", "src=\""]))
        .map(|target| target.trim_matches(['<', '>']).to_owned())
        .collect::<Vec<_>>()
        .into_iter()
}

fn attributes<'a>(prose: &'a str, starts: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    starts.iter().flat_map(move |start| {
        prose
            .match_indices(start)
            .filter_map(|(at, _)| prose[at + start.len()..].split_once('"'))
            .map(|(value, _)| value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links_of(text: &str) -> Vec<String> {
        parse(text)
            .links
            .into_iter()
            .map(|link| link.target)
            .collect()
    }

    #[test]
    fn links_of_every_form_are_found() {
        assert_eq!(
            links_of("see [a](b.md) and ![c](d.png \"title\")"),
            ["b.md", "d.png"]
        );
        assert_eq!(links_of("[`code`](a_(b).md)"), ["a_(b).md"]);
        assert_eq!(links_of("[a]: <b.md>\n[^1]: a note"), ["b.md"]);
        assert_eq!(
            links_of("<img src=\"a.svg\"> <a href=\"b.md\">"),
            ["b.md", "a.svg"]
        );
    }

    #[test]
    fn code_holds_no_links_but_words() {
        let page = parse("`[a](b)`\n```sh\ncat crates/a/x.rs # [c](d)\n```\nsee `docs/y.md:3`\n");
        assert_eq!(page.links, []);
        let words: Vec<_> = page
            .code_words
            .iter()
            .map(|word| (word.line, word.target.as_str()))
            .collect();
        assert_eq!(words, [(3, "crates/a/x.rs"), (5, "docs/y.md")]);
    }

    #[test]
    fn paths_in_a_users_manifest_are_the_users() {
        let page = parse("```toml\nsource = \"crates/x\"\n```\n```sh\nls crates/y\n```\n");
        assert_eq!(page.code_words.len(), 1);
        assert_eq!(page.code_words[0].line, 5);
    }

    #[test]
    fn a_longer_fence_is_closed_by_its_like() {
        let page = parse("````md\n```\n[a](b)\n```\n````\n[c](d)\n");
        assert_eq!(page.links.len(), 1);
        assert_eq!(page.links[0].line, 6);
    }

    #[test]
    fn anchors_are_those_of_github() {
        let page = parse(
            "# The `wharf up` command!\n## A, b & c\n## A, b & c\n### See [x](y) too\n<a id=\"own\"></a>\n#no\n",
        );
        assert_eq!(
            page.anchors,
            [
                "the-wharf-up-command",
                "a-b--c",
                "a-b--c-1",
                "see-x-too",
                "own"
            ]
        );
    }
}

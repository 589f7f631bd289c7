//! Pages, output of build tools, and rules of what is ignored.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::Response;
use http::header::CONTENT_TYPE;
use http_body::{Body, Frame};
use tempfile::TempDir;
use wharf_fuzzkit::{pieces, texts};

use super::ignored::Sources;
use super::inject::Navigation;

/// What a build tool printed.
pub(crate) fn ansi(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let plain = super::ansi::strip(&text);
    assert!(plain.len() <= text.len());
    let acts = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    assert!(!plain.contains(acts), "{plain:?}");
    assert_eq!(
        plain.matches('\n').count(),
        text.matches('\n').count(),
        "{text:?}"
    );
    assert_eq!(super::ansi::strip(&plain), plain);
}

pub(crate) fn ansi_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "\u{1b}[0m\u{1b}[1m\u{1b}[38;5;9merror\u{1b}[0m: no",
        "\u{1b}]8;;https://example.com\u{1b}\\link\u{1b}]8;;\u{1b}\\",
        "\u{1b}]0;title\u{7}after\u{9b}31mred",
        "one\n 10%\r100%\r\ntwo\u{1b}(B",
        // It took the line's end with it.
        "\u{1b}\nnext line",
    ])
}

/// No page has it by itself.
const TAG: &str = "<script src=\"/.wharf/fuzz.js\"></script>";
/// The longest thing that must be seen whole: `</textarea` and what follows it.
const HELD_MAX: usize = 11;

/// A page, whose first byte says how it is cut: the script is put in once, at the same place
/// whatever the cuts, and nothing else changes.
pub(crate) fn inject(input: &[u8]) {
    let page = input.get(1..).unwrap_or_default();
    if page.windows(TAG.len()).any(|part| part == TAG.as_bytes()) {
        return;
    }
    let whole = streamed(&[page]);
    assert_eq!(whole, streamed(&pieces(input)), "in pieces");
    let at = whole
        .windows(TAG.len())
        .position(|part| part == TAG.as_bytes());
    let at = at.expect("the script is in it");
    let (before, after) = (&whole[..at], &whole[at + TAG.len()..]);
    assert!([before, after].concat() == page, "the page is another");
    assert!(after.is_empty() || after[..6].eq_ignore_ascii_case(b"</body"));
}

/// A body of pieces, which counts the bytes that it has given out.
struct Pieces<'a> {
    pieces: VecDeque<&'a [u8]>,
    given: Rc<Cell<usize>>,
}

impl Body for Pieces<'_> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.pop_front();
        let given = self.given.get() + piece.map_or(0, <[u8]>::len);
        self.given.set(given);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece)))))
    }
}

fn streamed(pieces: &[&[u8]]) -> Vec<u8> {
    let given = Rc::new(Cell::new(0));
    let body = Pieces {
        pieces: pieces.iter().copied().collect(),
        given: Rc::clone(&given),
    };
    let response = Response::builder()
        .header(CONTENT_TYPE, "text/html")
        .body(body);
    let response = response.expect("the field is right");
    let mut body = Navigation::page(TAG.to_owned(), false)
        .finish(response)
        .into_body();
    let mut out = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut cx) {
        let data = frame.into_data().expect("there are no trailers");
        assert!(!data.is_empty());
        out.extend_from_slice(&data);
        assert!(given.get() <= out.len() + HELD_MAX, "too much is held back");
    }
    assert_eq!(out.len(), given.get() + TAG.len());
    out
}

pub(crate) fn inject_seeds() -> Vec<Vec<u8>> {
    let pages = [
        "<!doctype html><BODY>hi</BODY\n></html>",
        "<!-- </body> --><script a=b>'</body>'</Script ></body>",
        "<title></body></title><textarea></textarea/></bodyguard></body>",
        "<!--></body>",
        "<<</bod",
        "<script>never ends</body>",
    ];
    let mut seeds = Vec::new();
    for page in texts(&pages) {
        for cut in [0, 1, 5, 130] {
            seeds.push([vec![cut], page.clone()].concat());
        }
    }
    seeds
}

/// A path on the first line, the rules of a `.gitignore` on the others.
pub(crate) fn ignored(bytes: &[u8]) {
    thread_local! {
        static FOLDER: RefCell<Option<TempDir>> = const { RefCell::new(None) };
    }
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (path, rules) = bytes.split_at(end.unwrap_or(bytes.len()));
    let Ok(path) = std::str::from_utf8(path) else {
        return;
    };
    let parts: Vec<_> = path
        .split('/')
        .filter(|part| !matches!(*part, "" | "." | ".."))
        .collect();
    let root = FOLDER.with_borrow_mut(|folder| {
        let folder = folder.get_or_insert_with(|| TempDir::new().expect("a folder can be made"));
        folder.path().to_owned()
    });
    std::fs::write(root.join(".gitignore"), rules.get(1..).unwrap_or_default())
        .expect("a file can be written");
    let sources = Sources::read(std::slice::from_ref(&root));
    assert!(sources.holds(&root), "the root itself");
    assert!(!sources.holds(&root.join("..").join("other")) || root.join("..").starts_with(&root));
    // What lies in an ignored folder is ignored, whatever other rules say.
    let mut place: PathBuf = root.clone();
    let mut is_ignored = false;
    for part in parts.iter().take(32) {
        place.push(part);
        let below = place.join("x");
        is_ignored |= !sources.holds(&below) && !sources.holds(&place);
        if is_ignored {
            assert!(!sources.holds(&below), "{below:?}");
        }
    }
}

pub(crate) fn ignored_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "target/debug/x\ntarget\n!target/debug\n",
        "dist/index.html\n# built\n/dist/\n*.log\n",
        "a/b/c\n**/b\n!a/b/c\n",
        "node_modules/x\n[a-z]*\n\\#a\n",
        "src/main.rs~\n{a,b}\n[\n",
    ])
}

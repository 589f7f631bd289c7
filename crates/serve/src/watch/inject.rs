//! Putting the overlay's script into pages as they stream by.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName,
    LAST_MODIFIED,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};

/// What a request turned out to be: it decides what is done to its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Navigation {
    tag: Option<String>,
    is_head: bool,
}

impl Navigation {
    pub(crate) fn other() -> Self {
        Self {
            tag: None,
            is_head: false,
        }
    }

    pub(crate) fn page(tag: String, is_head: bool) -> Self {
        Self {
            tag: Some(tag),
            is_head,
        }
    }

    /// Puts the script into the app's answer if that is a page; else leaves it alone.
    ///
    /// Of a page it drops `Content-Length`, and the validators with it, which are those of other
    /// bytes; nothing may keep the page, lest a browser shows it after the next build.
    pub fn finish<B>(self, response: Response<B>) -> Response<InjectBody<B>> {
        let (mut parts, body) = response.into_parts();
        let tag = self.tag.filter(|_| is_page(parts.status, &parts.headers));
        if tag.is_some() {
            let digests = ["digest", "content-digest", "repr-digest", "content-md5"];
            for name in [CONTENT_LENGTH, ETAG, LAST_MODIFIED, ACCEPT_RANGES] {
                parts.headers.remove(name);
            }
            for name in digests {
                parts.headers.remove(HeaderName::from_static(name));
            }
            parts
                .headers
                .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        let tag = tag.filter(|_| !self.is_head);
        let scanner = tag.map(|tag| Scanner {
            tag,
            mode: Mode::Text,
            carry: BytesMut::new(),
        });
        Response::from_parts(
            parts,
            InjectBody {
                body,
                scanner,
                held: None,
                is_over: false,
            },
        )
    }
}

/// Says whether an answer is a whole page that can be read.
fn is_page(status: StatusCode, headers: &HeaderMap) -> bool {
    let is_html = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            value
                .split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .eq_ignore_ascii_case("text/html")
        });
    let is_coded = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|coding| coding != "identity");
    let has_whole_body = !status.is_informational()
        && !matches!(
            status,
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::NOT_MODIFIED
                | StatusCode::PARTIAL_CONTENT
        );
    is_html && !is_coded && has_whole_body
}

/// A body that passes through, with a script put in before `</body>` or at the end.
///
/// Holds back no more of the stream than the few bytes that may turn out to be the tag.
#[derive(Debug)]
pub struct InjectBody<B> {
    body: B,
    /// Gone once the script is in.
    scanner: Option<Scanner>,
    /// A frame that comes after the script at the end: trailers.
    held: Option<Frame<Bytes>>,
    is_over: bool,
}

impl<B> Body for InjectBody<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        loop {
            if let Some(frame) = this.held.take() {
                return Poll::Ready(Some(Ok(frame)));
            }
            if this.is_over {
                return Poll::Ready(None);
            }
            let frame = match std::task::ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                // What the scanner holds back is of a page that broke off.
                Some(Err(error)) => {
                    this.scanner = None;
                    return Poll::Ready(Some(Err(error)));
                }
                Some(Ok(frame)) => frame,
                None => {
                    this.is_over = true;
                    if let Some(scanner) = this.scanner.take() {
                        return Poll::Ready(Some(Ok(Frame::data(scanner.finish()))));
                    }
                    continue;
                }
            };
            let Some(scanner) = &mut this.scanner else {
                return Poll::Ready(Some(Ok(frame)));
            };
            match frame.into_data() {
                Ok(chunk) => {
                    let (out, is_done) = scanner.push(&chunk);
                    if is_done {
                        this.scanner = None;
                    }
                    if !out.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(out))));
                    }
                }
                Err(trailers) => {
                    this.held = Some(trailers);
                    if let Some(scanner) = this.scanner.take() {
                        return Poll::Ready(Some(Ok(Frame::data(scanner.finish()))));
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.scanner.is_none() && self.held.is_none() && (self.is_over || self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        if self.scanner.is_none() && self.held.is_none() {
            self.body.size_hint()
        } else {
            SizeHint::default()
        }
    }
}

/// Looks for the end of the page's body, past scripts, styles and comments that may mention it.
#[derive(Debug)]
struct Scanner {
    tag: String,
    mode: Mode,
    carry: BytesMut,
}

/// What the bytes are part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Text,
    Comment,
    /// An element whose content is not markup, by its name.
    Raw(&'static str),
}

const RAW_ELEMENTS: [&str; 5] = ["script", "style", "textarea", "title", "xmp"];

/// What stands at a `<`.
enum Found {
    BodyEnd,
    Comment,
    Raw(&'static str),
    Nothing,
    /// Too few bytes to say.
    Unclear,
}

impl Scanner {
    /// Takes a chunk; gives what can be sent, and whether the script is in it.
    fn push(&mut self, chunk: &[u8]) -> (Bytes, bool) {
        let mut bytes = std::mem::take(&mut self.carry);
        bytes.extend_from_slice(chunk);
        let mut at = 0;
        while at < bytes.len() {
            match self.mode {
                Mode::Comment => match find(&bytes[at..], b"-->") {
                    Some(end) => {
                        at += end + 3;
                        self.mode = Mode::Text;
                    }
                    None => {
                        at = at.max(bytes.len().saturating_sub(2));
                        break;
                    }
                },
                Mode::Raw(name) => {
                    let Some(open) = find(&bytes[at..], b"<") else {
                        at = bytes.len();
                        break;
                    };
                    at += open;
                    match names_tag(&bytes[at + 1..], &["/", name]) {
                        None => break,
                        Some(true) => {
                            at += 1;
                            self.mode = Mode::Text;
                        }
                        Some(false) => at += 1,
                    }
                }
                Mode::Text => {
                    let Some(open) = find(&bytes[at..], b"<") else {
                        at = bytes.len();
                        break;
                    };
                    at += open;
                    match classify(&bytes[at + 1..]) {
                        Found::Unclear => break,
                        Found::Nothing => at += 1,
                        Found::Comment => {
                            // `<!-->` is a whole comment: its dashes both open and close it.
                            at += 2;
                            self.mode = Mode::Comment;
                        }
                        Found::Raw(name) => {
                            at += 1;
                            self.mode = Mode::Raw(name);
                        }
                        Found::BodyEnd => {
                            let rest = bytes.split_off(at);
                            bytes.extend_from_slice(self.tag.as_bytes());
                            bytes.unsplit(rest);
                            return (bytes.freeze(), true);
                        }
                    }
                }
            }
        }
        self.carry = bytes.split_off(at);
        (bytes.freeze(), false)
    }

    /// The end came without the tag: what was held back, then the script.
    fn finish(mut self) -> Bytes {
        self.carry.extend_from_slice(self.tag.as_bytes());
        self.carry.freeze()
    }
}

fn classify(after: &[u8]) -> Found {
    if after.starts_with(b"!--") {
        return Found::Comment;
    }
    let mut is_unclear = b"!--".starts_with(after);
    match names_tag(after, &["/", "body"]) {
        Some(true) => return Found::BodyEnd,
        Some(false) => {}
        None => is_unclear = true,
    }
    for name in RAW_ELEMENTS {
        match names_tag(after, &[name]) {
            Some(true) => return Found::Raw(name),
            Some(false) => {}
            None => is_unclear = true,
        }
    }
    if is_unclear {
        Found::Unclear
    } else {
        Found::Nothing
    }
}

/// Says whether bytes begin with a name and what may follow it in a tag; none if they end before.
fn names_tag(bytes: &[u8], name: &[&str]) -> Option<bool> {
    let mut expected = name.iter().flat_map(|part| part.bytes());
    for &byte in bytes {
        match expected.next() {
            Some(letter) if letter == byte.to_ascii_lowercase() => {}
            Some(_) => return Some(false),
            None => return Some(byte.is_ascii_whitespace() || matches!(byte, b'>' | b'/')),
        }
    }
    None
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes
        .windows(needle.len())
        .position(|window| window == needle)
}

/// Writes text so that HTML takes it for text, in content and in quoted attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::VecDeque;
    use std::convert::Infallible;

    use http_body_util::{BodyExt, Full};

    use super::*;

    struct Frames(VecDeque<Result<Frame<Bytes>, &'static str>>);

    impl Body for Frames {
        type Data = Bytes;
        type Error = &'static str;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            Poll::Ready(self.0.pop_front())
        }
    }

    fn scan(page: &str, chunk_bytes: usize) -> String {
        let mut scanner = Scanner {
            tag: "[S]".into(),
            mode: Mode::Text,
            carry: BytesMut::new(),
        };
        let mut out = Vec::new();
        let mut chunks = page.as_bytes().chunks(chunk_bytes);
        for chunk in &mut chunks {
            let (bytes, is_done) = scanner.push(chunk);
            out.extend_from_slice(&bytes);
            assert!(
                scanner.carry.len() <= 11,
                "{} bytes held back",
                scanner.carry.len()
            );
            if is_done {
                chunks.for_each(|chunk| out.extend_from_slice(chunk));
                return String::from_utf8(out).unwrap();
            }
        }
        out.extend_from_slice(&scanner.finish());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_script_goes_before_the_end_of_the_body() {
        for (page, expected) in [
            ("<body>hi</body></html>", "<body>hi[S]</body></html>"),
            ("<BODY>hi</BODY\n>", "<BODY>hi[S]</BODY\n>"),
            ("<p>no body", "<p>no body[S]"),
            ("", "[S]"),
            ("a < b </bod", "a < b </bod[S]"),
            ("</bodyguard></body>", "</bodyguard>[S]</body>"),
            (
                "<script>'</body>'</script></body>",
                "<script>'</body>'</script>[S]</body>",
            ),
            (
                "<SCRIPT a=b>\"</body>\"</Script ></body>",
                "<SCRIPT a=b>\"</body>\"</Script >[S]</body>",
            ),
            (
                "<style>/*</body>*/</style></body>",
                "<style>/*</body>*/</style>[S]</body>",
            ),
            ("<!-- </body> --></body>", "<!-- </body> -->[S]</body>"),
            ("<!--></body>", "<!-->[S]</body>"),
            ("<!doctype html></body>", "<!doctype html>[S]</body>"),
            (
                "<title></body></title></body>",
                "<title></body></title>[S]</body>",
            ),
            ("<scripted></body>", "<scripted>[S]</body>"),
            ("<script>never ends</body>", "<script>never ends</body>[S]"),
            ("<<</body></body>", "<<[S]</body></body>"),
            ("gr\u{fc}\u{df}e</body>", "gr\u{fc}\u{df}e[S]</body>"),
        ] {
            for chunk_bytes in 1..=page.len().max(1) {
                assert_eq!(
                    scan(page, chunk_bytes),
                    expected,
                    "in chunks of {chunk_bytes}"
                );
            }
        }
    }

    fn page_response() -> Response<Full<Bytes>> {
        Response::builder()
            .header(CONTENT_TYPE, "text/html; charset=utf-8")
            .header(CONTENT_LENGTH, "13")
            .header(ETAG, "\"x\"")
            .header("x-kept", "1")
            .body(Full::from("<body></body>"))
            .unwrap()
    }

    async fn text<B: Body<Data = Bytes, Error = Infallible> + Unpin>(
        response: Response<InjectBody<B>>,
    ) -> String {
        String::from_utf8(
            response
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
                .to_vec(),
        )
        .unwrap()
    }

    #[tokio::test]
    async fn a_page_is_changed_and_says_so() {
        let response = Navigation::page("[S]".into(), false).finish(page_response());
        for (name, expected) in [
            ("content-length", None),
            ("etag", None),
            ("cache-control", Some("no-store")),
            ("x-kept", Some("1")),
        ] {
            assert_eq!(
                response
                    .headers()
                    .get(name)
                    .map(|value| value.to_str().unwrap()),
                expected,
                "{name}"
            );
        }
        assert_eq!(response.body().size_hint().exact(), None);
        assert_eq!(text(response).await, "<body>[S]</body>");
        let mut empty = page_response();
        *empty.body_mut() = Full::default();
        assert_eq!(
            text(Navigation::page("[S]".into(), false).finish(empty)).await,
            "[S]"
        );
        let head = Navigation::page("[S]".into(), true).finish(page_response());
        assert!(!head.headers().contains_key(CONTENT_LENGTH));
        assert_eq!(text(head).await, "<body></body>");
    }

    #[tokio::test]
    async fn all_else_passes_untouched() {
        let change = |change: fn(&mut Response<Full<Bytes>>)| {
            let mut response = page_response();
            change(&mut response);
            response
        };
        for response in [
            change(|response| drop(response.headers_mut().remove(CONTENT_TYPE))),
            change(|response| {
                response
                    .headers_mut()
                    .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            }),
            change(|response| {
                response
                    .headers_mut()
                    .insert(CONTENT_ENCODING, HeaderValue::from_static("br"));
            }),
            change(|response| *response.status_mut() = StatusCode::PARTIAL_CONTENT),
            change(|response| *response.status_mut() = StatusCode::NOT_MODIFIED),
        ] {
            let response = Navigation::page("[S]".into(), false).finish(response);
            assert_eq!(response.headers()[CONTENT_LENGTH], "13");
            assert_eq!(response.body().size_hint().exact(), Some(13));
            assert_eq!(text(response).await, "<body></body>");
        }
        assert_eq!(
            text(Navigation::other().finish(page_response())).await,
            "<body></body>"
        );
    }

    #[tokio::test]
    async fn trailers_come_last_and_errors_pass() {
        let trailers = HeaderMap::from_iter([(
            HeaderName::from_static("x-end"),
            HeaderValue::from_static("1"),
        )]);
        let data = |text: &'static str| Ok(Frame::data(Bytes::from_static(text.as_bytes())));
        let finish = |frames: Vec<Result<Frame<Bytes>, &'static str>>| {
            let mut response = Response::new(Frames(frames.into()));
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
            Navigation::page("[S]".into(), false)
                .finish(response)
                .into_body()
        };
        let collected = finish(vec![
            data("<p>a</bo"),
            Ok(Frame::trailers(trailers.clone())),
        ])
        .collect()
        .await
        .unwrap();
        assert_eq!(collected.trailers(), Some(&trailers));
        assert_eq!(collected.to_bytes(), "<p>a</bo[S]");
        let mut broken = finish(vec![data("<p>a"), Err("gone")]);
        assert_eq!(
            broken.frame().await.unwrap().unwrap().into_data().unwrap(),
            "<p>a"
        );
        assert_eq!(broken.frame().await.unwrap().unwrap_err(), "gone");
        assert!(broken.frame().await.is_none());
    }

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(
            escape("<a href=\"x\">&</a>"),
            "&lt;a href=&quot;x&quot;&gt;&amp;&lt;/a&gt;"
        );
    }
}

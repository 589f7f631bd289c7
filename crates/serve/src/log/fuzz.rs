//! What a guest prints: lines of a bounded length, and no control character in the log.

use std::time::SystemTime;

use http::Method;
use wharf_fuzzkit::{pieces, texts};

use super::{
    Event, GuestLine, GuestStream, Level, LineSplitter, LogFormat, Message, RequestEvent,
    RequestId, Wire,
};

/// Bytes of a line as they were printed.
const LINE_BYTES_MAX: usize = 8 << 10;

/// Output, whose first byte says in which pieces it is printed.
pub(crate) fn lines(input: &[u8]) {
    let bytes = input.get(1..).unwrap_or_default();
    let lines = split(&[bytes]);
    assert_eq!(lines, split(&pieces(input)), "in pieces");
    for line in &lines {
        assert!(!line.contains('\n'));
        // A byte that is no UTF-8 becomes a character of three.
        assert!(line.len() <= 3 * LINE_BYTES_MAX);
    }
    let ends = bytes.iter().filter(|byte| **byte == b'\n').count();
    assert!(lines.len() <= ends + 1 + bytes.len() / (LINE_BYTES_MAX - 3));
    // Nothing is lost but ends of lines.
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert_eq!(
            lines.concat().replace('\r', ""),
            text.replace(['\r', '\n'], "")
        );
    }
}

fn split(pieces: &[&[u8]]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut splitter = LineSplitter::default();
    for piece in pieces {
        splitter.push(piece, |line| lines.push(line));
    }
    splitter.finish(|line| lines.push(line));
    lines
}

/// A text wherever the log has one that is not ours.
pub(crate) fn format(input: &[u8]) {
    let text = String::from_utf8_lossy(input.get(1..).unwrap_or_default()).into_owned();
    let one_line = text.replace('\n', " ");
    let request_id = RequestId::random();
    let guest = GuestLine {
        time: SystemTime::UNIX_EPOCH,
        request_id: Some(request_id),
        app: "app".into(),
        component: "api".into(),
        stream: GuestStream::Stderr,
        line: text.clone(),
    };
    let request = RequestEvent {
        time: SystemTime::now(),
        request_id,
        app: "app".into(),
        component: None,
        method: Method::GET,
        path: text.clone(),
        status: None,
        duration: Default::default(),
        bytes_out: 1,
        error: Some(one_line.clone()),
        hint: Some(one_line.clone()),
        is_left: false,
        client: None,
        wire: Wire {
            scheme: "http",
            version: http::Version::HTTP_11,
        },
        route: None,
        parent_span: None,
    };
    let message = Message::new(Level::Warn, text.clone()).with("field", text.clone());
    // A request has one line more for its error, and one for its hint.
    let has_error = usize::from(!one_line.is_empty());
    check(&Event::GuestOutput(guest), 1, [("msg", &text)].as_slice());
    check(
        &Event::Request(request),
        2 + has_error,
        &[("path", &text), ("error", &one_line), ("hint", &one_line)],
    );
    check(
        &Event::Message(message),
        1,
        &[("msg", &text), ("field", &text)],
    );
}

fn check(event: &Event, lines: usize, values: &[(&str, &String)]) {
    let mut plain = String::new();
    LogFormat::Text { is_coloured: false }.write(event, &mut plain);
    let mut json = String::new();
    LogFormat::Json.write(event, &mut json);
    let length: usize = values.iter().map(|(_, value)| value.len()).sum();
    for (out, lines) in [(&plain, lines), (&json, 1)] {
        assert_eq!(out.matches('\n').count(), lines, "{out:?}");
        assert!(out.ends_with('\n'));
        let acts = |c: char| !matches!(c, '\n' | '\t') && (c.is_control() || reorders(c));
        assert!(!out.contains(acts), "{out:?}");
        assert!(out.len() <= 512 + 8 * length);
    }
    let read: serde_json::Value = serde_json::from_str(&json).expect("a line is JSON");
    for (key, value) in values {
        assert_eq!(read[*key].as_str(), Some(value.as_str()));
    }
}

/// Unicode's `Bidi_Control`, and what some terminals take for a line's end.
fn reorders(c: char) -> bool {
    matches!(u32::from(c), 0x61c | 0x200e..=0x200f | 0x2028..=0x202e | 0x2066..=0x2069)
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = texts(&[
        "\0one\ntwo\r\nthree",
        "\u{1}gr\u{fc}\u{df}e\n\n",
        "\u{7}\u{1b}]0;title\u{7}\u{9b}2J\u{202e}\r",
        "\u{3}a \"quote\" and a \\",
    ]);
    seeds.push(b"\x05\xff\xfe cut \xe2\x82\n".to_vec());
    seeds.push([b"\x40".to_vec(), "\u{20ac}".repeat(5000).into_bytes()].concat());
    seeds.push([vec![0], vec![0xe2; LINE_BYTES_MAX]].concat());
    seeds
}

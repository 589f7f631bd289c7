//! HTTP/1 to the byte, by the table in `http1_cases.txt`.

use std::fmt::Write as _;

use serde_json::Value;

use crate::up_client::{Raw, get, header_of, status_of};
use crate::up_kitchen::{Kitchen, P2_PURE, P3_PURE, Up};

const TABLE: &str = include_str!("http1_cases.txt");

struct Case {
    name: &'static str,
    answers: Vec<Wanted>,
    stays_open: bool,
    sent: Vec<u8>,
}

struct Wanted {
    status: u16,
    part: Vec<u8>,
    /// Whether the guest answers it.
    is_guest_s: bool,
    /// Whether its head may come to the guest, though it does not answer.
    may_be_seen: bool,
}

fn cases() -> Vec<Case> {
    let lines = TABLE.lines();
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let [name, clause, comes, sent] =
                <[_; 4]>::try_from(line.splitn(4, " | ").collect::<Vec<_>>())
                    .unwrap_or_else(|_| panic!("four columns: {line}"));
            let number = clause.split(' ').next().unwrap();
            assert!(number.parse::<u32>().is_ok(), "an RFC's number: {line}");
            let mut answers: Vec<&str> = comes.split(' ').collect();
            let stays_open = match answers.pop() {
                Some("open") => true,
                Some("close") => false,
                other => panic!("open or close, not {other:?}: {line}"),
            };
            Case {
                name,
                answers: answers.into_iter().map(wanted).collect(),
                stays_open,
                sent: plain(sent),
            }
        })
        .collect()
}

fn wanted(text: &str) -> Wanted {
    let (status, part) = text.split_once('=').unwrap_or((text, ""));
    let digits = status.trim_end_matches('+');
    let status_code = digits.parse().expect("a status");
    Wanted {
        status: status_code,
        part: plain(part),
        is_guest_s: matches!(status_code, 200 | 404),
        may_be_seen: status != digits,
    }
}

/// What an escaped text stands for.
fn plain(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let mut length = first.len_utf8();
        match first {
            '\\' => {
                length = 2;
                bytes.push(match rest.as_bytes()[1] {
                    b'r' => b'\r',
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'0' => 0,
                    b'x' => {
                        length = 4;
                        u8::from_str_radix(&rest[2..4], 16).expect("two digits")
                    }
                    b'\\' => b'\\',
                    other => panic!("no such escape: {}", other as char),
                });
            }
            '{' if repeated(rest).is_some() => {
                let (inner, times, whole) = repeated(rest).unwrap();
                bytes.extend(plain(inner).repeat(times));
                length = whole;
            }
            _ => bytes.extend_from_slice(&rest.as_bytes()[..length]),
        }
        rest = &rest[length..];
    }
    bytes
}

/// `{TEXT*NUMBER}`: the text, the number, and how long it is as it stands.
fn repeated(text: &str) -> Option<(&str, usize, usize)> {
    let mut depth = 0;
    let end = text.find(|char| {
        depth += i32::from(char == '{') - i32::from(char == '}');
        depth == 0
    })?;
    let (inner, times) = text[1..end].rsplit_once('*')?;
    Some((inner, times.parse().ok()?, end + 1))
}

/// One answer, whatever delimits its content.
async fn answer(raw: &mut Raw, is_head: bool) -> (u16, Vec<u8>) {
    let head = raw.head().await;
    let status = status_of(&head);
    let length = header_of(&head, "content-length");
    let body = if is_head || status < 200 {
        Vec::new()
    } else if let Some(length) = length {
        raw.bytes(length.parse().unwrap()).await
    } else if header_of(&head, "transfer-encoding").is_some() {
        let mut body = Vec::new();
        while !body.ends_with(b"0\r\n\r\n") {
            body.extend(raw.bytes(1).await);
        }
        body
    } else {
        raw.read_to_end().await.into_bytes()
    };
    (status, body)
}

/// The paths of the requests that reached the guest since `mark`, and the log since then.
pub(crate) async fn guest_saw(up: &Up, mark: usize) -> (Vec<String>, String) {
    // All that reached it is logged before this is.
    get(up.addr, "/counter").await;
    let end = up.position_after(mark, |line| line["path"] == "/counter");
    let lines = &up.server.lines()[mark..end];
    let paths = lines
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["msg"] == "request" && line["component"].is_string())
        .filter_map(|line| Some(line["path"].as_str()?.to_owned()))
        .filter(|path| path != "/counter")
        .collect();
    (paths, lines.join("\n"))
}

/// What is wrong with what came of the case; nothing if nothing is.
async fn run(up: &Up, case: &Case) -> String {
    let mut wrong = String::new();
    let mark = up.server.mark();
    let mut raw = Raw::send(up.addr, &case.sent).await;
    let is_head = case.sent.starts_with(b"HEAD");
    for wanted in &case.answers {
        let (status, body) = answer(&mut raw, is_head).await;
        let has_part = wanted.part.is_empty()
            || body
                .windows(wanted.part.len())
                .any(|part| part == wanted.part);
        if status != wanted.status || !has_part {
            let body = String::from_utf8_lossy(&body);
            let _ = write!(wrong, " {status} for {}, {body:?};", wanted.status);
        }
    }
    if case.stays_open {
        raw.write("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let (status, body) = answer(&mut raw, false).await;
        if status != 200 || body != b"hello\n" {
            let _ = write!(wrong, " then {status};");
        }
    } else {
        let rest = raw.read_to_end().await;
        if !rest.is_empty() {
            let _ = write!(wrong, " then {rest:?};");
        }
    }
    let (seen, lines) = guest_saw(up, mark).await;
    let seen = seen.len();
    let count = |of: fn(&Wanted) -> bool| case.answers.iter().filter(|wanted| of(wanted)).count();
    let least = count(|wanted| wanted.is_guest_s) + usize::from(case.stays_open);
    let most = least + count(|wanted| wanted.may_be_seen);
    if !(least..=most).contains(&seen) {
        let _ = write!(
            wrong,
            " the guest saw {seen} requests, not {least}:\n{lines}"
        );
    }
    wrong
}

async fn run_all(kitchen: Kitchen) {
    let up = kitchen.up(&[]);
    let cases = cases();
    assert!(cases.len() > 150, "{}", cases.len());
    let mut wrong = String::new();
    for case in &cases {
        let result = run(&up, case).await;
        if !result.is_empty() {
            let _ = writeln!(wrong, "{}:{result}", case.name);
        }
    }
    assert!(wrong.is_empty(), "{kitchen}:\n{wrong}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_case_of_the_table_on_0_2() {
    run_all(P2_PURE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_case_of_the_table_on_0_3() {
    run_all(P3_PURE).await;
}

/// A refusal says what was wrong, to the client and in the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_why() {
    let up = P2_PURE.up(&[]);
    let mark = up.server.mark();
    let request = "POST /sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n";
    let mut raw = Raw::send(up.addr, request).await;
    let answer = raw.read_to_end().await;
    assert!(
        answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
        "{answer}"
    );
    assert_eq!(header_of(&answer, "connection"), Some("close"));
    let why = "chunked is not the last coding, or not once";
    assert!(answer.ends_with(&format!("\r\n\r\n{why}\n")), "{answer}");
    let line = up.logged_after(mark, |line| line["msg"] == "request");
    assert_eq!(line["status"], 400);
    assert_eq!(line["error"], why);
    assert_eq!(line["level"], "warn");
    assert_eq!(line["client"], "127.0.0.1");
    // What begins well is logged under its own name.
    let request = "POST /sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n";
    let mut raw = Raw::send(up.addr, request).await;
    assert_eq!(status_of(&raw.head().await), 400);
    let line = up.logged_request(mark, "/sink");
    assert_eq!(line["status"], 400);
    assert_eq!(line["error"], "a chunk does not end where its size says");
}

/// A client that has said all may end its side and wait for the answers.
#[tokio::test(flavor = "multi_thread")]
async fn who_ends_its_side_is_answered() {
    const LATER: &str = "GET /sleep?ms=100 HTTP/1.1\r\nHost: a\r\n\r\n";
    const LATE: &str = "GET /sleep?ms=700 HTTP/1.1\r\nHost: a\r\n\r\n";
    for kitchen in [P2_PURE, P3_PURE] {
        let up = kitchen.up(&[]);
        let post = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
        for (sent, statuses) in [
            (LATER.to_owned(), &[200][..]),
            (post.to_owned(), &[200]),
            (format!("{LATER}{post}{LATER}"), &[200, 200, 200]),
            // Each of them comes within a second, though not all together.
            (LATE.repeat(3), &[200, 200, 200]),
            // What is not whole has no answer.
            (format!("{LATER}GET /hel"), &[200]),
        ] {
            let mut raw = Raw::send(up.addr, &sent).await;
            raw.end().await;
            for status in statuses {
                let (came, _) = answer(&mut raw, false).await;
                assert_eq!(came, *status, "{kitchen}: {sent}");
            }
            let rest = raw.read_to_end().await;
            assert!(!rest.contains("200 OK"), "{kitchen}: {sent}: {rest}");
        }
        let mark = up.server.mark();
        let mut raw = Raw::send(up.addr, "GET /never HTTP/1.1\r\nHost: a\r\n\r\n").await;
        raw.end().await;
        assert_eq!(raw.read_to_end().await, "", "it is not waited for long");
        let line = up.logged_request(mark, "/never");
        assert_eq!(line["error"], "the client left");
    }
}

//! HTTP/2 to the byte, by the tables in `http2_cases.rs`.

use crate::h2_wire::*;
use crate::http2_cases::{Case, Comes, PROTOCOL_ERROR, cases, open, setting};
use crate::up_client::Raw;
use crate::up_http1::guest_saw;
use crate::up_kitchen::{P2_PURE, P3_PURE, Up};

use Comes::*;

const NO_ERROR: u32 = 0;

/// What comes on stream 1, or of the whole connection.
async fn what_comes(raw: &mut Raw) -> Option<Came> {
    loop {
        let came = next(raw).await?;
        let is_it = match came.kind {
            GOAWAY => came.code() != NO_ERROR,
            RST_STREAM | HEADERS => came.stream == 1,
            _ => false,
        };
        if is_it {
            return Some(came);
        }
    }
}

async fn run(up: &Up, case: &Case) -> Result<(), String> {
    let Case(_, _, comes, bytes) = case;
    let mark = up.server.mark();
    let mut raw = connect(up.addr).await;
    raw.write(bytes).await;
    let came = what_comes(&mut raw).await;
    let is_it = match (comes, &came) {
        (GoAway(code), Some(came)) => came.kind == GOAWAY && came.code() == *code,
        (Reset(code), Some(came)) => came.kind == RST_STREAM && came.code() == *code,
        (Refused(status) | Answered(status), Some(came)) => {
            came.kind == HEADERS && came.status() == *status
        }
        _ => false,
    };
    if !is_it {
        return Err(format!("{came:?}, not {comes:?}"));
    }
    if let GoAway(_) = comes {
        while next(&mut raw).await.is_some() {}
    } else {
        raw.write(frame(PING, 0, 0, [7; 8])).await;
        loop {
            match next(&mut raw).await {
                Some(came) if came.kind == PING && came.flags == ACK => break,
                Some(_) => {}
                None => return Err("the connection ended".to_owned()),
            }
        }
    }
    drop(raw);
    // These begin well, so the guest sees their heads; it may be told of their end at any time.
    let begins_well = |path: &str| matches!(path, "/sink" | "/never");
    let (seen, lines) = guest_saw(up, mark).await;
    let seen = seen.iter().filter(|path| !begins_well(path)).count();
    let wanted = match comes {
        Answered(_) if !has(bytes, b"/sink") => 1,
        _ => 0,
    };
    if seen != wanted {
        return Err(format!("the guest saw {seen} requests:\n{lines}"));
    }
    Ok(())
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_case_of_the_tables() {
    let up = P2_PURE.up(&[]);
    let cases = cases();
    assert!(cases.len() >= 100, "{}", cases.len());
    let mut wrong = String::new();
    for case in &cases {
        if let Err(error) = run(&up, case).await {
            wrong.push_str(&format!("{} ({}): {error}\n", case.0, case.1));
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// Reads to the end of the answer on stream 1; the lengths of its pieces.
async fn answer(raw: &mut Raw) -> Vec<usize> {
    let mut pieces = Vec::new();
    loop {
        let came = next(raw).await.expect("an answer");
        match came.kind {
            DATA => pieces.push(came.payload.len()),
            HEADERS => assert_eq!(came.status(), 200),
            _ => continue,
        }
        if came.flags & END_STREAM != 0 {
            return pieces;
        }
    }
}

/// The kinds and codes of what came before two pings' answers, or before the end. The first may be
/// sent before what the frames before it come to.
async fn until_pong(raw: &mut Raw) -> (Vec<(u8, u32)>, bool) {
    let mut came = Vec::new();
    for ping in [8, 9] {
        raw.write(frame(PING, 0, 0, [ping; 8])).await;
        loop {
            match next(raw).await {
                None => return (came, false),
                Some(frame) if frame.kind == PING && frame.payload == [ping; 8] => break,
                Some(frame) if matches!(frame.kind, RST_STREAM | GOAWAY) => {
                    came.push((frame.kind, frame.code()));
                }
                Some(frame) if frame.kind == PING => came.push((PING, 0)),
                Some(_) => {}
            }
        }
    }
    (came, true)
}

/// The stream is forgotten by then, but its client must know better.
#[tokio::test(flavor = "multi_thread")]
async fn content_on_a_closed_stream_ends_the_connection() {
    let up = P2_PURE.up(&[]);
    for more in [
        frame(DATA, 0, 1, "x"),
        frame(DATA, END_STREAM, 1, ""),
        request(1, block(&[("x", "y")])),
    ] {
        let mut raw = connect(up.addr).await;
        raw.write(request(1, asking("/hello", &[]))).await;
        answer(&mut raw).await;
        raw.write(&more).await;
        let (came, goes_on) = until_pong(&mut raw).await;
        assert_eq!(came, [(GOAWAY, PROTOCOL_ERROR)], "{more:?}");
        assert!(!goes_on, "{more:?}");
    }
}

/// An answer may come before the content: the rest of a small one is no error, unless it is one.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_after_its_answer_is_judged_all_the_same() {
    for kitchen in [P2_PURE, P3_PURE] {
        let up = kitchen.up(&[]);
        for (length, more, wanted) in [
            ("4", frame(DATA, END_STREAM, 1, "test"), None),
            (
                "1",
                frame(DATA, END_STREAM, 1, "test"),
                Some(PROTOCOL_ERROR),
            ),
            (
                "9",
                frame(DATA, END_STREAM, 1, "test"),
                Some(PROTOCOL_ERROR),
            ),
        ] {
            let mut raw = connect(up.addr).await;
            raw.write(open("/hello", &[("content-length", length)]))
                .await;
            answer(&mut raw).await;
            raw.write(&more).await;
            let (came, goes_on) = until_pong(&mut raw).await;
            let wanted: Vec<_> = wanted.map(|code| (RST_STREAM, code)).into_iter().collect();
            assert_eq!(came, wanted, "{kitchen}: {length} {more:?}");
            assert!(goes_on, "{kitchen}: {length} {more:?}");
        }
    }
}

/// RFC 9113, section 6.9: not a byte more than the client allows, nor less.
#[tokio::test(flavor = "multi_thread")]
async fn answers_keep_to_their_window() {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let up = P2_PURE.up(&[]);
    let window = |size| setting(INITIAL_WINDOW_SIZE, size);
    let asked = request(1, asking("/hello", &[]));
    let update = |by: u8| frame(WINDOW_UPDATE, 0, 1, [0, 0, 0, by]);
    // The last of two settings holds.
    let mut raw = connect(up.addr).await;
    raw.write([window(100), window(1), asked.clone(), update(9)].concat())
        .await;
    assert_eq!(answer(&mut raw).await.iter().sum::<usize>(), 6);
    // Three bytes, then a window that is below zero by one: of two more bytes one is free.
    let mut raw = connect(up.addr).await;
    raw.write([window(3), asked].concat()).await;
    for (more, wanted) in [
        (Vec::new(), 3),
        ([window(2), update(2)].concat(), 1),
        (update(2), 2),
    ] {
        raw.write(more).await;
        let piece = loop {
            let came = next(&mut raw).await.expect("a piece");
            if came.kind == DATA {
                break came.payload.len();
            }
        };
        assert_eq!(piece, wanted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_asks_is_answered() {
    let up = P2_PURE.up(&[]);
    let mut raw = connect(up.addr).await;
    raw.write(frame(PING, ACK, 0, [1; 8])).await;
    // A stream that is reset with a code of no RFC is none the worse for it.
    let reset = frame(RST_STREAM, 0, 1, [0, 0, 0, 255]);
    raw.write([open("/never", &[]), reset].concat()).await;
    assert_eq!(until_pong(&mut raw).await, (Vec::new(), true));
    // Nor is a farewell.
    raw.write(frame(GOAWAY, 0, 0, [0, 0, 0, 0, 0, 0, 0, 255]))
        .await;
    while let Some(came) = next(&mut raw).await {
        assert!(came.kind != GOAWAY || came.code() == NO_ERROR);
    }
}

/// RFC 9113, section 5.1.2: as many as the server's settings say.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_too_many_is_refused() {
    const MAX_CONCURRENT_STREAMS: u16 = 3;
    const REFUSED_STREAM: u32 = 7;
    let up = P2_PURE.up(&[]);
    let mut raw = connect(up.addr).await;
    let settings = next(&mut raw).await.unwrap();
    assert_eq!((settings.kind, settings.flags), (SETTINGS, 0));
    let limit = settings.payload.chunks(6).find_map(|setting| {
        let (id, value) = setting.split_at(2);
        (id == MAX_CONCURRENT_STREAMS.to_be_bytes())
            .then(|| u32::from_be_bytes(value.try_into().unwrap()))
    });
    let last = 2 * limit.expect("there is a limit") + 1;
    for stream in (1..=last).step_by(2) {
        let asked = asking("/sink", &[]);
        raw.write(frame(HEADERS, END_HEADERS, stream, asked)).await;
    }
    loop {
        let came = next(&mut raw).await.expect("the connection goes on");
        if came.kind == RST_STREAM {
            assert_eq!((came.stream, came.code()), (last, REFUSED_STREAM));
            break;
        }
    }
}

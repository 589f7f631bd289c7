//! HTTP/2 to the byte, by the tables in `http2_cases.rs`.

use crate::h2_wire::*;
use crate::http2_cases::{Case, Comes, cases};
use crate::up_client::Raw;
use crate::up_http1::guest_saw;
use crate::up_kitchen::{P2_PURE, Up};

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

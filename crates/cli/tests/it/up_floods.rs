//! Floods over HTTP/2 that took servers down, each with its CVE where it has one: the server answers
//! others meanwhile and at once afterwards, and keeps nothing of them.

use std::net::SocketAddr;

use crate::h2_wire::*;
use crate::up_client::{Client, Wire, get, within};
use crate::up_kitchen::{P2_PURE, Up};

/// What a flood may leave behind.
const GROWTH_MAX_KIB: u64 = 10 << 10;

/// The server's resident memory.
pub(crate) fn memory_kib(up: &Up) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", up.server.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|number| number.parse().ok()).expect("kB")
}

/// Sends `pieces` until they end or the server does not want more; what comes is read meanwhile.
async fn flood(addr: SocketAddr, pieces: impl Iterator<Item = Vec<u8>> + Send) {
    let (mut reader, mut writer) = connect(addr).await.split();
    let reading = tokio::spawn(async move { while reader.fill().await {} });
    for piece in pieces {
        if !writer.try_write(&piece).await {
            break;
        }
    }
    drop(writer);
    within("the flood's end", reading).await.unwrap();
}

/// Runs the flood a few times; measures from the second on, when all that is made once is made.
async fn check(pieces: impl Fn() -> Box<dyn Iterator<Item = Vec<u8>> + Send>) {
    let up = P2_PURE.up(&[]);
    for _ in 0..200 {
        get(up.addr, "/hello").await;
    }
    flood(up.addr, pieces()).await;
    let before = memory_kib(&up);
    for _ in 0..4 {
        let flooding = tokio::spawn(flood(up.addr, pieces()));
        for wire in [Wire::H1, Wire::H2] {
            let mut client = Client::connect(up.addr, wire).await;
            assert_eq!(client.get("/hello").await.text(), "hello\n");
        }
        within("a flood", flooding).await.unwrap();
        assert_eq!(get(up.addr, "/hello").await.status, 200);
    }
    let growth = memory_kib(&up).saturating_sub(before);
    assert!(growth <= GROWTH_MAX_KIB, "{growth} KiB");
}

fn streams(count: u32) -> impl Iterator<Item = u32> + Send {
    (0..count).map(|number| 2 * number + 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn rapid_reset_cve_2023_44487() {
    check(|| {
        Box::new(streams(20_000).map(|stream| {
            let ask = request(stream, asking("/hello", &[]));
            [ask, frame(RST_STREAM, 0, stream, [0, 0, 0, 8])].concat()
        }))
    })
    .await;
}

/// The client has the server reset its streams, which then count no more.
#[tokio::test(flavor = "multi_thread")]
async fn made_you_reset_cve_2025_8671() {
    check(|| {
        Box::new(streams(20_000).map(|stream| {
            let ask = frame(HEADERS, END_HEADERS, stream, asking("/never", &[]));
            [ask, frame(WINDOW_UPDATE, 0, stream, [0, 0, 0, 0])].concat()
        }))
    })
    .await;
}

/// CVE-2024-27316 and its kin: a head that never ends.
#[tokio::test(flavor = "multi_thread")]
async fn continuation_without_end() {
    check(|| {
        let first = frame(HEADERS, END_STREAM, 1, asking("/hello", &[]));
        let more = frame(CONTINUATION, 0, 1, literal(0, "x", "y".repeat(8 << 10)));
        Box::new(std::iter::once(first).chain(std::iter::repeat_n(more, 10_000)))
    })
    .await;
    check(|| {
        let first = frame(HEADERS, END_STREAM, 1, asking("/hello", &[]));
        let more = frame(CONTINUATION, 0, 1, "");
        Box::new(std::iter::once(first).chain(std::iter::repeat_n(more, 100_000)))
    })
    .await;
}

/// CVE-2016-6581: one large entry of the table, named by one byte again and again.
#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_of_hpack() {
    check(|| {
        let entry = literal(0x40, "x", "y".repeat(4000));
        let first = request(1, [asking("/hello", &[]), entry].concat());
        let bombs = streams(200).skip(1).map(|stream| {
            let names = vec![0x80 | 62; 15 << 10];
            request(stream, [asking("/hello", &[]), names].concat())
        });
        Box::new(std::iter::once(first).chain(bombs))
    })
    .await;
}

/// CVE-2019-9512.
#[tokio::test(flavor = "multi_thread")]
async fn pings() {
    check(|| {
        Box::new(std::iter::repeat_n(
            frame(PING, 0, 0, [0; 8]).repeat(100),
            1_000,
        ))
    })
    .await;
}

/// CVE-2019-9515.
#[tokio::test(flavor = "multi_thread")]
async fn settings() {
    check(|| {
        let settings = frame(SETTINGS, 0, 0, [0, 3, 0, 0, 0, 1].repeat(100));
        Box::new(std::iter::repeat_n(settings.repeat(10), 1_000))
    })
    .await;
}

/// CVE-2019-9518.
#[tokio::test(flavor = "multi_thread")]
async fn empty_data() {
    check(|| {
        let first = frame(HEADERS, END_HEADERS, 1, asking("/sink", &[]));
        let empty = frame(DATA, 0, 1, "").repeat(100);
        Box::new(std::iter::once(first).chain(std::iter::repeat_n(empty, 1_000)))
    })
    .await;
}

/// CVE-2019-9511 and 9517: answers are asked for and taken byte by byte, or not at all.
#[tokio::test(flavor = "multi_thread")]
async fn games_with_windows() {
    check(|| {
        let shut = frame(SETTINGS, 0, 0, [0, 4, 0, 0, 0, 0]);
        let ask = streams(20).map(|stream| request(stream, asking("/big?mb=1", &[])));
        let bytes = (0..2_000).map(|number| {
            let stream = 2 * (number % 20) + 1;
            frame(WINDOW_UPDATE, 0, stream, [0, 0, 0, 1])
        });
        Box::new(std::iter::once(shut).chain(ask).chain(bytes))
    })
    .await;
}

/// CVE-2019-9513: priorities without end.
#[tokio::test(flavor = "multi_thread")]
async fn priorities() {
    check(|| {
        Box::new(streams(2_000).map(|stream| {
            let depends = (stream - 1).to_be_bytes();
            frame(PRIORITY, 0, stream, [&depends[..], &[255]].concat()).repeat(50)
        }))
    })
    .await;
}

/// Of 64 KiB of each answer, as many come to the share of one connection, 1 MiB. What is begun at the
/// same moment may be beyond it.
const HANDED_OVER_MAX: usize = 16 + 8;

/// CVE-2019-9517: answers are asked for, and of each one byte is taken. A connection is handed but
/// its share of them; the others wait, and come when their client takes them.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_takes() {
    const STREAMS: u32 = 100;
    let up = P2_PURE.up(&[]);
    let mut raw = connect(up.addr).await;
    // A window of one byte: h2 queues the whole piece of which that is the first.
    raw.write(frame(SETTINGS, 0, 0, [0, 4, 0, 0, 0, 1])).await;
    for stream in streams(STREAMS) {
        raw.write(request(stream, asking("/big?mb=1", &[]))).await;
    }
    let mut bytes = 0;
    let mut quiet = 0;
    while quiet < 50 {
        for wire in [Wire::H1, Wire::H2] {
            let mut client = Client::connect(up.addr, wire).await;
            assert_eq!(client.get("/hello").await.text(), "hello\n");
        }
        raw.write(frame(PING, 0, 0, [7; 8])).await;
        quiet += 1;
        loop {
            let came = next(&mut raw).await.expect("it goes on");
            if came.kind == DATA {
                assert_eq!(came.payload.len(), 1);
                bytes += 1;
                quiet = 0;
            }
            if came.kind == PING {
                break;
            }
        }
    }
    // One of each answer that was begun.
    assert!((1..=HANDED_OVER_MAX).contains(&bytes), "{bytes}");
    // Who takes what is there gets all of it.
    let open = (1_u32 << 30).to_be_bytes();
    let wide = frame(SETTINGS, 0, 0, [&[0, 4][..], &open[..]].concat());
    raw.write([wide, frame(WINDOW_UPDATE, 0, 0, open)].concat())
        .await;
    let mut ended = 0;
    while ended < STREAMS {
        let came = next(&mut raw).await.expect("it goes on");
        if came.kind == DATA {
            bytes += came.payload.len();
            ended += u32::from(came.flags & END_STREAM);
        }
        assert_ne!(came.kind, RST_STREAM);
    }
    assert_eq!(bytes, (STREAMS as usize) << 20);
}

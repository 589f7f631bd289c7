//! Work for the host without end.

use std::hint::black_box;
use std::io::Write;
use std::time::Duration;

use wharf_sdk::http::{self, StatusCode};
use wharf_sdk::{Body, Error, Request, Response, Result, random, time};

const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn print_lines() -> Result<Response> {
    let line = "x".repeat(100);
    loop {
        println!("{line}");
    }
}

/// Standard output whose line never ends.
pub(crate) fn print_one_line() -> Result<Response> {
    let piece = [b'x'; 4096];
    loop {
        // What is beyond the log's limit is lost, and no error.
        let _ = std::io::stdout().write_all(&piece);
    }
}

/// Handles, each of a timer that is waited for, until there are so many; 0 is without end.
pub(crate) async fn open_handles(enough: u64) -> Result<Response> {
    let mut open = 0;
    loop {
        if enough == 0 || open < enough {
            for _ in 0..100 {
                wharf_sdk::spawn(time::sleep(HOUR));
            }
            open += 100;
        }
        // The others have their turn.
        time::sleep(Duration::from_millis(1)).await;
    }
}

/// Tasks without end, each of which has something to do every millisecond.
pub(crate) async fn begin_tasks() -> Result<Response> {
    loop {
        for _ in 0..10 {
            wharf_sdk::spawn(async {
                loop {
                    time::sleep(Duration::from_millis(1)).await;
                }
            });
        }
        time::sleep(Duration::from_millis(1)).await;
    }
}

/// Hundreds of timers, and then turns without end, each of which waits for all of them.
pub(crate) async fn wait_for_many_timers() -> Result<Response> {
    for _ in 0..900 {
        wharf_sdk::spawn(time::sleep(HOUR));
    }
    loop {
        time::sleep(Duration::ZERO).await;
    }
}

/// As many bytes in a call as a host may give.
pub(crate) fn draw_random_bytes() -> Result<Response> {
    loop {
        black_box(random::bytes(64 << 20));
    }
}

/// Asks the address of the query, again and again, and awaits no answer.
pub(crate) async fn ask_without_end(request: &Request) -> Result<Response> {
    let address = request.uri().query().unwrap_or_default().to_owned();
    if address.is_empty() {
        return Err(Error::with_status(StatusCode::BAD_REQUEST, "whom?\n"));
    }
    loop {
        let address = address.clone();
        wharf_sdk::spawn(async move {
            let Ok(request) = http::Request::get(&address).body(Body::empty()) else {
                return;
            };
            if let Ok(response) = wharf_sdk::send(request).await {
                drop(response);
            }
        });
        time::sleep(Duration::from_millis(1)).await;
    }
}

//! Computing without end, and ways to fail at once.

use std::hint::black_box;
use std::time::Duration;

use wharf_sdk::{IntoResponse, Response, Result, time};

/// Computes and never waits.
pub(crate) fn spin() -> Result<Response> {
    let mut rounds = 0_u64;
    loop {
        rounds = black_box(rounds.wrapping_add(1));
    }
}

/// Does nothing but call the host.
pub(crate) fn read_the_clock() -> Result<Response> {
    loop {
        black_box(time::Instant::now());
    }
}

/// Computes for so many milliseconds, and answers.
pub(crate) fn work(milliseconds: u64) -> Result<Response> {
    let start = time::Instant::now();
    let enough = Duration::from_millis(milliseconds);
    let mut rounds = 0_u64;
    while start.elapsed() < enough {
        for _ in 0..10_000 {
            rounds = black_box(rounds.wrapping_add(1));
        }
    }
    Ok(rounds.to_string().into_response())
}

/// Waits without end for what is there already.
pub(crate) async fn wait_for_nothing() -> Result<Response> {
    loop {
        time::sleep(Duration::ZERO).await;
    }
}

/// Deep calls that need none of the guest's own memory: all is in locals, so that the host's
/// stack is what ends.
pub(crate) fn recurse() -> Result<Response> {
    #[allow(unconditional_recursion)]
    #[inline(never)]
    fn deeper(depth: u64) -> u64 {
        depth ^ deeper(depth + 1) ^ deeper(depth + 2).rotate_left(1)
    }
    Ok(deeper(black_box(1)).to_string().into_response())
}

/// Waits for ever with 450 KiB of the host's stack in use.
pub(crate) fn wait_deep_down() -> Result<Response> {
    #[inline(never)]
    fn deeper(left: u64) -> u64 {
        if left == 0 {
            std::thread::sleep(Duration::from_secs(3600));
            return 0;
        }
        black_box(left) ^ deeper(left - 1) ^ black_box(left)
    }
    Ok(deeper(black_box(4_500)).to_string().into_response())
}

pub(crate) fn panic() -> Result<Response> {
    panic!("on purpose")
}

/// Division by zero that the compiler cannot see.
pub(crate) fn trap() -> Result<Response> {
    let zero = black_box(0_u32);
    Ok((black_box(1_u32) / zero).to_string().into_response())
}

pub(crate) fn exit() -> Result<Response> {
    std::process::exit(1)
}

//! Ways to fail.

use std::hint::black_box;
use std::time::Duration;

use wharf_sdk::{IntoResponse, Response, Result, time};

pub(crate) fn panic() -> Result<Response> {
    panic!("on purpose")
}

/// Division by zero that the compiler cannot see.
pub(crate) fn trap() -> Result<Response> {
    let zero = black_box(0_u32);
    Ok((black_box(1_u32) / zero).to_string().into_response())
}

/// Computes without ever waiting: for ever, or for some milliseconds.
pub(crate) fn busy(duration_ms: Option<u64>) -> Result<Response> {
    let start = time::Instant::now();
    let mut rounds = 0_u64;
    loop {
        for _ in 0..10_000 {
            rounds = black_box(rounds + 1);
        }
        if let Some(limit) = duration_ms
            && start.elapsed() >= Duration::from_millis(limit)
        {
            return Ok(rounds.to_string().into_response());
        }
    }
}

/// Takes memory, and writes to it, until there is none.
pub(crate) fn exhaust_memory() -> Result<Response> {
    let mut held = Vec::new();
    loop {
        held.push(black_box(vec![1_u8; 1 << 20]));
    }
}

pub(crate) fn exhaust_stack() -> Result<Response> {
    #[allow(unconditional_recursion)]
    fn deeper(depth: u64) -> u64 {
        let block = black_box([depth; 64]);
        deeper(depth + 1) + block[black_box(1)]
    }
    Ok(deeper(0).to_string().into_response())
}

/// Begins more and more that never ends, each with handles of its own.
pub(crate) async fn exhaust_handles() -> Result<Response> {
    loop {
        for _ in 0..100 {
            wharf_sdk::spawn(time::sleep(Duration::from_secs(3600)));
        }
        // The others have their turn.
        time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits for longer than any limit.
pub(crate) async fn never() -> Result<Response> {
    loop {
        time::sleep(Duration::from_secs(3600)).await;
    }
}

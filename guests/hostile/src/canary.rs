//! Leaves words in memory, and looks for those of others.

use std::arch::wasm32::{memory_grow, memory_size};
use std::hint::black_box;

use wharf_sdk::{IntoResponse, Response, Result};

const PAGE_BYTES: usize = 64 << 10;
const BLOCK_WORDS: usize = (32 << 20) / 8;

/// A word that nobody has by chance, and that nobody has to keep to look for it.
#[inline(always)]
fn word(seed: u64) -> u64 {
    (black_box(seed) ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9) | 1 << 63
}

/// Fills 32 MiB with the words of `seed`.
pub(crate) fn put(seed: u64) -> Result<Response> {
    let block = vec![word(seed); BLOCK_WORDS];
    Ok(black_box(&block).len().to_string().into_response())
}

/// Counts the words of `seed` in all memory there is.
pub(crate) fn find(seed: u64) -> Result<Response> {
    Ok(count(8, memory_size::<0>() * PAGE_BYTES, |found| {
        found == word(seed)
    }))
}

/// Takes 64 MiB more and counts the words in it that are not zero.
pub(crate) fn fresh() -> Result<Response> {
    let pages = memory_grow::<0>((64 << 20) / PAGE_BYTES);
    if pages == usize::MAX {
        return Ok("refused".into_response());
    }
    let from = pages * PAGE_BYTES;
    Ok(count(from, from + (64 << 20), |found| found != 0))
}

#[allow(unsafe_code)]
fn count(from: usize, to: usize, is_one: impl Fn(u64) -> bool) -> Response {
    let mut count = 0_u64;
    for address in (from..to).step_by(8) {
        // SAFETY: the guest's own memory, which is never taken away again, below its end; any
        // bytes are a `u64`.
        let found = unsafe { std::ptr::read_volatile(address as *const u64) };
        count += u64::from(is_one(found));
    }
    count.to_string().into_response()
}

//! Memory without end.

use std::arch::wasm32::memory_grow;
use std::hint::black_box;
use std::time::Duration;

use wharf_sdk::{Response, Result, time};

/// Takes memory and writes to it until there is none.
pub(crate) fn bomb() -> Result<Response> {
    let mut held = Vec::new();
    loop {
        held.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// The smallest steps, and no end when they are refused.
pub(crate) fn grow_by_pages() -> Result<Response> {
    loop {
        black_box(memory_grow::<0>(1));
    }
}

/// Each round is one instruction that nothing interrupts.
pub(crate) fn fill_without_end() -> Result<Response> {
    let mut block = vec![0_u8; 96 << 20];
    let mut value = 0_u8;
    loop {
        value = value.wrapping_add(1);
        black_box(&mut block[..]).fill(value);
    }
}

/// Takes and writes that many MiB, and holds them for ever.
pub(crate) async fn hoard(mebibytes: u64) -> Result<Response> {
    let held = vec![1_u8; (mebibytes as usize) << 20];
    loop {
        time::sleep(Duration::from_secs(3600)).await;
        black_box(&held);
    }
}

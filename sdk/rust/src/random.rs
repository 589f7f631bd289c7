//! Random numbers of cryptographic quality, from WASI.

use crate::wasi;

/// A random number.
pub fn u64() -> u64 {
    wasi::random_u64()
}

/// As many random bytes.
pub fn bytes(count: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count);
    while bytes.len() < count {
        // The host may give fewer than asked for.
        bytes.extend_from_slice(&wasi::random_bytes(count - bytes.len()));
    }
    bytes
}

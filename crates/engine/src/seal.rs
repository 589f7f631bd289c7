//! The seal of a file of native code: a mark and a BLAKE3 checksum of all before it.
//!
//! It tells a whole file from one that was cut off or damaged. It is no proof of who wrote it:
//! that is what the folder's owner and mode are for.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

const SEAL_MARK: &[u8; 8] = b"wharfAOT";
pub(crate) const SEAL_BYTES: usize = SEAL_MARK.len() + 32;

/// What follows native code in a file.
pub(crate) fn seal(native: &[u8]) -> [u8; SEAL_BYTES] {
    seal_of(&blake3::hash(native))
}

fn seal_of(hash: &blake3::Hash) -> [u8; SEAL_BYTES] {
    let mut seal = [0; SEAL_BYTES];
    seal[..SEAL_MARK.len()].copy_from_slice(SEAL_MARK);
    seal[SEAL_MARK.len()..].copy_from_slice(hash.as_bytes());
    seal
}

/// Whether the file is there and whole. A damaged one is removed.
pub(crate) fn sealed(path: &Path) -> bool {
    let Ok(file) = File::open(path) else {
        return false;
    };
    let whole = has_seal(&file).unwrap_or(false);
    if !whole {
        let _ = fs::remove_file(path);
    }
    whole
}

/// Reads in pieces: the native code of a large program is not to be in memory twice.
fn has_seal(file: &File) -> io::Result<bool> {
    let length = file.metadata()?.len();
    let Some(code_length) = length.checked_sub(SEAL_BYTES as u64) else {
        return Ok(false);
    };
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file.take(code_length))?;
    let mut found = [0; SEAL_BYTES];
    let mut rest = file;
    rest.read_exact(&mut found)?;
    Ok(found == seal_of(&hasher.finalize()))
}

//! Compressed forms of static files, made once when the app is packed.
//!
//! What compression gave is remembered in the store by the file's digest, so a file that did not
//! change is not compressed again. The memory may be lost or wrong at no harm but time: the blob
//! that it names is looked for, and its size compared.

use std::fs;
use std::io::{self, Read, Write as _};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use wharf_manifest::Digest;

use super::Encoding;
use crate::store::{Blob, Store, StoreError};

/// Files below this size are served as they are: one packet holds them anyway.
const SOURCE_BYTES_MIN: u64 = 1 << 10;
/// Files above this size are served as they are: 64 MiB.
const SOURCE_BYTES_MAX: u64 = 64 << 20;
/// Above this size brotli works faster and less well: 1 MiB.
const THOROUGH_BYTES_MAX: usize = 1 << 20;
/// Part of each remembered name; to be raised when the settings change.
const SETTINGS: &str = "1";

/// Whether files of this type shrink.
pub(super) fn is_compressible(content_type: &str) -> bool {
    let essence = content_type
        .split(';')
        .next()
        .unwrap_or(content_type)
        .trim();
    essence.starts_with("text/")
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
        || matches!(
            essence,
            "application/javascript"
                | "application/json"
                | "application/xml"
                | "application/wasm"
                | "application/manifest+json"
                | "application/x-javascript"
                | "application/vnd.ms-fontobject"
                | "font/ttf"
                | "font/otf"
                | "image/bmp"
                | "image/x-icon"
                | "image/vnd.microsoft.icon"
        )
}

/// The compressed form of `source`, whose bytes are `bytes`, if there is a smaller one.
pub(super) fn variant(
    store: &Store,
    source: &Digest,
    bytes: &[u8],
    encoding: Encoding,
) -> Result<Option<Blob>, StoreError> {
    if !(SOURCE_BYTES_MIN..=SOURCE_BYTES_MAX).contains(&(bytes.len() as u64)) {
        return Ok(None);
    }
    let memory = store.compressed_folder().join(format!(
        "{}.{}-{SETTINGS}",
        source.hex(),
        encoding.extension()
    ));
    if let Some(remembered) = recall(store, &memory)? {
        return Ok(remembered);
    }
    let compressed =
        compress(bytes, encoding).map_err(|error| StoreError::io("compressing", &memory, error))?;
    let (blob, word) = if compressed.len() < bytes.len() {
        let digest = store.put_bytes(&compressed)?;
        let size = compressed.len() as u64;
        let blob = Blob {
            digest,
            size,
            path: store.blob_path(&digest),
        };
        (Some(blob), format!("{digest} {size}"))
    } else {
        (None, "none".to_owned())
    };
    // Not being able to remember costs time only.
    let _ = fs::write(&memory, word);
    Ok(blob)
}

/// `Some(None)` says that no form is smaller; `None`, that nothing is known.
fn recall(store: &Store, memory: &std::path::Path) -> Result<Option<Option<Blob>>, StoreError> {
    let Ok(word) = fs::read_to_string(memory) else {
        return Ok(None);
    };
    if word == "none" {
        return Ok(Some(None));
    }
    let Some((digest, size)) = word
        .split_once(' ')
        .and_then(|(digest, size)| Some((digest.parse::<Digest>().ok()?, size.parse().ok()?)))
    else {
        return Ok(None);
    };
    let known = store.keep_existing(&digest, size)?;
    Ok(known.then(|| {
        Some(Blob {
            digest,
            size,
            path: store.blob_path(&digest),
        })
    }))
}

fn compress(bytes: &[u8], encoding: Encoding) -> io::Result<Vec<u8>> {
    let thorough = bytes.len() <= THOROUGH_BYTES_MAX;
    match encoding {
        Encoding::Gzip => {
            let level = if thorough {
                Compression::best()
            } else {
                Compression::default()
            };
            let mut encoder = GzEncoder::new(Vec::new(), level);
            encoder.write_all(bytes)?;
            encoder.finish()
        }
        Encoding::Brotli => {
            let params = brotli::enc::BrotliEncoderParams {
                quality: if thorough { 9 } else { 5 },
                lgwin: 22,
                size_hint: bytes.len(),
                ..brotli::enc::BrotliEncoderParams::default()
            };
            let mut compressed = Vec::new();
            brotli::BrotliCompress(&mut &*bytes, &mut compressed, &params)?;
            Ok(compressed)
        }
    }
}

/// Whether `compressed` is `bytes` in another form. Reads no more than that takes.
pub(super) fn is_form_of(compressed: &[u8], bytes: &[u8], encoding: Encoding) -> bool {
    match encoding {
        Encoding::Gzip => reads_as(GzDecoder::new(compressed), bytes),
        Encoding::Brotli => reads_as(brotli::Decompressor::new(compressed, 64 << 10), bytes),
    }
}

fn reads_as(mut decoder: impl Read, mut bytes: &[u8]) -> bool {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match decoder.read(&mut buffer) {
            Ok(0) => return bytes.is_empty(),
            Ok(count) => match bytes.strip_prefix(&buffer[..count]) {
                Some(rest) => bytes = rest,
                None => return false,
            },
            Err(_) => return false,
        }
    }
}

//! Artifacts: what wharf builds, keeps, moves and describes.
//!
//! A component or app becomes an *artifact* when it is packed: a manifest and blobs, each named
//! by the SHA-256 of its bytes, in an OCI image layout on disk (the *store*). Build packs, serve
//! and embed load, registry copies to and from other machines.
//!
//! ```text
//! wharf.toml + .wasm + files ─ pack_app ─▶ Store ─ load_app ─▶ AppArtifact
//!                    bytes ─ describe ─▶ Description
//! ```
//!
//! What holds:
//! - A blob in the store has the bytes that its name says. It appears whole or not at all.
//! - The same inputs give the same digest: no time, host or order of a folder enters it.
//! - No Wasm engine is linked here, and native code is never stored.
//! - Every input may be hostile: sizes, counts and depths are limited, and nothing panics on it.

#![forbid(unsafe_code)]

mod describe;

pub use describe::{
    Authority, AuthorityKind, Dependency, DescribeError, Description, Features, HttpVersion, Kind,
    NESTING_MAX, Name, Role, Size, Standing, WASM_BYTES_MAX, describe, validate,
};

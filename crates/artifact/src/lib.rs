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

mod app;
mod component;
mod describe;
mod oci;
mod store;

pub use app::{
    APP_CONFIG_TYPE, APP_TYPE, AppArtifact, ArtifactError, ComponentSource, Encoding,
    FILE_BYTES_MAX, FILE_COUNT_MAX, FILE_TYPE, FILES_BYTES_MAX, FileEntry, FileTree, FilesDir,
    PackedApp, load_app, pack_app,
};
pub use component::{PackedComponent, WASM_CONFIG_TYPE, pack_component};

pub use describe::{
    Authority, AuthorityKind, DECODER_THREAD, Dependency, DescribeError, Description, Features,
    HttpVersion, Kind, NESTING_MAX, Name, Role, Size, Standing, WASM_BYTES_MAX, describe, validate,
};
pub use oci::{Descriptor, MANIFEST_BYTES_MAX};
pub use store::{BLOB_BYTES_MAX, Blob, BlobWriter, GcReport, Store, StoreError, Tagged};

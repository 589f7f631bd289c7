//! Static files of an app, answered from content-addressed blobs on disk.
//!
//! [`Files`] takes a request's method, path and headers and gives a whole response: which file of
//! the [`FileTree`](wharf_artifact::FileTree) is meant, which precompressed variant, whether the client has it already
//! (RFC 9110, section 13), which ranges are wanted (section 14), and how long it may be kept.
//!
//! Invariants: a path is looked up in a map of names, never joined to a folder of the host, so no
//! path leaves the tree. A blob is immutable, so its digest is a strong validator and its bytes
//! may be cached without end. No disk is touched on the reactor's threads.
//!
//! Left out on purpose: folder listings, compressing while serving (the build makes the
//! variants), and guessing `/about` to mean `about.html`.
//!
//! | request | answer |
//! |---|---|
//! | `/dir/` | `dir/index.html` |
//! | `/dir`, a folder with an `index.html` | 308 to `./dir/` |
//! | unknown path, a browser navigates, `fallback` set | the fallback file, 200 |
//! | unknown path | `404.html` of the tree's root, or a line of text; 404 |
//! | a path that can name no file (`..`, `%2f`, `\`, NUL, `%zz`) | 400 |
//! | anything but GET, HEAD, OPTIONS | 405 with `Allow` |

mod body;
mod cache;
mod cache_control;
mod conditional;
mod describe;
mod encoding;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod path;
mod range;
mod respond;

#[cfg(test)]
mod tests;

pub use body::FileBody;
pub use cache::{BlobCache, BlobCacheOptions};
pub use respond::{FileRequest, Files, FilesError, FilesOptions};

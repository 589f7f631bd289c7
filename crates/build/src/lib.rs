//! Building: a manifest and its sources become components, and those one
//! artifact in the store.
//!
//! ```text
//! wharf.toml + sources ─ build_app ─▶ components ─ describe, check triggers ─ pack ─▶ store
//! FILE.wasm ─ build_file ─────────────────────────────────────────────────────────▶ store
//! TEMPLATE ─ new_app ─▶ a folder that builds
//! ```
//!
//! What holds:
//! - Nothing is written outside the app's `.wharf` folder, the compiler's own
//!   target folder, the cache and the store.
//! - An unchanged app is not built again, and costs only looks at its files.
//! - One build of an app runs at a time, over all processes.
//! - A fired [`Cancel`] ends the build and every process it started.
//! - This crate prints nothing: see [`Progress`] and [`BuildReport`].
//!
//! Left out on purpose: native code, which the engine makes from the
//! components that a [`BuildReport`] lists.

#![forbid(unsafe_code)]

mod app;
mod cancel;
mod component;
mod embedded;
mod encode;
mod error;
mod file;
mod fingerprint;
mod lock;
mod optimize;
mod pack;
mod process;
mod progress;
mod report;
mod rust;
mod sdk;
mod session;
mod source;
mod template;
mod text;
mod trigger;
mod typed;
mod wasm;

pub use app::{build_app, watch_paths};
pub use cancel::Cancel;
pub use error::{BuildError, ImpureUse};
pub use file::{FileOptions, build_file};
pub use optimize::WASM_OPT_VARIABLE;
pub use progress::{Progress, Silent, Step};
pub use report::{BuildReport, ComponentReport, FilesReport, Optimization};
pub use sdk::unpack as unpack_sdk;
pub use session::{BuildOptions, MANIFEST_NAME, STATE_FOLDER};
pub use template::{NewError, NewOptions, Template, new_app};
pub use typed::encode_typed;

//! Watching sources, and showing browsers how the build stands: only under `--watch`.
//!
//! ```text
//! file system ─▶ SourceWatcher ─▶ (the server rebuilds) ─▶ DevOverlay ─▶ /.wharf/dev (events)
//!                                                              └─▶ pages, with a script put in
//! ```
//!
//! [`SourceWatcher`] says which sources changed, once they have come to rest. [`DevOverlay`] holds
//! the state of the build and tells it to every page that is open: the script that it puts into
//! pages reloads them on a new version and lays a failed build's text over them.
//!
//! Left out on purpose: replacing modules in a running page. A reload shows what users will see.

mod ansi;
mod debounce;
mod dev_state;
mod events;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod ignored;
mod inject;
mod overlay;
mod snapshot;
mod sources;

pub use dev_state::DevState;
pub use events::DevBody;
pub use inject::{InjectBody, Navigation};
pub use overlay::DevOverlay;
pub use sources::{SourceWatcher, WatchError, WatchOptions};

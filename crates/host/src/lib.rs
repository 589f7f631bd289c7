//! What a guest sees of the world.
//!
//! **Purpose.** The WASI bindings, the state behind one instance, and the capabilities: what a
//! grant turns into. A [`Host`] holds one linker an engine, with everything standard in it; what
//! an instance may really do is in its [`Authority`].
//!
//! **Place in the flow.** engine → *host* → serve / run / embed.
//!
//! **Invariants.**
//! - Nothing is ambient: an [`InstanceState`] made from an empty [`Authority`] can compute, read
//!   clocks and random numbers, and write to the output it was given.
//! - Standard interfaces are always linked; ungranted ones are empty or denied at the call, and
//!   [`Denials`] names once what would grant it. Any other import fails at load.
//! - Pools of connections live here, above the instances.
//!
//! **Left out on purpose.** Routing, admission, logs: crate serve. Reading manifests: crate
//! manifest.

#![forbid(unsafe_code)]

mod address_class;
mod authority;
mod capability;
mod command;
mod denial;
mod descriptors;
mod destination;
mod egress;
mod folder;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod imports;
mod invoke;
mod link_error;
mod linker;
mod module;
mod native_output;
mod outcome;
mod outgoing;
mod output;
mod own_address;
mod pointer;
mod program;
mod resolver;
mod state;
mod write_through;

pub use authority::Authority;
pub use command::{Runnable, run_command};
pub use denial::{Denial, Denials, Remedy};
pub use egress::{Egress, EgressRules};
pub use folder::AuthorityError;
pub use invoke::InvokeError;
pub use link_error::LinkError;
pub use linker::Host;
pub use outcome::{CommandIo, CommandOutcome, RunError, exit_code};
pub use output::{GuestOutput, OutgoingCall, OutputStream};
pub use program::{HttpHandler, Program, ProgramKind};
pub use state::InstanceState;

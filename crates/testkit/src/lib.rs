//! What wharf's own tests stand on. For tests only; no crate may ship it.
//!
//! ```text
//! Sandbox ─ command(["run", …]) ─▶ Invocation ─ output() ─▶ Output (code, stdout, stderr)
//!         └ up(["."]) ───────────▶ Server (address, its log lines, terminate)
//! guests::http_kitchen(Wasi::P3) ─▶ a component built from `guests/`
//! ```
//!
//! What holds:
//! - A [`Sandbox`] has a home, store and cache of its own; nothing of the user's environment
//!   reaches the command but the way to cargo. It is gone when dropped.
//! - Everything has a time limit, and what outlives it is killed with its whole process group.
//! - Nothing sleeps: waiting ends with the event that is waited for, or with the limit.
//! - Guests are built from source once a test run, safe under many test processes at once.
//!
//! A wrong expectation of the test itself (a program that does not start, a guest that does not
//! build) panics with what was tried: there is nothing else that a test could do.

#![forbid(unsafe_code)]

mod apps;
pub mod guests;
mod invocation;
mod output;
mod redact;
mod sandbox;
mod server;

pub use guests::Wasi;
pub use invocation::Invocation;
pub use output::Output;
pub use redact::redact;
pub use sandbox::Sandbox;
pub use server::Server;

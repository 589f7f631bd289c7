//! Builds real apps with the machine's own cargo.

#![allow(clippy::unwrap_used)]

mod apps;
mod files;
mod templates;
mod world;

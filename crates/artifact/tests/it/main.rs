//! The store and what is packed into it, as another crate or process meets them.

#![allow(clippy::unwrap_used)]

mod app;
mod component;
mod processes;
mod store;

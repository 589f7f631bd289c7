//! The files that travel inside this crate: path with `/`, then contents.

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

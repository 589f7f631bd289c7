//! The capabilities, one module each. [`crate::linker`] lists what is linked.

pub(crate) mod files;
pub(crate) mod http;
pub(crate) mod net;
pub(crate) mod p1;
pub(crate) mod poll;
pub(crate) mod stdio;

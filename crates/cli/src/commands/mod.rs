//! The commands, one module each.

pub(crate) mod build;
pub(crate) mod inspect;
pub(crate) mod new;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod up;

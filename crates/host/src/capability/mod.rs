//! The capabilities, one module each. [`crate::linker`] lists what is linked.

pub(crate) mod files;
pub(crate) mod held;
pub(crate) mod http;
pub(crate) mod net;
pub(crate) mod p1;
pub(crate) mod poll;
pub(crate) mod stdio;

use std::error::Error;

use wasmtime_wasi::TrappableError;

/// What a call of the host gives the guest: `result`, unless that is a trap.
fn answer<T, E>(result: Result<T, TrappableError<E>>) -> wasmtime::Result<(Result<T, E>,)>
where
    E: Error + Send + Sync + 'static,
{
    match result {
        Ok(value) => Ok((Ok(value),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

//! `poll_oneoff` of WASI 0.1, which is not to take room for more than the guest's memory can hold.

use wasmtime::{Caller, Linker};
use wasmtime_wasi::p1::wasi_snapshot_preview1 as wasi;
use wasmtime_wasi::runtime::in_tokio;
use wiggle::GuestMemory;

use super::p1::{HasWasi, MODULE, parts};

/// Bytes of a subscription and of an event.
const SUBSCRIPTION: u64 = 48;
const EVENT: u64 = 32;
/// `errno.fault`.
const FAULT: i32 = 21;

/// Puts it before that of the engine's own WASI, which makes room for as many subscriptions as a
/// guest names before it reads the first one. `linker` allows it.
pub(crate) fn link<S: HasWasi>(linker: &mut Linker<S>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "poll_oneoff",
        |mut caller: Caller<'_, S>, subscriptions: i32, events: i32, count: i32, done: i32| {
            let (mut memory, state) = parts(&mut caller)?;
            let fits = |start, size| lies_in(&memory, start, count, size);
            if !fits(subscriptions, SUBSCRIPTION) || !fits(events, EVENT) {
                return Ok(FAULT);
            }
            in_tokio(wasi::poll_oneoff(
                state.wasi(),
                &mut memory,
                subscriptions,
                events,
                count,
                done,
            ))
        },
    )?;
    Ok(())
}

fn lies_in(memory: &GuestMemory<'_>, start: i32, count: i32, size: u64) -> bool {
    let GuestMemory::Unshared(bytes) = memory else {
        return false;
    };
    let [start, count] = [start, count].map(|number| u64::from(number.cast_unsigned()));
    start + count * size <= bytes.len() as u64
}

//! What a process inherits without having been given it.

#![allow(unsafe_code)]

/// Closes every descriptor but standard input, output and error: whoever started the node may
/// have left open what is nobody's business. A kernel older than 5.9 leaves them.
pub(crate) fn close_inherited() {
    const FIRST: libc::c_uint = 3;
    const FLAGS: libc::c_uint = 0;
    // SAFETY: the call takes three integers and touches no memory. `Sandbox::enter` asks to be
    // called before anything of this process owns a descriptor from 3 on.
    unsafe {
        libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, FLAGS);
    }
}

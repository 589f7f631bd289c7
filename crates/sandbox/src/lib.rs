//! What a helper process gives up before it reads hostile bytes.
//!
//! **Purpose.** A compiler or a model engine is a million lines that were not written against the
//! bytes of a tenant. wharf runs them in child processes; this crate makes such a child worthless
//! to whoever takes it over. It keeps the descriptors that it was started with (0, 1 and 2),
//! memory, and threads. It opens no file, reaches no network, starts no program, and signals
//! nobody.
//!
//! **Place in the flow.** The child calls [`Sandbox::enter`] first thing in `main`; nothing else
//! of wharf is used here, so that a helper without a Wasm engine can have it too.
//!
//! **Invariants.**
//! - Best effort, never a failure: where the kernel lacks a piece (no Landlock before Linux 5.13,
//!   or a container that refuses it), the others still hold, and [`Confinement`] tells. Each of
//!   Landlock and seccomp alone keeps files and the network out of reach.
//! - What is given up is given up for good: nothing in the process can take it back.
//!
//! **Left out on purpose.** Namespaces and user ids: they need rights that a helper of an ordinary
//! user does not have, and add nothing to a process that can open nothing. Systems other than
//! Linux have the limits on resources only.

#[cfg(target_os = "linux")]
mod calls;
#[cfg(target_os = "linux")]
mod descriptors;
#[cfg(target_os = "linux")]
mod files;
mod limits;

use std::fmt;

pub use limits::Limits;

/// What a helper may keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sandbox {
    /// Ceilings of the kernel on this process.
    pub limits: Limits,
}

/// A piece of the confinement that alone keeps files and the network out of reach.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    Landlock,
    Seccomp,
}

/// What the kernel gave of a [`Sandbox`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confinement {
    /// The version of Landlock that is in force; 0 without any. From 4 on it covers TCP, from 6
    /// on signals and abstract sockets.
    pub landlock: u32,
    /// Whether a filter on system calls is in force.
    pub seccomp: bool,
}

impl Sandbox {
    /// Confines this process: descriptors from 3 on are closed, limits set, and rights given up.
    ///
    /// To be called first in `main`: other threads that run already are not confined, and
    /// descriptors that somebody opened before are closed under their hands.
    pub fn enter(&self) -> Confinement {
        self.enter_by(give_up_rights)
    }

    /// The same as on a kernel that lacks the other piece: for tests, of which neither piece is to
    /// hide a hole in the other.
    #[doc(hidden)]
    #[cfg(target_os = "linux")]
    pub fn enter_with(&self, piece: Piece) -> Confinement {
        self.enter_by(|| give_up_rights_by(piece == Piece::Landlock, piece == Piece::Seccomp))
    }

    fn enter_by(&self, give_up_rights: impl FnOnce() -> Confinement) -> Confinement {
        #[cfg(target_os = "linux")]
        descriptors::close_inherited();
        self.limits.set();
        #[cfg(target_os = "linux")]
        die_with_parent();
        give_up_rights()
    }
}

impl Confinement {
    /// What this machine would give: tried on a thread that ends at once, for status pages.
    pub fn of_this_machine() -> Confinement {
        let none = Confinement {
            landlock: 0,
            seccomp: false,
        };
        #[cfg(target_os = "linux")]
        {
            let trial = std::thread::Builder::new()
                .name("sandbox-trial".to_owned())
                .spawn(give_up_rights);
            trial
                .ok()
                .and_then(|trial| trial.join().ok())
                .unwrap_or(none)
        }
        #[cfg(not(target_os = "linux"))]
        none
    }
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.landlock {
            0 => f.write_str("no Landlock")?,
            version => write!(f, "Landlock {version}")?,
        }
        f.write_str(if self.seccomp {
            ", seccomp"
        } else {
            ", no seccomp"
        })
    }
}

/// All that the kernel holds for each thread, inherited by those that this one starts.
#[cfg(target_os = "linux")]
fn give_up_rights() -> Confinement {
    give_up_rights_by(true, true)
}

#[cfg(not(target_os = "linux"))]
fn give_up_rights() -> Confinement {
    Confinement {
        landlock: 0,
        seccomp: false,
    }
}

#[cfg(target_os = "linux")]
fn give_up_rights_by(landlock: bool, seccomp: bool) -> Confinement {
    // Both others need it. They would say so themselves; without it they refuse.
    let _ = rustix::thread::set_no_new_privs(true);
    let landlock = match landlock {
        true => files::close_file_system(),
        false => 0,
    };
    // Last: it refuses the calls that the rest is made of.
    let seccomp = seccomp && calls::allow_computing_only();
    Confinement { landlock, seccomp }
}

/// No memory of it may be read by others of its user, and it ends when its parent does.
#[cfg(target_os = "linux")]
fn die_with_parent() {
    use rustix::process::{
        DumpableBehavior, Signal, set_dumpable_behavior, set_parent_process_death_signal,
    };
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    // The kernel means the parent's thread: that one waits for the child as long as it lives.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
}

//! Ceilings that the kernel holds for a whole process.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, nice, setrlimit};

/// Time between the signal that a program at its CPU limit could catch and the one that it cannot.
const CPU_GRACE_SECONDS: u64 = 5;

/// Descriptors: the three that it is started with, and some that runtimes open for a moment.
const OPEN_FILES_MAX: u64 = 16;

/// How much later than serving a helper gets the processor: 10 of 19 steps.
const NICE: i32 = 10;

/// Ceilings on a helper's use of the machine. `None` leaves what was inherited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Address space.
    pub memory_bytes: Option<u64>,
    /// CPU time of all threads, in whole seconds.
    pub cpu: Option<Duration>,
    /// The size of any file that it writes.
    pub file_bytes: Option<u64>,
}

impl Limits {
    /// Sets them for this process. What the kernel refuses leaves the inherited limit in place.
    pub(crate) fn set(&self) {
        let set = |resource, bytes| {
            let limit = Rlimit {
                current: Some(bytes),
                maximum: Some(bytes),
            };
            let _ = setrlimit(resource, limit);
        };
        if let Some(bytes) = self.memory_bytes {
            set(Resource::As, bytes);
        }
        if let Some(bytes) = self.file_bytes {
            set(Resource::Fsize, bytes);
        }
        if let Some(cpu) = self.cpu {
            let limit = Rlimit {
                current: Some(cpu.as_secs()),
                maximum: Some(cpu.as_secs().saturating_add(CPU_GRACE_SECONDS)),
            };
            let _ = setrlimit(Resource::Cpu, limit);
        }
        set(Resource::Core, 0);
        // Where memory runs out all the same, as in a container smaller than the ceiling, the
        // kernel takes the helper and not the node.
        #[cfg(target_os = "linux")]
        let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
        set(Resource::Nofile, OPEN_FILES_MAX);
        let _ = nice(NICE);
    }
}

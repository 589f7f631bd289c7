//! What the kernel says of this process.

use std::fs;

/// Numbers of this process. Only Linux tells them here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProcessStat {
    pub(crate) resident_bytes: u64,
    pub(crate) threads: u64,
    pub(crate) open_descriptors: u64,
}

impl ProcessStat {
    /// `None` where there is no `/proc` (proc_pid_status(5)).
    pub(crate) fn read() -> Option<ProcessStat> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        Some(ProcessStat {
            resident_bytes: field(&status, "VmRSS:")? * 1024,
            threads: field(&status, "Threads:")?,
            open_descriptors: fs::read_dir("/proc/self/fd").ok()?.count() as u64,
        })
    }
}

/// The number after `name` at the start of a line.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_threads() {
        let stat = ProcessStat::read().unwrap();
        assert!(stat.resident_bytes > 1 << 20, "{stat:?}");
        assert!(stat.threads >= 1 && stat.open_descriptors >= 3, "{stat:?}");
    }
}

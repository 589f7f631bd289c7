//! A memory ceiling for a server: a control group of the kernel.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A control group that is removed on drop.
#[derive(Debug)]
pub(crate) struct Group {
    folder: PathBuf,
}

/// Why there is none.
pub(crate) const NONE: &str = "no control group can be made here (root and a writable \
    /sys/fs/cgroup are needed): memory routes run without a ceiling of the kernel";

impl Group {
    /// A group that may hold `bytes`, in version 2 or 1 of the kernel's interface.
    pub(crate) fn new(bytes: u64) -> Option<Group> {
        let root = Path::new("/sys/fs/cgroup");
        let (parent, limit, swap, swap_bytes) = if root.join("cgroup.controllers").exists() {
            (root.to_owned(), "memory.max", "memory.swap.max", 0)
        } else {
            let swap = "memory.memsw.limit_in_bytes";
            (root.join("memory"), "memory.limit_in_bytes", swap, bytes)
        };
        let folder = parent.join(format!("wharf-bench-{}", std::process::id()));
        fs::create_dir(&folder).ok()?;
        let group = Group { folder };
        set(&group.folder.join(limit), bytes).ok()?;
        // Not every kernel counts swap.
        let _ = set(&group.folder.join(swap), swap_bytes);
        Some(group)
    }

    /// The file that a process writes its id to, to be in the group.
    pub(crate) fn entrance(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The kernel takes a moment to see that the last process is gone.
        for _ in 0..100 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        eprintln!("could not remove {}", self.folder.display());
    }
}

/// Writes to a file of the kernel's, which is there or not.
fn set(file: &Path, value: u64) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).open(file)?;
    file.write_all(value.to_string().as_bytes())
}

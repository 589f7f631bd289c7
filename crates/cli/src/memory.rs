//! How much memory there is.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use wharf_manifest::ByteSize;

/// Taken where neither the machine nor a control group says what there is.
const UNKNOWN: u64 = 4 << 30;

/// Memory for all guests together: three quarters of what the machine has, or the control group
/// if that has less. The rest is for what the host holds for them, and keeps ready for the next.
pub(crate) fn for_guests() -> ByteSize {
    ByteSize(in_all().0 / 4 * 3)
}

/// For each connection so much must be there: sixteen times what it may have us hold unread.
const OF_CONNECTION: u64 = 1 << 20;

/// Connections at once that there is room for.
pub(crate) fn connections_max() -> usize {
    usize::try_from(in_all().0 / OF_CONNECTION).unwrap_or(usize::MAX)
}

/// What connections may send unread beyond what each may: as much as half of them at their most.
pub(crate) fn for_windows() -> usize {
    usize::try_from(in_all().0 / 32).unwrap_or(usize::MAX)
}

/// What the machine has, or the control group if that has less.
pub(crate) fn in_all() -> ByteSize {
    static IN_ALL: OnceLock<ByteSize> = OnceLock::new();
    *IN_ALL.get_or_init(read)
}

fn read() -> ByteSize {
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.as_deref().and_then(total);
    let group = control_group(&fs::read_to_string("/proc/self/cgroup").unwrap_or_default());
    let least = machine.into_iter().chain(group).min();
    ByteSize(least.unwrap_or(UNKNOWN))
}

/// `MemTotal` of `/proc/meminfo`.
fn total(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// The tightest ceiling of the groups that this process is in.
fn control_group(groups: &str) -> Option<u64> {
    let ceilings = files(groups)
        .into_iter()
        .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
    ceilings.min()
}

/// Where the kernel says what groups may hold: those of `/proc/self/cgroup` and the ones above
/// them, in version 2 of its interface and in version 1, which many machines still have.
fn files(groups: &str) -> Vec<PathBuf> {
    let of_line = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?.to_owned(), fields.next()?.to_owned());
        let (root, file) = match controllers.split(',').collect::<Vec<_>>()[..] {
            [""] => ("/sys/fs/cgroup", "memory.max"),
            ref several if several.contains(&"memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let above = Path::new(path.trim_start_matches('/')).ancestors();
        let files = above.map(|group| Path::new(root).join(group).join(file));
        Some(files.collect::<Vec<_>>())
    };
    groups.lines().filter_map(of_line).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_memory_is_read() {
        let text = "MemFree:  1 kB\nMemTotal:       2048 kB\n";
        assert_eq!(total(text), Some(2 << 20));
        assert_eq!(total("MemTotal: much"), None);
        assert!(for_guests().0 > 1 << 20);
        assert!(for_guests() < in_all());
        // What clients send unread: 64 KiB of each connection, and what is lent beyond.
        let unread = connections_max() * (64 << 10) + for_windows();
        assert!(unread as u64 <= in_all().0 / 10);
    }

    #[test]
    fn both_versions_of_control_groups_are_asked() {
        let groups = "9:cpu,memory:/a/b\n7:blkio:/other\n0::/c\n";
        let names: Vec<_> = files(groups)
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        assert_eq!(
            names,
            [
                "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/c/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
        assert!(files("nonsense\n::\n").len() <= 1);
    }
}

//! Where cargo builds the apps that are made in sandboxes.
//!
//! Dependencies are built once and not again for each sandbox. Cargo puts programs of one name at
//! one place, so two test programs at once never share a folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::guests;

/// A folder that has grown beyond this is emptied: every run leaves what it built at paths that
/// no run sees again.
const BYTES_MAX: u64 = 1 << 30;

/// The folder of this process, kept until it ends.
struct Claimed {
    folder: PathBuf,
    /// Held for its lock.
    _lock: File,
}

/// This process's own target folder.
pub(crate) fn target_folder() -> &'static Path {
    static CLAIMED: OnceLock<Claimed> = OnceLock::new();
    &CLAIMED.get_or_init(claim).folder
}

fn claim() -> Claimed {
    let parent = guests::target_folder().join("apps");
    fs::create_dir_all(&parent).expect("the target folder is writable");
    (0..)
        .find_map(|number| {
            let lock = File::create(parent.join(format!("{number}.lock")))
                .expect("the target folder is writable");
            lock.try_lock().ok()?;
            let folder = parent.join(number.to_string());
            if bytes_in(&folder) > BYTES_MAX {
                let _ = fs::remove_dir_all(&folder);
            }
            Some(Claimed {
                folder,
                _lock: lock,
            })
        })
        .expect("there are more numbers than test programs")
}

fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some(if metadata.is_dir() {
                bytes_in(&entry.path())
            } else {
                metadata.len()
            })
        })
        .sum()
}

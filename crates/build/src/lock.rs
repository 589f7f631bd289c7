//! One build of an app at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

use crate::cancel::Cancel;
use crate::error::BuildError;
use crate::progress::{Progress, Step, during};

/// How often a waiting build tries again.
const RETRY: Duration = Duration::from_millis(50);

/// Held while an app is built; the system releases it even if we are killed.
#[derive(Debug)]
pub(crate) struct BuildLock(#[allow(dead_code, reason = "held for its lock")] File);

impl BuildLock {
    /// Takes the lock that the file `path` is, waiting for another build to end.
    pub(crate) fn acquire(
        path: &Path,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<Self, BuildError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(BuildError::state_folder(path))?;
        if !try_lock(&file, path)? {
            let step = Step::WaitForOtherBuild {
                pid: read_pid(&mut file),
            };
            during(progress, &step, || {
                while !try_lock(&file, path)? {
                    if cancel.is_fired() {
                        return Err(BuildError::Cancelled);
                    }
                    std::thread::sleep(RETRY);
                }
                Ok(())
            })?;
        }
        // The id serves the message of a waiting build only: failing to write
        // it (a full disk) is no reason to end this one.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(file, "{}", std::process::id()));
        Ok(Self(file))
    }
}

fn try_lock(file: &File, path: &Path) -> Result<bool, BuildError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(BuildError::io("lock", path)(error)),
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::Mutex;

    /// Fires a token, or drops a lock, once the build under test waits.
    struct OnWait<F: Fn() + Send + Sync>(F, Mutex<Vec<String>>);

    impl<F: Fn() + Send + Sync> Progress for OnWait<F> {
        fn started(&self, step: &Step) {
            self.1.lock().unwrap().push(step.to_string());
            (self.0)();
        }
    }

    #[test]
    fn a_second_build_waits_for_the_first_and_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let cancel = Cancel::new();
        let first =
            BuildLock::acquire(&folder.path().join("lock"), &cancel, &crate::Silent).unwrap();
        let first = Mutex::new(Some(first));
        let progress = OnWait(|| drop(first.lock().unwrap().take()), Mutex::default());
        BuildLock::acquire(&folder.path().join("lock"), &cancel, &progress).unwrap();
        let expected = format!(
            "another build is running (pid {}), waiting",
            std::process::id()
        );
        assert_eq!(*progress.1.lock().unwrap(), [expected]);
    }

    #[test]
    fn waiting_can_be_cancelled() {
        let folder = tempfile::tempdir().unwrap();
        let cancel = Cancel::new();
        let _first =
            BuildLock::acquire(&folder.path().join("lock"), &cancel, &crate::Silent).unwrap();
        let progress = OnWait(|| cancel.fire(), Mutex::default());
        let second = BuildLock::acquire(&folder.path().join("lock"), &cancel, &progress);
        assert!(matches!(second, Err(BuildError::Cancelled)));
    }
}

//! The descriptors of this process that guests have: files, folders, sockets, connections.
//!
//! The kernel gives a process so many and no more, and without one nothing is accepted, logged or
//! started. So each that a guest opens takes a place of its app's share before it is opened, and
//! holds it until it is closed.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Weak};
use std::time::Duration;

use wasmtime_wasi::filesystem::Descriptor;
use wharf_engine::{Budget, Held};

use crate::denial::{Denial, Denials, Remedy};

/// Files that are closed for the guest, and open for what it began with them, before it is looked
/// which of them are closed by now.
const CLOSING_MIN: usize = 16;
/// How often it is looked whether files are closed that outlive their guest.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The share of one app, as one component has it. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Descriptors {
    /// `None` where nobody else needs any.
    share: Option<Arc<Budget>>,
    denials: Denials,
}

/// A descriptor's place, free when it is dropped.
#[derive(Debug)]
pub(crate) struct Open {
    _held: Option<Held>,
}

impl Descriptors {
    pub(crate) fn new(share: Option<Arc<Budget>>, denials: Denials) -> Descriptors {
        Descriptors { share, denials }
    }

    /// Who is told of what the component met.
    pub(crate) fn denials(&self) -> &Denials {
        &self.denials
    }

    /// A place for one more, or none, which is told.
    pub(crate) fn hold(&self) -> Option<Open> {
        let Some(share) = &self.share else {
            return Some(Open { _held: None });
        };
        if let Some(held) = share.hold(1) {
            return Some(Open { _held: Some(held) });
        }
        self.denials.record(Denial {
            what: format!(
                "no descriptor is left for this app, of {} for the guests of all: files, sockets and connections",
                share.limit()
            ),
            remedy: Remedy::Descriptors,
            asked_only: false,
            survived_by_many: false,
        });
        None
    }
}

/// The files and folders that one instance opened.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    descriptors: Descriptors,
    open: Places,
    /// Closed by the guest; a stream or a call that is under way may have them yet.
    closing: Vec<usize>,
    look_at: usize,
}

/// By where the file lies, which is nowhere else while it is known here.
type Places = HashMap<usize, (Weak<File>, Open)>;

impl OpenFiles {
    pub(crate) fn new(descriptors: Descriptors) -> OpenFiles {
        OpenFiles {
            descriptors,
            open: HashMap::new(),
            closing: Vec::new(),
            look_at: CLOSING_MIN,
        }
    }

    /// A place for one more, or none, which is told.
    pub(crate) fn hold(&mut self) -> Option<Open> {
        if self.closing.len() >= self.look_at {
            self.forget_closed();
        }
        self.descriptors.hold()
    }

    /// `opened` holds `place` until it is closed.
    pub(crate) fn opened(&mut self, opened: &Descriptor, place: Open) {
        let file = file_of(opened);
        self.open
            .insert(place_of(file), (Arc::downgrade(file), place));
    }

    /// The guest closes `file`, of which it has no other handle.
    pub(crate) fn closed(&mut self, closed: Descriptor) {
        let number = place_of(file_of(&closed));
        drop(closed);
        match self.open.get(&number) {
            Some((file, _)) if file.strong_count() > 0 => self.closing.push(number),
            _ => {
                self.open.remove(&number);
            }
        }
    }

    fn forget_closed(&mut self) {
        let open = &mut self.open;
        self.closing.retain(|number| {
            let is_open = open
                .get(number)
                .is_some_and(|(file, _)| file.strong_count() > 0);
            if !is_open {
                open.remove(number);
            }
            is_open
        });
        self.look_at = (self.closing.len() * 2).max(CLOSING_MIN);
    }
}

impl Drop for OpenFiles {
    fn drop(&mut self) {
        let mut open = std::mem::take(&mut self.open);
        open.retain(|_, (file, _)| file.strong_count() > 0);
        if open.is_empty() {
            return;
        }
        // A stream that goes with the rest of the store, or a disk that takes its time.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                while !open.is_empty() {
                    tokio::time::sleep(LOOK_EVERY).await;
                    open.retain(|_, (file, _)| file.strong_count() > 0);
                }
            });
        }
    }
}

fn file_of(descriptor: &Descriptor) -> &Arc<File> {
    match descriptor {
        Descriptor::File(file) => &file.file,
        Descriptor::Dir(folder) => &folder.dir,
    }
}

fn place_of(file: &Arc<File>) -> usize {
    Arc::as_ptr(file).addr()
}

#[cfg(test)]
mod tests {
    use wasmtime_wasi::FsPerms;
    use wasmtime_wasi::filesystem::OpenMode;

    use super::*;
    use crate::denial::{Told, told};

    fn file() -> Descriptor {
        let file = File::open("Cargo.toml").unwrap();
        let (perms, mode) = (FsPerms::ReadOnly, OpenMode::READ);
        Descriptor::File(wasmtime_wasi::filesystem::File::new(
            file, perms, mode, false,
        ))
    }

    fn open_one(files: &mut OpenFiles) -> Option<Descriptor> {
        let place = files.hold()?;
        let file = file();
        files.opened(&file, place);
        Some(file)
    }

    fn app(node: &Arc<Budget>) -> (Arc<Budget>, OpenFiles, Told) {
        let (denials, told) = told();
        let share = Budget::of_app("a", None, node);
        let files = OpenFiles::new(Descriptors::new(Some(Arc::clone(&share)), denials));
        (share, files, told)
    }

    #[test]
    fn one_app_leaves_some_to_others_and_is_told_once() {
        let node = Budget::of_node(32);
        let (greedy, mut files, told) = app(&node);
        let mut open: Vec<_> = std::iter::from_fn(|| open_one(&mut files)).collect();
        assert_eq!((open.len(), greedy.used()), (28, 28));
        assert!(files.hold().is_none());
        let told = told.lock().unwrap();
        assert_eq!(told.len(), 1);
        let hint = told[0].manifest_hint("api").unwrap();
        let told = format!("{}; {hint}", told[0]);
        for part in ["of 32 for the guests of all", "ulimit -n", "LimitNOFILE"] {
            assert!(told.contains(part), "{told}");
        }
        assert!(!told.contains("denied"), "{told}");
        let (_, mut others, _) = app(&node);
        assert!(open_one(&mut others).is_some());
        drop(others);
        files.closed(open.pop().unwrap());
        assert_eq!(greedy.used(), 27);
        assert!(files.hold().is_some());
        drop((open, files));
        assert_eq!(greedy.used(), 0);
    }

    #[test]
    fn a_file_counts_while_something_reads_it() {
        let node = Budget::of_node(1000);
        let (share, mut files, _) = app(&node);
        let mut streams = Vec::new();
        for _ in 0..CLOSING_MIN {
            let file = open_one(&mut files).unwrap();
            streams.push(file.clone());
            files.closed(file);
        }
        assert_eq!(share.used(), CLOSING_MIN as u64);
        streams.truncate(1);
        let place = files.hold();
        assert_eq!(share.used(), 2, "the one that is read, and the new one");
        drop(place);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            drop(files);
            tokio::time::sleep(LOOK_EVERY * 3).await;
            assert_eq!(share.used(), 1, "its guest is gone, and it is still read");
            drop(streams);
            tokio::time::sleep(LOOK_EVERY * 3).await;
            assert_eq!(share.used(), 0);
        });
    }

    #[test]
    fn without_a_share_nothing_is_counted() {
        let mut files = OpenFiles::new(Descriptors::new(None, Denials::new(|_| {})));
        for _ in 0..100 {
            assert!(files.hold().is_some());
        }
        let file = open_one(&mut files).unwrap();
        files.closed(file);
        assert!(files.open.is_empty());
    }
}

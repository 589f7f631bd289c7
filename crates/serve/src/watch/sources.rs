//! Watching the folders of an app's sources.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use notify::{Config, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::debounce::Debouncer;
use super::ignored::Sources;
use super::snapshot::Snapshot;

/// Events that may wait for the thread; of more, only that there were some is kept.
const EVENTS_MAX: usize = 4096;
/// How often folders are read anew while new ones appear.
const REREADS_MAX: usize = 16;

/// How sources are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchOptions {
    /// How long nothing must change before changes are told. Default: 150 ms.
    pub quiet: Duration,
    /// How long changes are held back at most. Default: 2 s.
    pub patience: Duration,
    /// Look at the files again and again instead of being told by the system, for file systems
    /// that tell nothing (network folders, some containers). Default: no.
    pub poll: bool,
    /// How often to look when polling. Default: 1 s.
    pub poll_interval: Duration,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self {
            quiet: Duration::from_millis(150),
            patience: Duration::from_secs(2),
            poll: false,
            poll_interval: Duration::from_secs(1),
        }
    }
}

/// Why nothing can be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// A root's path cannot be made absolute.
    #[error("cannot watch `{}`: {source}", .path.display())]
    Root {
        /// The root as it was given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives no thread.
    #[error("cannot start to watch: {0}")]
    Thread(#[source] io::Error),
}

/// Tells when sources below some roots have changed. Dropping it ends the watch.
///
/// Ignored are `target/` beside a `Cargo.toml`, `.git`, `.wharf`, `node_modules`, temporary files
/// of editors, and whatever a `.gitignore` names; a root that is given by name is watched all the
/// same. Where the system cannot watch, or not so much, it polls instead.
#[derive(Debug)]
pub struct SourceWatcher {
    shared: Arc<Shared>,
    stop: SyncSender<Input>,
}

#[derive(Debug, Default)]
struct Shared {
    changed: Mutex<BTreeSet<PathBuf>>,
    notify: Notify,
    is_polling: AtomicBool,
    /// Events were lost: something changed, nobody knows what.
    is_overrun: AtomicBool,
    is_stopped: AtomicBool,
}

enum Input {
    Event(notify::Event),
    Wake,
}

impl SourceWatcher {
    /// Watches `roots`: folders with all below them, or single files. A root need not exist yet,
    /// as long as its folder does.
    ///
    /// Reads the folders before it returns, which blocks: call it on a blocking thread or at start.
    ///
    /// # Errors
    /// A root's folder does not exist, or the system gives no thread.
    pub fn start(
        roots: impl IntoIterator<Item = impl AsRef<Path>>,
        options: WatchOptions,
    ) -> Result<Self, WatchError> {
        let mut absolute = Vec::new();
        for root in roots {
            let root = root.as_ref();
            let root = resolve(root).map_err(|source| WatchError::Root {
                path: root.to_owned(),
                source,
            })?;
            if !absolute.contains(&root) {
                absolute.push(root);
            }
        }
        let shared = Arc::new(Shared {
            is_polling: AtomicBool::new(true),
            ..Shared::default()
        });
        let (sender, events) = sync_channel(EVENTS_MAX);
        let sources = Sources::read(&absolute);
        let mut thread = WatchThread {
            way: Way::polling(&sources, &options),
            sources,
            debouncer: Debouncer::new(options.quiet, options.patience),
            roots: absolute,
            sender: sender.clone(),
            shared: shared.clone(),
            options,
        };
        thread.begin();
        std::thread::Builder::new()
            .name("wharf-watch".into())
            .spawn(move || thread.run(&events))
            .map_err(WatchError::Thread)?;
        Ok(Self {
            shared,
            stop: sender,
        })
    }

    /// Waits until sources have changed and come to rest; gives their absolute paths, sorted.
    ///
    /// What changes while nobody waits is told next time. Dropping the future loses nothing. Where
    /// so much changed that it cannot be told, the paths are the roots.
    pub async fn changed(&self) -> Vec<PathBuf> {
        loop {
            let changed = std::mem::take(&mut *self.shared.changed());
            if !changed.is_empty() {
                return changed.into_iter().collect();
            }
            self.shared.notify.notified().await;
        }
    }

    /// Says whether it polls, because it was told to or because the system could not watch.
    #[must_use]
    pub fn is_polling(&self) -> bool {
        self.shared.is_polling.load(Ordering::Relaxed)
    }
}

impl Drop for SourceWatcher {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::Release);
        // A full queue wakes the thread as well.
        let _ = self.stop.try_send(Input::Wake);
    }
}

impl Shared {
    fn changed(&self) -> std::sync::MutexGuard<'_, BTreeSet<PathBuf>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a path absolute, without links; its last part need not exist.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let absolute = std::path::absolute(path)?;
            match (absolute.parent(), absolute.file_name()) {
                (Some(folder), Some(name)) => Ok(folder.canonicalize()?.join(name)),
                _ => Err(error),
            }
        }
        result => result,
    }
}

struct WatchThread {
    roots: Vec<PathBuf>,
    sources: Sources,
    way: Way,
    debouncer: Debouncer,
    sender: SyncSender<Input>,
    shared: Arc<Shared>,
    options: WatchOptions,
}

/// How the thread learns of changes.
enum Way {
    /// The system tells them, of each of these folders.
    Told {
        watcher: RecommendedWatcher,
        watched: BTreeSet<PathBuf>,
    },
    /// It looks, next at this moment, and compares.
    Polling { before: Snapshot, next: Instant },
}

impl WatchThread {
    fn run(mut self, events: &Receiver<Input>) {
        while !self.shared.is_stopped.load(Ordering::Acquire) {
            let next = match &self.way {
                Way::Told { .. } => self.debouncer.due(),
                Way::Polling { next, .. } => {
                    Some(self.debouncer.due().map_or(*next, |due| due.min(*next)))
                }
            };
            let input = match next {
                None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(next) => events.recv_timeout(next.saturating_duration_since(Instant::now())),
            };
            match input {
                Ok(Input::Event(event)) => self.take_event(event),
                Ok(Input::Wake) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.shared.is_overrun.swap(false, Ordering::AcqRel) {
                self.reread();
                for root in &self.roots {
                    self.debouncer.record(root.clone(), Instant::now());
                }
            }
            self.poll();
            if let Some(paths) = self.debouncer.take(Instant::now()) {
                self.shared.changed().extend(paths);
                self.shared.notify.notify_one();
            }
        }
    }

    /// Looks for changes, if polling and if it is time to.
    fn poll(&mut self) {
        let Way::Polling { before, next } = &mut self.way else {
            return;
        };
        if *next > Instant::now() {
            return;
        }
        self.sources = Sources::read(&self.roots);
        let now = Snapshot::take(&self.sources);
        for path in before.changes(&now) {
            self.debouncer.record(path, Instant::now());
        }
        *before = now;
        *next = Instant::now() + self.options.poll_interval;
    }

    fn take_event(&mut self, event: notify::Event) {
        use notify::EventKind;
        use notify::event::ModifyKind;
        if event.need_rescan() {
            self.shared.is_overrun.store(true, Ordering::Release);
        }
        let may_move_folders = match event.kind {
            EventKind::Access(_) => return,
            EventKind::Modify(ModifyKind::Metadata(kind))
                if kind != notify::event::MetadataKind::WriteTime =>
            {
                return;
            }
            EventKind::Create(_)
            | EventKind::Remove(_)
            | EventKind::Modify(ModifyKind::Name(_)) => true,
            EventKind::Modify(_) | EventKind::Any | EventKind::Other => false,
        };
        for path in event.paths {
            let is_rules = path.file_name().is_some_and(|name| name == ".gitignore");
            if !self.sources.holds(&path) && !is_rules {
                continue;
            }
            let was_folder =
                matches!(&self.way, Way::Told { watched, .. } if watched.contains(&path));
            if may_move_folders && (path.is_dir() || was_folder) {
                self.unwatch_below(&path);
                self.reread();
            } else if is_rules {
                self.reread();
            }
            // A folder changes whenever something in it does, which has an event of its own.
            if may_move_folders || !path.is_dir() {
                self.debouncer.record(path, Instant::now());
            }
        }
    }

    /// Forgets watches that have gone or may have moved with their folder.
    fn unwatch_below(&mut self, path: &Path) {
        let Way::Told { watcher, watched } = &mut self.way else {
            return;
        };
        let gone: Vec<_> = watched
            .iter()
            .filter(|folder| folder.starts_with(path))
            .cloned()
            .collect();
        for folder in gone {
            // It is gone already if its folder is.
            let _ = watcher.unwatch(&folder);
            watched.remove(&folder);
        }
    }

    /// Reads the folders and watches the new ones, again until none is new: a folder that is made
    /// in a new one after that was read, and before it is watched, would never be told.
    fn reread(&mut self) {
        for _ in 0..REREADS_MAX {
            self.sources = Sources::read(&self.roots);
            if !self.watch_folders() {
                return;
            }
        }
    }

    /// Begins with what the system offers, else to poll.
    fn begin(&mut self) {
        if self.options.poll {
            return;
        }
        let config = Config::default().with_follow_symlinks(false);
        if let Ok(watcher) = RecommendedWatcher::new(self.handler(), config) {
            self.way = Way::Told {
                watcher,
                watched: BTreeSet::new(),
            };
            self.shared.is_polling.store(false, Ordering::Relaxed);
            self.reread();
        }
    }

    /// Watches each folder with sources by itself, so that what is ignored costs nothing, and the
    /// folder above each root, where it is told that the root is made anew.
    /// Says whether any was not watched before.
    fn watch_folders(&mut self) -> bool {
        let Way::Told { watcher, watched } = &mut self.way else {
            return false;
        };
        let mut is_any_new = false;
        let above = self
            .roots
            .iter()
            .filter_map(|root| root.parent())
            .map(Path::to_owned);
        let wanted: BTreeSet<PathBuf> = self
            .sources
            .folders()
            .iter()
            .cloned()
            .chain(above)
            .collect();
        for folder in wanted {
            if watched.contains(&folder) {
                continue;
            }
            match watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    watched.insert(folder);
                    is_any_new = true;
                }
                Err(error) if is_exhausted(&error) => {
                    self.way = Way::polling(&self.sources, &self.options);
                    self.shared.is_polling.store(true, Ordering::Relaxed);
                    return false;
                }
                // It went away meanwhile, or may not be read: there is nothing to see in it.
                Err(_) => {}
            }
        }
        is_any_new
    }

    fn handler(&self) -> impl FnMut(notify::Result<notify::Event>) + Send + 'static {
        let (sender, shared) = (self.sender.clone(), self.shared.clone());
        move |event| {
            let Ok(event) = event else { return };
            if sender.try_send(Input::Event(event)).is_err() {
                // The thread has work and looks at this after it.
                shared.is_overrun.store(true, Ordering::Release);
            }
        }
    }
}

impl Way {
    fn polling(sources: &Sources, options: &WatchOptions) -> Self {
        Self::Polling {
            before: Snapshot::take(sources),
            next: Instant::now() + options.poll_interval,
        }
    }
}

/// Says whether the system watches as much as it will.
fn is_exhausted(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::MaxFilesWatch => true,
        notify::ErrorKind::Io(error) => error.kind() == io::ErrorKind::StorageFull,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    fn options(poll: bool) -> WatchOptions {
        WatchOptions {
            quiet: Duration::from_millis(20),
            poll,
            poll_interval: Duration::from_millis(20),
            ..WatchOptions::default()
        }
    }

    /// Waits for changes until one of them is `path`.
    async fn expect(watcher: &SourceWatcher, path: &Path) -> Vec<PathBuf> {
        let mut seen = Vec::new();
        let wait = async {
            while !seen.iter().any(|changed| changed == path) {
                seen.extend(watcher.changed().await);
            }
        };
        if tokio::time::timeout(LONG, wait).await.is_err() {
            panic!("{} was not told, only {seen:?}", path.display());
        }
        seen
    }

    /// Writes a file again and again until it is told. That a new folder is there may be told by an
    /// event that is older than the watch on it.
    async fn write_until_told(watcher: &SourceWatcher, path: &Path) {
        let mut text = String::new();
        for _ in 0..100 {
            text.push('x');
            std::fs::write(path, &text).unwrap();
            let wait = async {
                while !watcher
                    .changed()
                    .await
                    .iter()
                    .any(|changed| changed == path)
                {}
            };
            if tokio::time::timeout(Duration::from_millis(300), wait)
                .await
                .is_ok()
            {
                return;
            }
        }
        panic!("{} was not told", path.display());
    }

    async fn check(poll: bool) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("app/src")).unwrap();
        std::fs::create_dir_all(root.join("app/node_modules")).unwrap();
        std::fs::write(root.join("app/src/lib.rs"), "one").unwrap();
        let (app, dist) = (root.join("app"), root.join("dist"));
        let watcher = SourceWatcher::start([&app, &app.join("."), &dist], options(poll)).unwrap();
        assert_eq!(watcher.is_polling(), poll);

        std::fs::write(app.join("node_modules/x.js"), "ignored").unwrap();
        std::fs::write(app.join("src/lib.rs"), "two, longer").unwrap();
        let changed = expect(&watcher, &app.join("src/lib.rs")).await;
        assert!(
            !changed
                .iter()
                .any(|path| path.starts_with(app.join("node_modules")))
        );

        std::fs::create_dir_all(app.join("new/deep")).unwrap();
        write_until_told(&watcher, &app.join("new/deep/a.rs")).await;
        std::fs::remove_file(app.join("src/lib.rs")).unwrap();
        expect(&watcher, &app.join("src/lib.rs")).await;

        // A root that did not exist, and one that a bundler makes anew.
        for _ in 0..2 {
            std::fs::create_dir(&dist).unwrap();
            write_until_told(&watcher, &dist.join("index.html")).await;
            std::fs::remove_dir_all(&dist).unwrap();
            expect(&watcher, &dist.join("index.html")).await;
        }

        std::fs::write(app.join(".gitignore"), "*.log\n").unwrap();
        expect(&watcher, &app.join(".gitignore")).await;
        std::fs::write(app.join("noise.log"), "ignored by now").unwrap();
        std::fs::write(app.join("main.rs"), "").unwrap();
        let changed = expect(&watcher, &app.join("main.rs")).await;
        assert!(!changed.contains(&app.join("noise.log")));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn changes_are_told() {
        check(false).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn changes_are_told_when_polling() {
        check(true).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_single_file_is_followed_when_an_editor_replaces_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let file = root.join("hello.wasm");
        std::fs::write(&file, "one").unwrap();
        let watcher = SourceWatcher::start([&file], options(false)).unwrap();
        for text in ["two", "three"] {
            std::fs::write(root.join("beside"), text).unwrap();
            std::fs::rename(root.join("beside"), &file).unwrap();
            assert!(
                expect(&watcher, &file)
                    .await
                    .iter()
                    .all(|path| path == &file)
            );
        }
    }

    #[test]
    fn a_root_in_no_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let result = SourceWatcher::start([folder.path().join("a/b/c")], WatchOptions::default());
        assert!(matches!(result, Err(WatchError::Root { .. })));
    }
}

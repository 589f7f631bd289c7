//! A home, a store and a cache for one test.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use crate::apps;
use crate::invocation::Invocation;
use crate::output::Output;
use crate::server::Server;

/// A folder with nothing of the user's in it, where the command under test works.
///
/// The command runs in `work`, its home is `home`, its store `store` and its cache `cache`, all
/// below one temporary folder that is removed on drop. Only what cargo builds of apps made there
/// lies elsewhere, in one folder for all sandboxes: apps of one test program need names of their
/// own.
#[derive(Debug)]
pub struct Sandbox {
    root: tempfile::TempDir,
    binary: PathBuf,
}

/// What of the environment reaches the command: the way to cargo, and which toolchain runs the
/// tests.
const PASSED_ON: &[&str] = &["PATH", "RUSTUP_TOOLCHAIN", "RUSTUP_AUTO_INSTALL"];

impl Sandbox {
    /// A fresh sandbox for the command `binary`: `env!("CARGO_BIN_EXE_wharf")` in tests of the
    /// command.
    pub fn new(binary: impl Into<PathBuf>) -> Sandbox {
        let root = tempfile::Builder::new()
            .prefix("wharf-sandbox-")
            .tempdir()
            .expect("a temporary folder can be made");
        for folder in ["home", "work", ".cargo"] {
            fs::create_dir(root.path().join(folder)).expect("the temporary folder is writable");
        }
        let config = format!("[build]\ntarget-dir = {:?}\n", apps::target_folder());
        fs::write(root.path().join(".cargo/config.toml"), config)
            .expect("the temporary folder is writable");
        Sandbox {
            root,
            binary: binary.into(),
        }
    }

    /// The sandbox's own folder, above all others.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The folder in which the command runs.
    pub fn work(&self) -> PathBuf {
        self.root().join("work")
    }

    /// Where the command keeps artifacts.
    pub fn store(&self) -> PathBuf {
        self.root().join("store")
    }

    /// Where the command keeps what can be made again.
    pub fn cache(&self) -> PathBuf {
        self.root().join("cache")
    }

    /// The command under test.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Runs `wharf ARGUMENTS` to its end.
    #[track_caller]
    pub fn wharf<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        self.command(arguments).output()
    }

    /// `wharf ARGUMENTS`, not started yet.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Invocation {
        self.program(&self.binary, arguments)
    }

    /// Another program with the same environment, such as `sh`.
    pub fn program<S: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = S>,
    ) -> Invocation {
        let arguments = arguments
            .into_iter()
            .map(|argument| argument.as_ref().to_owned())
            .collect();
        Invocation::new(
            program.as_ref().to_owned(),
            arguments,
            self.work(),
            self.environment(),
        )
    }

    /// Starts `wharf up ARGUMENTS --addr 127.0.0.1:0` and waits until it listens.
    #[track_caller]
    pub fn up<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Server {
        self.up_command(arguments).start_server()
    }

    /// The same, not started yet: for another environment or folder. Start it with
    /// [`Invocation::start_server`].
    pub fn up_command<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Invocation {
        let mut words = vec![OsString::from("up")];
        words.extend(
            arguments
                .into_iter()
                .map(|argument| argument.as_ref().to_owned()),
        );
        words.extend(["--addr".into(), "127.0.0.1:0".into()]);
        self.command(words)
    }

    /// Writes a file below the work folder, with the folders above it. Returns its path.
    pub fn put(&self, name: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.work().join(name);
        let parent = path.parent().expect("the work folder is above it");
        fs::create_dir_all(parent).expect("the sandbox is writable");
        fs::write(&path, contents).expect("the sandbox is writable");
        path
    }

    /// Copies a file to `name` below the work folder. Returns its path.
    pub fn copy(&self, from: impl AsRef<Path>, name: impl AsRef<Path>) -> PathBuf {
        let bytes = fs::read(&from)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", from.as_ref().display()));
        self.put(name, bytes)
    }

    /// `text` without what differs from one run to the next, and with this sandbox's own paths
    /// as `[ROOT]`. See [`redact`](crate::redact()).
    pub fn redact(&self, text: &str) -> String {
        let root = self.root().to_string_lossy();
        crate::redact(&text.replace(&*root, "[ROOT]"))
    }

    fn environment(&self) -> Vec<(OsString, OsString)> {
        let set = |name: &str, value: &OsStr| (name.into(), value.to_owned());
        let mut environment: Vec<_> = PASSED_ON
            .iter()
            .filter_map(|name| Some(set(name, &std::env::var_os(name)?)))
            .collect();
        // The home is another one, and cargo's folders usually lie in the real one.
        for (name, below_home) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
            let place = std::env::var_os(name).or_else(|| {
                Some(
                    PathBuf::from(std::env::var_os("HOME")?)
                        .join(below_home)
                        .into(),
                )
            });
            environment.extend(place.map(|place| set(name, &place)));
        }
        environment.extend([
            set("HOME", self.root().join("home").as_os_str()),
            set("WHARF_STORE_DIR", self.store().as_os_str()),
            set("WHARF_CACHE_DIR", self.cache().as_os_str()),
            set("TERM", OsStr::new("dumb")),
            set("NO_COLOR", OsStr::new("1")),
        ]);
        environment
    }
}

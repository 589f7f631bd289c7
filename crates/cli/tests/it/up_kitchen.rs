//! The kitchen, served: in its four builds, bare or as an app with settings.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use wharf_testkit::{Sandbox, Server, Wasi, guests};

/// How long a line of the log may take.
const LINE_LIMIT: Duration = Duration::from_secs(60);

/// A build of the guest `http-kitchen`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kitchen {
    pub(crate) wasi: Wasi,
    /// Built with std's WASI imports.
    pub(crate) std: bool,
}

pub(crate) const P2_STD: Kitchen = Kitchen {
    wasi: Wasi::P2,
    std: true,
};
pub(crate) const P2_PURE: Kitchen = Kitchen {
    wasi: Wasi::P2,
    std: false,
};
/// Takes one request at a time: what it imports of 0.2 stalls a whole instance.
pub(crate) const P3_STD: Kitchen = Kitchen {
    wasi: Wasi::P3,
    std: true,
};
pub(crate) const P3_PURE: Kitchen = Kitchen {
    wasi: Wasi::P3,
    std: false,
};

pub(crate) const KITCHENS: [Kitchen; 4] = [P2_STD, P2_PURE, P3_STD, P3_PURE];

impl fmt::Display for Kitchen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let imports = if self.std { "std" } else { "pure" };
        write!(f, "{:?} {imports}", self.wasi)
    }
}

impl Kitchen {
    pub(crate) fn file(self) -> PathBuf {
        if self.std {
            guests::http_kitchen(self.wasi)
        } else {
            guests::http_kitchen_pure(self.wasi)
        }
    }

    /// Serves the bare component, with these arguments.
    pub(crate) fn up(self, arguments: &[&str]) -> Up {
        eprintln!("the kitchen is {self}");
        let sandbox = sandbox();
        let file = sandbox.copy(self.file(), "kitchen.wasm");
        Up::start(sandbox, &file, arguments)
    }

    /// Serves an app of it, with these lines in its component's table.
    pub(crate) fn up_with(self, settings: &str) -> Up {
        eprintln!("the kitchen is {self}, with {settings}");
        let sandbox = sandbox();
        sandbox.copy(self.file(), "kitchen.wasm");
        sandbox.put(
            "wharf.toml",
            format!(
                "manifest = 1\nname = \"kitchen\"\nversion = \"0.1.0\"\n\n\
                 [component.kitchen]\nsource = \"kitchen.wasm\"\n{settings}\n\n\
                 [[trigger.http]]\nroute = \"/...\"\ncomponent = \"kitchen\"\n"
            ),
        );
        Up::start_here(sandbox, &[])
    }
}

pub(crate) fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_wharf"))
}

/// Native code is made once for all tests: it is the same in all of them.
pub(crate) fn code_cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("up-cache")
}

/// A server and the sandbox that it works in.
pub(crate) struct Up {
    pub(crate) addr: SocketAddr,
    pub(crate) server: Server,
    pub(crate) sandbox: Sandbox,
}

impl Up {
    /// Serves `what`.
    pub(crate) fn start(sandbox: Sandbox, what: &Path, arguments: &[&str]) -> Up {
        let mut command = sandbox.up_command([what]);
        for argument in arguments {
            command = command.arg(argument);
        }
        let server = command.env("WHARF_CACHE_DIR", code_cache()).start_server();
        Up {
            addr: server.addr,
            server,
            sandbox,
        }
    }

    /// Serves the app in the sandbox's work folder.
    pub(crate) fn start_here(sandbox: Sandbox, arguments: &[&str]) -> Up {
        Up::start(sandbox, Path::new("."), arguments)
    }

    /// The first line of the log that `wanted` says yes to.
    #[track_caller]
    pub(crate) fn logged(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.logged_after(0, wanted)
    }

    /// The same, of the lines after the first `mark`.
    #[track_caller]
    pub(crate) fn logged_after(&self, mark: usize, wanted: impl Fn(&Value) -> bool) -> Value {
        let is_wanted = |line: &str| parsed(line).is_some_and(|line| wanted(&line));
        let line = self.server.wait_for_line_after(mark, is_wanted, LINE_LIMIT);
        parsed(&line).expect("it was parsed before")
    }

    /// Waits for a line like `logged_after`, and says how many lines come before its end.
    #[track_caller]
    pub(crate) fn position_after(&self, mark: usize, wanted: impl Fn(&Value) -> bool) -> usize {
        let is_wanted = |line: &str| parsed(line).is_some_and(|line| wanted(&line));
        self.server.wait_for_line_after(mark, is_wanted, LINE_LIMIT);
        let lines = self.server.lines();
        let at = lines[mark..].iter().position(|line| is_wanted(line));
        mark + at.expect("it was there before") + 1
    }

    /// The line of the first request of `path` that has ended, after the first `mark` lines.
    #[track_caller]
    pub(crate) fn logged_request(&self, mark: usize, path: &str) -> Value {
        self.logged_after(mark, |line| {
            line["msg"] == "request" && line["path"] == path
        })
    }

    /// All lines of the log so far.
    pub(crate) fn log(&self) -> Vec<Value> {
        let lines = self.server.lines();
        lines.iter().filter_map(|line| parsed(line)).collect()
    }
}

fn parsed(line: &str) -> Option<Value> {
    serde_json::from_str(line).ok()
}

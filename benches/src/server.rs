//! A server under test: started, watched, ended.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::group::Group;

/// How long a server may take until its address is known.
const START: Duration = Duration::from_secs(60);
/// Lines of errors that are told apart.
const ERRORS_MAX: usize = 8;

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) addr: SocketAddr,
    errors: Arc<Mutex<BTreeMap<String, usize>>>,
    used: Arc<Use>,
}

/// What a process used, as of the last look.
#[derive(Debug, Default)]
struct Use {
    rss_peak_bytes: AtomicU64,
    cpu_ms: AtomicU64,
}

/// How often that is looked at: of a process that was killed nothing is left.
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl Server {
    /// Starts `command`, in `group` if there is one, and waits for the line with its address.
    pub(crate) fn start(command: &[String], group: Option<&Group>, at: &Path) -> Result<Server> {
        // The shell makes itself a member and becomes the server.
        let entrance = group.map_or("/dev/null".into(), Group::entrance);
        let mut child = Command::new("sh")
            .args(["-c", "echo $$ > \"$0\" && exec \"$@\""])
            .arg(entrance)
            .args(command)
            .current_dir(at)
            // With it some engines unwind the stack for each request.
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let errors = Arc::default();
        let stderr = child.stderr.take().context("stderr is piped")?;
        let (sender, address) = channel();
        std::thread::spawn({
            let errors = Arc::clone(&errors);
            move || {
                let mut sender = Some(sender);
                let mut lines = BufReader::new(stderr);
                let mut line = Vec::new();
                while lines.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                    let text = String::from_utf8_lossy(&line);
                    if let (Some(found), true) = (address_in(&text), sender.is_some()) {
                        let _ = sender.take().map(|sender| sender.send(found));
                    }
                    note(&text, &errors);
                    line.clear();
                }
            }
        });
        let addr = match wait_for(&address) {
            Ok(addr) => addr,
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                let said = errors.lock().unwrap_or_else(PoisonError::into_inner);
                bail!("{error}: {command:?} said {said:?}");
            }
        };
        let used = Arc::<Use>::default();
        let watched = Arc::downgrade(&used);
        let id = child.id();
        std::thread::spawn(move || {
            while let Some(used) = watched.upgrade() {
                used.look(id);
                drop(used);
                std::thread::sleep(LOOK_EVERY);
            }
        });
        Ok(Server {
            child,
            addr,
            errors,
            used,
        })
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether its process is there.
    pub(crate) fn lives(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    pub(crate) fn rss_peak_bytes(&self) -> u64 {
        self.used.look(self.child.id());
        self.used.rss_peak_bytes.load(Ordering::Relaxed)
    }

    /// Processor time used.
    pub(crate) fn cpu(&self) -> Duration {
        self.used.look(self.child.id());
        Duration::from_millis(self.used.cpu_ms.load(Ordering::Relaxed))
    }

    /// Errors that it logged, each with how often.
    pub(crate) fn errors(&self) -> BTreeMap<String, usize> {
        let errors = self.errors.lock();
        errors.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Use {
    fn look(&self, id: u32) {
        if let Ok(status) = fs::read_to_string(format!("/proc/{id}/status")) {
            let kib: Option<u64> = status
                .lines()
                .find_map(|line| line.strip_prefix("VmHWM:"))
                .and_then(|rest| rest.split_whitespace().next()?.parse().ok());
            let bytes = kib.unwrap_or(0) * 1024;
            self.rss_peak_bytes.fetch_max(bytes, Ordering::Relaxed);
        }
        if let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) {
            // User and system time are fields 14 and 15, in hundredths of a second; the second
            // field may hold spaces.
            let after = stat.rsplit(')').next().unwrap_or_default();
            let ticks = after
                .split_whitespace()
                .skip(11)
                .take(2)
                .filter_map(|field| field.parse::<u64>().ok())
                .sum::<u64>();
            self.cpu_ms.fetch_max(ticks * 10, Ordering::Relaxed);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_for(address: &Receiver<SocketAddr>) -> Result<SocketAddr> {
    let deadline = Instant::now() + START;
    let left = deadline.saturating_duration_since(Instant::now());
    address.recv_timeout(left).context("no address was told")
}

fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("http://")?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':');
    rest[..end.unwrap_or(rest.len())].parse().ok()
}

/// Keeps what is an error: a JSON line of that level, or a line that says so.
fn note(line: &str, errors: &Mutex<BTreeMap<String, usize>>) {
    let message = if line.starts_with('{') {
        let Ok(line) = serde_json::from_str::<serde_json::Value>(line) else {
            return;
        };
        if line["level"] != "error" && line["level"] != "warn" || line["stream"].is_string() {
            return;
        }
        line["msg"].as_str().unwrap_or_default().to_owned()
    } else if line.contains("rror") {
        line.trim().to_owned()
    } else {
        return;
    };
    let mut errors = errors.lock().unwrap_or_else(PoisonError::into_inner);
    if errors.contains_key(&message) || errors.len() < ERRORS_MAX {
        *errors.entry(message).or_default() += 1;
    }
}

/// A command line.
pub(crate) fn words(program: &Path, arguments: &[&str]) -> Vec<String> {
    let arguments = arguments.iter().map(|word| (*word).to_owned());
    std::iter::once(text(program)).chain(arguments).collect()
}

pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

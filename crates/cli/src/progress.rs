//! Standard error, shared by what is printed and a spinner for long work.
//!
//! The spinner is there where a terminal watches; elsewhere its text is a plain line. Whatever is
//! printed while it may turn goes through [`beside`]: its line is cleared, the text printed, and it
//! is drawn again below.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use wharf_build::{Progress, Step};
use wharf_serve::log::{Level, Log, Message};

/// How often the spinner turns.
const TURN: Duration = Duration::from_millis(100);

/// The spinner that turns, if one does. Held while anything is printed.
static SPINNER: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Whether no spinner is to begin any more.
static ENDED: AtomicBool = AtomicBool::new(false);

fn spinner() -> MutexGuard<'static, Option<ProgressBar>> {
    SPINNER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints with `print`, which ends its last line, beside a spinner that may be turning.
pub(crate) fn beside<T>(print: impl FnOnce() -> T) -> T {
    match &*spinner() {
        Some(spinner) => spinner.suspend(print),
        None => print(),
    }
}

/// Clears the spinner for good: this process is about to end, whatever work is still under way.
pub(crate) fn end() {
    ENDED.store(true, Ordering::Relaxed);
    clear();
}

/// Clears the spinner, if one turns.
fn clear() {
    if let Some(spinner) = spinner().take() {
        spinner.finish_and_clear();
    }
}

/// Standard error for a log, whose lines are written beside the spinner.
#[derive(Debug)]
pub(crate) struct LogSink;

impl Write for LogSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // All of it: half a line and the spinner do not go together.
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        beside(|| io::stderr().write_all(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Draws progress on standard error.
#[derive(Debug)]
pub(crate) struct Terminal {
    is_watched: bool,
    /// Say nothing but what tools print.
    quiet: bool,
    /// Where it is told what is done for which app, if nobody watches.
    log: Option<(Log, Arc<str>)>,
}

impl Terminal {
    pub(crate) fn new() -> Terminal {
        Terminal {
            is_watched: io::stderr().is_terminal(),
            quiet: false,
            log: None,
        }
    }

    /// For what is done for `app` of a node that has a log: its lines are no others' there.
    pub(crate) fn logging(log: &Log, app: &str) -> Terminal {
        Terminal {
            log: Some((log.clone(), app.into())),
            ..Terminal::new()
        }
    }

    /// For commands whose output is the program's own.
    pub(crate) fn quiet() -> Terminal {
        Terminal {
            is_watched: false,
            quiet: true,
            log: None,
        }
    }

    /// Shows `text` while `work` runs.
    pub(crate) fn during<T>(&self, text: &str, work: impl FnOnce() -> T) -> T {
        self.begin(text);
        let result = work();
        clear();
        result
    }

    /// Whether there is a log, which is told then.
    fn tell(&self, text: &str) -> bool {
        let Some((log, app)) = self.log.as_ref().filter(|_| !self.is_watched) else {
            return false;
        };
        log.message(Message::new(Level::Info, text).about(app));
        true
    }

    fn begin(&self, text: &str) {
        if !self.is_watched {
            if self.tell(text) {
                return;
            }
            if !self.quiet {
                anstream::eprintln!("{text}");
            }
            return;
        }
        let style = ProgressStyle::with_template("{spinner:.cyan} {msg} {elapsed:.dim}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        clear();
        // Not drawn before it has its text.
        let turning = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden())
            .with_style(style)
            .with_message(text.to_owned());
        let mut spinner = spinner();
        if ENDED.load(Ordering::Relaxed) {
            return;
        }
        turning.set_draw_target(ProgressDrawTarget::stderr());
        turning.enable_steady_tick(TURN);
        *spinner = Some(turning);
    }
}

impl Progress for Terminal {
    fn started(&self, step: &Step) {
        self.begin(&step.to_string());
    }

    fn finished(&self, _: &Step, _: bool, _: Duration) {
        clear();
    }

    fn output(&self, line: &str) {
        if !self.tell(line) {
            beside(|| anstream::eprintln!("{line}"));
        }
    }
}

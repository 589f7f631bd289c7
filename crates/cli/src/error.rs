//! Errors for people: what failed, why, and a hint; and the exit code for programs.

use std::fmt::Display;
use std::process::ExitCode;

use wharf_engine::{Fault, FaultKind, LimitHit};
use wharf_serve::log::{Level, Message};

use crate::progress::beside;

/// Exit codes of `wharf run` when the program did not end by itself.
const RUN_TIME: u8 = 124;
const RUN_FAILED: u8 = 125;
const RUN_NOT_RUNNABLE: u8 = 126;
const RUN_NOT_FOUND: u8 = 127;
const RUN_TRAP: u8 = 134;
const RUN_MEMORY: u8 = 137;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) struct CliError {
    message: String,
    hints: Vec<String>,
    /// Lines shown before the message: a guest's stack.
    context: Option<String>,
    run_code: u8,
}

impl CliError {
    pub(crate) fn new(message: impl Into<String>) -> CliError {
        CliError {
            message: message.into(),
            hints: Vec::new(),
            context: None,
            run_code: RUN_FAILED,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> CliError {
        self.hints.push(hint.into());
        self
    }

    pub(crate) fn hint_some(self, hint: Option<impl Into<String>>) -> CliError {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// The same, saying in what it happened.
    pub(crate) fn within(mut self, what: &str) -> CliError {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// Of a library's error with its hint.
    pub(crate) fn from_parts(error: &dyn Display, hint: Option<impl Into<String>>) -> CliError {
        CliError::new(error.to_string()).hint_some(hint)
    }

    pub(crate) fn io(what: &str, path: &std::path::Path, error: &std::io::Error) -> CliError {
        let error_of = CliError::new(format!("cannot {what} {}: {error}", path.display()));
        if error.kind() == std::io::ErrorKind::NotFound {
            return error_of.hint("look at the path; it is taken from the current folder");
        }
        error_of
    }

    /// Of a file that is there, but no program that can be run.
    pub(crate) fn not_runnable(mut self) -> CliError {
        self.run_code = RUN_NOT_RUNNABLE;
        self
    }

    /// Of a program whose file cannot be read: as a shell tells "not found" from "not executable".
    pub(crate) fn unread_program(path: &std::path::Path, error: &std::io::Error) -> CliError {
        let mut told = CliError::io("read", path, error);
        told.run_code = match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => RUN_NOT_FOUND,
            _ => RUN_NOT_RUNNABLE,
        };
        told
    }

    /// Of a program that ended by a fault.
    pub(crate) fn fault(fault: Fault) -> CliError {
        let run_code = match (&fault.kind, &fault.limit) {
            (_, Some(LimitHit::Time { .. } | LimitHit::Cpu { .. })) => RUN_TIME,
            (_, Some(LimitHit::Memory { .. })) => RUN_MEMORY,
            (FaultKind::Guest | FaultKind::Limit, _) => RUN_TRAP,
            (FaultKind::User | FaultKind::Host, _) => RUN_FAILED,
        };
        CliError {
            message: fault.message,
            hints: fault.hint.into_iter().collect(),
            context: fault.backtrace,
            run_code,
        }
    }

    /// The message and its hints, for a page.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("error: {}", self.message);
        for hint in &self.hints {
            text.push_str(&format!("\nhint: {hint}"));
        }
        text
    }

    /// The same for a log: `text` says what it came to, `aside` what else holds then.
    pub(crate) fn message(&self, text: &str, aside: Option<&str>) -> Message {
        let message = Message::new(Level::Error, text).with("error", self.message.as_str());
        let hints: Vec<&str> = self.hints.iter().map(String::as_str).chain(aside).collect();
        match hints.is_empty() {
            true => message,
            false => message.with("hint", hints.join("; ")),
        }
    }

    pub(crate) fn print(&self) {
        if let Some(context) = &self.context {
            beside(|| anstream::eprintln!("{}", context.trim_end()));
        }
        print_error(&self.message);
        for hint in &self.hints {
            print_hint(hint);
        }
    }

    pub(crate) fn exit_code(&self, is_run: bool) -> ExitCode {
        ExitCode::from(if is_run { self.run_code } else { 1 })
    }
}

/// Says on stderr what failed.
pub(crate) fn print_error(message: &str) {
    beside(|| anstream::eprintln!("\x1b[1;31merror\x1b[0m: {message}"));
}

/// Says on stderr what to do about it.
pub(crate) fn print_hint(hint: &str) {
    beside(|| anstream::eprintln!("\x1b[1;36mhint\x1b[0m: {hint}"));
}

/// Says on stderr what is odd.
pub(crate) fn print_warning(message: &str) {
    beside(|| anstream::eprintln!("\x1b[1;33mwarning\x1b[0m: {message}"));
}

/// The code of a run that met its time limit.
pub(crate) fn time_limit_code() -> i32 {
    i32::from(RUN_TIME)
}

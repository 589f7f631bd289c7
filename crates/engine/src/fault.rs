//! From what Wasmtime reports to what people are told.

use std::fmt;

use wasmtime::Trap;
use wasmtime::component::ResourceTableError;

use crate::limits::{LimitHit, StoreLimits};
use crate::told::{self, clip};

/// Whose fault it was; decides HTTP status, exit code and log field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The guest trapped or panicked.
    Guest,
    /// The guest met a limit.
    Limit,
    /// The user gave something that cannot work.
    User,
    /// wharf or the machine failed.
    Host,
}

impl FaultKind {
    /// The word for it in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            FaultKind::Guest => "guest",
            FaultKind::Limit => "limit",
            FaultKind::User => "user",
            FaultKind::Host => "host",
        }
    }
}

/// Why a guest ended before it was done.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Whose fault it was.
    pub kind: FaultKind,
    /// What happened, in one line.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The guest's stack, innermost frame first, one frame a line.
    pub backtrace: Option<String>,
    /// The limit that was met.
    pub limit: Option<LimitHit>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl Fault {
    /// A fault without a stack.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Fault {
        Fault {
            kind,
            message: clip(format_args!("{}", message.into())),
            hint: None,
            backtrace: None,
            limit: None,
        }
    }

    /// The fault of meeting `limit`.
    pub fn limit(limit: LimitHit) -> Fault {
        Fault {
            hint: Some(limit.hint()),
            limit: Some(limit.clone()),
            ..Fault::new(FaultKind::Limit, limit.to_string())
        }
    }

    /// Adds a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Fault {
        self.hint = Some(hint.into());
        self
    }

    /// Reads what Wasmtime reports of a store with these limits.
    pub fn of_store(error: &wasmtime::Error, limits: &StoreLimits) -> Fault {
        let handles = LimitHit::Handles {
            limit: limits.handles_max(),
        };
        let hit = match is_out_of_handles(error) {
            true => Some(&handles),
            false => limits.hit(),
        };
        Fault::from_wasmtime(error, hit)
    }

    /// Reads what Wasmtime reports. `hit` is the limit that the store met before, if any: a
    /// guest that could not get memory usually traps a little later.
    pub fn from_wasmtime(error: &wasmtime::Error, hit: Option<&LimitHit>) -> Fault {
        let backtrace = error
            .downcast_ref::<wasmtime::WasmBacktrace>()
            .map(told::backtrace);
        if let Some(fault) = error.downcast_ref::<Fault>() {
            return fault.clone();
        }
        let limit = error.downcast_ref::<LimitHit>().or(hit);
        if let Some(limit) = limit {
            return Fault {
                backtrace,
                ..Fault::limit(limit.clone())
            };
        }
        if error.is::<wasmtime::PoolConcurrencyLimitError>() {
            return Fault::limit(LimitHit::Instances);
        }
        if let Some(Trap::StackOverflow) = error.downcast_ref::<Trap>() {
            return Fault {
                backtrace,
                ..Fault::limit(LimitHit::Stack)
            };
        }
        if let Some(trap) = error.downcast_ref::<Trap>() {
            let (kind, message, hint) = describe_trap(*trap);
            return Fault {
                backtrace,
                hint: hint.map(str::to_owned),
                ..Fault::new(kind, message)
            };
        }
        let message = clip(format_args!("{}", error.root_cause()));
        // Wasmtime has no type for it.
        if message.ends_with("fuel allocated for hostcalls has been exhausted") {
            let told = "the guest gave too much for one call of the host";
            return Fault {
                backtrace,
                ..Fault::new(FaultKind::Guest, told).with_hint(
                    "a call takes 4 MiB at most (64 MiB in `wharf run`): give it in pieces",
                )
            };
        }
        let kind = if backtrace.is_some() {
            FaultKind::Guest
        } else {
            FaultKind::Host
        };
        Fault {
            backtrace,
            ..Fault::new(kind, first_line(&message))
        }
    }
}

fn is_out_of_handles(error: &wasmtime::Error) -> bool {
    matches!(error.downcast_ref(), Some(ResourceTableError::Full))
        // Wasmtime has no type for its own.
        || clip(format_args!("{}", error.root_cause())).ends_with("store handle limit exceeded")
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn describe_trap(trap: Trap) -> (FaultKind, String, Option<&'static str>) {
    match trap {
        Trap::UnreachableCodeReached => (
            FaultKind::Guest,
            "the guest aborted (a panic, an abort or an assertion)".to_owned(),
            Some("its own message, if any, is in its stderr above"),
        ),
        Trap::AllocationTooLarge => (
            FaultKind::Limit,
            "the guest asked for an allocation larger than the limit".to_owned(),
            Some("raise it with `limits.memory`"),
        ),
        Trap::MemoryOutOfBounds => (
            FaultKind::Guest,
            "the guest used memory that it does not have".to_owned(),
            Some("a bad pointer, or recursion that ran past the guest's own stack"),
        ),
        other => (
            FaultKind::Guest,
            format!("the guest trapped: {other}"),
            None,
        ),
    }
}

//! Lines to the log: WASI's standard error, which the host attributes to the
//! request.
//!
//! ```
//! # fn handle(path: &str) {
//! wharf_sdk::log::info!("asked for {path}");
//! # }
//! ```
//!
//! A line is written at once and whole, also in pure builds. With the feature
//! `log`, `init` sends what libraries log through the crate `log` here too.

use std::fmt;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something failed.
    Error,
    /// Something is wrong, and the program went on.
    Warn,
    /// Something worth knowing happened.
    Info,
    /// For looking for mistakes.
    Debug,
    /// For looking very closely.
    Trace,
}

impl Level {
    /// The word that the line starts with.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Error => "ERROR",
            Level::Warn => "WARN",
            Level::Info => "INFO",
            Level::Debug => "DEBUG",
            Level::Trace => "TRACE",
        }
    }
}

/// Writes a line, as the macros of this module do.
pub fn write(level: Level, text: fmt::Arguments<'_>) {
    let mut line = Line(Vec::with_capacity(64));
    // A line takes everything; what fails is a value's own formatting, and
    // what came of it before is better than nothing.
    let _ = fmt::write(&mut line, format_args!("{} {text}\n", level.name()));
    crate::wasi::write_stderr(line.0);
}

/// As `String`, and smaller.
struct Line(Vec<u8>);

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// A handler returned an error.
pub(crate) fn failure(error: &crate::Error) {
    write(Level::Error, format_args!("the handler failed: {error}"));
}

/// Makes panics tell their reason where `std` cannot write to standard error.
pub(crate) fn hook_panics() {
    #[cfg(all(target_family = "wasm", target_os = "unknown", not(feature = "small")))]
    {
        use std::sync::atomic::{AtomicBool, Ordering};
        static HOOKED: AtomicBool = AtomicBool::new(false);
        if !HOOKED.swap(true, Ordering::Relaxed) {
            std::panic::set_hook(Box::new(|panic| {
                let reason = panic.payload_as_str().unwrap_or("unknown reason");
                // `std` has one for every panic there is.
                let Some(place) = panic.location() else {
                    return;
                };
                let (file, line) = (place.file(), place.line());
                write(
                    Level::Error,
                    format_args!("panicked at {file}:{line}: {reason}"),
                );
            }));
        }
    }
}

/// Sends what is logged through the crate `log` to standard error.
///
/// Lines above `level` are dropped. Calling it again changes nothing.
#[cfg(feature = "log")]
pub fn init(level: log::LevelFilter) {
    struct Facade;

    impl log::Log for Facade {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &log::Record<'_>) {
            let level = match record.level() {
                log::Level::Error => Level::Error,
                log::Level::Warn => Level::Warn,
                log::Level::Info => Level::Info,
                log::Level::Debug => Level::Debug,
                log::Level::Trace => Level::Trace,
            };
            write(
                level,
                format_args!("{}: {}", record.target(), record.args()),
            );
        }

        fn flush(&self) {}
    }

    if log::set_logger(&Facade).is_ok() {
        log::set_max_level(level);
    }
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log_at {
    ($level:ident, $($text:tt)+) => {
        $crate::log::write($crate::log::Level::$level, ::core::format_args!($($text)+))
    };
}

macro_rules! level_macros {
    ($dollar:tt $($name:ident $hidden:ident $level:ident $text:literal;)*) => {$(
        #[doc(hidden)]
        #[macro_export]
        macro_rules! $hidden {
            ($dollar($dollar text:tt)+) => {
                $dollar crate::__log_at!($level, $dollar($dollar text)+)
            };
        }
        #[doc = $text]
        #[doc(inline)]
        pub use $hidden as $name;
    )*};
}

level_macros! { $
    error __log_error Error "Writes a line at level error; takes what `format!` takes.";
    warn __log_warn Warn "Writes a line at level warn; takes what `format!` takes.";
    info __log_info Info "Writes a line at level info; takes what `format!` takes.";
    debug __log_debug Debug "Writes a line at level debug; takes what `format!` takes.";
    trace __log_trace Trace "Writes a line at level trace; takes what `format!` takes.";
}

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
    match text.as_str() {
        Some(text) => line(level, &[text]),
        None => line(level, &[&text.to_string()]),
    }
}

/// Without the formatting machinery, for what every guest links.
pub(crate) fn line(level: Level, parts: &[&str]) {
    let mut line = String::with_capacity(64);
    line.push_str(level.name());
    line.push(' ');
    for part in parts {
        line.push_str(part);
    }
    line.push('\n');
    crate::wasi::write_stderr(line.into());
}

/// A handler returned an error.
pub(crate) fn failure(error: &crate::Error) {
    line(Level::Error, &["the handler failed: ", &error.to_string()]);
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
                match panic.location() {
                    Some(place) => {
                        let mut digits = [0; 20];
                        let number = crate::wasi::decimal(place.line().into(), &mut digits);
                        let number = std::str::from_utf8(number).unwrap_or_default();
                        let parts = ["panicked at ", place.file(), ":", number, ": ", reason];
                        line(Level::Error, &parts);
                    }
                    None => line(Level::Error, &["panicked: ", reason]),
                }
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
            line(level, &[record.target(), ": ", &record.args().to_string()]);
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

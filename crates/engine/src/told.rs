//! What is told of a guest, in bounds: all of it is text of the guest's own.

use std::fmt::{self, Write};

use wasmtime::{FrameInfo, WasmBacktrace};

/// Bytes of one message.
const MESSAGE_BYTES_MAX: usize = 1024;
/// Frames of a stack: the innermost ones, and of what is left out the outermost.
const INNERMOST_MAX: usize = 24;
const OUTERMOST_MAX: usize = 8;
/// Bytes of a function's or module's name. Wasm allows millions, and some ways of writing names
/// for linkers allow few bytes to stand for as many.
const NAME_BYTES_MAX: usize = 200;

/// `text`, cut to a kibibyte. What would come after that is not even formatted.
pub fn clip(text: fmt::Arguments<'_>) -> String {
    clip_to(MESSAGE_BYTES_MAX, text)
}

fn clip_to(max: usize, text: fmt::Arguments<'_>) -> String {
    let mut clipped = Clipped {
        text: String::new(),
        max,
    };
    if clipped.write_fmt(text).is_err() {
        clipped.text.push('\u{2026}');
    }
    clipped.text
}

/// Text that ends, with an error to whoever writes it, where it is too long.
struct Clipped {
    text: String,
    max: usize,
}

impl Write for Clipped {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let room = self.max - self.text.len();
        if piece.len() <= room {
            self.text.push_str(piece);
            return Ok(());
        }
        let end = (0..=room)
            .rev()
            .find(|end| piece.is_char_boundary(*end))
            .unwrap_or(0);
        self.text.push_str(&piece[..end]);
        Err(fmt::Error)
    }
}

/// A stack, the innermost frame first, one frame a line.
pub(crate) fn backtrace(backtrace: &WasmBacktrace) -> String {
    let frames = backtrace.frames();
    let mut text = String::from("wasm backtrace:\n");
    let left_out = frames.len().saturating_sub(INNERMOST_MAX + OUTERMOST_MAX);
    for (index, frame) in frames.iter().enumerate() {
        if left_out > 0 && (INNERMOST_MAX..INNERMOST_MAX + left_out).contains(&index) {
            if index == INNERMOST_MAX {
                text.push_str(&format!("          \u{2026} {left_out} frames more\n"));
            }
            continue;
        }
        text.push_str(&format!("{index:>5}: {}\n", line(frame)));
    }
    text
}

fn line(frame: &FrameInfo) -> String {
    let module = name(frame.module().name().unwrap_or("<unknown>"));
    let function = match frame.func_name() {
        Some(function) => name(function),
        None => format!("<wasm function {}>", frame.func_index()),
    };
    match frame.module_offset() {
        Some(offset) => format!("{offset:#8x} - {module}!{function}"),
        None => format!("{module}!{function}"),
    }
}

/// A name as people know it, if it is one of Rust's. Names of C++ stay as linkers have them: what
/// they stand for grows without bounds.
fn name(name: &str) -> String {
    // No name of Rust's that means anything to a reader is longer.
    if name.len() > 10 * NAME_BYTES_MAX {
        return clip_to(NAME_BYTES_MAX, format_args!("{name}"));
    }
    clip_to(
        NAME_BYTES_MAX,
        format_args!("{:#}", rustc_demangle::demangle(name)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_at_a_character() {
        assert_eq!(clip(format_args!("short")), "short");
        let long = "\u{e9}".repeat(1 << 20);
        let clipped = clip(format_args!("a{long:?}"));
        assert!(clipped.len() <= MESSAGE_BYTES_MAX + 3, "{}", clipped.len());
        assert!(clipped.ends_with("\u{e9}\u{2026}"), "{clipped}");
    }

    #[test]
    fn names_are_those_of_rust_and_bounded() {
        assert_eq!(
            name("_ZN4core9panicking5panic17h0123456789abcdefE"),
            "core::panicking::panic"
        );
        assert_eq!(name("main"), "main");
        assert_eq!(name("_Z1fPFvdE"), "_Z1fPFvdE", "of C++");
        for long in [
            "a".repeat(8 << 20),
            format!("_RNv{}C1a1b", "NtB2_".repeat(300)),
        ] {
            assert!(name(&long).len() <= NAME_BYTES_MAX + 3);
        }
    }
}

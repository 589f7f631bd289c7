//! From a stream of bytes to lines of text.

/// Longer lines are split.
const LINE_BYTES_MAX: usize = 8 << 10;

/// Cuts a stream into lines: at `\n` (a `\r` before it goes too), and after 8 KiB.
///
/// What is not UTF-8 is replaced by U+FFFD; a character is never cut in two.
#[derive(Debug, Default)]
pub struct LineSplitter {
    partial: Vec<u8>,
}

impl LineSplitter {
    /// Takes bytes and hands on each line that they complete.
    pub fn push(&mut self, mut bytes: &[u8], mut emit: impl FnMut(String)) {
        while !bytes.is_empty() {
            let room = LINE_BYTES_MAX - self.partial.len();
            let window = &bytes[..bytes.len().min(room)];
            if let Some(end) = window.iter().position(|&byte| byte == b'\n') {
                self.partial.extend_from_slice(&window[..end]);
                bytes = &bytes[end + 1..];
                self.emit_partial(&mut emit);
                continue;
            }
            self.partial.extend_from_slice(window);
            bytes = &bytes[window.len()..];
            if self.partial.len() == LINE_BYTES_MAX {
                let rest = self.partial.split_off(character_end(&self.partial));
                self.emit_partial(&mut emit);
                self.partial = rest;
            }
        }
    }

    /// Hands on what follows the last line's end, if anything does.
    pub fn finish(&mut self, mut emit: impl FnMut(String)) {
        if !self.partial.is_empty() {
            self.emit_partial(&mut emit);
        }
    }

    fn emit_partial(&mut self, emit: &mut impl FnMut(String)) {
        let line = self.partial.strip_suffix(b"\r").unwrap_or(&self.partial);
        emit(String::from_utf8_lossy(line).into_owned());
        self.partial.clear();
    }
}

/// Where to cut so that a character that only begins at the end stays whole.
fn character_end(bytes: &[u8]) -> usize {
    let tail = bytes.len().saturating_sub(3);
    let begun = bytes[tail..]
        .iter()
        .rposition(|&byte| byte >= 0xC0)
        .map(|at| tail + at);
    match begun {
        Some(at)
            if str::from_utf8(&bytes[at..]).is_err_and(|error| error.error_len().is_none()) =>
        {
            at
        }
        _ => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(pushes: &[&[u8]]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut splitter = LineSplitter::default();
        for push in pushes {
            splitter.push(push, |line| lines.push(line));
        }
        splitter.finish(|line| lines.push(line));
        lines
    }

    #[test]
    fn lines_are_cut_wherever_the_writes_fall() {
        let check = |pushes: &[&[u8]], expected: &[&str]| assert_eq!(split(pushes), expected);
        check(&[], &[]);
        check(&[b""], &[]);
        check(&[b"one\ntwo\n"], &["one", "two"]);
        check(&[b"o", b"n", b"e\r", b"\ntwo"], &["one", "two"]);
        check(&[b"\n\n"], &["", ""]);
        check(&[b"a\rb\n"], &["a\rb"]);
        check(&["gr\u{fc}".as_bytes()], &["gr\u{fc}"]);
        check(&[b"gr\xc3", b"\xbc\n"], &["gr\u{fc}"]);
        check(&[b"\xff\xfe ok\n"], &["\u{fffd}\u{fffd} ok"]);
        check(&[b"cut \xe2\x82\n"], &["cut \u{fffd}"]);
    }

    #[test]
    fn long_lines_are_split_between_characters() {
        let long = "x".repeat(2 * LINE_BYTES_MAX + 5);
        let lengths: Vec<_> = split(&[long.as_bytes()]).iter().map(String::len).collect();
        assert_eq!(lengths, [LINE_BYTES_MAX, LINE_BYTES_MAX, 5]);
        let euros = "\u{20ac}".repeat(5000);
        let lines = split(&[euros.as_bytes()]);
        assert_eq!(lines[0].len(), LINE_BYTES_MAX - LINE_BYTES_MAX % 3);
        assert_eq!(lines.concat(), euros);
        let garbage = vec![0xFF; 3 * LINE_BYTES_MAX];
        assert_eq!(split(&[&garbage]).len(), 3, "no progress would never end");
        assert_eq!(split(&[&vec![0xE2; LINE_BYTES_MAX]]).len(), 2);
    }
}

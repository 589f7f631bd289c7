//! A chunked content, byte by byte (RFC 9112, section 7.1).

use super::bytes::{is_token, is_value};
use super::refusal::Refusal;

/// Bytes of all extensions of one content. hyper has 16 KiB.
pub(super) const EXTENSIONS_MAX: usize = 8 << 10;
/// Bytes of all trailers. hyper has 16 KiB.
pub(super) const TRAILERS_MAX: usize = 8 << 10;
/// Trailers of one content.
const TRAILER_FIELDS_MAX: usize = 64;

/// Fields that mean something only before the content (RFC 9110, section 6.5.1).
const NO_TRAILERS: [&[u8]; 16] = [
    b"authorization",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"expect",
    b"forwarded",
    b"host",
    b"keep-alive",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"x-request-id",
];
/// Longer names are none of them.
const NAME_MAX: usize = 18;

#[derive(Debug, Clone, Default)]
pub(super) struct Chunked {
    state: State,
    /// Of the chunk: its size, then what is left of it.
    size: u64,
    digits: u8,
    extensions: usize,
    trailers: usize,
    trailer_fields: usize,
    name: [u8; NAME_MAX],
    name_length: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    /// Blanks; only another extension may follow.
    Blank,
    ExtensionStart,
    ExtensionName,
    ExtensionNameEnd,
    ExtensionEquals,
    ExtensionToken,
    ExtensionQuoted,
    ExtensionEscape,
    ExtensionQuoteEnd,
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

/// How far a content may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Advance {
    /// Bytes that may pass.
    pub(super) passed: usize,
    /// Whether that was the end, or why the next byte may not.
    pub(super) is_done: Result<bool, Refusal>,
}

impl Chunked {
    /// Looks at the next bytes.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Advance {
        let mut passed = 0;
        while self.state != State::Done
            && let Some(byte) = bytes.get(passed)
        {
            if self.state == State::Data {
                let rest = (bytes.len() - passed) as u64;
                let taken = rest.min(self.size);
                self.size -= taken;
                passed += taken as usize;
                if self.size == 0 {
                    self.state = State::DataCr;
                }
                continue;
            }
            match self.step(*byte) {
                Ok(next) => self.state = next,
                Err(refusal) => {
                    return Advance {
                        passed,
                        is_done: Err(refusal),
                    };
                }
            }
            passed += 1;
        }
        Advance {
            passed,
            is_done: Ok(self.state == State::Done),
        }
    }

    fn step(&mut self, byte: u8) -> Result<State, Refusal> {
        use State::*;
        const BAD_EXTENSION: Refusal = Refusal::bad("a chunk's extension is malformed");
        match self.state {
            Blank | ExtensionStart | ExtensionName | ExtensionNameEnd | ExtensionEquals
            | ExtensionToken | ExtensionQuoted | ExtensionEscape | ExtensionQuoteEnd => {
                self.extensions += 1;
                if self.extensions > EXTENSIONS_MAX {
                    return Err(Refusal::bad("the chunks' extensions are too long"));
                }
            }
            TrailerStart | TrailerName | TrailerValue | TrailerLf => {
                self.trailers += 1;
                if self.trailers > TRAILERS_MAX {
                    return Err(Refusal::large("the trailers are too long"));
                }
            }
            _ => {}
        }
        Ok(match (self.state, byte) {
            (Size, b';') if self.digits > 0 => ExtensionStart,
            (Size, b' ' | b'\t') if self.digits > 0 => Blank,
            (Size, b'\r') if self.digits > 0 => SizeEnd,
            (Size, _) => {
                self.digit(byte)?;
                Size
            }
            (Blank | ExtensionStart | ExtensionNameEnd | ExtensionEquals, b' ' | b'\t') => {
                self.state
            }
            (Blank | ExtensionName | ExtensionNameEnd, b';') => ExtensionStart,
            (ExtensionToken | ExtensionQuoteEnd, b';') => ExtensionStart,
            (ExtensionStart | ExtensionName, _) if is_token(byte) => ExtensionName,
            (ExtensionName | ExtensionNameEnd, b'=') => ExtensionEquals,
            (ExtensionName, b' ' | b'\t') => ExtensionNameEnd,
            (ExtensionName | ExtensionToken | ExtensionQuoteEnd, b'\r') => SizeEnd,
            (ExtensionEquals, b'"') => ExtensionQuoted,
            (ExtensionEquals | ExtensionToken, _) if is_token(byte) => ExtensionToken,
            (ExtensionToken | ExtensionQuoteEnd, b' ' | b'\t') => Blank,
            (ExtensionQuoted, b'"') => ExtensionQuoteEnd,
            (ExtensionQuoted, b'\\') => ExtensionEscape,
            (ExtensionQuoted | ExtensionEscape, _) if is_value(byte) => ExtensionQuoted,
            (SizeEnd, b'\n') if self.size > 0 => Data,
            (SizeEnd, b'\n') => TrailerStart,
            (SizeEnd, _) => return Err(Refusal::bad("there is a bare CR in a chunk's line")),
            (DataCr, b'\r') => DataLf,
            (DataLf, b'\n') => {
                self.digits = 0;
                Size
            }
            (DataCr | DataLf, _) => {
                return Err(Refusal::bad("a chunk does not end where its size says"));
            }
            (TrailerStart, b'\r') => EndLf,
            (TrailerStart, b' ' | b'\t') => {
                return Err(Refusal::bad("a trailer is folded over lines"));
            }
            (TrailerStart, _) if is_token(byte) => {
                self.trailer_fields += 1;
                if self.trailer_fields > TRAILER_FIELDS_MAX {
                    return Err(Refusal::large("there are too many trailers"));
                }
                self.name_length = 0;
                self.name_byte(byte);
                TrailerName
            }
            (TrailerName, b':') => {
                self.name()?;
                TrailerValue
            }
            (TrailerName, _) if is_token(byte) => {
                self.name_byte(byte);
                TrailerName
            }
            (TrailerStart | TrailerName, _) => {
                return Err(Refusal::bad("a trailer's name is no token"));
            }
            (TrailerValue, b'\r') => TrailerLf,
            (TrailerValue, _) if is_value(byte) => TrailerValue,
            (TrailerValue, _) => {
                return Err(Refusal::bad("there is a control character in a trailer"));
            }
            (TrailerLf, b'\n') => TrailerStart,
            (EndLf, b'\n') => Done,
            (TrailerLf | EndLf, _) => return Err(Refusal::bad("there is a bare CR in a trailer")),
            _ => return Err(BAD_EXTENSION),
        })
    }

    fn digit(&mut self, byte: u8) -> Result<(), Refusal> {
        let digit = (byte as char)
            .to_digit(16)
            .ok_or(Refusal::bad("a chunk's size is no hexadecimal number"))?;
        if self.digits == 0 {
            self.size = 0;
        }
        self.digits += 1;
        // Fifteen digits leave room in 64 bits for any arithmetic on them.
        if self.digits > 15 {
            return Err(Refusal::bad("a chunk's size is too large"));
        }
        self.size = self.size << 4 | u64::from(digit);
        Ok(())
    }

    fn name_byte(&mut self, byte: u8) {
        if let Some(place) = self.name.get_mut(self.name_length) {
            *place = byte.to_ascii_lowercase();
        }
        self.name_length += 1;
    }

    fn name(&self) -> Result<(), Refusal> {
        match self.name.get(..self.name_length) {
            Some(name) if NO_TRAILERS.contains(&name) => {
                Err(Refusal::bad("a trailer is a field that may be none"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content: &[u8], expected: Result<usize, &str>) {
        let mut whole = Chunked::default();
        let all = whole.advance(content);
        // One byte at a time comes to the same.
        let mut scan = Chunked::default();
        let mut passed = 0;
        let last = content.iter().find_map(|byte| {
            let step = scan.advance(&[*byte]);
            passed += step.passed;
            (step.is_done != Ok(false)).then_some(step.is_done)
        });
        assert_eq!(all.passed, passed);
        assert_eq!(all.is_done, last.unwrap_or(Ok(false)));
        let text = String::from_utf8_lossy(content);
        match (all.is_done, expected) {
            (Ok(true), Ok(length)) => assert_eq!(all.passed, length, "{text:?}"),
            (Err(refusal), Err(part)) => {
                assert!(refusal.text.contains(part), "{text:?}: {}", refusal.text);
            }
            (is_done, _) => panic!("{text:?}: {is_done:?}"),
        }
    }

    #[test]
    fn whole_contents() {
        for content in [
            "0\r\n\r\n",
            "000\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "A\r\n0123456789\r\n000a\r\n0123456789\r\n0\r\n\r\n",
            "1;a\r\nx\r\n0;b=c;d=\"e\\\"f\"\r\n\r\n",
            "1 ;\ta = b ; c=d\r\nx\r\n0\r\n\r\n",
            "0\r\nX-Sum: 5\r\nEmpty:\r\n\r\n",
        ] {
            check(content.as_bytes(), Ok(content.len()));
            let longer = format!("{content}GET /");
            check(longer.as_bytes(), Ok(content.len()));
        }
    }

    #[test]
    fn what_breaks_off() {
        for (content, part) in [
            ("\r\n", "hexadecimal"),
            ("g\r\n", "hexadecimal"),
            ("-1\r\n", "hexadecimal"),
            ("+1\r\n", "hexadecimal"),
            ("0x1\r\n", "hexadecimal"),
            (" 1\r\n", "hexadecimal"),
            (";a\r\n", "hexadecimal"),
            ("1\n", "hexadecimal"),
            ("1\rx", "bare CR"),
            ("1 \r\n", "extension"),
            ("1;\r\n", "extension"),
            ("1;a=\r\n", "extension"),
            ("1;a=\"b\r\n", "extension"),
            ("1;a\n", "extension"),
            ("1;a b\r\n", "extension"),
            ("1;a\0\r\n", "extension"),
            ("10000000000000000\r\n", "too large"),
            ("fffffffffffffffff\r\n", "too large"),
            ("1\r\nxy", "where its size says"),
            ("1\r\nx\n", "where its size says"),
            ("1\r\nx\rx", "where its size says"),
            ("0\r\n\n", "no token"),
            ("0\r\n\rx", "bare CR"),
            ("0\r\nx: y\rz", "bare CR"),
            ("0\r\nx: y\n", "control"),
            ("0\r\nx : y\r\n", "no token"),
            ("0\r\n: y\r\n", "no token"),
            ("0\r\nx\r\n", "no token"),
            ("0\r\n x: y\r\n", "folded"),
            ("0\r\nContent-Length: 5\r\n", "may be none"),
            ("0\r\ntransfer-encoding: chunked\r\n", "may be none"),
            ("0\r\nHOST: b\r\n", "may be none"),
        ] {
            check(content.as_bytes(), Err(part));
        }
        let long = format!("1;{}\r\n", "a".repeat(EXTENSIONS_MAX));
        check(long.as_bytes(), Err("too long"));
        let short = "1;abcdefgh\r\nx\r\n".repeat(EXTENSIONS_MAX / 8);
        check(short.as_bytes(), Err("too long"));
        let large = format!("0\r\nx: {}\r\n", "a".repeat(TRAILERS_MAX));
        check(large.as_bytes(), Err("too long"));
        let many = format!("0\r\n{}", "x:\r\n".repeat(TRAILER_FIELDS_MAX + 1));
        check(many.as_bytes(), Err("too many"));
    }
}

//! A request's head, judged as its bytes come.
//!
//! The verdict is reached at one certain byte, so it is the same however the bytes are cut into
//! reads: the request line is followed byte by byte, fields are judged at the end of their line.

use std::ops::Range;

use http::StatusCode;

use super::bytes::{is_target, is_token, is_value, trim};
use super::refusal::Refusal;
use crate::authority::HostPort;
use crate::request::Scheme;

/// Bytes of a request's target (RFC 9112, section 3, asks for 8,000 of a request line).
pub(crate) const TARGET_MAX: usize = 8 << 10;
/// Bytes of one field, its line's end included.
pub(super) const LINE_MAX: usize = 16 << 10;
/// Bytes of a whole head.
pub(super) const HEAD_MAX: usize = 64 << 10;
/// Fields of a head; hyper takes no more.
pub(crate) const FIELDS_MAX: usize = 100;
/// Bytes of a method.
pub(crate) const METHOD_MAX: usize = 64;
/// Bytes of a content that can be counted.
const LENGTH_MAX: u64 = i64::MAX as u64;

/// How a request's content is delimited (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// There are so many bytes of it, often none.
    Length(u64),
    Chunked,
    /// What follows is for nobody: the request asks for a tunnel.
    Tunnel,
}

/// A head that may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) length: usize,
    pub(super) framing: Framing,
}

/// A head on its way in.
#[derive(Debug, Clone, Default)]
pub(super) struct HeadScan {
    part: Part,
    /// The first byte that was not looked at.
    at: usize,
    /// Where the part began.
    start: usize,
    method: Range<usize>,
    target: Range<usize>,
    is_1_1: bool,
    fields: usize,
    host: Option<Range<usize>>,
    length: Option<u64>,
    codings: Codings,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Part {
    /// One empty line is overlooked (RFC 9112, section 2.2).
    #[default]
    Opening,
    Method,
    Target,
    Version,
    /// The LF of the request line.
    LineEnd,
    Fields,
}

/// What `Transfer-Encoding` named so far.
#[derive(Debug, Clone, Copy, Default)]
struct Codings {
    some: bool,
    chunked: bool,
    others: bool,
}

impl HeadScan {
    /// Looks at `bytes`, all of the message so far. `None` asks for more.
    pub(super) fn advance(
        &mut self,
        bytes: &[u8],
        scheme: Scheme,
    ) -> Result<Option<Head>, Refusal> {
        while self.part != Part::Fields {
            let Some(byte) = bytes.get(self.at) else {
                return Ok(None);
            };
            self.request_line(bytes, *byte)?;
        }
        loop {
            let limit = HEAD_MAX.min(self.start + LINE_MAX);
            let end = bytes.len().min(limit);
            let Some(found) = memchr::memchr(b'\n', &bytes[self.at..end]) else {
                self.at = end;
                if end < limit {
                    return Ok(None);
                }
                return Err(Refusal::large(match limit {
                    HEAD_MAX => "the request's head is too long",
                    _ => "a header field is too long",
                }));
            };
            let lf = self.at + found;
            if lf == self.start || bytes[lf - 1] != b'\r' {
                return Err(BARE_LF);
            }
            let line = self.start..lf - 1;
            self.at = lf + 1;
            self.start = lf + 1;
            if line.is_empty() {
                let framing = self.finish(bytes, scheme)?;
                return Ok(Some(Head {
                    length: lf + 1,
                    framing,
                }));
            }
            self.field(bytes, line)?;
        }
    }

    /// One byte of the request line, by RFC 9112, section 3.
    fn request_line(&mut self, bytes: &[u8], byte: u8) -> Result<(), Refusal> {
        let length = self.at - self.start;
        match self.part {
            Part::Opening => match (length, byte) {
                (0, b'\r') => {}
                (1, b'\n') => self.enter(Part::Method),
                (1, _) => return Err(BARE_CR),
                (_, b'\n') => return Err(BARE_LF),
                (_, 0x16) => return Err(Refusal::bad("this port speaks plain HTTP, not TLS")),
                _ => {
                    self.part = Part::Method;
                    return Ok(());
                }
            },
            Part::Method if byte == b' ' && length > 0 => {
                self.method = self.start..self.at;
                self.enter(Part::Target);
            }
            Part::Method if !is_token(byte) => {
                return Err(Refusal::bad("the method is no token"));
            }
            Part::Method if length >= METHOD_MAX => {
                let text = "the method is too long";
                return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, text));
            }
            Part::Target if byte == b' ' && length > 0 => {
                self.target = self.start..self.at;
                // Browsers leave it as it is in a query only, and so does hyper.
                let mut path = bytes[self.target.clone()].split(|byte| *byte == b'?');
                if path.next().is_some_and(|path| path.contains(&b'`')) {
                    return Err(Refusal::bad(
                        "the request's target has a character that is not allowed",
                    ));
                }
                self.enter(Part::Version);
            }
            Part::Target if matches!(byte, b'\r' | b'\n') => {
                return Err(Refusal::bad("the request line has no version"));
            }
            Part::Target if !is_target(byte) => {
                return Err(Refusal::bad(
                    "the request's target has a character that is not allowed",
                ));
            }
            Part::Target if length >= TARGET_MAX => {
                let text = "the request's target is too long";
                return Err(Refusal::new(StatusCode::URI_TOO_LONG, text));
            }
            Part::Version if byte == b'\r' => {
                self.is_1_1 = is_1_1(&bytes[self.start..self.at])?;
                self.enter(Part::LineEnd);
            }
            Part::Version if byte == b'\n' => return Err(BARE_LF),
            Part::Version if length >= "HTTP/1.1".len() => return Err(NO_VERSION),
            Part::LineEnd if byte == b'\n' => self.enter(Part::Fields),
            Part::LineEnd => return Err(BARE_CR),
            Part::Method | Part::Target | Part::Version | Part::Fields => {}
        }
        self.at += 1;
        Ok(())
    }

    /// A part begins after this byte.
    fn enter(&mut self, part: Part) {
        self.part = part;
        self.start = self.at + 1;
    }

    /// A field's line, without its end (RFC 9112, section 5).
    fn field(&mut self, bytes: &[u8], line: Range<usize>) -> Result<(), Refusal> {
        self.fields += 1;
        if self.fields > FIELDS_MAX {
            return Err(Refusal::large("there are too many header fields"));
        }
        let text = &bytes[line.clone()];
        if matches!(text[0], b' ' | b'\t') {
            return Err(Refusal::bad("a header field is folded over lines"));
        }
        let name = text.iter().take_while(|byte| is_token(**byte)).count();
        let (name, rest) = text.split_at(name);
        let value = match rest {
            [b':', _value @ ..] if name.is_empty() => {
                return Err(Refusal::bad("a header field has no name"));
            }
            [b':', value @ ..] => value,
            [b' ' | b'\t', ..] => {
                return Err(Refusal::bad("there is a blank in a header field's name"));
            }
            [] => return Err(Refusal::bad("a header field has no colon")),
            _ => return Err(Refusal::bad("a header field's name is no token")),
        };
        if !value.iter().all(|byte| is_value(*byte)) {
            return Err(Refusal::bad(
                "there is a control character in a header field",
            ));
        }
        let value = trim(value);
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                if self.host.is_some() {
                    return Err(Refusal::bad("there is more than one Host"));
                }
                if HostPort::parse(value).is_none() {
                    return Err(Refusal::bad("Host is no host"));
                }
                let start = line.start + name.len() + 1;
                self.host = Some(start..line.end);
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.length.is_some() {
                    return Err(Refusal::bad("there is more than one Content-Length"));
                }
                self.length = Some(content_length(value)?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.codings.add(value)?,
            _ => {}
        }
        Ok(())
    }

    /// What can be told only of the whole head.
    fn finish(&self, bytes: &[u8], scheme: Scheme) -> Result<Framing, Refusal> {
        if self.codings.some {
            if !self.is_1_1 {
                return Err(Refusal::bad("HTTP/1.0 has no Transfer-Encoding"));
            }
            if self.length.is_some() {
                return Err(Refusal::bad(
                    "there are both Content-Length and Transfer-Encoding",
                ));
            }
            self.codings.judge()?;
        }
        let host = self.host.clone().map(|host| trim(&bytes[host]));
        let host = host.and_then(HostPort::parse);
        if host.is_none() && self.is_1_1 {
            return Err(Refusal::bad("there is no Host"));
        }
        let method = &bytes[self.method.clone()];
        let target = &bytes[self.target.clone()];
        let authority = match (method, target) {
            (b"CONNECT", _) => match HostPort::parse(target) {
                Some(authority) if authority.has_port() => Some(authority),
                _ => return Err(Refusal::bad("CONNECT needs a host and a port")),
            },
            (b"OPTIONS", b"*") => None,
            (_, b"*") => return Err(Refusal::bad("the target * is for OPTIONS only")),
            (_, [b'/', ..]) => None,
            _ => Some(absolute(target, scheme)?),
        };
        // What CONNECT asks for is refused whoever is meant.
        if let (Some(authority), Some(host)) = (authority, host)
            && method != b"CONNECT"
            && !authority.is_same(&host, scheme)
        {
            return Err(Refusal::bad("Host is not the host of the target"));
        }
        match method {
            b"CONNECT" if self.codings.some || self.length.is_some() => {
                Err(Refusal::bad("CONNECT has no content"))
            }
            b"CONNECT" => Ok(Framing::Tunnel),
            _ if self.codings.some => Ok(Framing::Chunked),
            _ => Ok(Framing::Length(self.length.unwrap_or(0))),
        }
    }
}

const BARE_LF: Refusal = Refusal::bad("a line ends in a bare LF");
const BARE_CR: Refusal = Refusal::bad("there is a bare CR");
const NO_VERSION: Refusal = Refusal::bad("the request line has no valid version");

/// RFC 9112, section 2.3: the name is case-sensitive, the numbers are one digit each.
fn is_1_1(version: &[u8]) -> Result<bool, Refusal> {
    match version {
        b"HTTP/1.1" => Ok(true),
        b"HTTP/1.0" => Ok(false),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Refusal::new(
                StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                "HTTP/1.1, HTTP/1.0 and HTTP/2 are spoken here",
            ))
        }
        _ => Err(NO_VERSION),
    }
}

/// The authority of a target in absolute form (RFC 9112, section 3.2.2).
fn absolute(target: &[u8], scheme: Scheme) -> Result<HostPort<'_>, Refusal> {
    const NO_FORM: Refusal = Refusal::bad("the request's target has none of the forms");
    let colon = target.iter().position(|byte| *byte == b':');
    let (name, rest) = target.split_at(colon.ok_or(NO_FORM)?);
    let Some(rest) = rest.strip_prefix(b"://") else {
        return Err(NO_FORM);
    };
    let named = [Scheme::Http, Scheme::Https]
        .into_iter()
        .find(|scheme| name.eq_ignore_ascii_case(scheme.as_str().as_bytes()));
    match named {
        None => {
            return Err(Refusal::bad(
                "the target's scheme is neither http nor https",
            ));
        }
        // RFC 9110, section 7.4.
        Some(named) if named != scheme => {
            return Err(Refusal::new(
                StatusCode::MISDIRECTED_REQUEST,
                "the target's scheme is not that of the connection",
            ));
        }
        Some(_) => {}
    }
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
    let authority = &rest[..end.unwrap_or(rest.len())];
    HostPort::parse(authority).ok_or(Refusal::bad("the target's authority is no host"))
}

/// RFC 9110, section 8.6: digits, once.
fn content_length(value: &[u8]) -> Result<u64, Refusal> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::bad("Content-Length is no number"));
    }
    let length = value.iter().try_fold(0_u64, |length, digit| {
        length.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    });
    length
        .filter(|length| *length <= LENGTH_MAX)
        .ok_or(Refusal::bad("Content-Length is too large"))
}

impl Codings {
    /// One `Transfer-Encoding`: a list of names.
    fn add(&mut self, value: &[u8]) -> Result<(), Refusal> {
        self.some = true;
        for coding in value.split(|byte| *byte == b',') {
            let coding = trim(coding);
            if coding.is_empty() || !coding.iter().all(|byte| is_token(*byte)) {
                return Err(Refusal::bad("Transfer-Encoding is no list of codings"));
            }
            if self.chunked {
                // RFC 9112, sections 6.1 and 7.
                return Err(Refusal::bad("chunked is not the last coding, or not once"));
            }
            if coding.eq_ignore_ascii_case(b"chunked") {
                self.chunked = true;
            } else {
                self.others = true;
            }
        }
        Ok(())
    }

    /// RFC 9112, section 6.3: a request that does not end in `chunked` gets 400; 6.1: a coding
    /// that is not known gets 501.
    fn judge(self) -> Result<(), Refusal> {
        if !self.chunked {
            Err(Refusal::bad("the last transfer coding is not chunked"))
        } else if self.others {
            Err(Refusal::new(
                StatusCode::NOT_IMPLEMENTED,
                "chunked is the only transfer coding here",
            ))
        } else {
            Ok(())
        }
    }
}

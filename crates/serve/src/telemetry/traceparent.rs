//! `traceparent`, by W3C Trace Context (level 1, section 3.2).

use std::fmt;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

pub(crate) static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Where in a trace something belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceParent {
    /// The trace; never zero.
    pub(crate) trace: u128,
    /// The span above; never zero.
    pub(crate) span: u64,
    pub(crate) is_sampled: bool,
}

impl TraceParent {
    /// What a request says, if it says it once and rightly; anything else is as if it were not
    /// there.
    pub(crate) fn of(headers: &HeaderMap) -> Option<TraceParent> {
        let mut values = headers.get_all(&TRACEPARENT).iter();
        let value = values.next()?;
        match values.next() {
            None => TraceParent::parse(value.as_bytes()),
            Some(_) => None,
        }
    }

    fn parse(text: &[u8]) -> Option<TraceParent> {
        let is_separated = text.len() >= 55 && [2, 35, 52].iter().all(|at| text[*at] == b'-');
        if !is_separated {
            return None;
        }
        let version = hex(&text[..2])?;
        // A later version may have more after another dash; version 255 is none.
        let is_whole = match version {
            0 => text.len() == 55,
            255 => false,
            _ => text.len() == 55 || text[55] == b'-',
        };
        let trace = hex(&text[3..35])?;
        let span = u64::try_from(hex(&text[36..52])?).ok()?;
        let flags = hex(&text[53..55])?;
        (is_whole && trace != 0 && span != 0).then_some(TraceParent {
            trace,
            span,
            is_sampled: flags & 1 == 1,
        })
    }

    pub(crate) fn header(self) -> HeaderValue {
        HeaderValue::try_from(self.to_string()).expect("digits and dashes are a value")
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.is_sampled);
        write!(f, "00-{:032x}-{:016x}-{flags:02x}", self.trace, self.span)
    }
}

/// A number of small hexadecimal digits, 32 at most.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_right_reads_back() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parent = TraceParent::parse(text.as_bytes()).unwrap();
        assert_eq!(parent.trace, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(parent.span, 0x00f0_67aa_0ba9_02b7);
        assert!(parent.is_sampled);
        assert_eq!(parent.to_string(), text);
        assert_eq!(parent.header(), text);
    }

    #[test]
    fn a_later_version_may_say_more() {
        let text = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-what-more";
        assert!(!TraceParent::parse(text.as_bytes()).unwrap().is_sampled);
    }

    #[test]
    fn what_is_wrong_is_as_if_it_were_not_there() {
        for text in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473\u{e9}-00f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
        ] {
            assert_eq!(TraceParent::parse(text.as_bytes()), None, "{text}");
        }
        let mut headers = HeaderMap::new();
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        headers.append(&TRACEPARENT, HeaderValue::from_static(good));
        assert!(TraceParent::of(&headers).is_some());
        headers.append(&TRACEPARENT, HeaderValue::from_static(good));
        assert_eq!(TraceParent::of(&headers), None);
    }
}

//! When certificates end: the field that rustls checks of others and does not show of our own (RFC
//! 5280, section 4.1.2.5).

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::log::{Level, rfc3339};

/// How long before its end a certificate is warned of. Tools that renew them do so weeks before.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The version, which comes first if it is there.
const VERSION: u8 = 0xa0;

/// A certificate that ends soon, or has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Its file.
    pub chain: PathBuf,
    /// Its last second.
    pub end: SystemTime,
    /// Whether that is over: clients refuse it.
    pub is_over: bool,
}

impl Ending {
    /// `None` if `end`, in seconds since 1970, is far from `now`.
    pub(crate) fn of(chain: PathBuf, end: i64, now: SystemTime) -> Option<Ending> {
        let seconds = u64::try_from(end).unwrap_or(0);
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let left = end.duration_since(now).ok();
        (left < Some(SOON)).then_some(Ending {
            chain,
            end,
            is_over: left.is_none(),
        })
    }

    pub(crate) fn level(&self) -> Level {
        match self.is_over {
            true => Level::Error,
            false => Level::Warn,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        "renew it; a node reads the files again when they change"
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (chain, end) = (self.chain.display(), rfc3339(self.end));
        match self.is_over {
            true => write!(f, "the certificate {chain} is over since {end}"),
            false => write!(f, "the certificate {chain} ends soon, at {end}"),
        }
    }
}

/// The last second of the certificate `der`, since 1970; `None` if it is not to be read.
pub(crate) fn not_after(der: &[u8]) -> Option<i64> {
    let (certificate, _) = expect(SEQUENCE, der)?;
    let (signed, _) = expect(SEQUENCE, certificate)?;
    let mut rest = signed;
    if let Some((VERSION, _, after)) = element(rest) {
        rest = after;
    }
    // Its number, the algorithm of the signature, who signed it.
    for _ in 0..3 {
        (_, _, rest) = element(rest)?;
    }
    let (validity, _) = expect(SEQUENCE, rest)?;
    let (_, _, rest) = element(validity)?;
    let (tag, time, _) = element(rest)?;
    seconds(tag, time)
}

/// The tag of what `der` begins with, its content, and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let number = |sum: usize, byte: &u8| sum << 8 | usize::from(*byte);
            (bytes.iter().fold(0, number), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn expect(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(der)?;
    (found == tag).then_some((content, rest))
}

/// `YYMMDDHHMMSSZ`, or `YYYYMMDDHHMMSSZ`.
fn seconds(tag: u8, text: &[u8]) -> Option<i64> {
    let digits = text.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |digits: &[u8]| {
        let add = |sum: i64, digit: &u8| 10 * sum + i64::from(digit - b'0');
        digits.iter().fold(0, add)
    };
    let (year, rest) = match (tag, digits.len()) {
        (UTC_TIME, 12) => match number(&digits[..2]) {
            year @ 50.. => (1900 + year, &digits[2..]),
            year => (2000 + year, &digits[2..]),
        },
        (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return None,
    };
    let mut fields = rest.chunks(2).map(number);
    let [month, day, hour, minute, second] = std::array::from_fn(|_| fields.next().unwrap_or(0));
    let is_time = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    is_time.then_some(seconds)
}

/// Days from 1970 to a Gregorian date. Years begin in March here, so that a leap day ends one.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = match month {
        3.. => (year, month - 3),
        _ => (year - 1, month + 9),
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As in a certificate whose other fields are empty.
    fn certificate(version: &[u8], time: &[u8]) -> Vec<u8> {
        let wrap = |tag: u8, content: &[u8]| {
            let length = u8::try_from(content.len()).unwrap();
            [&[tag, length], content].concat()
        };
        let begin = wrap(UTC_TIME, b"700101000000Z");
        let validity = wrap(SEQUENCE, &[&*begin, time].concat());
        let names = [&[2, 1, 7, SEQUENCE, 0, SEQUENCE, 0], &*validity].concat();
        let signed = wrap(SEQUENCE, &[version, &names].concat());
        wrap(SEQUENCE, &signed)
    }

    #[test]
    fn both_forms_of_time_are_read() {
        let check = |time: &[u8], expected: Option<i64>| {
            let text = String::from_utf8_lossy(time);
            assert_eq!(not_after(&certificate(&[], time)), expected, "{text}");
            let with_version = certificate(&[VERSION, 3, 2, 1, 2], time);
            assert_eq!(not_after(&with_version), expected, "{text}");
        };
        check(b"\x17\x0d700101000000Z", Some(0));
        check(b"\x17\x0d261120195030Z", Some(1_795_204_230));
        check(b"\x17\x0d491231235959Z", Some(2_524_607_999));
        check(b"\x17\x0d500101000000Z", Some(-631_152_000));
        check(b"\x18\x0f20000229000000Z", Some(951_782_400));
        check(b"\x18\x0f20500301000000Z", Some(2_529_705_600));
        check(b"\x18\x0f99991231235959Z", Some(253_402_300_799));
        for bad in [
            &b"\x17\x0f20500301000000Z"[..],
            b"\x18\x0d261120195030Z",
            b"\x17\x0d2611201950300",
            b"\x17\x0d26112019503-Z",
            b"\x17\x0d261320195030Z",
            b"\x17\x0d261100195030Z",
            b"\x17\x0d261120245030Z",
            b"\x17\x0b2611201950Z",
            b"\x04\x0d261120195030Z",
            b"\x17\x7f261120195030Z",
            b"\x17",
            b"",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn a_certificate_that_is_cut_off_anywhere_has_no_end() {
        let whole = certificate(&[], b"\x17\x0d261120195030Z");
        for end in 0..whole.len() {
            assert_eq!(not_after(&whole[..end]), None, "{end}");
        }
        assert_eq!(not_after(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(not_after(&[0x30, 0x80, 0, 0]), None);
        assert_eq!(not_after(&[0x30, 0x85, 0, 0, 0, 0, 1]), None);
    }

    #[test]
    fn the_last_fortnight_is_warned_of_and_what_is_over_is_an_error() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100 * 86_400);
        let level = |end: i64| Ending::of("a.pem".into(), end, now).map(|ending| ending.level());
        let day = 86_400;
        assert_eq!(level(115 * day), None);
        assert_eq!(level(114 * day), None);
        assert_eq!(level(114 * day - 1), Some(Level::Warn));
        assert_eq!(level(100 * day), Some(Level::Warn), "its last second");
        assert_eq!(level(100 * day - 1), Some(Level::Error));
        assert_eq!(level(-day), Some(Level::Error));
        let text = |end: i64| Ending::of("a.pem".into(), end, now).unwrap().to_string();
        assert_eq!(
            text(101 * day),
            "the certificate a.pem ends soon, at 1970-04-12T00:00:00.000Z"
        );
        assert_eq!(
            text(99 * day),
            "the certificate a.pem is over since 1970-04-10T00:00:00.000Z"
        );
    }
}

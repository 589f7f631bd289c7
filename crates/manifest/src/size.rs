//! Sizes in bytes.

use std::fmt;
use std::str::FromStr;

use crate::invalid::{InvalidValue, quote};
use crate::text::written_as_text;

/// Units by which a size may be written, largest first.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];

/// A size in bytes, written `128MiB`, `1GiB`, `10MB` or as a plain number of bytes.
///
/// `KiB`, `MiB`, `GiB` and `TiB` are powers of 1024; `KB`, `MB`, `GB` and `TB` powers of 1000.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// The size `count` × 1024 bytes.
    pub const fn kib(count: u32) -> Self {
        Self((count as u64) << 10)
    }

    /// The size `count` × 1024² bytes.
    pub const fn mib(count: u32) -> Self {
        Self((count as u64) << 20)
    }

    /// The size `count` × 1024³ bytes.
    pub const fn gib(count: u32) -> Self {
        Self((count as u64) << 30)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// Writes the size in the largest unit that is exact, so that it reads back as the same size.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = UNITS
            .iter()
            .find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit));
        match exact {
            Some((name, unit)) => f.pad(&format!("{}{name}", self.0 / unit)),
            None => f.pad("0B"),
        }
    }
}

impl FromStr for ByteSize {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let digits_end = text
            .find(|character: char| !character.is_ascii_digit())
            .unwrap_or(text.len());
        let (digits, unit) = text.split_at(digits_end);
        if digits.is_empty() {
            return Err(not_a_size(text));
        }
        let factor = match UNITS.iter().find(|(name, _)| *name == unit) {
            Some((_, factor)) => *factor,
            None if unit.is_empty() => 1,
            None => return Err(unknown_unit(text, digits, unit)),
        };
        digits
            .parse::<u64>()
            .ok()
            .and_then(|count| count.checked_mul(factor))
            .map(Self)
            .ok_or_else(|| InvalidValue::new(format!("the size {} is too large", quote(text))))
    }
}

fn not_a_size(text: &str) -> InvalidValue {
    InvalidValue::new(format!("{} is not a size", quote(text)))
        .with_hint("write a whole number and a unit, such as `128MiB` or `10MB`")
}

fn unknown_unit(text: &str, digits: &str, unit: &str) -> InvalidValue {
    let first = unit.trim().chars().next().map(|c| c.to_ascii_uppercase());
    let same_but_case = UNITS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()));
    let meant = match (same_but_case, first) {
        (Some((name, _)), _) => name,
        (None, Some('K')) => "KiB",
        (None, Some('M')) => "MiB",
        (None, Some('G')) => "GiB",
        (None, Some('T')) => "TiB",
        _ => return not_a_size(text),
    };
    InvalidValue::new(format!("{} is not a size", quote(text)))
        .with_hint(format!("did you mean `{}{meant}`?", digits))
}

written_as_text!(ByteSize, {
    "description": "A size: a whole number and a unit (B, KB, KiB, MB, MiB, GB, GiB, TB, TiB), or a number of bytes.",
    "anyOf": [
        { "type": "string", "pattern": "^[0-9]+(B|[KMGT]i?B)?$", "examples": ["128MiB"] },
        { "type": "integer", "minimum": 0 }
    ]
});

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, bytes: u64) {
        assert_eq!(text.parse::<ByteSize>().unwrap(), ByteSize(bytes), "{text}");
    }

    #[test]
    fn units_are_binary_with_i_and_decimal_without() {
        check("0", 0);
        check("512", 512);
        check("512B", 512);
        check("1KB", 1000);
        check("512KiB", 524_288);
        check("10MB", 10_000_000);
        check("128MiB", 134_217_728);
        check("1GiB", 1 << 30);
        check("2TB", 2_000_000_000_000);
        check("18446744073709551615", u64::MAX);
    }

    #[test]
    fn display_picks_the_largest_exact_unit() {
        assert_eq!(ByteSize::mib(128).to_string(), "128MiB");
        assert_eq!(ByteSize::gib(1).to_string(), "1GiB");
        assert_eq!(ByteSize(10_000_000).to_string(), "10MB");
        assert_eq!(ByteSize(1025).to_string(), "1025B");
        assert_eq!(ByteSize(0).to_string(), "0B");
    }

    #[test]
    fn near_misses_get_the_right_spelling() {
        let hint = |text: &str| {
            let error = text.parse::<ByteSize>().unwrap_err();
            error.hint().unwrap_or_default().to_owned()
        };
        assert_eq!(hint("128mib"), "did you mean `128MiB`?");
        assert_eq!(hint("128M"), "did you mean `128MiB`?");
        assert_eq!(hint("64 kb"), "did you mean `64KB`?");
        for bad in [
            "",
            "MiB",
            "-1",
            "1.5GiB",
            "1e3",
            "²MiB",
            "99999999999999999999",
            "18446744073709551615KiB",
        ] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(bytes: u64, shift in 0u32..64) {
            let size = ByteSize(bytes >> shift << (shift / 2));
            prop_assert_eq!(size.to_string().parse::<ByteSize>().unwrap(), size);
        }
    }
}

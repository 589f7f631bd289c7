//! Lengths of time, written as a whole number and a unit.

use std::time::Duration;

use crate::invalid::{InvalidValue, quote};

/// Units by which a duration may be written, largest first, in nanoseconds.
const UNITS: [(&str, u64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Reads a duration such as `30s`, `500ms`, `2m` or `1h` (also `us` and `ns`).
///
/// # Errors
/// When there is no whole number, no unit, an unknown unit, or more than 2⁶⁴ nanoseconds
/// (584 years).
pub fn parse_duration(text: &str) -> Result<Duration, InvalidValue> {
    let digits_end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_end);
    let invalid = || InvalidValue::new(format!("{} is not a duration", quote(text)));
    if digits.is_empty() {
        return Err(
            invalid().with_hint("write a whole number and a unit, such as `500ms`, `30s` or `2m`")
        );
    }
    let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(invalid().with_hint(match meant_unit(unit) {
            Some(meant) => format!("did you mean `{digits}{meant}`?"),
            None => "the units are `ms`, `s`, `m` and `h`, one to a duration".to_owned(),
        }));
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|count| count.checked_mul(*factor))
        .map(Duration::from_nanos)
        .ok_or_else(|| InvalidValue::new(format!("the duration {} is too long", quote(text))))
}

/// Writes `duration` in the largest unit that is exact, so that it reads back as the same.
///
/// What is beyond the range of [`parse_duration`] is written as its longest duration.
pub fn format_duration(duration: Duration) -> String {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    match UNITS
        .iter()
        .find(|(_, unit)| nanos >= *unit && nanos.is_multiple_of(*unit))
    {
        Some((name, unit)) => format!("{}{name}", nanos / unit),
        None => "0s".to_owned(),
    }
}

fn meant_unit(unit: &str) -> Option<&'static str> {
    match unit.trim().to_ascii_lowercase().as_str() {
        "" | "s" | "sec" | "secs" | "second" | "seconds" => Some("s"),
        "ms" | "msec" | "millis" | "milliseconds" => Some("ms"),
        "m" | "min" | "mins" | "minute" | "minutes" => Some("m"),
        "h" | "hr" | "hrs" | "hour" | "hours" => Some("h"),
        _ => None,
    }
}

/// Serde of a duration as text, for `#[serde(with = "…")]`.
pub(crate) mod text {
    use std::borrow::Cow;
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(crate) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::format_duration(*duration))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        super::parse_duration(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units() {
        let check = |text: &str, millis: u64| {
            assert_eq!(
                parse_duration(text).unwrap(),
                Duration::from_millis(millis),
                "{text}"
            );
        };
        check("500ms", 500);
        check("30s", 30_000);
        check("2m", 120_000);
        check("1h", 3_600_000);
        check("0s", 0);
    }

    #[test]
    fn near_misses_get_the_right_spelling() {
        let hint = |text: &str| {
            let error = parse_duration(text).unwrap_err();
            error.hint().unwrap_or_default().to_owned()
        };
        assert_eq!(hint("30"), "did you mean `30s`?");
        assert_eq!(hint("5 min"), "did you mean `5m`?");
        assert_eq!(
            hint("1m30s"),
            "the units are `ms`, `s`, `m` and `h`, one to a duration"
        );
        for bad in [
            "",
            "s",
            "-1s",
            "1.5s",
            "99999999999999999999s",
            "99999999999h",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn beyond_the_range_stays_readable() {
        assert!(parse_duration(&format_duration(Duration::MAX)).is_ok());
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(nanos: u64) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse_duration(&format_duration(duration)).unwrap(), duration);
        }
    }
}

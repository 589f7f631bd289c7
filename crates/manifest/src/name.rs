//! Names of apps and components.

use std::fmt;
use std::str::FromStr;

use crate::invalid::{InvalidValue, quote};
use crate::text::written_as_text;

/// Longest name, in bytes: one DNS label, since a name becomes part of host names.
pub const NAME_LENGTH_MAX: usize = 63;

/// What a name may be, for people.
pub const NAME_RULE: &str = "names are words of a-z and 0-9 joined by `-`";

macro_rules! name {
    ($(#[$attribute:meta])* $type:ident, $noun:literal) => {
        $(#[$attribute])*
        ///
        /// Words of `a`-`z` and `0`-`9` joined by single `-`, 1 to 63 characters in all.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// The name `text`.
            ///
            /// # Errors
            /// When `text` is not of the form above; the hint gives the nearest name that is.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidValue> {
                let text = text.into();
                check($noun, &text)?;
                Ok(Self(text))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $type {
            type Err = InvalidValue;

            fn from_str(text: &str) -> Result<Self, InvalidValue> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        written_as_text!($type, {
            "description": "Words of a-z and 0-9 joined by single hyphens.",
            "type": "string",
            "minLength": 1,
            "maxLength": 63,
            "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$"
        });
    };
}

name! {
    /// The name of an app.
    AppName, "app name"
}

name! {
    /// The name of a component within its app.
    ComponentName, "component name"
}

fn check(noun: &str, text: &str) -> Result<(), InvalidValue> {
    if text.is_empty() {
        return Err(InvalidValue::new(format!("the {noun} is empty")));
    }
    if text.len() > NAME_LENGTH_MAX {
        return Err(InvalidValue::new(format!(
            "the {noun} {} is {} characters long; at most {NAME_LENGTH_MAX} are allowed",
            quote(text),
            text.chars().count(),
        )));
    }
    let valid = text.split('-').all(|word| {
        !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    });
    if valid {
        return Ok(());
    }
    let hint = match nearest(text) {
        Some(nearest) => format!("{NAME_RULE}; try `{nearest}`"),
        None => NAME_RULE.to_owned(),
    };
    Err(InvalidValue::new(format!("{} is not a valid {noun}", quote(text))).with_hint(hint))
}

/// A valid name close to `text`, if it has a usable character at all.
fn nearest(text: &str) -> Option<String> {
    let mut name = String::new();
    let mut lower_before = false;
    for character in text.chars() {
        if character.is_ascii_alphanumeric() {
            if character.is_ascii_uppercase() && lower_before {
                name.push('-');
            }
            name.push(character.to_ascii_lowercase());
        } else if !name.ends_with('-') {
            name.push('-');
        }
        lower_before = character.is_ascii_lowercase();
    }
    let name = name.trim_matches('-');
    (!name.is_empty() && name.len() <= NAME_LENGTH_MAX).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn good_names() {
        for name in ["a", "api", "guest-book", "3d", "a-1-b", &"x".repeat(63)] {
            assert_eq!(AppName::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn bad_names_say_what_to_write() {
        let check = |text: &str, nearest: &str| {
            let error = ComponentName::new(text).unwrap_err();
            let hint = error.hint().unwrap();
            assert!(
                hint.ends_with(&format!("try `{nearest}`")),
                "{text}: {hint}"
            );
        };
        check("GuestBook", "guest-book");
        check("my_app", "my-app");
        check("-a--b-", "a-b");
        check("../x", "x");
        check("a\n", "a");
        for hopeless in ["", "ü", "-", &"x".repeat(64)] {
            assert!(ComponentName::new(hopeless).is_err(), "{hopeless:?}");
        }
    }
}

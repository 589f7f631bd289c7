//! The two formats of pictures.

use std::fmt;
use std::str::FromStr;

use crate::FilterError;

/// How a picture is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Portable Network Graphics: lossless, with transparency.
    Png,
    /// JPEG: lossy and small, without transparency.
    Jpeg,
}

impl Format {
    /// The format that `input` starts as.
    #[must_use]
    pub fn detect(input: &[u8]) -> Option<Self> {
        if input.starts_with(b"\x89PNG\r\n\x1a\n") {
            Some(Self::Png)
        } else if input.starts_with(b"\xff\xd8\xff") {
            Some(Self::Jpeg)
        } else {
            None
        }
    }

    /// The media type, as in `Content-Type`.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
        }
    }

    /// The usual ending of a file's name, without the dot.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
        })
    }
}

impl FromStr for Format {
    type Err = FilterError;

    /// Reads `png`, `jpeg` or `jpg`.
    fn from_str(text: &str) -> Result<Self, FilterError> {
        match text {
            "png" => Ok(Self::Png),
            "jpeg" | "jpg" => Ok(Self::Jpeg),
            _ => Err(FilterError::Parameter {
                parameter: "format",
                reason: "is `png` or `jpeg`",
            }),
        }
    }
}

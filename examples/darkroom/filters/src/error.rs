//! What can go wrong, told so that the sender of a picture can act on it.

use crate::Format;

/// Why a picture could not be worked on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// There were no bytes at all.
    #[error("the picture is empty")]
    Empty,
    /// The first bytes belong to no format that is understood.
    #[error("the input is neither a PNG nor a JPEG")]
    UnknownFormat,
    /// The input ends before its picture does.
    #[error("the {0} is cut short")]
    Truncated(Format),
    /// The input breaks the rules of its format.
    #[error("the {format} is damaged: {reason}")]
    Corrupt {
        /// What the input claims to be.
        format: Format,
        /// The decoder's words.
        reason: String,
    },
    /// The input is right, but of a rare kind that the decoder does not know.
    #[error("this kind of {format} is not supported: {reason}")]
    Unsupported {
        /// What the input is.
        format: Format,
        /// The decoder's words.
        reason: String,
    },
    /// The input or the result would have too many pixels.
    #[error("{width} x {height} pixels are more than the limit of {}", counted(*pixels_max))]
    TooLarge {
        /// Width in pixels.
        width: u64,
        /// Height in pixels.
        height: u64,
        /// The limit, in pixels.
        pixels_max: u64,
    },
    /// A parameter of the operation makes no sense.
    #[error("`{parameter}` {reason}")]
    Parameter {
        /// The parameter's name.
        parameter: &'static str,
        /// What it must be.
        reason: &'static str,
    },
    /// The result could not be encoded.
    #[error("the result does not fit into a {format}: {reason}")]
    Encode {
        /// The format asked for.
        format: Format,
        /// The encoder's words.
        reason: String,
    },
    /// The receiver of progress asked to stop.
    #[error("cancelled")]
    Cancelled,
}

/// A number of pixels as photographers say it.
fn counted(pixels: u64) -> String {
    match pixels {
        0..100_000 => format!("{pixels} pixels"),
        _ => format!("{} megapixels", pixels as f64 / 1e6),
    }
}

impl FilterError {
    /// What to do about it, where that is not plain from the message.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Empty => Some("send the bytes of a PNG or JPEG file"),
            Self::UnknownFormat => Some("convert the picture to PNG or JPEG first"),
            Self::Truncated(_) => Some("the transfer may have been interrupted; send it again"),
            Self::TooLarge { .. } => Some("send or ask for a smaller picture"),
            Self::Unsupported { .. } => Some("save it again as an ordinary 8-bit PNG or JPEG"),
            Self::Encode {
                format: Format::Jpeg,
                ..
            } => Some("ask for a PNG instead"),
            Self::Encode { .. }
            | Self::Corrupt { .. }
            | Self::Parameter { .. }
            | Self::Cancelled => None,
        }
    }
}

//! The filters of darkroom: a PNG or JPEG picture in, one operation, a picture out.
//!
//! This crate is plain Rust and knows nothing of WebAssembly, HTTP or files. The folders `api` and
//! `library` wrap it as two components; anything else that links it gets the same pictures.
//!
//! ```text
//! bytes ── decode ──▶ pixels ── filter, orient ──▶ pixels ── encode ──▶ bytes
//! ```
//!
//! - Pixels are 8 bits a channel: gray or RGB, with or without alpha. Deeper PNGs are reduced.
//! - The EXIF orientation is applied and then dropped with all other EXIF data, so a result shows
//!   upright everywhere and tells nobody where it was taken. Colour profiles are kept.
//! - The declared size is checked before a single pixel is allocated.
//! - Work is done in bands, and progress is reported between them. [`apply_async`] awaits every
//!   report, so that a server can send it; [`apply`] is the same for callers without async.

#![forbid(unsafe_code)]

mod decode;
mod encode;
mod error;
mod format;
mod operation;
mod orientation;
mod picture;
mod progress;

use std::ops::ControlFlow;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

pub use error::FilterError;
pub use format::Format;
pub use operation::Operation;
pub use progress::Stage;

use progress::Reporter;

/// What bounds and shapes a result, beside the operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The format of the result; the input's own when `None`, the default.
    pub format: Option<Format>,
    /// JPEG quality, 1 to 100; 90 by default. PNG is lossless and ignores it.
    pub quality: u8,
    /// The most pixels that an input or a result may have; 100 million by default. An operation
    /// needs at most 8 bytes of memory for each, and the input and result themselves.
    pub pixels_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            format: None,
            quality: 90,
            pixels_max: 100_000_000,
        }
    }
}

/// A finished picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The encoded picture.
    pub bytes: Vec<u8>,
    /// How it is encoded.
    pub format: Format,
    /// Width in pixels, as it is meant to be looked at.
    pub width: u32,
    /// Height in pixels, as it is meant to be looked at.
    pub height: u32,
}

/// Applies `operation` to the PNG or JPEG `input`, with the default [`Options`].
///
/// `progress` hears the stage and how much of it is done, from 0.0 to 1.0.
///
/// # Errors
///
/// [`FilterError`] says whether the picture, the parameters or the size are to blame.
pub fn apply(
    input: &[u8],
    operation: &Operation,
    progress: &mut dyn FnMut(Stage, f32),
) -> Result<Output, FilterError> {
    apply_with(input, operation, &Options::default(), progress)
}

/// [`apply`] with options.
///
/// # Errors
///
/// As [`apply`].
pub fn apply_with(
    input: &[u8],
    operation: &Operation,
    options: &Options,
    progress: &mut dyn FnMut(Stage, f32),
) -> Result<Output, FilterError> {
    let mut report = async |stage, fraction| {
        progress(stage, fraction);
        ControlFlow::Continue(())
    };
    let work = pin!(apply_async(input, operation, options, &mut report));
    match work.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => unreachable!("only the report is awaited, and this one is always ready"),
    }
}

/// [`apply_with`] that awaits each report of progress before it goes on: some fifty times, and
/// never more than the decoding or encoding of one JPEG apart.
///
/// # Errors
///
/// As [`apply`], and [`FilterError::Cancelled`] once `progress` answers `Break`. Dropping the
/// future cancels as well.
pub async fn apply_async(
    input: &[u8],
    operation: &Operation,
    options: &Options,
    progress: &mut impl AsyncFnMut(Stage, f32) -> ControlFlow<()>,
) -> Result<Output, FilterError> {
    operation.validate()?;
    let mut reporter = Reporter::new(progress);
    let (picture, source) = decode::decode(input, options.pixels_max, &mut reporter).await?;
    let picture = operation::run(
        operation,
        picture,
        source.orientation,
        options,
        &mut reporter,
    )
    .await?;
    let picture = orientation::upright(picture, source.orientation);
    let format = options.format.unwrap_or(source.format);
    let (width, height) = (picture.width, picture.height);
    let bytes = encode::encode(picture, format, options.quality, &mut reporter).await?;
    Ok(Output {
        bytes,
        format,
        width,
        height,
    })
}

#[cfg(test)]
mod tests;

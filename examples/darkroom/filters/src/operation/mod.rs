//! What can be done to a picture.

mod blur;
mod edges;
mod grayscale;
mod resize;

use std::ops::ControlFlow;

use image::metadata::Orientation;

use crate::picture::Picture;
use crate::progress::Reporter;
use crate::{FilterError, Options, Stage};

/// What to do to a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Operation {
    /// Each pixel becomes its luma, `0.299 R + 0.587 G + 0.114 B`, rounded to the nearest.
    /// Transparency stays.
    Grayscale,
    /// The largest size that fits in a box and keeps the aspect ratio, by a Lanczos filter of
    /// radius 3. A side that is `None` does not bound it; at least one is given.
    Resize {
        /// The most pixels across, as the picture is looked at.
        width: Option<u32>,
        /// The most pixels down, as the picture is looked at.
        height: Option<u32>,
    },
    /// A Gaussian blur.
    Blur {
        /// The standard deviation in pixels, 0.1 to 250.
        sigma: f32,
    },
    /// The strength of the edges, by the Sobel operator on the luma: black where it is flat.
    /// Transparency counts as white.
    Edges,
}

impl Operation {
    /// The operation's name: `grayscale`, `resize`, `blur` or `edges`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Grayscale => "grayscale",
            Self::Resize { .. } => "resize",
            Self::Blur { .. } => "blur",
            Self::Edges => "edges",
        }
    }

    /// Checks the parameters; applying an operation does so by itself.
    ///
    /// # Errors
    ///
    /// [`FilterError::Parameter`] names the first that is wrong.
    pub fn validate(&self) -> Result<(), FilterError> {
        let wrong = |parameter, reason| Err(FilterError::Parameter { parameter, reason });
        match self {
            Self::Resize {
                width: None,
                height: None,
            } => wrong("width", "or `height` is needed to resize"),
            Self::Resize { width: Some(0), .. } => wrong("width", "must be at least 1"),
            Self::Resize {
                height: Some(0), ..
            } => wrong("height", "must be at least 1"),
            Self::Blur { sigma } if !(0.1..=250.0).contains(sigma) => {
                wrong("sigma", "must be from 0.1 to 250")
            }
            _ => Ok(()),
        }
    }
}

/// Runs `operation` on `picture`, which is still turned by `orientation`. None of the operations
/// cares which way is up, and most make the picture smaller to turn.
pub(crate) async fn run(
    operation: &Operation,
    picture: Picture,
    orientation: Orientation,
    options: &Options,
    reporter: &mut Reporter<'_, impl AsyncFnMut(Stage, f32) -> ControlFlow<()>>,
) -> Result<Picture, FilterError> {
    reporter.report(Stage::Filter, 0, 1).await?;
    let picture = match *operation {
        Operation::Grayscale => grayscale::grayscale(picture, 1, reporter).await?,
        Operation::Resize { width, height } => {
            let (width, height) = match crate::orientation::swaps_sides(orientation) {
                true => (height, width),
                false => (width, height),
            };
            resize::resize(picture, width, height, options.pixels_max)?
        }
        Operation::Blur { sigma } => blur::blur(picture, sigma, reporter).await?,
        Operation::Edges => edges::edges(picture, reporter).await?,
    };
    reporter.report(Stage::Filter, 1, 1).await?;
    Ok(picture)
}

//! Turning a picture as its camera was held.

use image::metadata::Orientation;
use image::{DynamicImage, GrayAlphaImage, GrayImage, RgbImage, RgbaImage};

use crate::picture::{Layout, Picture};

/// Whether `orientation` makes the width the height.
pub(crate) fn swaps_sides(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(
        orientation,
        Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH
    )
}

/// Turns `picture` by `orientation`.
pub(crate) fn upright(picture: Picture, orientation: Orientation) -> Picture {
    if orientation == Orientation::NoTransforms {
        return picture;
    }
    let Picture {
        width,
        height,
        layout,
        samples,
        profile,
    } = picture;
    let image = match layout {
        Layout::Gray => GrayImage::from_raw(width, height, samples).map(DynamicImage::from),
        Layout::GrayAlpha => {
            GrayAlphaImage::from_raw(width, height, samples).map(DynamicImage::from)
        }
        Layout::Rgb => RgbImage::from_raw(width, height, samples).map(DynamicImage::from),
        Layout::Rgba => RgbaImage::from_raw(width, height, samples).map(DynamicImage::from),
    };
    let mut image = image.expect("a picture has as many samples as its sides say");
    image.apply_orientation(orientation);
    Picture {
        width: image.width(),
        height: image.height(),
        layout,
        samples: image.into_bytes(),
        profile,
    }
}

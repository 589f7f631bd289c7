//! Another size, the same aspect ratio.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::FilterError;
use crate::decode::check_size;
use crate::picture::{Layout, Picture};

/// Fits `picture` into a box. Alpha weighs the colours, so that what is invisible does not bleed.
pub(super) fn resize(
    picture: Picture,
    width_max: Option<u32>,
    height_max: Option<u32>,
    pixels_max: u64,
) -> Result<Picture, FilterError> {
    let (width, height) = fit(picture.width, picture.height, width_max, height_max);
    check_size(width, height, pixels_max)?;
    let too_large = FilterError::TooLarge {
        width,
        height,
        pixels_max,
    };
    let (Ok(width), Ok(height)) = (u32::try_from(width), u32::try_from(height)) else {
        return Err(too_large);
    };
    if (width, height) == (picture.width, picture.height) {
        return Ok(picture);
    }

    let pixel = match picture.layout {
        Layout::Gray => PixelType::U8,
        Layout::GrayAlpha => PixelType::U8x2,
        Layout::Rgb => PixelType::U8x3,
        Layout::Rgba => PixelType::U8x4,
    };
    let from = ImageRef::new(picture.width, picture.height, &picture.samples, pixel)
        .expect("a picture has as many samples as its sides say");
    let mut to = Image::new(width, height, pixel);
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3))
        .use_alpha(picture.layout.has_alpha());
    Resizer::new()
        .resize(&from, &mut to, &options)
        .expect("both have the same kind of pixels, and the box is the whole picture");
    Ok(Picture {
        width,
        height,
        samples: to.into_vec(),
        ..picture
    })
}

/// The largest size in the box with the aspect ratio of `width` to `height`; no side is under 1.
fn fit(width: u32, height: u32, width_max: Option<u32>, height_max: Option<u32>) -> (u64, u64) {
    let (w, h) = (u64::from(width), u64::from(height));
    // The height that goes with a width, and the other way round, rounded to the nearest.
    let by_width = |max: u64| (max, ((max * h + w / 2) / w).max(1));
    let by_height = |max: u64| (((max * w + h / 2) / h).max(1), max);
    match (width_max.map(u64::from), height_max.map(u64::from)) {
        (Some(max_w), Some(max_h)) if max_w * h <= max_h * w => by_width(max_w),
        (_, Some(max_h)) => by_height(max_h),
        (Some(max_w), None) => by_width(max_w),
        (None, None) => (w, h),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(size: (u32, u32), bounds: (Option<u32>, Option<u32>), expected: (u64, u64)) {
        assert_eq!(
            fit(size.0, size.1, bounds.0, bounds.1),
            expected,
            "{size:?} in {bounds:?}"
        );
    }

    #[test]
    fn keeps_the_aspect_ratio_and_fits_the_box() {
        check((6000, 4000), (Some(1200), None), (1200, 800));
        check((6000, 4000), (None, Some(100)), (150, 100));
        check((6000, 4000), (Some(300), Some(300)), (300, 200));
        check((4000, 6000), (Some(300), Some(300)), (200, 300));
        check((100, 100), (Some(40), Some(90)), (40, 40));
        check((3, 2), (Some(1000), None), (1000, 667));
        check((640, 480), (None, None), (640, 480));
    }

    #[test]
    fn no_side_vanishes_or_overflows() {
        check((10_000, 1), (Some(10), None), (10, 1));
        check((1, 10_000), (None, Some(10)), (1, 10));
        check(
            (1, u32::MAX),
            (Some(u32::MAX), None),
            (4_294_967_295, 18_446_744_065_119_617_025),
        );
    }
}

//! Colour to luma.

use std::ops::ControlFlow;

use crate::picture::{Layout, Picture};
use crate::progress::{Reporter, bands};
use crate::{FilterError, Stage};

/// `0.299 R + 0.587 G + 0.114 B`, rounded to the nearest, exact for every colour.
#[inline]
pub(super) fn luma(red: u8, green: u8, blue: u8) -> u8 {
    let thousandths = 299 * u32::from(red) + 587 * u32::from(green) + 114 * u32::from(blue) + 500;
    // `thousandths / 1000` for all that can come here, in steps that vectorise: an eighth of it
    // has 15 bits, and 33555 / 2^22 is 1 / 125 closely enough for those.
    (((thousandths >> 3) * 33_555) >> 22) as u8
}

/// Makes `picture` gray and keeps its alpha. The profile of the colours no longer fits and goes. It
/// is the first of `steps` steps of about the same length, for the progress.
pub(super) async fn grayscale(
    picture: Picture,
    steps: usize,
    reporter: &mut Reporter<'_, impl AsyncFnMut(Stage, f32) -> ControlFlow<()>>,
) -> Result<Picture, FilterError> {
    let layout = match picture.layout {
        Layout::Gray | Layout::GrayAlpha => return Ok(picture),
        Layout::Rgb => Layout::Gray,
        Layout::Rgba => Layout::GrayAlpha,
    };
    let (stride, height) = (picture.stride(), picture.height as usize);
    let gray_stride = picture.width as usize * layout.channels();
    let mut gray = vec![0; gray_stride * height];
    for band in bands(height) {
        reporter
            .report(Stage::Filter, band.start, steps * height)
            .await?;
        let from = &picture.samples[band.start * stride..band.end * stride];
        let to = &mut gray[band.start * gray_stride..band.end * gray_stride];
        match layout {
            Layout::GrayAlpha => {
                let pixels = to
                    .as_chunks_mut::<2>()
                    .0
                    .iter_mut()
                    .zip(from.as_chunks::<4>().0);
                for (gray, [red, green, blue, alpha]) in pixels {
                    *gray = [luma(*red, *green, *blue), *alpha];
                }
            }
            _ => {
                for (gray, [red, green, blue]) in to.iter_mut().zip(from.as_chunks::<3>().0) {
                    *gray = luma(*red, *green, *blue);
                }
            }
        }
    }
    Ok(Picture {
        layout,
        samples: gray,
        profile: None,
        ..picture
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn luma_is_exact_for_every_sum() {
        // All 16.7 million colours, against the definition in whole numbers.
        for red in 0..=255_u8 {
            for green in 0..=255_u8 {
                for blue in 0..=255_u8 {
                    let sum = 299 * u32::from(red) + 587 * u32::from(green) + 114 * u32::from(blue);
                    assert_eq!(u32::from(luma(red, green, blue)), (sum + 500) / 1000);
                }
            }
        }
    }
}

//! The Sobel operator.

use std::ops::ControlFlow;

use super::grayscale::grayscale;
use crate::picture::{Layout, Picture};
use crate::progress::{Reporter, bands};
use crate::{FilterError, Stage};

/// The magnitude of the gradient at each pixel, at most 255. Beyond its border the picture goes on
/// as the border is.
pub(super) async fn edges(
    picture: Picture,
    reporter: &mut Reporter<'_, impl AsyncFnMut(Stage, f32) -> ControlFlow<()>>,
) -> Result<Picture, FilterError> {
    let gray = grayscale(picture.on_white(), 2, reporter).await?;
    let (width, height) = (gray.width as usize, gray.height as usize);
    let row = |y: usize| &gray.samples[y * width..(y + 1) * width];

    let mut samples = vec![0; width * height];
    let mut columns = Columns::new(width);
    for band in bands(height) {
        reporter
            .report(Stage::Filter, height + band.start, 2 * height)
            .await?;
        for y in band {
            columns.fill(
                row(y.saturating_sub(1)),
                row(y),
                row((y + 1).min(height - 1)),
            );
            columns.magnitudes(&mut samples[y * width..(y + 1) * width]);
        }
    }
    Ok(Picture {
        layout: Layout::Gray,
        samples,
        profile: None,
        ..gray
    })
}

/// The vertical halves of both kernels for one row, with one column of border on either side.
struct Columns {
    /// `[1 2 1]` down: what the horizontal gradient differentiates.
    smooth: Vec<i16>,
    /// `[-1 0 1]` down: what the vertical gradient smooths.
    slope: Vec<i16>,
}

impl Columns {
    fn new(width: usize) -> Self {
        Self {
            smooth: vec![0; width + 2],
            slope: vec![0; width + 2],
        }
    }

    fn fill(&mut self, above: &[u8], here: &[u8], below: &[u8]) {
        let width = here.len();
        let columns = self.smooth[1..].iter_mut().zip(&mut self.slope[1..]);
        for ((((smooth, slope), above), here), below) in columns.zip(above).zip(here).zip(below) {
            *smooth = i16::from(*above) + 2 * i16::from(*here) + i16::from(*below);
            *slope = i16::from(*below) - i16::from(*above);
        }
        for line in [&mut self.smooth, &mut self.slope] {
            line[0] = line[1];
            line[width + 1] = line[width];
        }
    }

    fn magnitudes(&self, to: &mut [u8]) {
        let width = to.len();
        let smooth = (&self.smooth[..width], &self.smooth[2..width + 2]);
        let slope = (
            &self.slope[..width],
            &self.slope[1..=width],
            &self.slope[2..width + 2],
        );
        for (x, to) in to.iter_mut().enumerate() {
            let across = i32::from(smooth.1[x] - smooth.0[x]);
            let down = i32::from(slope.0[x] + 2 * slope.1[x] + slope.2[x]);
            // At most 2 * 1020^2: exact in an f32 but for the last bit, and the root is rounded.
            let magnitude = ((across * across + down * down) as f32).sqrt();
            *to = (magnitude + 0.5).min(255.0) as u8;
        }
    }
}

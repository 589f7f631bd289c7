//! A Gaussian blur that takes as long for a wide one as for a narrow one.
//!
//! Three box filters after one another are close to a Gaussian, and a running sum does a box in
//! one addition and one subtraction a sample. Boxes of whole widths could only make some standard
//! deviations, so each has a fraction of a pixel more at both ends ("Theoretical foundations of
//! Gaussian convolution by extended box filtering", Gwosdek and others, 2011).
//!
//! All is done in place, first along the rows, then down strips of columns narrow enough for the
//! processor's cache.

use std::ops::{ControlFlow, Range};

use crate::picture::{Layout, Picture};
use crate::progress::{Reporter, bands};
use crate::{FilterError, Stage};

/// How often the box is applied.
const PASSES: usize = 3;
/// Samples in a strip of columns: four cache lines of 8-bit samples.
const STRIP: usize = 256;
/// What a full sample is between two passes, to keep what rounding would lose.
const SCALE_SHIFT: u32 = 7;

/// Blurs every channel with the standard deviation `sigma`, in pixels. Beyond its border the
/// picture goes on as the border is.
pub(super) async fn blur(
    mut picture: Picture,
    sigma: f32,
    reporter: &mut Reporter<'_, impl AsyncFnMut(Stage, f32) -> ControlFlow<()>>,
) -> Result<Picture, FilterError> {
    let kernel = Kernel::new(sigma);
    let (stride, height) = (picture.stride(), picture.height as usize);
    let strips = stride.div_ceil(STRIP);
    // Of the progress, rows are one half and strips the other.
    let total = height + strips * height / strips;

    premultiply(&mut picture);
    let mut line = Line::default();
    for band in bands(height) {
        reporter.report(Stage::Filter, band.start, total).await?;
        for row in picture.samples[band.start * stride..band.end * stride].chunks_exact_mut(stride)
        {
            match picture.layout {
                Layout::Gray => line.blur::<1>(row, &kernel),
                Layout::GrayAlpha => line.blur::<2>(row, &kernel),
                Layout::Rgb => line.blur::<3>(row, &kernel),
                Layout::Rgba => line.blur::<4>(row, &kernel),
            }
        }
    }
    let mut strip = Strip::new(height, &kernel);
    for band in bands(strips) {
        reporter
            .report(Stage::Filter, height + band.start * height / strips, total)
            .await?;
        for index in band {
            strip.blur(&mut picture.samples, stride, index * STRIP, &kernel);
        }
    }
    unpremultiply(&mut picture);
    Ok(picture)
}

/// One extended box: `2 * radius + 1` whole pixels and a fraction of one more at either end.
#[derive(Debug, Clone, Copy)]
struct Kernel {
    radius: usize,
    /// The fraction of the outer pixels, 0.0 to 1.0.
    fraction: f32,
    /// One over the sum of all weights.
    norm: f32,
}

impl Kernel {
    fn new(sigma: f32) -> Self {
        // Variances add up, so each pass gives its share.
        let variance = f64::from(sigma) * f64::from(sigma) / PASSES as f64;
        let radius = (0.5 * (12.0 * variance + 1.0).sqrt() - 0.5).floor();
        let whole = 2.0 * radius + 1.0;
        let fraction = whole * (radius * (radius + 1.0) - 3.0 * variance)
            / (6.0 * (variance - (radius + 1.0) * (radius + 1.0)));
        Self {
            radius: radius as usize,
            fraction: fraction as f32,
            norm: (1.0 / (whole + 2.0 * fraction)) as f32,
        }
    }

    /// How far a box reaches, the fraction included.
    fn margin(&self) -> usize {
        self.radius + 1
    }

    /// The mean of a box from the sum of its whole pixels and that of its two outer ones.
    #[inline]
    fn mean(&self, inner: i32, outer: i32) -> u16 {
        let sum = inner as f32 + self.fraction * outer as f32;
        // Adding 2^23 leaves the nearest whole number in the low bits: no conversion is as fast.
        (sum * self.norm + 8_388_608.0).to_bits() as u16
    }
}

fn widen(sample: u8) -> u16 {
    u16::from(sample) << SCALE_SHIFT
}

fn narrow(sample: u16) -> u8 {
    ((sample + (1 << (SCALE_SHIFT - 1))) >> SCALE_SHIFT) as u8
}

/// Room for a row before and after a pass, with its border repeated on both sides. A pixel has four
/// places whatever its channels, which is one vector of sums.
#[derive(Default)]
struct Line {
    from: Vec<[u16; 4]>,
    to: Vec<[u16; 4]>,
}

impl Line {
    fn blur<const CHANNELS: usize>(&mut self, row: &mut [u8], kernel: &Kernel) {
        let (pixels, _) = row.as_chunks_mut::<CHANNELS>();
        let inside = kernel.margin()..kernel.margin() + pixels.len();
        for line in [&mut self.from, &mut self.to] {
            line.resize(pixels.len() + 2 * kernel.margin(), [0; 4]);
        }
        for (wide, pixel) in self.to[inside.clone()].iter_mut().zip(&*pixels) {
            for (wide, sample) in wide.iter_mut().zip(pixel) {
                *wide = widen(*sample);
            }
        }
        for _ in 0..PASSES {
            std::mem::swap(&mut self.from, &mut self.to);
            repeat_border(&mut self.from, &inside);
            pass(&self.from, &mut self.to[inside.clone()], kernel);
        }
        for (pixel, wide) in pixels.iter_mut().zip(&self.to[inside]) {
            for (sample, wide) in pixel.iter_mut().zip(wide) {
                *sample = narrow(*wide);
            }
        }
    }
}

/// Room for a strip of columns before and after a pass, with its border repeated above and below.
struct Strip {
    height: usize,
    from: Vec<[u16; STRIP]>,
    to: Vec<[u16; STRIP]>,
}

impl Strip {
    fn new(height: usize, kernel: &Kernel) -> Self {
        let rows = height + 2 * kernel.margin();
        Self {
            height,
            from: vec![[0; STRIP]; rows],
            to: vec![[0; STRIP]; rows],
        }
    }

    /// Blurs the columns from `left` on of a picture with `stride` samples a row.
    fn blur(&mut self, samples: &mut [u8], stride: usize, left: usize, kernel: &Kernel) {
        let columns = left..stride.min(left + STRIP);
        let inside = kernel.margin()..kernel.margin() + self.height;
        for (wide, row) in self.to[inside.clone()]
            .iter_mut()
            .zip(samples.chunks_exact(stride))
        {
            for (wide, sample) in wide.iter_mut().zip(&row[columns.clone()]) {
                *wide = widen(*sample);
            }
        }
        for _ in 0..PASSES {
            std::mem::swap(&mut self.from, &mut self.to);
            repeat_border(&mut self.from, &inside);
            pass(&self.from, &mut self.to[inside.clone()], kernel);
        }
        for (wide, row) in self.to[inside].iter().zip(samples.chunks_exact_mut(stride)) {
            for (sample, wide) in row[columns.clone()].iter_mut().zip(wide) {
                *sample = narrow(*wide);
            }
        }
    }
}

/// Goes on before and after `inside` as its ends are.
fn repeat_border<T: Copy>(line: &mut [T], inside: &Range<usize>) {
    let (first, last) = (line[inside.start], line[inside.end - 1]);
    line[..inside.start].fill(first);
    line[inside.end..].fill(last);
}

/// One pass: `to[x]` is the mean of the box around `from[x + margin]`, in each of the `N` lanes.
fn pass<const N: usize>(from: &[[u16; N]], to: &mut [[u16; N]], kernel: &Kernel) {
    let window = 2 * kernel.radius + 1;
    let count = to.len();
    // The sum of the box one place before the first.
    let mut inner = [0_i32; N];
    for lanes in &from[..window] {
        for (sum, sample) in inner.iter_mut().zip(lanes) {
            *sum += i32::from(*sample);
        }
    }
    let leaving = &from[..count];
    let entering = &from[window..window + count];
    let after = &from[window + 1..window + 1 + count];
    for (((to, leaving), entering), after) in to.iter_mut().zip(leaving).zip(entering).zip(after) {
        for lane in 0..N {
            inner[lane] += i32::from(entering[lane]) - i32::from(leaving[lane]);
            let outer = i32::from(leaving[lane]) + i32::from(after[lane]);
            to[lane] = kernel.mean(inner[lane], outer);
        }
    }
}

/// Weighs colours by alpha, so that what is invisible does not bleed into what is not.
fn premultiply(picture: &mut Picture) {
    fn scale<const N: usize>(samples: &mut [u8]) {
        for pixel in samples.as_chunks_mut::<N>().0 {
            let alpha = u32::from(pixel[N - 1]);
            for sample in &mut pixel[..N - 1] {
                *sample = ((u32::from(*sample) * alpha + 127) / 255) as u8;
            }
        }
    }
    match picture.layout {
        Layout::Gray | Layout::Rgb => {}
        Layout::GrayAlpha => scale::<2>(&mut picture.samples),
        Layout::Rgba => scale::<4>(&mut picture.samples),
    }
}

/// Undoes [`premultiply`].
fn unpremultiply(picture: &mut Picture) {
    fn scale<const N: usize>(samples: &mut [u8]) {
        for pixel in samples.as_chunks_mut::<N>().0 {
            let alpha = u32::from(pixel[N - 1]);
            if alpha == 255 || alpha == 0 {
                continue;
            }
            for sample in &mut pixel[..N - 1] {
                *sample = ((u32::from(*sample) * 255 + alpha / 2) / alpha).min(255) as u8;
            }
        }
    }
    match picture.layout {
        Layout::Gray | Layout::Rgb => {}
        Layout::GrayAlpha => scale::<2>(&mut picture.samples),
        Layout::Rgba => scale::<4>(&mut picture.samples),
    }
}

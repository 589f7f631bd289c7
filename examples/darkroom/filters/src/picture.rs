//! Decoded pixels.

/// The channels of a pixel, 8 bits each, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    Gray,
    GrayAlpha,
    Rgb,
    Rgba,
}

impl Layout {
    pub(crate) fn channels(self) -> usize {
        match self {
            Self::Gray => 1,
            Self::GrayAlpha => 2,
            Self::Rgb => 3,
            Self::Rgba => 4,
        }
    }

    pub(crate) fn has_alpha(self) -> bool {
        matches!(self, Self::GrayAlpha | Self::Rgba)
    }
}

/// A picture: rows from the top, pixels from the left, channels interleaved, no padding. Alpha is
/// straight, not premultiplied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) layout: Layout,
    /// `width * height * channels` samples; neither side is ever 0.
    pub(crate) samples: Vec<u8>,
    /// The ICC profile that the samples are meant in.
    pub(crate) profile: Option<Vec<u8>>,
}

impl Picture {
    /// Samples in a row.
    pub(crate) fn stride(&self) -> usize {
        self.width as usize * self.layout.channels()
    }

    /// The picture without alpha, as it looks on white paper.
    pub(crate) fn on_white(self) -> Self {
        let (layout, samples) = match self.layout {
            Layout::Gray | Layout::Rgb => return self,
            Layout::GrayAlpha => (Layout::Gray, blend::<2, 1>(&self.samples)),
            Layout::Rgba => (Layout::Rgb, blend::<4, 3>(&self.samples)),
        };
        Self {
            layout,
            samples,
            ..self
        }
    }
}

/// Blends the first `OUT` channels of `IN` with white by the last one.
fn blend<const IN: usize, const OUT: usize>(samples: &[u8]) -> Vec<u8> {
    let mut blended = vec![0; samples.len() / IN * OUT];
    for (from, to) in samples
        .as_chunks::<IN>()
        .0
        .iter()
        .zip(blended.as_chunks_mut::<OUT>().0)
    {
        let alpha = u32::from(from[IN - 1]);
        for (channel, sample) in to.iter_mut().zip(from) {
            let sum = u32::from(*sample) * alpha + 255 * (255 - alpha);
            *channel = ((sum + 127) / 255) as u8;
        }
    }
    blended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transparency_turns_white_on_paper() {
        let picture = Picture {
            width: 3,
            height: 1,
            layout: Layout::Rgba,
            samples: vec![10, 20, 30, 255, 10, 20, 30, 0, 0, 100, 255, 128],
            profile: None,
        };
        let flat = picture.on_white();
        assert_eq!(flat.layout, Layout::Rgb);
        assert_eq!(flat.samples, [10, 20, 30, 255, 255, 255, 127, 177, 255]);
    }
}

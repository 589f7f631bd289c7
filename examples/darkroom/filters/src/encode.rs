//! Pixels to bytes.

use std::io::Write;
use std::ops::ControlFlow;

use jpeg_encoder::SamplingFactor;
use png::{ColorType, Compression, Filter};

use crate::picture::{Layout, Picture};
use crate::progress::{Reporter, bands};
use crate::{FilterError, Format, Stage};

/// Encodes `picture`; what is transparent becomes white where `format` knows no transparency.
pub(crate) async fn encode(
    picture: Picture,
    format: Format,
    quality: u8,
    reporter: &mut Reporter<'_, impl AsyncFnMut(Stage, f32) -> ControlFlow<()>>,
) -> Result<Vec<u8>, FilterError> {
    reporter.report(Stage::Encode, 0, 1).await?;
    let bytes = match format {
        Format::Png => encode_png(&picture, reporter).await?,
        Format::Jpeg => encode_jpeg(&picture.on_white(), quality)?,
    };
    reporter.report(Stage::Encode, 1, 1).await?;
    Ok(bytes)
}

async fn encode_png(
    picture: &Picture,
    reporter: &mut Reporter<'_, impl AsyncFnMut(Stage, f32) -> ControlFlow<()>>,
) -> Result<Vec<u8>, FilterError> {
    let mut info = png::Info::with_size(picture.width, picture.height);
    info.icc_profile = picture.profile.as_deref().map(Into::into);
    // About what a photograph takes; growing costs a copy of everything so far.
    let mut bytes = Vec::with_capacity(picture.samples.len() / 3 + 1024);
    let mut encoder = png::Encoder::with_info(&mut bytes, info).map_err(png_error)?;
    encoder.set_color(match picture.layout {
        Layout::Gray => ColorType::Grayscale,
        Layout::GrayAlpha => ColorType::GrayscaleAlpha,
        Layout::Rgb => ColorType::Rgb,
        Layout::Rgba => ColorType::Rgba,
    });
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(Compression::Fast);
    // Choosing the filter for every row anew saves a few percent and costs half as much time again.
    encoder.set_filter(Filter::Paeth);
    let mut file = encoder.write_header().map_err(png_error)?;
    let mut writer = file.stream_writer_with_size(1 << 20).map_err(png_error)?;

    let (stride, height) = (picture.stride(), picture.height as usize);
    for band in bands(height) {
        reporter.report(Stage::Encode, band.start, height).await?;
        let rows = &picture.samples[band.start * stride..band.end * stride];
        writer
            .write_all(rows)
            .map_err(|error| png_error(error.into()))?;
    }
    writer.finish().map_err(png_error)?;
    file.finish().map_err(png_error)?;
    Ok(bytes)
}

fn png_error(error: png::EncodingError) -> FilterError {
    FilterError::Encode {
        format: Format::Png,
        reason: error.to_string(),
    }
}

fn encode_jpeg(picture: &Picture, quality: u8) -> Result<Vec<u8>, FilterError> {
    let failed = |reason: String| FilterError::Encode {
        format: Format::Jpeg,
        reason,
    };
    let (Ok(width), Ok(height)) = (u16::try_from(picture.width), u16::try_from(picture.height))
    else {
        return Err(failed("a side is over 65535 pixels".to_owned()));
    };
    let color = match picture.layout {
        Layout::Gray | Layout::GrayAlpha => jpeg_encoder::ColorType::Luma,
        Layout::Rgb | Layout::Rgba => jpeg_encoder::ColorType::Rgb,
    };
    let mut bytes = Vec::with_capacity(picture.samples.len() / 8 + 1024);
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, quality.clamp(1, 100));
    // Half the colours across and down, as cameras do.
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    if let Some(profile) = &picture.profile {
        encoder
            .add_icc_profile(profile)
            .map_err(|error| failed(error.to_string()))?;
    }
    encoder
        .encode(&picture.samples, width, height, color)
        .map_err(|error| failed(error.to_string()))?;
    Ok(bytes)
}

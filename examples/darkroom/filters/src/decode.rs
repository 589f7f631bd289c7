//! Bytes to pixels.

use std::io::{Cursor, ErrorKind};
use std::ops::ControlFlow;

use image::codecs::jpeg::JpegDecoder;
use image::error::{ImageError, UnsupportedErrorKind};
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder};
use png::{DecodingError, Transformations};

use crate::picture::{Layout, Picture};
use crate::progress::{Reporter, bands};
use crate::{FilterError, Format, Stage};

/// What is known of an input beside its pixels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source {
    pub(crate) format: Format,
    pub(crate) orientation: Orientation,
}

/// Decodes a PNG or JPEG of at most `pixels_max` pixels, as it is stored: not yet turned.
pub(crate) async fn decode(
    input: &[u8],
    pixels_max: u64,
    reporter: &mut Reporter<'_, impl AsyncFnMut(Stage, f32) -> ControlFlow<()>>,
) -> Result<(Picture, Source), FilterError> {
    reporter.report(Stage::Decode, 0, 1).await?;
    let format = match Format::detect(input) {
        Some(format) => format,
        None if input.is_empty() => return Err(FilterError::Empty),
        None => return Err(FilterError::UnknownFormat),
    };
    let (picture, orientation) = match format {
        Format::Png => decode_png(input, pixels_max, reporter).await?,
        Format::Jpeg => decode_jpeg(input, pixels_max)?,
    };
    reporter.report(Stage::Decode, 1, 1).await?;
    Ok((
        picture,
        Source {
            format,
            orientation,
        },
    ))
}

/// Refuses sizes over the limit, before anything is allocated for them.
pub(crate) fn check_size(width: u64, height: u64, pixels_max: u64) -> Result<(), FilterError> {
    match width.checked_mul(height) {
        Some(pixels) if pixels <= pixels_max => Ok(()),
        _ => Err(FilterError::TooLarge {
            width,
            height,
            pixels_max,
        }),
    }
}

async fn decode_png(
    input: &[u8],
    pixels_max: u64,
    reporter: &mut Reporter<'_, impl AsyncFnMut(Stage, f32) -> ControlFlow<()>>,
) -> Result<(Picture, Orientation), FilterError> {
    let mut decoder = png::Decoder::new(Cursor::new(input));
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    decoder.set_ignore_text_chunk(true);
    let mut reader = decoder.read_info().map_err(png_error)?;

    let info = reader.info();
    let (width, height, interlaced) = (info.width, info.height, info.interlaced);
    check_size(width.into(), height.into(), pixels_max)?;
    let profile = info.icc_profile.as_deref().map(<[u8]>::to_vec);
    let layout = match reader.output_color_type().0 {
        png::ColorType::Grayscale => Layout::Gray,
        png::ColorType::GrayscaleAlpha => Layout::GrayAlpha,
        png::ColorType::Rgb | png::ColorType::Indexed => Layout::Rgb,
        png::ColorType::Rgba => Layout::Rgba,
    };

    let stride = width as usize * layout.channels();
    let mut samples = vec![0; stride * height as usize];
    if interlaced {
        reader.next_frame(&mut samples).map_err(png_error)?;
    } else {
        for band in bands(height as usize) {
            reporter
                .report(Stage::Decode, band.start, height as usize)
                .await?;
            for row in samples[band.start * stride..band.end * stride].chunks_exact_mut(stride) {
                reader.read_row(row).map_err(png_error)?;
            }
        }
    }
    // An orientation behind the pixels is legal, though rare; damage there is no one's loss.
    let _ = reader.finish();
    let orientation = reader
        .info()
        .exif_metadata
        .as_deref()
        .and_then(Orientation::from_exif_chunk);
    let picture = Picture {
        width,
        height,
        layout,
        samples,
        profile,
    };
    Ok((picture, orientation.unwrap_or(Orientation::NoTransforms)))
}

fn png_error(error: DecodingError) -> FilterError {
    match error {
        DecodingError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            FilterError::Truncated(Format::Png)
        }
        error => FilterError::Corrupt {
            format: Format::Png,
            reason: error.to_string(),
        },
    }
}

fn decode_jpeg(input: &[u8], pixels_max: u64) -> Result<(Picture, Orientation), FilterError> {
    // The decoder paints what is missing gray instead of saying so.
    if !jpeg_has_end(input) {
        return Err(FilterError::Truncated(Format::Jpeg));
    }
    let mut decoder = JpegDecoder::new(Cursor::new(input)).map_err(jpeg_error)?;
    let (width, height) = decoder.dimensions();
    check_size(width.into(), height.into(), pixels_max)?;
    if width == 0 || height == 0 {
        let reason = "it has no pixels".to_owned();
        return Err(FilterError::Corrupt {
            format: Format::Jpeg,
            reason,
        });
    }
    let orientation = decoder.orientation().map_err(jpeg_error)?;
    let layout = match decoder.color_type() {
        ColorType::L8 => Layout::Gray,
        ColorType::La8 => Layout::GrayAlpha,
        ColorType::Rgba8 => Layout::Rgba,
        _ => Layout::Rgb,
    };
    let profile = decoder.icc_profile().map_err(jpeg_error)?;
    let mut samples = vec![0; width as usize * height as usize * layout.channels()];
    decoder.read_image(&mut samples).map_err(jpeg_error)?;
    Ok((
        Picture {
            width,
            height,
            layout,
            samples,
            profile,
        },
        orientation,
    ))
}

fn jpeg_error(error: ImageError) -> FilterError {
    let format = Format::Jpeg;
    match error {
        ImageError::Unsupported(error) => {
            let reason = match error.kind() {
                UnsupportedErrorKind::GenericFeature(feature) => feature,
                _ => error.to_string(),
            };
            FilterError::Unsupported { format, reason }
        }
        ImageError::Decoding(error) => {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            FilterError::Corrupt {
                format,
                reason: source.unwrap_or_else(|| error.to_string()),
            }
        }
        error => FilterError::Corrupt {
            format,
            reason: error.to_string(),
        },
    }
}

/// Whether an end marker follows the first scan. The segments before it are stepped over, as a
/// thumbnail inside them has an end of its own.
fn jpeg_has_end(input: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xda;
    let mut rest = &input[2..];
    loop {
        match rest {
            // Fill bytes before a marker.
            [0xff, 0xff, ..] => rest = &rest[1..],
            [0xff, START_OF_SCAN, scan @ ..] => {
                return scan.windows(2).rev().any(|pair| pair == [0xff, 0xd9]);
            }
            [0xff, _, high, low, ..] => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                match rest.get(2 + length..) {
                    Some(next) => rest = next,
                    None => return false,
                }
            }
            [0xff] | [0xff, _] | [0xff, _, _] | [] => return false,
            // Not at a marker: damaged, which the decoder tells better.
            _ => return true,
        }
    }
}

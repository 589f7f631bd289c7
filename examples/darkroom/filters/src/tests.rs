#![allow(clippy::unwrap_used)]

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, GrayAlphaImage, GrayImage, ImageEncoder, RgbImage, RgbaImage};

use super::*;

fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image
        .into()
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

fn jpeg(image: &RgbImage) -> Vec<u8> {
    jpeg_turned(image, Orientation::NoTransforms)
}

/// A JPEG whose EXIF block says how the camera was held.
fn jpeg_turned(image: &RgbImage, orientation: Orientation) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 100);
    encoder.set_exif_metadata(exif(orientation)).unwrap();
    encoder.encode_image(image).unwrap();
    bytes
}

/// The smallest EXIF block: one directory with the orientation in it.
fn exif(orientation: Orientation) -> Vec<u8> {
    let mut tiff = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    tiff.extend([orientation.to_exif(), 0, 0, 0, 0, 0, 0]);
    tiff
}

/// Left half red, right half blue.
fn flag(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, _| {
        image::Rgb(if x < width / 2 {
            [255, 0, 0]
        } else {
            [0, 0, 255]
        })
    })
}

fn run(input: &[u8], operation: Operation) -> Result<Output, FilterError> {
    apply(input, &operation, &mut |_, _| {})
}

fn pixels(output: &Output) -> DynamicImage {
    let image = image::load_from_memory(&output.bytes).unwrap();
    assert_eq!(
        (image.width(), image.height()),
        (output.width, output.height)
    );
    image
}

const FLAT: Operation = Operation::Grayscale;

#[test]
fn grayscale_weighs_the_colours() {
    let colors = [
        [255, 0, 0],
        [0, 255, 0],
        [0, 0, 255],
        [255, 255, 255],
        [10, 20, 30],
        [0, 0, 0],
    ];
    let image = RgbImage::from_fn(6, 1, |x, _| image::Rgb(colors[x as usize]));
    let output = run(&png(image), Operation::Grayscale).unwrap();
    assert_eq!(output.format, Format::Png);
    // 76.245, 149.685, 29.07, 255, 18.15, 0
    assert_eq!(
        pixels(&output).as_luma8().unwrap().as_raw(),
        &[76, 150, 29, 255, 18, 0]
    );
}

#[test]
fn grayscale_keeps_transparency_and_gray() {
    let image = RgbaImage::from_pixel(2, 2, image::Rgba([255, 0, 0, 77]));
    let output = run(&png(image), Operation::Grayscale).unwrap();
    assert_eq!(
        pixels(&output).as_luma_alpha8().unwrap().get_pixel(1, 1).0,
        [76, 77]
    );

    let gray = GrayAlphaImage::from_pixel(2, 2, image::LumaA([9, 200]));
    let output = run(&png(gray), Operation::Grayscale).unwrap();
    assert_eq!(
        pixels(&output).as_luma_alpha8().unwrap().get_pixel(0, 0).0,
        [9, 200]
    );
}

#[test]
fn deep_and_interlaced_pngs_are_read() {
    let deep = image::ImageBuffer::from_pixel(3, 2, image::Rgb([0xffff_u16, 0, 0]));
    let output = run(&png(DynamicImage::ImageRgb16(deep)), Operation::Grayscale).unwrap();
    assert_eq!(pixels(&output).as_luma8().unwrap().as_raw(), &[76; 6]);

    // A palette of 2 bits a pixel.
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 4, 1);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Two);
    encoder.set_palette([255, 0, 0, 0, 255, 0, 0, 0, 255].as_slice());
    encoder
        .write_header()
        .unwrap()
        .write_image_data(&[0b00_01_10_00])
        .unwrap();
    let output = run(&bytes, Operation::Grayscale).unwrap();
    assert_eq!(
        pixels(&output).as_luma8().unwrap().as_raw(),
        &[76, 150, 29, 76]
    );
}

#[test]
fn edges_lie_where_the_picture_changes() {
    // Black, then white from column 4 on: the two columns at the step see a gradient of 4 * 255.
    let image = GrayImage::from_fn(8, 5, |x, _| image::Luma([if x < 4 { 0 } else { 255 }]));
    let output = run(&png(image), Operation::Edges).unwrap();
    for row in pixels(&output).as_luma8().unwrap().as_raw().chunks(8) {
        assert_eq!(row, [0, 0, 0, 255, 255, 0, 0, 0]);
    }
    // A faint diagonal ramp: 8 * 2 across, 8 * 3 down, and the border halves what leaves it.
    let ramp = GrayImage::from_fn(8, 8, |x, y| image::Luma([(2 * x + 3 * y) as u8]));
    let output = run(&png(ramp), Operation::Edges).unwrap();
    let edges = pixels(&output).into_luma8();
    assert_eq!(edges.get_pixel(4, 4).0, [29]); // sqrt(16^2 + 24^2) = 28.8
    assert_eq!(edges.get_pixel(0, 4).0, [25]); // sqrt(8^2 + 24^2) = 25.3
    assert_eq!(edges.get_pixel(4, 0).0, [20]); // sqrt(16^2 + 12^2) = 20
}

#[test]
fn a_single_pixel_goes_through_everything() {
    let input = png(RgbImage::from_pixel(1, 1, image::Rgb([200, 100, 50])));
    let resize = Operation::Resize {
        width: Some(3),
        height: None,
    };
    for operation in [Operation::Grayscale, Operation::Blur { sigma: 9.0 }, resize] {
        run(&input, operation).unwrap();
    }
    let output = run(&input, Operation::Edges).unwrap();
    assert_eq!(pixels(&output).as_luma8().unwrap().as_raw(), &[0]);
}

#[test]
fn resize_keeps_the_aspect_ratio() {
    let input = png(flag(120, 80));
    let output = run(
        &input,
        Operation::Resize {
            width: Some(30),
            height: Some(30),
        },
    )
    .unwrap();
    assert_eq!((output.width, output.height), (30, 20));
    let image = pixels(&output).into_rgb8();
    assert_eq!(image.get_pixel(3, 10).0, [255, 0, 0]);
    assert_eq!(image.get_pixel(26, 10).0, [0, 0, 255]);
}

#[test]
fn blur_has_the_deviation_asked_for() {
    for sigma in [0.5_f32, 1.0, 2.5, 8.0] {
        // Bright lines: the blur of a line across is the kernel, as often as it has pixels.
        let image = GrayImage::from_fn(101, 101, |x, _| {
            image::Luma([if x == 50 { 255 } else { 0 }])
        });
        let output = run(&png(image), Operation::Blur { sigma }).unwrap();
        let image = pixels(&output).into_luma8();
        let row: Vec<f64> = (0..101)
            .map(|x| f64::from(image.get_pixel(x, 50).0[0]))
            .collect();
        let sum: f64 = row.iter().sum();
        let variance = row
            .iter()
            .zip(-50..)
            .map(|(v, x)| v * f64::from(x * x))
            .sum::<f64>()
            / sum;
        let deviation = variance.sqrt() as f32;
        assert!(
            (deviation - sigma).abs() < 0.06 * sigma + 0.02,
            "{sigma}: {deviation}"
        );
    }
}

#[test]
fn blur_leaves_flat_areas_and_hides_what_is_invisible() {
    let flat = RgbImage::from_pixel(40, 30, image::Rgb([255, 128, 1]));
    let output = run(&png(flat.clone()), Operation::Blur { sigma: 100.0 }).unwrap();
    assert_eq!(pixels(&output).into_rgb8(), flat);

    // Opaque white beside transparent black: the black must not show as gray.
    let image = RgbaImage::from_fn(20, 4, |x, _| {
        image::Rgba(if x < 10 { [255; 4] } else { [0, 0, 0, 0] })
    });
    let output = run(&png(image), Operation::Blur { sigma: 2.0 }).unwrap();
    let blurred = pixels(&output).into_rgba8();
    let [red, _, _, alpha] = blurred.get_pixel(10, 2).0;
    assert!(red > 250 && alpha > 40 && alpha < 215, "{red} {alpha}");
}

#[test]
fn every_exif_orientation_ends_upright() {
    // 48 x 32 as it should look: red left, blue right. Stored as the camera would have.
    let upright = flag(48, 32);
    for (stored_as, undo) in [
        (Orientation::NoTransforms, Orientation::NoTransforms),
        (Orientation::Rotate90, Orientation::Rotate270),
        (Orientation::Rotate180, Orientation::Rotate180),
        (Orientation::Rotate270, Orientation::Rotate90),
        (Orientation::FlipHorizontal, Orientation::FlipHorizontal),
        (Orientation::FlipVertical, Orientation::FlipVertical),
        (Orientation::Rotate90FlipH, Orientation::Rotate90FlipH),
        (Orientation::Rotate270FlipH, Orientation::Rotate270FlipH),
    ] {
        let mut stored = DynamicImage::from(upright.clone());
        stored.apply_orientation(undo);
        let input = jpeg_turned(&stored.into_rgb8(), stored_as);
        let output = run(
            &input,
            Operation::Resize {
                width: Some(24),
                height: None,
            },
        )
        .unwrap();
        assert_eq!((output.width, output.height), (24, 16), "{stored_as:?}");
        let image = pixels(&output).into_rgb8();
        assert!(image.get_pixel(2, 8).0[0] > 200, "{stored_as:?}");
        assert!(image.get_pixel(21, 8).0[2] > 200, "{stored_as:?}");
    }
}

#[test]
fn formats_are_kept_or_changed() {
    let input = jpeg(&flag(32, 32));
    assert_eq!(run(&input, FLAT).unwrap().format, Format::Jpeg);
    let options = Options {
        format: Some(Format::Png),
        ..Options::default()
    };
    let output = apply_with(&input, &FLAT, &options, &mut |_, _| {}).unwrap();
    assert_eq!(Format::detect(&output.bytes), Some(Format::Png));

    // Transparency turns white in a JPEG.
    let clear = png(RgbaImage::from_pixel(8, 8, image::Rgba([0, 0, 0, 0])));
    let options = Options {
        format: Some(Format::Jpeg),
        ..Options::default()
    };
    let output = apply_with(&clear, &FLAT, &options, &mut |_, _| {}).unwrap();
    assert_eq!(pixels(&output).into_luma8().get_pixel(4, 4).0, [255]);
}

#[test]
fn colour_profiles_stay_with_colours() {
    let mut input = Vec::new();
    let mut encoder = image::codecs::png::PngEncoder::new(&mut input);
    encoder.set_icc_profile(vec![7; 300]).unwrap();
    let image = flag(16, 16);
    encoder
        .write_image(&image, 16, 16, image::ExtendedColorType::Rgb8)
        .unwrap();

    let profile = |operation, format| {
        let options = Options {
            format: Some(format),
            ..Options::default()
        };
        let output = apply_with(&input, &operation, &options, &mut |_, _| {}).unwrap();
        let reader = image::ImageReader::new(Cursor::new(output.bytes)).with_guessed_format();
        let mut decoder = reader.unwrap().into_decoder().unwrap();
        image::ImageDecoder::icc_profile(&mut decoder).unwrap()
    };
    let blur = Operation::Blur { sigma: 1.0 };
    assert_eq!(profile(blur, Format::Png), Some(vec![7; 300]));
    assert_eq!(profile(blur, Format::Jpeg), Some(vec![7; 300]));
    assert_eq!(profile(Operation::Grayscale, Format::Png), None);
}

#[test]
fn what_is_no_picture_is_refused() {
    assert_eq!(run(b"", FLAT), Err(FilterError::Empty));
    assert_eq!(
        run(b"GIF89a and so on", FLAT),
        Err(FilterError::UnknownFormat)
    );
    assert_eq!(
        run(b"\xff\xd8\xff", FLAT),
        Err(FilterError::Truncated(Format::Jpeg))
    );
    assert_eq!(
        run(b"\x89PNG\r\n\x1a\n", FLAT),
        Err(FilterError::Truncated(Format::Png))
    );
}

#[test]
fn cut_short_anywhere_is_an_error_and_no_panic() {
    let noisy = RgbImage::from_fn(40, 30, |x, y| {
        image::Rgb([(x * 7 + y * 13) as u8, (x * y) as u8, (x ^ y) as u8])
    });
    for whole in [
        png(noisy.clone()),
        jpeg_turned(&noisy, Orientation::Rotate90),
    ] {
        for length in 9..whole.len() {
            let result = run(&whole[..length], FLAT);
            // The last bytes of a PNG are two checksums and the end chunk: no row is in them.
            let pixels_are_there = whole[0] == 0x89 && length + 24 > whole.len();
            assert!(
                result.is_err() || pixels_are_there,
                "{length} of {}",
                whole.len()
            );
        }
    }
}

#[test]
fn flipped_bytes_never_panic() {
    let mut random = 0x2545_f491_u32;
    for whole in [png(flag(20, 20)), jpeg(&flag(20, 20))] {
        for _ in 0..3000 {
            let mut damaged = whole.clone();
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            let place = random as usize % damaged.len();
            damaged[place] ^= (random >> 24) as u8 | 1;
            let options = Options {
                pixels_max: 1_000_000,
                ..Options::default()
            };
            let _ = apply_with(&damaged, &Operation::Edges, &options, &mut |_, _| {});
        }
    }
}

#[test]
fn a_bomb_is_refused_by_its_declared_size() {
    // 60,000 x 60,000 black pixels in a PNG of a few hundred bytes: only the header is looked at.
    let mut bomb = Vec::new();
    let mut encoder = png::Encoder::new(&mut bomb, 60_000, 60_000);
    encoder.set_color(png::ColorType::Grayscale);
    let mut writer = encoder.write_header().unwrap();
    writer
        .write_chunk(png::chunk::IDAT, &[0x78, 0x9c, 0x63, 0, 0])
        .unwrap();
    drop(writer);
    let too_large = FilterError::TooLarge {
        width: 60_000,
        height: 60_000,
        pixels_max: 100_000_000,
    };
    assert_eq!(
        too_large.to_string(),
        "60000 x 60000 pixels are more than the limit of 100 megapixels"
    );
    assert_eq!(run(&bomb, FLAT), Err(too_large));

    let mut large = jpeg(&flag(16, 16));
    let header = large
        .windows(2)
        .position(|pair| pair == [0xff, 0xc0])
        .unwrap();
    large[header + 5..header + 9].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
    assert!(matches!(
        run(&large, FLAT),
        Err(FilterError::TooLarge { width: 65_535, .. })
    ));

    let grow = Operation::Resize {
        width: Some(u32::MAX),
        height: None,
    };
    assert!(matches!(
        run(&png(flag(16, 16)), grow),
        Err(FilterError::TooLarge { .. })
    ));
}

#[test]
fn parameters_are_checked_first() {
    let check = |operation, parameter: &str| match run(b"", operation) {
        Err(FilterError::Parameter {
            parameter: found, ..
        }) => assert_eq!(found, parameter),
        other => panic!("{other:?}"),
    };
    check(Operation::Blur { sigma: 0.0 }, "sigma");
    check(Operation::Blur { sigma: f32::NAN }, "sigma");
    check(Operation::Blur { sigma: 251.0 }, "sigma");
    check(
        Operation::Resize {
            width: None,
            height: None,
        },
        "width",
    );
    check(
        Operation::Resize {
            width: Some(0),
            height: None,
        },
        "width",
    );
    check(
        Operation::Resize {
            width: None,
            height: Some(0),
        },
        "height",
    );
}

#[test]
fn progress_goes_forward_through_all_stages() {
    let input = png(flag(64, 64));
    let resize = Operation::Resize {
        width: Some(9),
        height: None,
    };
    for operation in [
        FLAT,
        resize,
        Operation::Blur { sigma: 4.0 },
        Operation::Edges,
    ] {
        let mut reports = Vec::new();
        apply(&input, &operation, &mut |stage, done| {
            reports.push((stage, done))
        })
        .unwrap();
        assert!(
            reports.is_sorted_by(|a, b| a.0 < b.0 || (a.0 == b.0 && a.1 <= b.1)),
            "{reports:?}"
        );
        for stage in Stage::ALL {
            assert!(reports.contains(&(stage, 0.0)) && reports.contains(&(stage, 1.0)));
        }
    }
}

#[test]
fn a_break_cancels() {
    let input = png(flag(64, 64));
    let reports = std::cell::Cell::new(0);
    let mut progress = async |stage, _| {
        reports.set(reports.get() + 1);
        if stage == Stage::Filter {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let options = Options::default();
    let work = pin!(apply_async(&input, &FLAT, &options, &mut progress));
    let Poll::Ready(result) = work.poll(&mut Context::from_waker(Waker::noop())) else {
        panic!()
    };
    assert_eq!(result, Err(FilterError::Cancelled));
    assert!(reports.get() > 10);
}

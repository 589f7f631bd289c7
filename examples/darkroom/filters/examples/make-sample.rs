//! Draws a picture to try darkroom on, so that no photograph lies in git.
//!
//! `cargo run --release --example make-sample -- [FILE] [WIDTH] [HEIGHT]` writes a 24-megapixel
//! JPEG unless told otherwise; a name that ends in `.png` makes a PNG.

use std::error::Error;

use image::RgbImage;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap_or_else(|| "sample.jpg".into());
    let width = arguments.next().map_or(Ok(6000), |text| text.parse())?;
    let height = arguments.next().map_or(Ok(4000), |text| text.parse())?;

    draw(width, height).save(&path)?;
    println!("{path}: {width} x {height}");
    Ok(())
}

/// Evening hills under a sun, with the grain of a sensor: smooth areas, hard edges and noise, so
/// that every operation shows and no encoder has an easy life.
fn draw(width: u32, height: u32) -> RgbImage {
    let mut grain = 0x9e37_79b9_u32;
    let (w, h) = (width as f32, height as f32);
    let ridges: Vec<Vec<f32>> = (0..5)
        .map(|layer| {
            (0..width)
                .map(|x| ridge(layer as f32, x as f32 / w))
                .collect()
        })
        .collect();
    RgbImage::from_fn(width, height, |x, y| {
        let (u, v) = (x as f32 / w, y as f32 / h);
        let sun = ((u - 0.68) * w / h).hypot(v - 0.36);
        let mut color = if sun < 0.09 {
            [255.0, 236.0, 190.0]
        } else {
            let glow = (-3.5 * (sun - 0.09)).exp();
            mix(
                [38.0, 44.0, 92.0],
                [250.0, 158.0, 96.0],
                (0.35 * v + 0.75 * glow).min(1.0),
            )
        };
        for (layer, ridge) in ridges.iter().enumerate() {
            if v > ridge[x as usize] {
                let near = layer as f32 / 4.0;
                let depth = (v - ridge[x as usize]) * 2.0;
                color = mix(
                    [148.0, 96.0, 112.0],
                    [14.0, 26.0, 34.0],
                    near + depth * (1.0 - near),
                );
            }
        }
        // xorshift32: the same picture every time.
        grain ^= grain << 13;
        grain ^= grain >> 17;
        grain ^= grain << 5;
        let noise = (grain & 0xff) as f32 / 8.0 - 16.0;
        image::Rgb(color.map(|channel| (channel + noise) as u8))
    })
}

fn ridge(layer: f32, u: f32) -> f32 {
    let base = 0.46 + 0.1 * layer;
    let slow = (u * (5.0 + 2.0 * layer) + 1.7 * layer).sin() * 0.05;
    let fast = (u * (23.0 + 9.0 * layer) + 0.9 * layer).sin() * 0.012;
    let rough = (u * 211.0 + layer).sin() * (u * 97.0).cos() * 0.004;
    base + slow + fast + rough
}

fn mix(from: [f32; 3], to: [f32; 3], amount: f32) -> [f32; 3] {
    std::array::from_fn(|i| from[i] + (to[i] - from[i]) * amount)
}

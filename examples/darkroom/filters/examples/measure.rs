//! Times every operation on one picture: `cargo run --release --example measure -- FILE`.

use std::error::Error;
use std::time::{Duration, Instant};

use darkroom_filters::{Format, Operation, Options, Stage, apply_with};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("the file is missing")?;
    let input = std::fs::read(&path)?;
    println!("milliseconds     decode  filter  encode     all");
    for format in [Format::Jpeg, Format::Png] {
        for operation in [
            Operation::Grayscale,
            Operation::Resize {
                width: Some(1200),
                height: None,
            },
            Operation::Blur { sigma: 4.0 },
            Operation::Edges,
        ] {
            let options = Options {
                format: Some(format),
                ..Options::default()
            };
            let mut times = [Duration::ZERO; Stage::ALL.len()];
            let mut now = Stage::Decode;
            let start = Instant::now();
            let mut mark = start;
            apply_with(&input, &operation, &options, &mut |stage, _| {
                times[now as usize] += mark.elapsed();
                mark = Instant::now();
                now = stage;
            })?;
            let [decode, filter, encode] = times.map(|time| time.as_millis());
            let all = start.elapsed().as_millis();
            let name = format!("{} {format}", operation.name());
            println!("{name:<14} {decode:>8} {filter:>7} {encode:>7} {all:>7}");
        }
    }
    Ok(())
}

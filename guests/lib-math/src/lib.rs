//! A library component with every kind of WIT type, for calls from outside.

use std::cell::Cell;

wit_bindgen::generate!({ world: "math", path: "wit" });

use exports::wharf::math::counting::{CounterBorrow, Guest as Counting, GuestCounter};
use exports::wharf::math::geometry::{Guest as Geometry, Measured, Parts, Point, Shape, Unit};

struct Math;

export!(Math);

impl Guest for Math {
    fn add(left: i32, right: i32) -> i32 {
        left.wrapping_add(right)
    }

    fn divide(dividend: f64, divisor: f64) -> Result<f64, String> {
        match divisor {
            0.0 => Err("division by zero".into()),
            divisor => Ok(dividend / divisor),
        }
    }

    fn mean(numbers: Vec<f64>) -> Option<f64> {
        let count = numbers.len() as f64;
        (!numbers.is_empty()).then(|| numbers.iter().sum::<f64>() / count)
    }

    fn repeat(text: String, count: u32) -> String {
        text.repeat(count as usize)
    }

    fn initial(text: String) -> Option<char> {
        text.chars().next()
    }

    fn not(value: bool) -> bool {
        !value
    }

    fn swap((number, text): (u8, String)) -> (String, u8) {
        (text, number)
    }

    fn nested(values: Vec<Vec<Option<u64>>>) -> Vec<u64> {
        values.into_iter().flatten().flatten().collect()
    }

    fn crash() {
        panic!("on purpose")
    }
}

const METRES_A_FOOT: f64 = 0.3048;

impl Geometry for Math {
    fn measure(shape: Shape, unit: Unit, parts: Parts) -> Measured {
        let (area, perimeter) = match shape {
            Shape::Circle(radius) => {
                let pi = std::f64::consts::PI;
                (pi * radius * radius, 2.0 * pi * radius)
            }
            Shape::Rectangle((width, height)) => (width * height, 2.0 * (width + height)),
            Shape::Polygon(points) => polygon(&points),
            Shape::Nothing => (0.0, 0.0),
        };
        let scale = match unit {
            Unit::Metre => 1.0,
            Unit::Foot => METRES_A_FOOT,
        };
        Measured {
            area: parts.contains(Parts::AREA).then_some(area * scale * scale),
            perimeter: parts
                .contains(Parts::PERIMETER)
                .then_some(perimeter * scale),
        }
    }
}

fn polygon(points: &[Point]) -> (f64, f64) {
    let mut doubled = 0.0;
    let mut perimeter = 0.0;
    for (index, from) in points.iter().enumerate() {
        let to = &points[(index + 1) % points.len()];
        doubled += from.x * to.y - to.x * from.y;
        perimeter += (to.x - from.x).hypot(to.y - from.y);
    }
    (doubled.abs() / 2.0, perimeter)
}

struct Counter(Cell<i64>);

impl Counting for Math {
    type Counter = Counter;
}

impl GuestCounter for Counter {
    fn new(start: i64) -> Self {
        Counter(Cell::new(start))
    }

    fn add(&self, amount: i64) -> Result<i64, i64> {
        let value = self.0.get();
        let sum = value.checked_add(amount).ok_or(value)?;
        self.0.set(sum);
        Ok(sum)
    }

    fn value(&self) -> i64 {
        self.0.get()
    }

    fn sum(counters: Vec<CounterBorrow<'_>>) -> i64 {
        let value = |counter: &CounterBorrow<'_>| counter.get::<Counter>().0.get();
        counters.iter().map(value).sum()
    }
}

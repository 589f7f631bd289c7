//! Prints the same few bytes: the command whose start is measured.

fn main() {
    println!("Hello, world!");
}

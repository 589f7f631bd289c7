//! Each target for some seconds, without coverage to guide it.

use wharf_fuzz::targets;

/// Seconds of each target.
const SECONDS: u64 = 3;

#[test]
fn no_input_breaks_a_parser() {
    wharf_fuzzkit::smoke(&targets(), SECONDS);
}

//! What a fuzz target is, and how it runs on any compiler.
//!
//! **Purpose.** A [`Target`] is an ordinary function that takes any bytes and panics where a parser
//! does, or where it breaks a promise. [`smoke`] runs targets for some seconds, from their seeds,
//! without coverage to guide it; the workspace in `fuzz/` runs the same ones under libFuzzer.
//!
//! **Invariants.** No dependency, so that any crate may have targets beside its parsers.
//!
//! **Left out on purpose.** The targets: each lies with the parser that it tests.

#![forbid(unsafe_code)]

mod smoke;
mod words;

pub use smoke::smoke;

/// A parser under test.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Parses bytes, and panics if it finds a fault.
    pub run: fn(&[u8]),
    /// Good inputs to begin with, and inputs that broke it once.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

impl Target {
    /// A target called `name`.
    #[must_use]
    pub const fn new(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Target {
        Target { name, run, seeds }
    }
}

/// Texts as seeds.
#[must_use]
pub fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// An input for a parser that is fed in pieces: the first byte says how the others are cut, which
/// is the same for the same bytes. Without a piece where there is no byte to cut.
///
/// Below 128 it is the length of every piece, 0 being all at once; from there pieces have different
/// lengths, up to 64 bytes.
#[must_use]
pub fn pieces(input: &[u8]) -> Vec<&[u8]> {
    let Some((cut, mut rest)) = input.split_first() else {
        return Vec::new();
    };
    let mut random = Random(u64::from(*cut));
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let length = match cut {
            0 => rest.len(),
            1..128 => usize::from(*cut),
            _ => 1 + random.below(64),
        };
        let (piece, after) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// SplitMix64: the same numbers for the same seed.
#[derive(Debug, Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 if that is 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_input_without_its_first_byte() {
        let content: Vec<u8> = (0..=255).collect();
        for cut in 0..=255 {
            let input = [vec![cut], content.clone()].concat();
            let pieces = pieces(&input);
            assert_eq!(pieces.concat(), content);
            assert!(pieces.iter().all(|piece| !piece.is_empty()));
            match cut {
                0 => assert_eq!(pieces.len(), 1),
                1..128 => assert_eq!(pieces[0].len(), usize::from(cut)),
                _ => assert!(pieces.len() > 4),
            }
        }
        assert!(pieces(&[]).is_empty());
        assert!(pieces(&[7]).is_empty());
    }
}

//! Spoiling components section by section, with lengths that still fit, so that the faults reach
//! further in than the first check of a length.

use crate::random::Random;

const HEADER_BYTES: usize = 8;
/// Sections of a component that hold a binary of their own.
const MODULE: u8 = 1;
const COMPONENT: u8 = 4;
const CANONICAL: u8 = 8;

#[derive(Clone)]
struct Section {
    id: u8,
    bytes: Vec<u8>,
}

/// One to four faults.
pub(crate) fn component(random: &mut Random, bytes: &[u8], other: &[u8]) -> Vec<u8> {
    let mut spoilt = bytes.to_vec();
    for _ in 0..=random.below(4) {
        spoilt = one_fault(random, &spoilt, other, 0);
    }
    spoilt
}

/// Changes every module in it, components in it included.
pub(crate) fn modules(bytes: &[u8], change: &mut impl FnMut(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let Some(mut sections) = split(bytes) else {
        return bytes.to_vec();
    };
    for section in &mut sections {
        match section.id {
            MODULE => section.bytes = change(&section.bytes),
            COMPONENT => section.bytes = modules(&section.bytes, change),
            _ => {}
        }
    }
    join(&bytes[..HEADER_BYTES], &sections)
}

fn one_fault(random: &mut Random, bytes: &[u8], other: &[u8], depth: usize) -> Vec<u8> {
    let Some(mut sections) = split(bytes).filter(|sections| !sections.is_empty()) else {
        return bytes.to_vec();
    };
    let at = random.below(sections.len());
    let also = random.below(sections.len());
    match random.below(10) {
        0 => {
            let end = random.below(bytes.len());
            return bytes[..end].to_vec();
        }
        1 => sections.insert(also, sections[at].clone()),
        2 => sections.swap(at, also),
        3 => drop(sections.remove(at)),
        4 => {
            let foreign = split(other).unwrap_or_default();
            if !foreign.is_empty() {
                sections.insert(at, random.pick(&foreign).clone());
            }
        }
        5 => {
            // Which memory, which realloc, which encoding of text, async or not.
            for section in sections
                .iter_mut()
                .filter(|section| section.id == CANONICAL)
            {
                spoil(random, &mut section.bytes);
            }
        }
        6 if depth < 3 => {
            let inside: Vec<usize> = (0..sections.len())
                .filter(|index| matches!(sections[*index].id, MODULE | COMPONENT))
                .collect();
            if !inside.is_empty() {
                let at = *random.pick(&inside);
                let section = &mut sections[at];
                section.bytes = one_fault(random, &section.bytes, other, depth + 1);
            }
        }
        7 => sections[at].id = random.byte() % 14,
        _ => {
            // Types, aliases, imports, instances: all but the code, in which a changed byte is
            // mostly another instruction.
            let small: Vec<usize> = (0..sections.len())
                .filter(|index| !matches!(sections[*index].id, MODULE | COMPONENT))
                .collect();
            if !small.is_empty() {
                let at = *random.pick(&small);
                spoil(random, &mut sections[at].bytes);
            }
        }
    }
    join(&bytes[..HEADER_BYTES], &sections)
}

/// Changes a byte, a number, or the length.
fn spoil(random: &mut Random, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let at = random.below(bytes.len());
    match random.below(5) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.byte() % 32,
        2 => bytes[at] = *random.pick(&[0, 1, 0x7f, 0x7e, 0x7d, 0x70, 0x6f, 0x40, 0xff]),
        3 => {
            // A small number becomes a large one.
            let large = random.next() >> random.below(64);
            bytes.splice(at..=at, leb(large));
        }
        _ => drop(bytes.remove(at)),
    }
}

fn split(bytes: &[u8]) -> Option<Vec<Section>> {
    let mut rest = bytes.get(HEADER_BYTES..)?;
    let mut sections = Vec::new();
    while let Some((id, after)) = rest.split_first() {
        let (length, after) = read_leb(after)?;
        let content = after.get(..length)?;
        sections.push(Section {
            id: *id,
            bytes: content.to_vec(),
        });
        rest = &after[length..];
    }
    Some(sections)
}

fn join(header: &[u8], sections: &[Section]) -> Vec<u8> {
    let mut bytes = header.to_vec();
    for section in sections {
        bytes.push(section.id);
        bytes.extend(leb(section.bytes.len() as u64));
        bytes.extend(&section.bytes);
    }
    bytes
}

fn read_leb(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut number = 0;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        number |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[index + 1..]));
        }
    }
    None
}

fn leb(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

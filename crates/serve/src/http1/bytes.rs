//! The classes of bytes that HTTP's grammar is made of.

const TOKEN: u8 = 1;
const VALUE: u8 = 2;
const TARGET: u8 = 4;

/// What each byte may be part of.
static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let this = byte as u8;
        let mut class = 0;
        if this.is_ascii_alphanumeric() || is_one_of(this, b"!#$%&'*+-.^_`|~") {
            class |= TOKEN;
        }
        // RFC 9110, section 5.5: VCHAR, obs-text, and blanks within.
        if this == b'\t' || (this >= b' ' && this != 0x7f) {
            class |= VALUE;
        }
        // What RFC 3986 has, and what browsers leave as it is in a query.
        if this.is_ascii_graphic() && !is_one_of(this, b"\"#<>") {
            class |= TARGET;
        }
        classes[byte] = class;
        byte += 1;
    }
    classes
}

const fn is_one_of(byte: u8, of: &[u8]) -> bool {
    let mut at = 0;
    while at < of.len() {
        if of[at] == byte {
            return true;
        }
        at += 1;
    }
    false
}

/// A `tchar` of RFC 9110, section 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    CLASSES[byte as usize] & TOKEN != 0
}

/// What a field's value may hold.
pub(super) fn is_value(byte: u8) -> bool {
    CLASSES[byte as usize] & VALUE != 0
}

/// What a request's target may hold.
pub(crate) fn is_target(byte: u8) -> bool {
    CLASSES[byte as usize] & TARGET != 0
}

/// Without the blanks around it (`OWS` of RFC 9110, section 5.6.3).
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

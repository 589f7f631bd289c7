//! How long a file may be kept.
//!
//! A name that carries a hash of its content never means other content, so it may be kept for a
//! year. Taking a name for hashed that is not would leave users with an old file for that year,
//! so the rule is strict, and a hash that it overlooks costs one conditional request.
//!
//! A name is taken for hashed if the part between the last `-`, `.` or `_` and the extension is
//!
//! - 8 to 64 lower-case hexadecimal digits (`app-3f9ab2c1.js`, as webpack, Trunk, Parcel write), or
//! - 8 letters and digits in a folder of a bundler (`assets/`, `_astro/`, `_nuxt/`, `immutable/`)
//!   with a capital, a small letter and a digit (`assets/index-BfF4kIZ3.css`, as Vite writes),
//!
//! and holds both letters and digits, other than letters followed by a number (`photo-beef2024.png`).

use http::HeaderValue;

/// Sent where the manifest says nothing: keep it, but ask each time.
const REVALIDATE: HeaderValue = HeaderValue::from_static("public, max-age=0, must-revalidate");
/// Sent for names that carry a hash of the content.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Folders that bundlers fill.
const BUNDLER_FOLDERS: [&str; 4] = ["assets", "_astro", "_nuxt", "immutable"];

/// The `Cache-Control` for whatever is not a file that was found.
pub(crate) fn default_value() -> HeaderValue {
    REVALIDATE
}

/// The `Cache-Control` for the file at `path`.
pub(crate) fn for_file(path: &str, configured: Option<&HeaderValue>) -> HeaderValue {
    match configured {
        Some(value) => value.clone(),
        None if carries_hash(path) => IMMUTABLE,
        None => REVALIDATE,
    }
}

fn carries_hash(path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let name = name.strip_suffix(".map").unwrap_or(name);
    let Some((stem, extension)) = name.rsplit_once('.') else {
        return false;
    };
    let Some(at) = stem.rfind(['-', '.', '_']) else {
        return false;
    };
    let token = &stem[at + 1..];
    if at == 0 || extension.is_empty() || is_word_and_number(token) {
        return false;
    }
    let has = |class: fn(&u8) -> bool| token.as_bytes().iter().any(class);
    let is_hex = (8..=64).contains(&token.len())
        && token
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && has(u8::is_ascii_digit)
        && has(u8::is_ascii_lowercase);
    let is_bundler_hash = token.len() == 8
        && token.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && has(u8::is_ascii_digit)
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_uppercase)
        && folder
            .split('/')
            .any(|part| BUNDLER_FOLDERS.contains(&part));
    is_hex || is_bundler_hash
}

/// Says whether `token` is letters and then digits, as in a name someone chose.
fn is_word_and_number(token: &str) -> bool {
    let number = token.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    number.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashed_names_never_change() {
        for (path, expected) in [
            ("app-3f9ab2c1.js", true),
            ("app.3f9ab2c1.js", true),
            ("app-3f9ab2c1_bg.wasm", false),
            ("static/main.8e7d5c2b1a9f0e3d4c5b.css", true),
            ("main.8e7d5c2b1a9f0e3d4c5b.css.map", true),
            ("assets/index-BfF4kIZ3.css", true),
            ("index-BfF4kIZ3.css", false),
            ("_app/immutable/chunks/x.9sKd3fQ1.js", true),
            ("index.html", false),
            ("app.js", false),
            ("3f9ab2c1.js", false),
            ("-3f9ab2c1.js", false),
            ("app-3f9ab2c.js", false),
            ("report-20261101.pdf", false),
            ("photo-beef2024.png", false),
            ("assets/photo-Scan2024.png", false),
            ("deadbeef-deadbeef.js", false),
            ("app-3F9AB2C1.js", false),
            ("app-3f9ab2c1", false),
            ("app-3f9ab2c1.", false),
            ("grüße-3f9ab2c1.js", true),
            ("", false),
        ] {
            assert_eq!(carries_hash(path), expected, "{path}");
        }
    }

    #[test]
    fn the_manifest_decides_for_all_files() {
        let configured = HeaderValue::from_static("no-store");
        assert_eq!(for_file("app-3f9ab2c1.js", Some(&configured)), "no-store");
        assert_eq!(
            for_file("index.html", None),
            "public, max-age=0, must-revalidate"
        );
        assert_eq!(
            for_file("app-3f9ab2c1.js", None),
            "public, max-age=31536000, immutable"
        );
    }
}

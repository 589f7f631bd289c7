//! What is said of a file of the tree: its tag and its type.

use http::HeaderValue;
use wharf_artifact::Blob;

/// The strong entity tag of a blob: half its digest, in quotes.
///
/// A compressed variant is a blob of its own and so has a tag of its own.
pub(crate) fn etag(blob: &Blob) -> HeaderValue {
    let hex = blob.digest.hex();
    HeaderValue::try_from(format!("\"{}\"", &hex[..32])).expect("hex in quotes is visible ASCII")
}

/// The `Content-Type` to send: text is UTF-8 unless it says otherwise.
pub(crate) fn content_type(given: &str) -> HeaderValue {
    let given = given.trim();
    let essence = given
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let is_text = essence.starts_with("text/")
        || essence.ends_with("+xml")
        || matches!(
            essence.as_str(),
            "application/javascript" | "application/xml"
        );
    let value = if is_text && !given.to_ascii_lowercase().contains("charset=") {
        HeaderValue::try_from(format!("{given}; charset=utf-8"))
    } else {
        HeaderValue::try_from(given)
    };
    match value {
        Ok(value) if !essence.is_empty() => value,
        _ => HeaderValue::from_static("application/octet-stream"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_sent_as_utf8() {
        let check =
            |given: &str, expected: &str| assert_eq!(content_type(given), expected, "{given}");
        check("text/html", "text/html; charset=utf-8");
        check(
            "text/plain; charset=iso-8859-1",
            "text/plain; charset=iso-8859-1",
        );
        check(
            "text/csv; header=present",
            "text/csv; header=present; charset=utf-8",
        );
        check(
            "application/javascript",
            "application/javascript; charset=utf-8",
        );
        check("image/svg+xml", "image/svg+xml; charset=utf-8");
        check("application/json", "application/json");
        check("application/wasm", "application/wasm");
        check("image/png", "image/png");
        check("", "application/octet-stream");
        check("text/html\r\nset-cookie: a=b", "application/octet-stream");
    }
}

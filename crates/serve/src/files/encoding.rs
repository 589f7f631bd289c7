//! Choosing a variant by `Accept-Encoding` (RFC 9110, section 12.5.3).

use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_ENCODING, HeaderName};
use wharf_artifact::{Blob, Encoding, FileEntry};

/// Chooses what to send: the variant the client weighs highest, of equals the smallest.
///
/// Where the client refuses everything there is, `identity` included, it gets `identity`: an
/// answer that it may reject helps more than a 406.
pub(crate) fn choose<'a>(
    entry: &'a FileEntry,
    headers: &HeaderMap,
) -> (Option<Encoding>, &'a Blob) {
    let weights = weights(headers, &ACCEPT_ENCODING);
    let weight = |names: &[&str]| {
        weights
            .iter()
            .find(|(name, _)| names.contains(&name.as_str()))
            .or_else(|| weights.iter().find(|(name, _)| name == "*"))
            .map(|&(_, weight)| weight)
    };
    // Unnamed, identity is acceptable but the last choice.
    let mut best = (weight(&["identity"]).unwrap_or(0), None, &entry.identity);
    for (encoding, blob) in &entry.variants {
        let weight = match encoding {
            Encoding::Brotli => weight(&["br"]),
            Encoding::Gzip => weight(&["gzip", "x-gzip"]),
        };
        let Some(weight) = weight.filter(|&weight| weight > 0) else {
            continue;
        };
        if weight > best.0 || (weight == best.0 && blob.size < best.2.size) {
            best = (weight, Some(*encoding), blob);
        }
    }
    (best.1, best.2)
}

/// Says whether a browser asks for a page: `Accept` names `text/html`, not merely `*/*`.
pub(crate) fn accepts_html(headers: &HeaderMap) -> bool {
    weights(headers, &ACCEPT)
        .iter()
        .any(|(name, weight)| name == "text/html" && *weight > 0)
}

/// Reads a weighted list, all field lines together; weights in thousandths, names in lower case.
fn weights(headers: &HeaderMap, name: &HeaderName) -> Vec<(String, u16)> {
    let values = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let items = values.flat_map(|value| value.split(','));
    items
        .filter_map(|item| {
            let mut parameters = item.split(';').map(str::trim);
            let name = parameters.next().filter(|name| !name.is_empty())?;
            let quality = parameters.find_map(|parameter| {
                let (key, value) = parameter.split_once('=')?;
                key.trim().eq_ignore_ascii_case("q").then_some(value.trim())
            });
            let weight = quality.map_or(1000, parse_quality);
            Some((name.to_ascii_lowercase(), weight))
        })
        .collect()
}

/// Reads `0.5`, `1` or `1.000`; what is none of these counts as a refusal.
fn parse_quality(text: &str) -> u16 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    let thousandths = format!("{fraction:0<3}").parse().unwrap_or(0);
    match whole {
        "0" => thousandths,
        "1" if thousandths == 0 => 1000,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::PathBuf;

    use http::HeaderValue;
    use wharf_manifest::Digest;

    use super::*;

    fn entry() -> FileEntry {
        let blob = |name: &str, size| Blob {
            digest: Digest::of(name.as_bytes()),
            size,
            path: PathBuf::from(name),
        };
        FileEntry {
            identity: blob("identity", 1000),
            content_type: "text/css".into(),
            variants: vec![
                (Encoding::Gzip, blob("gzip", 300)),
                (Encoding::Brotli, blob("br", 200)),
            ],
        }
    }

    #[test]
    fn the_client_weighs_the_variants() {
        use Encoding::{Brotli, Gzip};
        let entry = entry();
        let check = |accept: Option<&str>, expected: Option<Encoding>| {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(ACCEPT_ENCODING, HeaderValue::from_str(accept).unwrap());
            }
            assert_eq!(choose(&entry, &headers).0, expected, "{accept:?}");
        };
        check(None, None);
        check(Some(""), None);
        check(Some("gzip"), Some(Gzip));
        check(Some("x-gzip"), Some(Gzip));
        check(Some("GZIP, Deflate, BR"), Some(Brotli));
        check(Some("gzip, deflate, br, zstd"), Some(Brotli));
        check(Some("gzip;q=1.0, br;q=0.5"), Some(Gzip));
        check(Some("br;q=0, gzip"), Some(Gzip));
        check(Some("gzip;q=0, br;q=0"), None);
        check(Some("*"), Some(Brotli));
        check(Some("*;q=0.5, br;q=0"), Some(Gzip));
        check(Some("identity"), None);
        check(Some("identity;q=1, *;q=0"), None);
        check(Some("identity;q=0.5, gzip;q=0.2"), None);
        check(Some("identity;q=0, gzip;q=0.001"), Some(Gzip));
        check(Some("identity;q=0"), None);
        check(Some("gzip;q=2"), None);
        check(Some("gzip;q=abc, br;q=0.1"), Some(Brotli));
        check(Some("gzip ; q = 0.9 , br ; q=0.8"), Some(Gzip));
        check(Some(";;;,,,=,q=1"), None);
    }

    #[test]
    fn field_lines_count_together() {
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT_ENCODING, HeaderValue::from_static("gzip;q=0.5"));
        headers.append(ACCEPT_ENCODING, HeaderValue::from_static("br"));
        assert_eq!(choose(&entry(), &headers).0, Some(Encoding::Brotli));
    }

    #[test]
    fn a_page_is_asked_for_by_name() {
        let check = |accept: &'static str, expected: bool| {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(accepts_html(&headers), expected, "{accept}");
        };
        check("text/html,application/xhtml+xml,*/*;q=0.8", true);
        check("Text/HTML;level=1", true);
        check("*/*", false);
        check("application/json", false);
        check("text/html;q=0, */*", false);
    }
}
